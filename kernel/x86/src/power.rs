//! Reset, power-off, and the exit of an emulator that runs a test (ACPI 6.5, 4.8.3.6, 4.8.4.6 and 5.2.9).
//!
//! Called by `ecusson` for the Platform object and after a panic.

use core::cell::Cell;

use ecusson_abi::boot::{
    BOOT_DEBUG_EXIT, BOOT_PANIC_HALT, BootFadt, BootInfo, BootRegister, FADT_HARDWARE_REDUCED, FADT_PRESENT,
    FADT_RESET, FADT_SOFT_OFF, REGISTER_MEMORY, REGISTER_PORT,
};

use crate::port::{read_u16, write_u8, write_u16, write_u32};
use crate::store::direct;
use crate::{clock, serial, smp};

struct Known {
    fadt: Cell<Option<BootFadt>>,
    flags: Cell<u64>,
    ram_end: Cell<u64>,
}

// SAFETY: written by the booting core before others run, read afterwards.
unsafe impl Sync for Known {}

static KNOWN: Known = Known {
    fadt: Cell::new(None),
    flags: Cell::new(0),
    ram_end: Cell::new(0),
};

/// Seconds between a panic's message and the reset: time to read it.
const PANIC_DELAY_S: u64 = 10;
/// Port of QEMU's `isa-debug-exit`; it ends with status `2 * value + 1`.
const DEBUG_EXIT_PORT: u16 = 0xF4;
/// Value for a panic: status 7.
const EXIT_PANIC: u32 = 3;
/// Value for power-off: status 33.
const EXIT_OFF: u32 = 16;

/// Remembers what is needed later.
pub(crate) fn set_up(info: &BootInfo) {
    KNOWN.fadt.set(Some(info.fadt));
    KNOWN.flags.set(info.flags);
    KNOWN.ram_end.set(info.top_frame * ecusson_abi::PAGE_BYTES);
}

/// Resets the machine: by the FADT's register, by the chipset's, at last by a triple fault.
pub fn reset() -> ! {
    serial::flush();
    if let Some(fadt) = KNOWN.fadt.get()
        && fadt.flags & (FADT_PRESENT | FADT_RESET) == FADT_PRESENT | FADT_RESET
    {
        write_register(fadt.reset, fadt.reset_value);
        clock::wait_us(50_000);
    }
    // SAFETY: the reset control register of every PC chipset of today: full reset. Nothing runs afterwards.
    unsafe {
        write_u8(0xCF9, 0x02);
        write_u8(0xCF9, 0x0E);
    }
    clock::wait_us(50_000);
    // SAFETY: with an empty interrupt table the next exception is a triple fault, which resets.
    unsafe {
        let nothing = x86::dtables::DescriptorTablePointer::<u64> {
            limit: 0,
            base: core::ptr::null(),
        };
        x86::dtables::lidt(&nothing);
        core::arch::asm!("ud2", options(noreturn));
    }
}

fn write_register(register: BootRegister, value: u8) {
    // SAFETY: the firmware names this register as the one that resets; memory in RAM would be a lie of the firmware's and
    // is not written. The direct map holds RAM only, so a register in memory elsewhere is left to the other ways.
    unsafe {
        match register.space {
            REGISTER_PORT => write_u8(register.address as u16, value),
            REGISTER_MEMORY if register.address < KNOWN.ram_end.get() => {
                let _ = direct(register.address);
            }
            _ => {}
        }
    }
}

/// Switches the machine off: state S5 by PM1 control. Comes back when the platform has no such register.
pub fn off() {
    serial::flush();
    if KNOWN.flags.get() & BOOT_DEBUG_EXIT != 0 {
        debug_exit(EXIT_OFF);
    }
    let Some(fadt) = KNOWN.fadt.get() else { return };
    let wanted = FADT_PRESENT | FADT_SOFT_OFF;
    if fadt.flags & (wanted | FADT_HARDWARE_REDUCED) != wanted {
        return;
    }
    for (register, kind) in [
        (fadt.pm1a_control, fadt.sleep_type_a),
        (fadt.pm1b_control, fadt.sleep_type_b),
    ] {
        if register.address != 0 && register.space == REGISTER_PORT {
            let port = register.address as u16;
            // SAFETY: the firmware names this port as PM1 control. SLP_TYP is bits 10 to 12, SLP_EN bit 13.
            unsafe { write_u16(port, read_u16(port) & !0x3C00 | u16::from(kind & 7) << 10 | 1 << 13) }
        }
    }
    clock::wait_us(1_000_000);
}

/// Ends the emulator, if it has the exit device; comes back if not.
pub fn debug_exit(value: u32) {
    // SAFETY: asked for on the command line, by whoever runs the kernel in an emulator with this device.
    unsafe { write_u32(DEBUG_EXIT_PORT, value) }
}

/// After a panic's message, all other cores stopped: ends the emulator (tests), halts, or resets after some seconds.
pub fn after_panic() -> ! {
    let flags = KNOWN.flags.get();
    if flags & BOOT_DEBUG_EXIT != 0 {
        debug_exit(EXIT_PANIC);
    }
    if flags & BOOT_PANIC_HALT != 0 || clock::ticks_per_second() == 0 {
        smp::halt();
    }
    clock::wait_us(PANIC_DELAY_S * 1_000_000);
    reset();
}
