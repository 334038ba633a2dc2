//! FADT: reset, power management registers, interrupt of the SCI (ACPI 6.5, 5.2.9), and `\_S5` out of the DSDT.
//!
//! Called by [`super::read`].

use ecusson_abi::boot::{
    BootFadt, BootInfo, BootRegister, FADT_HARDWARE_REDUCED, FADT_PRESENT, FADT_RESET, FADT_SOFT_OFF,
    FADT_TIMER_32_BITS, REGISTER_MEMORY, REGISTER_PORT,
};

use super::{HEADER_BYTES, table as acpi_table};
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::physical::Physical;
use crate::report::Report;

/// FADT flags, ACPI 6.5 table 5.10.
const FLAG_TIMER_32_BITS: u32 = 1 << 8;
const FLAG_RESET: u32 = 1 << 10;
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;

/// Fills `info.fadt`; the table's checksum was checked by the caller.
pub fn read<P: Physical, R: Report>(memory: &P, table: &[u8], info: &mut BootInfo, report: &mut R) {
    let flags = u32_at(table, 112).unwrap_or(0);
    let mut fadt = BootFadt {
        flags: FADT_PRESENT,
        boot_architecture: u16_at(table, 109).unwrap_or(0),
        sci: u16_at(table, 46).unwrap_or(0),
        century: u8_at(table, 108).unwrap_or(0),
        reset_value: u8_at(table, 128).unwrap_or(0),
        reset: generic(table, 116).unwrap_or_default(),
        pm1a_control: register(table, 172, 64, u8_at(table, 89)),
        pm1b_control: register(table, 184, 68, u8_at(table, 89)),
        pm_timer: register(table, 208, 76, u8_at(table, 91)),
        ..BootFadt::default()
    };
    if flags & FLAG_TIMER_32_BITS != 0 {
        fadt.flags |= FADT_TIMER_32_BITS;
    }
    if flags & FLAG_RESET != 0 && fadt.reset.address != 0 {
        fadt.flags |= FADT_RESET;
    }
    if flags & FLAG_HARDWARE_REDUCED != 0 {
        fadt.flags |= FADT_HARDWARE_REDUCED;
    }
    let dsdt = u64_at(table, 140)
        .filter(|at| *at != 0)
        .or_else(|| u32_at(table, 40).map(u64::from));
    let dsdt = dsdt.filter(|at| *at != 0).and_then(|at| acpi_table(memory, at, report));
    if let Some((a, b)) = dsdt.and_then(soft_off) {
        fadt.sleep_type_a = a;
        fadt.sleep_type_b = b;
        fadt.flags |= FADT_SOFT_OFF;
    } else {
        report.line(format_args!(
            "no sleep state S5 in the DSDT; the machine can't be switched off by software"
        ));
    }
    info.fadt = fadt;
}

/// A generic address at `at` (ACPI 6.5, 5.2.3.2); `None` when absent or in an address space that is not used here.
fn generic(table: &[u8], at: usize) -> Option<BootRegister> {
    let space = match u8_at(table, at)? {
        0 => REGISTER_MEMORY,
        1 => REGISTER_PORT,
        _ => return None,
    };
    let address = u64_at(table, at + 4)?;
    let bits = u32::from(u8_at(table, at + 1)?);
    (address != 0).then_some(BootRegister { address, space, bits })
}

/// The extended address where there is one, else the old port number with its length in bytes.
fn register(table: &[u8], extended: usize, old: usize, bytes: Option<u8>) -> BootRegister {
    let port = || {
        let address = u64::from(u32_at(table, old)?);
        let bits = u32::from(bytes.unwrap_or(0)) * 8;
        (address != 0).then_some(BootRegister {
            address,
            space: REGISTER_PORT,
            bits,
        })
    };
    generic(table, extended).or_else(port).unwrap_or_default()
}

/// The two sleep types of `Name (\_S5, Package () {a, b, ...})`, found by its bytes without interpreting the rest.
fn soft_off(dsdt: &[u8]) -> Option<(u8, u8)> {
    let code = dsdt.get(HEADER_BYTES..)?;
    let places = code.windows(4).enumerate().filter(|(_, name)| *name == b"_S5_");
    places.take(16).find_map(|(at, _)| {
        let root = at.checked_sub(1).and_then(|before| u8_at(code, before)) == Some(b'\\');
        let name_op = at
            .checked_sub(if root { 2 } else { 1 })
            .and_then(|before| u8_at(code, before));
        if name_op != Some(0x08) {
            return None;
        }
        package(code.get(at + 4..)?)
    })
}

/// The first two small integers of a package (ACPI 6.5, 20.2.5.4). A package of one gives the same to both registers.
fn package(code: &[u8]) -> Option<(u8, u8)> {
    if u8_at(code, 0)? != 0x12 {
        return None;
    }
    // PkgLength: the two highest bits say how many bytes follow.
    let more = usize::from(u8_at(code, 1)? >> 6);
    let count = u8_at(code, 2 + more)?;
    let (first, used) = integer(code.get(3 + more..)?)?;
    let second = if count > 1 {
        integer(code.get(3 + more + used..)?)?.0
    } else {
        first
    };
    (count > 0 && first < 8 && second < 8).then_some((first, second))
}

/// ZeroOp, OneOp, or a byte, word or dword constant below 256, and how many bytes it takes.
fn integer(code: &[u8]) -> Option<(u8, usize)> {
    match u8_at(code, 0)? {
        0x00 => Some((0, 1)),
        0x01 => Some((1, 1)),
        0x0A => Some((u8_at(code, 1)?, 2)),
        0x0B => Some((u8::try_from(u16_at(code, 1)?).ok()?, 3)),
        0x0C => Some((u8::try_from(u32_at(code, 1)?).ok()?, 5)),
        _ => None,
    }
}
