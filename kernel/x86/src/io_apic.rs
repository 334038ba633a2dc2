//! I/O APICs: from an interrupt line to a vector on a core (82093AA data sheet; ACPI 6.5, 5.2.12.3). The old
//! interrupt controllers are moved out of the way of exceptions and masked here, too.
//!
//! Key type: [`Trigger`]. Set up by [`crate::boot`]; `ecusson::trap` routes, masks and unmasks lines for the core, under the
//! kernel lock.

use core::cell::Cell;

use ecusson_abi::boot::{BootInfo, BootIoApic, IO_APIC_MAX, IO_APIC_VIRT, PAGE_BYTES};
use ecusson_abi::platform;

use crate::port::write_u8;

/// How a line says that it wants service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// By its level, else by an edge.
    pub level: bool,
    /// Low, else high.
    pub active_low: bool,
}

impl Trigger {
    /// From the flags of `Platform.irq`.
    #[must_use]
    pub const fn from_flags(flags: u64) -> Self {
        Self {
            level: flags & platform::LEVEL != 0,
            active_low: flags & platform::ACTIVE_LOW != 0,
        }
    }
}

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const VERSION: u32 = 1;
const ENTRIES: u32 = 0x10;
const VECTOR: u32 = 0xFF;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const LOW: u32 = 1 << 13;

/// One I/O APIC: where, and which lines.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    base: u64,
    first: u32,
    lines: u32,
}

struct Units {
    units: [Cell<Unit>; IO_APIC_MAX],
}

// SAFETY: written by the booting core before others run; afterwards the cells are only read, and the devices behind them
// are driven under the kernel lock.
unsafe impl Sync for Units {}

static UNITS: Units = Units {
    units: [const {
        Cell::new(Unit {
            base: 0,
            first: 0,
            lines: 0,
        })
    }; IO_APIC_MAX],
};

impl Unit {
    fn at(index: usize, apic: &BootIoApic) -> Self {
        let base = IO_APIC_VIRT + index as u64 * PAGE_BYTES + apic.phys % PAGE_BYTES;
        let mut unit = Self {
            base,
            first: apic.gsi_base,
            lines: 0,
        };
        unit.lines = (unit.read(VERSION) >> 16 & 0xFF) + 1;
        unit
    }

    fn read(self, register: u32) -> u32 {
        // SAFETY: the loader mapped the I/O APIC's page uncached at this address (`IO_APIC_VIRT`).
        unsafe {
            ((self.base + SELECT) as *mut u32).write_volatile(register);
            ((self.base + WINDOW) as *const u32).read_volatile()
        }
    }

    fn write(self, register: u32, value: u32) {
        // SAFETY: as in `read`; an I/O APIC sends messages to local APICs and touches no memory.
        unsafe {
            ((self.base + SELECT) as *mut u32).write_volatile(register);
            ((self.base + WINDOW) as *mut u32).write_volatile(value);
        }
    }
}

/// Takes over every I/O APIC with all lines masked.
pub(crate) fn set_up(info: &BootInfo) {
    for (index, apic) in info.io_apics().iter().enumerate().take(IO_APIC_MAX) {
        let unit = Unit::at(index, apic);
        for line in 0..unit.lines {
            unit.write(ENTRIES + 2 * line, MASKED);
        }
        UNITS.units[index].set(unit);
    }
}

/// The unit and its input of a line (global system interrupt), if there is one.
fn find(line: u32) -> Option<(Unit, u32)> {
    let units = UNITS.units.iter().map(Cell::get);
    let unit = units
        .filter(|unit| unit.lines != 0)
        .find(|unit| (unit.first..unit.first + unit.lines).contains(&line))?;
    Some((unit, line - unit.first))
}

/// Routes a line to a vector on a core, unmasked. Says whether the line exists.
pub fn route(line: u32, vector: u8, apic_id: u32, trigger: Trigger) -> bool {
    let Some((unit, input)) = find(line) else { return false };
    let mut low = u32::from(vector);
    if trigger.level {
        low |= LEVEL;
    }
    if trigger.active_low {
        low |= LOW;
    }
    unit.write(ENTRIES + 2 * input, MASKED);
    unit.write(ENTRIES + 2 * input + 1, apic_id << 24);
    unit.write(ENTRIES + 2 * input, low);
    true
}

/// Whether a line can be asked for service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// It cannot.
    Masked,
    /// It can.
    Open,
}

/// Takes a line's route away. The entry ends edge-triggered, which clears what the input waits for: nobody will end the
/// interrupt that may be in service.
pub fn release(line: u32) {
    if let Some((unit, input)) = find(line) {
        unit.write(ENTRIES + 2 * input, MASKED);
    }
}

/// Masks or unmasks a line; no effect on one that does not exist or, to unmask, has no route.
pub fn set_mask(line: u32, mask: Mask) {
    let Some((unit, input)) = find(line) else { return };
    let old = unit.read(ENTRIES + 2 * input);
    let new = match mask {
        Mask::Open if old & VECTOR != 0 => old & !MASKED,
        _ => old | MASKED,
    };
    unit.write(ENTRIES + 2 * input, new);
}

/// Moves the two 8259 controllers to vectors 0x20 to 0x2F, where their spurious interrupts do no harm, and masks them.
pub(crate) fn mask_old_controllers() {
    let words = [
        (0x20, 0x11),
        (0xA0, 0x11),
        (0x21, 0x20),
        (0xA1, 0x28),
        (0x21, 0x04),
        (0xA1, 0x02),
        (0x21, 0x01),
        (0xA1, 0x01),
        (0x21, 0xFF),
        (0xA1, 0xFF),
    ];
    for (port, value) in words {
        // SAFETY: the ports are the PC's interrupt controllers since ever, or nothing; they touch no memory.
        unsafe { write_u8(port, value) }
    }
}
