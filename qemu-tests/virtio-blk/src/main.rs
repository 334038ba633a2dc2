//! A process that drives a virtio disk of QEMU: reads sector 0, writes and reads back others, many at once, by interrupts.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ecusson_drivers::{DeviceType, MessageTransport, Process, Slots, pci};
use ecusson_manifest::layout::{FREE_BASE, PAGE_BYTES, slots};
use ecusson_manifest::{BootTable, Entry};
use ecusson_rt::cap::kind::{Interrupt, Notification};
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, environment, println, sys};
use ecusson_virtio_blk::{Completion, Disk, DiskError, Request, SECTOR_BYTES, Token};

/// Port that ends QEMU, and the value for a test that held.
const DEBUG_EXIT: u16 = 0xF4;
const SUCCESS: u8 = 0x10;
/// Slots from here on are nobody's: the table has 256, and the manifest fills a few.
const FIRST_FREE_SLOT: u64 = 128;
/// For one interrupt, and far more than it needs.
const PATIENCE_US: u64 = 5_000_000;
/// The disk's first line.
const FIRST_LINE: &[u8] = b"Ecusson test disk, line 000 of 256:";
/// Requests in flight together, each of one sector.
const AT_ONCE: u64 = 24;

ecusson_rt::entry!(main);

fn main(_: u16) -> ! {
    ecusson_rt::heap!(64 << 10);
    let Some(table) = environment() else { sys::fault() };
    let mut machine = Machine::take_up(&table);
    read_first(&mut machine);
    write_many(&mut machine);
    refuse(&mut machine);
    sys::out_byte(DEBUG_EXIT, SUCCESS);
    ecusson_rt::exit(0)
}

/// The disk, and what tells of it.
struct Machine {
    disk: Disk<MessageTransport>,
    clock: Clock,
    interrupts: u64,
}

impl Machine {
    fn take_up(table: &BootTable<'_>) -> Self {
        let process = Process::set_up(given(table), FREE_BASE / PAGE_BYTES);
        let process = Box::leak(Box::new(process.unwrap_or_else(|error| panic!("{error}"))));
        let mut bus = pci::Bus::new(process);
        let Some(device) = bus.find_virtio(DeviceType::Block) else {
            panic!("no virtio disk")
        };
        println!("disk: found at {device}");
        let transport = bus.take_virtio(device, bind(table));
        let transport = transport.unwrap_or_else(|fault| panic!("{fault}"));
        let disk = Disk::new(transport).unwrap_or_else(|error| panic!("{error}"));
        assert!(disk.transport().interrupts(), "the device takes no message");
        println!("disk: {} sectors", disk.sectors());
        let Some(clock) = Clock::of_process() else {
            panic!("no time page")
        };
        Self {
            disk,
            clock,
            interrupts: 0,
        }
    }

    fn submit(&mut self, request: Request<'_>) -> Token {
        match self.disk.submit(request) {
            Ok(Some(token)) => token,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    /// Sleeps until so many requests ended. The device is asked only after it interrupted.
    fn wait(&mut self, count: usize) -> Vec<Completion> {
        let mut ended = Vec::new();
        while ended.len() < count {
            let deadline = self.clock.deadline_in_us(PATIENCE_US);
            assert_eq!(ecusson_rt::cap::wait(deadline), Some(1), "no interrupt came");
            self.interrupts += 1;
            while let Some(completion) = self.disk.completed().unwrap_or_else(|error| panic!("{error}")) {
                assert!(completion.is_done, "a request failed");
                ended.push(completion);
            }
        }
        ended
    }
}

/// The slots of what the manifest gives.
fn given(table: &BootTable<'_>) -> Slots {
    let slot = |wanted: fn(&Entry<'_>) -> Option<u16>| match table.entries().find_map(|entry| wanted(&entry)) {
        Some(slot) => u64::from(slot),
        None => panic!("the manifest gives too little"),
    };
    Slots {
        space: u64::from(slots::SPACE),
        memory: u64::from(slots::MEMORY),
        dma: slot(|entry| match entry {
            Entry::Dma { slot } => Some(*slot),
            _ => None,
        }),
        platform: slot(|entry| match entry {
            Entry::Platform { slot, .. } => Some(*slot),
            _ => None,
        }),
        first_free: FIRST_FREE_SLOT,
    }
}

/// Binds the interrupt; what the device must write for it.
fn bind(table: &BootTable<'_>) -> pci::Message {
    let bound = table.entries().find_map(|entry| match entry {
        Entry::Interrupt {
            slot,
            notification_slot,
            bit,
            ..
        } => Some(
            Cap::<Interrupt>::at(u64::from(slot)).bind(&Cap::<Notification>::at(u64::from(notification_slot)), bit),
        ),
        _ => None,
    });
    match bound {
        Some(Ok((data, address))) => pci::Message {
            address,
            data: data as u32,
        },
        other => panic!("binding the interrupt: {other:?}"),
    }
}

fn read_first(machine: &mut Machine) {
    let token = machine.submit(Request::Read { first: 0, sectors: 1 });
    let ended = machine.wait(1);
    let right =
        ended[0].token == token && ended[0].data().len() == SECTOR_BYTES && ended[0].data().starts_with(FIRST_LINE);
    assert!(right, "sector 0 has {:?}", ended[0].data());
    println!("disk: sector 0 is right");
}

/// A sector's content, another one for each.
fn content(sector: u64) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    for (at, byte) in (0..).zip(&mut bytes) {
        *byte = (sector * 31 + at * 7) as u8;
    }
    bytes
}

fn write_many(machine: &mut Machine) {
    machine.interrupts = 0;
    for sector in 0..AT_ONCE {
        machine.submit(Request::Write {
            first: 4 + sector,
            data: &content(sector),
        });
    }
    machine.wait(AT_ONCE as usize);
    let interrupts = machine.interrupts;
    println!(
        "disk: {AT_ONCE} requests at once, all done, in 1 to {AT_ONCE} interrupts: {}",
        (1..=AT_ONCE).contains(&interrupts)
    );
    machine.submit(Request::Flush);
    machine.wait(1);
    let asked: BTreeMap<Token, u64> = (0..AT_ONCE)
        .map(|sector| {
            let first = 4 + sector;
            (machine.submit(Request::Read { first, sectors: 1 }), sector)
        })
        .collect();
    for completion in machine.wait(asked.len()) {
        let expected = asked.get(&completion.token).map(|sector| content(*sector));
        assert_eq!(Some(completion.data()), expected.as_ref().map(|bytes| &bytes[..]));
    }
    println!("disk: what was written is read back");
}

fn refuse(machine: &mut Machine) {
    let sectors = machine.disk.sectors();
    let refused = machine.disk.submit(Request::Read {
        first: sectors,
        sectors: 1,
    });
    assert_eq!(refused, Err(DiskError::BadRequest));
    println!("disk: a read behind the end is refused");
}
