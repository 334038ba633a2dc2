//! The PCI bus and virtio's front half, driven as Linux's drivers drive them.

use ecusson_vmm::apic::{Fabric, VcpuSet};
use ecusson_vmm::layout::{ECAM, PCI_WINDOW_32};
use ecusson_vmm::machine::Board;
use ecusson_vmm::pci::SlotError;
use ecusson_vmm::time::Now;
use ecusson_vmm::virtio::{Change, Description, QueueSetup, features};
use proptest::prelude::*;

const NET: usize = 3;

/// A board with a network card in slot 3.
struct Bench {
    board: Board,
    fabric: Fabric,
}

fn net() -> Description {
    let offered = features::NET_MAC | features::NET_CONTROL | features::NET_MULTIQUEUE | features::RING_EVENT_INDEX;
    Description::net([0, 0x16, 0x3e, 1, 2, 3], 1500, 2, 256, offered)
}

fn bench() -> Bench {
    let mut board = Board::new();
    board.insert(NET, &net()).expect("an empty slot");
    Bench {
        board,
        fabric: Fabric::new(2),
    }
}

impl Bench {
    fn config_address(slot: usize, register: u32) -> u32 {
        1 << 31 | (slot as u32) << 11 | register & 0xfc
    }

    fn config_read(&mut self, slot: usize, register: u32, bytes: u8) -> u32 {
        self.port_write(0xcf8, 4, Self::config_address(slot, register));
        self.port_read(0xcfc + (register & 3) as u16, bytes)
    }

    fn config_write(&mut self, slot: usize, register: u32, bytes: u8, value: u32) -> VcpuSet {
        self.port_write(0xcf8, 4, Self::config_address(slot, register));
        self.port_write(0xcfc + (register & 3) as u16, bytes, value)
    }

    fn port_read(&mut self, port: u16, bytes: u8) -> u32 {
        self.board.read_port(port, bytes, &self.fabric, Now::default()).0
    }

    fn port_write(&mut self, port: u16, bytes: u8, value: u32) -> VcpuSet {
        self.board
            .write_port(port, bytes, value, &self.fabric, Now::default())
            .kicks
    }

    fn read(&mut self, address: u64, bytes: u8) -> u64 {
        self.board.read_memory(address, bytes)
    }

    fn write(&mut self, address: u64, bytes: u8, value: u64) -> VcpuSet {
        self.board.write_memory(address, bytes, value, &self.fabric)
    }

    fn changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.board.next_change())
            .map(|(slot, change)| {
                assert_eq!(slot, NET);
                change
            })
            .collect()
    }

    /// The capabilities of a function: offset and number.
    fn capabilities(&mut self, slot: usize) -> Vec<(u32, u32)> {
        let mut at = self.config_read(slot, 0x34, 1);
        let mut found = Vec::new();
        while at != 0 && found.len() < 48 {
            found.push((at, self.config_read(slot, at, 1)));
            at = self.config_read(slot, at + 1, 1);
        }
        found
    }

    /// Address of the structure of a kind, as its capability says.
    fn structure(&mut self, kind: u32) -> u64 {
        for (at, number) in self.capabilities(NET) {
            if number == 9 && self.config_read(NET, at + 3, 1) == kind {
                let bar = 0x10 + 4 * self.config_read(NET, at + 4, 1);
                let base = self.config_read(NET, bar, 4) & !15;
                return u64::from(base) + u64::from(self.config_read(NET, at + 8, 4));
            }
        }
        panic!("no structure of kind {kind}")
    }

    /// What Linux does up to DRIVER_OK.
    fn set_up(&mut self, accepted: u64) -> u64 {
        let common = self.structure(1);
        for status in [0, 1, 3] {
            self.write(common + 0x14, 1, status);
        }
        for half in 0..2 {
            self.write(common + 8, 4, half);
            self.write(common + 12, 4, accepted >> (32 * half) & 0xffff_ffff);
        }
        self.write(common + 0x14, 1, 11);
        for queue in 0..3_u64 {
            self.write(common + 0x16, 2, queue);
            self.write(common + 0x18, 2, 128);
            self.write(common + 0x1a, 2, queue + 1);
            for (register, address) in [(0x20, 0x10_0000), (0x28, 0x11_0000), (0x30, 0x12_0000)] {
                let address = address + queue * 0x1000;
                self.write(common + register, 4, address);
                self.write(common + register + 4, 4, 1);
            }
            self.write(common + 0x1c, 2, 1);
        }
        self.write(common + 0x14, 1, 15);
        common
    }

    /// Programs entry `vector` of the MSI-X table and switches MSI-X on.
    fn set_up_interrupts(&mut self, vector: u64, control: u64) {
        let table = u64::from(self.config_read(NET, 0x10, 4) & !15) + 0x1000 + 16 * vector;
        self.write(table, 4, 0xfee0_1000);
        self.write(table + 4, 4, 0);
        self.write(table + 8, 4, 0x51);
        self.write(table + 12, 4, control);
        let (at, _) = *self
            .capabilities(NET)
            .iter()
            .find(|(_, number)| *number == 0x11)
            .expect("MSI-X");
        self.config_write(NET, at + 2, 2, 0x8000);
    }
}

const AGREED: u64 = features::VERSION_1 | features::NET_MAC | features::RING_EVENT_INDEX;

#[test]
fn functions_are_found_by_both_mechanisms() {
    let mut bench = bench();
    assert_eq!(bench.port_read(0xcf8, 4), 0);
    assert_eq!(bench.config_read(0, 0, 4), 0x0008_1b36);
    assert_eq!(bench.port_read(0xcf8, 4), 1 << 31);
    assert_eq!(bench.config_read(NET, 0, 4), 0x1041_1af4);
    assert_eq!(bench.config_read(NET, 0x0b, 1), 2, "a network controller");
    assert_eq!(bench.config_read(NET, 2, 2), 0x1041);
    assert_eq!(bench.config_read(NET + 1, 0, 4), u32::MAX);
    bench.port_write(0xcf8, 4, 1 << 31 | 1 << 16 | (NET as u32) << 11);
    assert_eq!(bench.port_read(0xcfc, 4), u32::MAX, "another bus");
    bench.port_write(0xcf8, 4, (NET as u32) << 11);
    assert_eq!(bench.port_read(0xcfc, 4), u32::MAX, "not enabled");
    let function = ECAM + ((NET as u64) << 15);
    assert_eq!(bench.read(function, 4), 0x1041_1af4);
    assert_eq!(bench.read(function + 0x100, 4), 0, "no extended capabilities");
    assert_eq!(bench.read(function + 0x1000, 4), 0xffff_ffff, "no second function");
    bench.write(function + 0x3c, 1, 11);
    assert_eq!(bench.config_read(NET, 0x3c, 4), 11);
    bench.config_write(NET, 0, 4, 0);
    assert_eq!(bench.config_read(NET, 0, 4), 0x1041_1af4, "read-only");
}

#[test]
fn slots_are_given_once() {
    let mut board = Board::new();
    assert_eq!(board.insert(0, &net()), Err(SlotError::NoSuchSlot(0)));
    assert_eq!(board.insert(32, &net()), Err(SlotError::NoSuchSlot(32)));
    assert_eq!(board.insert(31, &net()), Ok(()));
    assert_eq!(board.insert(31, &net()), Err(SlotError::Taken(31)));
}

#[test]
fn windows_are_sized_and_moved() {
    let mut bench = bench();
    bench.config_write(NET, 0x10, 4, u32::MAX);
    bench.config_write(NET, 0x14, 4, u32::MAX);
    assert_eq!(bench.config_read(NET, 0x10, 4), 0xffff_e004, "8 KiB of 64-bit memory");
    assert_eq!(bench.config_read(NET, 0x14, 4), u32::MAX);
    bench.config_write(NET, 0x18, 4, u32::MAX);
    assert_eq!(
        bench.config_read(NET, 0x18, 4),
        0xffe1,
        "32 ports: five queues, rounded up"
    );
    let old = PCI_WINDOW_32 + NET as u64 * 0x2000;
    bench.config_write(NET, 0x10, 4, 0x1234_0000);
    bench.config_write(NET, 0x14, 4, 0x10);
    let number_of_queues = 0x12;
    assert_eq!(bench.read(0x10_1234_0000 + number_of_queues, 2), 5);
    assert_eq!(bench.read(old + number_of_queues, 2), u64::MAX, "it moved");
    bench.config_write(NET, 4, 2, 1);
    assert_eq!(
        bench.read(0x10_1234_0000 + number_of_queues, 2),
        u64::MAX,
        "memory is off"
    );
    bench.changes();
    bench.config_write(NET, 0x18, 4, 0xd100);
    assert_eq!(bench.changes(), [Change::Doorbells(Some(0xd100))]);
    // Doorbells over the serial port would be nobody's gain.
    bench.config_write(NET, 0x18, 4, 0x3e0);
    assert_eq!(bench.changes(), [Change::Doorbells(None)]);
    bench.port_write(0x3ff, 1, 0x5a);
    assert_eq!(bench.port_read(0x3ff, 1), 0x5a, "its scratch register");
    bench.config_write(NET, 0x18, 4, 0xd100);
    bench.config_write(NET, 4, 2, 0);
    assert_eq!(bench.changes(), [Change::Doorbells(None)]);
}

#[test]
fn a_driver_sets_its_device_up() {
    let mut bench = bench();
    assert_eq!(bench.changes(), [Change::Doorbells(Some(0xc300))]);
    let common = bench.set_up(AGREED);
    assert_eq!(bench.read(common + 0x14, 1), 15);
    let queue = |number: u64| QueueSetup {
        size: 128,
        descriptors: 0x1_0010_0000 + number * 0x1000,
        driver: 0x1_0011_0000 + number * 0x1000,
        device: 0x1_0012_0000 + number * 0x1000,
    };
    let ready = Change::Ready {
        features: AGREED,
        queues: (0..3).map(|number| (number as usize, queue(number))).collect(),
    };
    assert_eq!(bench.changes(), [ready]);
    // A queue that comes late.
    bench.write(common + 0x16, 2, 4);
    assert_eq!(bench.read(common + 0x1e, 2), 4, "its doorbell");
    bench.write(common + 0x1c, 2, 1);
    let late = QueueSetup {
        size: 256,
        ..QueueSetup::default()
    };
    assert_eq!(bench.changes(), [Change::Queue(4, late)]);
    // Doorbells that the kernel did not take.
    bench.port_write(0xc304, 2, 1);
    bench.port_write(0xc300 + 4 * 7, 2, 7);
    assert_eq!(bench.changes(), [Change::Rung(2)]);
    let device = bench.structure(4);
    assert_eq!(bench.read(device, 4), 0x013e_1600);
    assert_eq!(bench.read(device + 4, 2), 0x0302);
    assert_eq!(bench.read(device + 8, 2), 2, "pairs");
    assert_eq!(bench.read(device + 0x80, 4), 0);
}

#[test]
fn a_reset_is_complete_when_the_backend_says_so() {
    let mut bench = bench();
    let common = bench.set_up(AGREED);
    // Nobody has heard of the queues yet: at once.
    bench.write(common + 0x14, 1, 0);
    assert_eq!(bench.read(common + 0x14, 1), 0);
    assert_eq!(bench.changes(), [Change::Doorbells(Some(0xc300))]);
    bench.set_up(AGREED);
    bench.changes();
    bench.port_write(0xc300, 2, 0);
    bench.write(common + 0x14, 1, 0);
    assert_eq!(bench.read(common + 0x14, 1), 15, "still served");
    bench.write(common + 0x14, 1, 1);
    assert_eq!(bench.changes(), [Change::Reset]);
    bench.board.reset_done(NET);
    assert_eq!(bench.read(common + 0x14, 1), 0);
    bench.write(common + 0x16, 2, 0);
    assert_eq!((bench.read(common + 0x18, 2), bench.read(common + 0x1c, 2)), (256, 0));
    assert_eq!(bench.read(common + 0x20, 8), 0);
}

#[test]
fn features_must_agree() {
    for wrong in [AGREED | features::NET_HOST_TSO, AGREED & !features::VERSION_1] {
        let mut bench = bench();
        let common = bench.set_up(wrong);
        assert_eq!(bench.read(common + 0x14, 1), 3, "neither agreed nor ready");
        assert_eq!(bench.changes(), [Change::Doorbells(Some(0xc300))]);
    }
    let mut bench = bench();
    let common = bench.structure(1);
    bench.write(common, 4, 1);
    assert_eq!(bench.read(common + 4, 4), 1, "VERSION_1");
    bench.write(common, 4, 7);
    assert_eq!(bench.read(common + 4, 4), 0);
}

#[test]
fn a_queue_that_can_not_be_is_not_enabled() {
    let mut bench = bench();
    let common = bench.structure(1);
    bench.write(common + 0x16, 2, 1);
    for size in [0, 3, 512] {
        bench.write(common + 0x18, 2, size);
        assert_eq!(bench.read(common + 0x18, 2), 256);
    }
    bench.write(common + 0x20, 8, 0x1001);
    bench.write(common + 0x1c, 2, 1);
    assert_eq!(bench.read(common + 0x1c, 2), 0);
    assert_eq!(bench.read(common + 0x14, 1), 64, "needs a reset");
    bench.write(common + 0x1a, 2, 77);
    assert_eq!(bench.read(common + 0x1a, 2), 0xffff, "no such vector");
    bench.write(common + 0x16, 2, 5);
    assert_eq!(bench.read(common + 0x18, 2), 0, "no such queue");
}

#[test]
fn interrupts_go_through_the_table() {
    let mut bench = bench();
    bench.set_up(AGREED);
    assert_eq!(
        bench.board.queue_interrupt(NET, 0, &bench.fabric),
        VcpuSet::NONE,
        "MSI-X is off"
    );
    bench.set_up_interrupts(1, 0);
    assert_eq!(bench.board.queue_interrupt(NET, 0, &bench.fabric), VcpuSet::of(1));
    assert!(bench.fabric.take(1).expect("an interrupt").edge.contains(0x51));
    // Masked: it waits, is shown, and comes when the mask goes.
    let table = u64::from(bench.config_read(NET, 0x10, 4) & !15) + 0x1000;
    bench.write(table + 16 + 12, 4, 1);
    assert_eq!(bench.board.queue_interrupt(NET, 0, &bench.fabric), VcpuSet::NONE);
    assert_eq!(bench.read(table + 0x800, 8), 2);
    assert_eq!(bench.write(table + 16 + 12, 4, 0), VcpuSet::of(1));
    assert_eq!(bench.read(table + 0x800, 8), 0);
    // The function's mask does the same.
    let (at, _) = *bench
        .capabilities(NET)
        .iter()
        .find(|(_, number)| *number == 0x11)
        .expect("MSI-X");
    bench.config_write(NET, at + 2, 2, 0xc000);
    assert_eq!(bench.board.queue_interrupt(NET, 0, &bench.fabric), VcpuSet::NONE);
    assert_eq!(bench.config_write(NET, at + 2, 2, 0x8000), VcpuSet::of(1));
    assert_eq!(bench.config_read(NET, at + 2, 2), 0x8005, "six entries");
    // No vector, no queue, no device.
    for (slot, queue) in [(NET, 3), (NET, 99), (9, 0)] {
        assert_eq!(bench.board.queue_interrupt(slot, queue, &bench.fabric), VcpuSet::NONE);
    }
}

#[test]
fn a_change_of_configuration_is_told() {
    let mut bench = bench();
    let common = bench.set_up(AGREED);
    bench.write(common + 0x10, 2, 0);
    bench.set_up_interrupts(0, 0);
    let kicks = bench.board.set_device_config(NET, 6, &[0, 0], &bench.fabric);
    assert_eq!(kicks, VcpuSet::of(1));
    assert_eq!(bench.read(common + 0x15, 1), 1, "generation");
    let status = bench.structure(3);
    assert_eq!(
        (bench.read(status, 1), bench.read(status, 1)),
        (2, 0),
        "read and so cleared"
    );
    assert_eq!(bench.board.fail(NET, &bench.fabric), VcpuSet::of(1));
    assert_eq!(bench.read(common + 0x14, 1), 15 | 64);
}

#[test]
fn windows_are_reached_by_configuration_space() {
    let mut bench = bench();
    let access = bench
        .capabilities(NET)
        .into_iter()
        .map(|(at, _)| at)
        .find(|&at| bench.config_read(NET, at, 1) == 9 && bench.config_read(NET, at + 3, 1) == 5)
        .expect("the access capability");
    bench.config_write(NET, access + 4, 1, 0);
    bench.config_write(NET, access + 8, 4, 0x12);
    bench.config_write(NET, access + 12, 4, 2);
    assert_eq!(bench.config_read(NET, access + 16, 2), 5, "queues");
    bench.config_write(NET, access + 8, 4, 0x16);
    bench.config_write(NET, access + 16, 2, 3);
    let common = bench.structure(1);
    assert_eq!(bench.read(common + 0x16, 2), 3);
}

#[test]
fn kinds_have_the_queues_and_numbers_of_the_standard() {
    let disk = Description::block(1 << 21, 4, 256, features::BLOCK_FLUSH);
    assert_eq!((disk.kind, disk.queues.len(), disk.config.len()), (2, 4, 60));
    assert_eq!(disk.config[..8], (1_u64 << 21).to_le_bytes());
    assert_eq!(disk.config[12..16], 254_u32.to_le_bytes());
    assert_eq!(Description::console(64).queues, [64, 64]);
    assert_eq!(Description::entropy(64).kind, 4);
    let mut board = Board::new();
    for (slot, description) in [disk, Description::console(64), Description::entropy(64), net()]
        .iter()
        .enumerate()
    {
        board.insert(slot + 1, description).expect("an empty slot");
    }
}

#[test]
fn messages_go_where_the_table_says() {
    let mut bench = bench();
    bench.set_up(AGREED);
    bench.set_up_interrupts(1, 0);
    let table = u64::from(bench.config_read(NET, 0x10, 4) & !15) + 0x1000 + 16;
    bench.write(table, 8, 0xfee0_0000);
    assert_eq!(bench.board.queue_interrupt(NET, 0, &bench.fabric), VcpuSet::of(0));
    bench.write(table, 8, 0x1000);
    assert_eq!(
        bench.board.queue_interrupt(NET, 0, &bench.fabric),
        VcpuSet::NONE,
        "no address of interrupts"
    );
}

fn access() -> impl Strategy<Value = (u8, u64, u8, u64)> {
    (0_u8..8, any::<u64>(), 0_u8..4, prop_oneof![any::<u64>(), 0_u64..16])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a guest does to the bus, the board goes on.
    #[test]
    fn a_bus_survives_anything(accesses in prop::collection::vec(access(), 1..120)) {
        let mut bench = bench();
        bench.set_up(AGREED);
        for (kind, place, size, value) in accesses {
            let bytes = 1 << size;
            let bar = u64::from(bench.config_read(NET, 0x10, 4) & !15) | u64::from(bench.config_read(NET, 0x14, 4)) << 32;
            match kind {
                0 => { bench.config_write(NET, place as u32 & 0xff, bytes.min(4), value as u32); }
                1 => { bench.write(ECAM + (place & 0xf_ffff), bytes, value); }
                2 => { bench.read(ECAM + (place & 0xf_ffff), bytes); }
                3 => { bench.write(bar.wrapping_add(place & 0x1fff), bytes, value); }
                4 => { bench.read(bar.wrapping_add(place & 0x1fff), bytes); }
                5 => { bench.port_write(0xc300 + (place & 0x3f) as u16, bytes.min(4), value as u32); }
                6 => { bench.board.queue_interrupt(NET, place as usize % 9, &bench.fabric); }
                _ => { bench.board.reset_done(NET); }
            }
            if value & 3 == 0 {
                prop_assert!(bench.changes().len() < 80);
            }
        }
    }

    /// Random programming of the common configuration, register by register.
    #[test]
    fn a_transport_survives_anything(writes in prop::collection::vec((0_u64..0x40, 0_u8..4, prop_oneof![any::<u64>(), 0_u64..16]), 1..200)) {
        let mut bench = bench();
        let common = bench.structure(1);
        for (offset, size, value) in writes {
            bench.write(common + offset, 1 << size, value);
            bench.read(common + offset, 1 << size);
            for change in bench.changes() {
                match change {
                    Change::Ready { queues, .. } => prop_assert!(queues.iter().all(|(_, queue)| queue.size.is_power_of_two())),
                    Change::Reset => bench.board.reset_done(NET),
                    _ => {}
                }
            }
        }
    }
}
