//! The guest's page tables: from a linear to a guest-physical address (Intel SDM vol. 3, chapter 4; AMD APM vol. 2, chapter 5).

use crate::cpu::{Exception, System};
use crate::memory::{GuestMemory, MemoryFault};

/// What is done at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An instruction is fetched.
    Fetch,
    /// Data is read.
    Read,
    /// Data is written.
    Write,
}

const CR0_WRITE_PROTECT: u64 = 1 << 16;
const CR0_PAGING: u64 = 1 << 31;
const CR4_LARGE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_FIVE_LEVELS: u64 = 1 << 12;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Address bits of an entry of eight bytes.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Page fault error codes.
mod code {
    pub(super) const PRESENT: u32 = 1;
    pub(super) const WRITE: u32 = 2;
    pub(super) const USER: u32 = 4;
    pub(super) const FETCH: u32 = 16;
}

/// A form of page tables.
#[derive(Clone, Copy, Debug)]
struct Form {
    levels: u32,
    /// Bits of the linear address a level.
    index_bits: u32,
    entry_bytes: u64,
    /// Bits of the linear address in all.
    address_bits: u32,
}

const TWO_LEVELS: Form = Form {
    levels: 2,
    index_bits: 10,
    entry_bytes: 4,
    address_bits: 32,
};
const PAE: Form = Form {
    levels: 3,
    index_bits: 9,
    entry_bytes: 8,
    address_bits: 32,
};
const FOUR_LEVELS: Form = Form {
    levels: 4,
    index_bits: 9,
    entry_bytes: 8,
    address_bits: 48,
};
const FIVE_LEVELS: Form = Form {
    levels: 5,
    index_bits: 9,
    entry_bytes: 8,
    address_bits: 57,
};

fn form(system: &System) -> Form {
    if system.cr4 & CR4_PAE == 0 {
        TWO_LEVELS
    } else if system.efer & EFER_LONG_MODE_ACTIVE == 0 {
        PAE
    } else if system.cr4 & CR4_FIVE_LEVELS == 0 {
        FOUR_LEVELS
    } else {
        FIVE_LEVELS
    }
}

/// Translates a linear address, with the checks of the privilege level, and marks the page as accessed (and dirty).
///
/// # Errors
/// The page fault that the processor would raise.
pub fn translate(memory: &impl GuestMemory, system: &System, linear: u64, access: Access) -> Result<u64, Exception> {
    if system.cr0 & CR0_PAGING == 0 {
        return Ok(linear & 0xffff_ffff);
    }
    let form = form(system);
    let fault = |code: u32| Exception::page_fault(linear, code | access_code(system, access));
    if form.address_bits > 32 && !is_canonical(linear, form.address_bits) {
        return Err(Exception::GENERAL_PROTECTION);
    }
    let mut rights = WRITABLE | USER;
    let mut no_execute = 0;
    let mut table = table_address(system, form);
    for level in (1..=form.levels).rev() {
        let shift = 12 + (level - 1) * form.index_bits;
        let index = linear >> shift & ((1 << form.index_bits) - 1);
        let at = table.wrapping_add(index * form.entry_bytes);
        // A table outside memory reads as not present.
        let entry = read_entry(memory, form, at).unwrap_or_default();
        if entry & PRESENT == 0 {
            return Err(fault(0));
        }
        // The top level of PAE has no rights of its own.
        if !(form.entry_bytes == 8 && form.levels == 3 && level == 3) {
            rights &= entry;
            no_execute |= entry & NO_EXECUTE;
        }
        if level == 1 || is_large(system, form, level, entry) {
            check(system, access, rights, no_execute).map_err(|()| fault(code::PRESENT))?;
            mark(memory, form, at, entry, access);
            return Ok(page_address(form, level, entry) | linear & ((1 << shift) - 1));
        }
        table = entry & ADDRESS;
    }
    Err(fault(0))
}

fn is_canonical(linear: u64, bits: u32) -> bool {
    let unused = 64 - bits;
    ((linear << unused) as i64 >> unused) as u64 == linear
}

fn table_address(system: &System, form: Form) -> u64 {
    if form.levels == 3 {
        // PAE's four entries lie at a multiple of 32.
        system.cr3 & 0xffff_ffe0
    } else {
        system.cr3 & ADDRESS
    }
}

fn read_entry(memory: &impl GuestMemory, form: Form, at: u64) -> Result<u64, MemoryFault> {
    if form.entry_bytes == 4 {
        memory.read_u32(at).map(u64::from)
    } else {
        memory.read_u64(at)
    }
}

fn is_large(system: &System, form: Form, level: u32, entry: u64) -> bool {
    let may_be = match level {
        2 => form.entry_bytes == 8 || system.cr4 & CR4_LARGE != 0,
        3 => form.levels > 3,
        _ => false,
    };
    may_be && entry & LARGE != 0
}

/// Address of the page that an entry of `level` maps.
fn page_address(form: Form, level: u32, entry: u64) -> u64 {
    let shift = 12 + (level - 1) * form.index_bits;
    if form.entry_bytes == 4 && level == 2 {
        // 4 MiB pages keep their address bits 32 to 39 in bits 13 to 20.
        return entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32;
    }
    entry & ADDRESS & !((1 << shift) - 1)
}

fn access_code(system: &System, access: Access) -> u32 {
    let user = if system.privilege == 3 { code::USER } else { 0 };
    user | match access {
        Access::Fetch => code::FETCH,
        Access::Read => 0,
        Access::Write => code::WRITE,
    }
}

fn check(system: &System, access: Access, rights: u64, no_execute: u64) -> Result<(), ()> {
    let user = system.privilege == 3;
    let protected = user || system.cr0 & CR0_WRITE_PROTECT != 0;
    let denied = match access {
        Access::Fetch => no_execute != 0,
        Access::Write => rights & WRITABLE == 0 && protected,
        Access::Read => false,
    };
    if denied || user && rights & USER == 0 {
        return Err(());
    }
    Ok(())
}

/// Marks the page as accessed, and dirty by a write. An entry that changed meanwhile is the guest's race, and stays as it is.
fn mark(memory: &impl GuestMemory, form: Form, at: u64, entry: u64, access: Access) {
    let wanted = entry | ACCESSED | if access == Access::Write { DIRTY } else { 0 };
    if wanted == entry {
        return;
    }
    if form.entry_bytes == 8 {
        let _ = memory.compare_exchange(at, entry, wanted);
        return;
    }
    let word = at & !7;
    let shift = (at & 7) * 8;
    if let Ok(seen) = memory.read_u64(word)
        && seen >> shift & 0xffff_ffff == entry
    {
        let _ = memory.compare_exchange(word, seen, seen & !(0xffff_ffff << shift) | wanted << shift);
    }
}
