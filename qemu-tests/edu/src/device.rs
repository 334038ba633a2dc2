//! The device: configuration space by ports, registers in device memory.
//!
//! Key type: [`Edu`].

extern crate alloc;

use alloc::boxed::Box;

use ecusson_drivers::{Process, Registers, Slots};
use ecusson_manifest::layout::{FREE_BASE, PAGE_BYTES, slots};
use ecusson_manifest::{BootTable, Entry};
use ecusson_rt::sys;

/// PCI 3.0, 3.2.2.3.2.
const ADDRESS_PORT: u16 = 0xCF8;
const DATA_PORT: u16 = 0xCFC;
/// Where `test.toml` puts it: bus 0, device 5.
const PLACE: u32 = 1 << 31 | 5 << 11;
/// Vendor and device.
const IDENTITY: u32 = 0x11E8_1234;
/// Configuration registers (PCI 3.0, 6.1 and 6.7).
const COMMAND: u32 = 0x04;
const BAR0: u32 = 0x10;
const CAPABILITIES: u32 = 0x34;
/// Bits of the command register: memory answers, may be bus master (messages are writes), no line.
const MEMORY: u32 = 1 << 1;
const MASTER: u32 = 1 << 2;
const NO_LINE: u32 = 1 << 10;
/// Messages (PCI 3.0, 6.8.1): identifier, enable and 64-bit address in the first word.
const MSI: u32 = 0x05;
const MSI_ENABLE: u32 = 1 << 16;
const MSI_64_BIT: u32 = 1 << 23;
/// Registers of the device (QEMU, docs/specs/edu.rst).
const VERSION: usize = 0x00;
const LIVENESS: usize = 0x04;
const STATUS: usize = 0x24;
const RAISE: usize = 0x60;
const SERVED: usize = 0x64;
const REGISTER_BYTES: u64 = 0x1000;
/// Slots from here on are nobody's.
const FIRST_FREE_SLOT: u64 = 128;

fn read(register: u32) -> u32 {
    sys::out_long(ADDRESS_PORT, PLACE | (register & 0xFC));
    sys::in_long(DATA_PORT)
}

fn write(register: u32, value: u32) {
    sys::out_long(ADDRESS_PORT, PLACE | (register & 0xFC));
    sys::out_long(DATA_PORT, value);
}

/// The device, with its memory mapped.
pub(crate) struct Edu {
    registers: Registers,
}

impl Edu {
    /// Finds it and sees that it answers.
    pub(crate) fn find(table: &BootTable<'_>) -> Self {
        assert_eq!(read(0), IDENTITY, "no edu device at 00:05.0");
        write(COMMAND, read(COMMAND) & 0xFFFF | MEMORY | MASTER);
        let process = Process::set_up(given(table), FREE_BASE / PAGE_BYTES);
        let process = Box::leak(Box::new(process.unwrap_or_else(|error| panic!("{error}"))));
        let registers = process.map(u64::from(read(BAR0) & !0xF), REGISTER_BYTES);
        let registers = registers.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(registers.read_u32(VERSION) & 0xFF, 0xED);
        registers.write_u32(LIVENESS, 0x1234_5678);
        assert_eq!(registers.read_u32(LIVENESS), !0x1234_5678);
        Self { registers }
    }

    /// Has it interrupt for these reasons.
    pub(crate) fn raise(&self, reasons: u32) {
        self.registers.write_u32(RAISE, reasons);
    }

    /// Tells it that these reasons are served.
    pub(crate) fn serve(&self, reasons: u32) {
        assert_eq!(
            self.registers.read_u32(STATUS) & reasons,
            reasons,
            "it had no such reason"
        );
        self.registers.write_u32(SERVED, reasons);
    }

    /// From here on it interrupts by this message.
    pub(crate) fn use_message(&mut self, address: u64, data: u32) {
        let mut at = read(CAPABILITIES) & 0xFC;
        while read(at) & 0xFF != MSI {
            at = read(at) >> 8 & 0xFC;
            assert_ne!(at, 0, "it knows no messages");
        }
        let control = read(at);
        assert_ne!(control & MSI_64_BIT, 0, "its messages have addresses of 64 bits");
        write(at + 4, address as u32);
        write(at + 8, (address >> 32) as u32);
        write(at + 12, data);
        write(at, control | MSI_ENABLE);
        write(COMMAND, read(COMMAND) & 0xFFFF | NO_LINE);
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
