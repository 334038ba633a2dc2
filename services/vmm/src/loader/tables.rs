//! Descriptor and page tables for the first vCPU, and its registers.
//!
//! Key type: [`EntryState`]. Intel SDM vol. 3, 3.4.5 (descriptors) and 4.5 (paging); Linux "boot.rst", 64-bit boot protocol.

use super::place;
use crate::cpu::{Segment, TableRegister};
use crate::layout::PAGE;
use crate::memory::{GuestMemory, MemoryFault};

/// In which mode the first instruction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 64-bit code with identity mapped pages for the first 4 GiB.
    Long,
    /// 32-bit code without paging.
    Protected,
}

/// Registers of the first vCPU at its first instruction. What is not named is zero, or as after reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// The processor's mode.
    pub mode: Mode,
    /// Address of the first instruction.
    pub rip: u64,
    /// Linux in 64-bit mode: address of the boot parameters.
    pub rsi: u64,
    /// PVH: address of the start information.
    pub rbx: u64,
    /// Interrupts are off.
    pub rflags: u64,
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// Extended features.
    pub efer: u64,
    /// Code segment.
    pub cs: Segment,
    /// Data segments: DS, ES, FS, GS and SS alike.
    pub data: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdt: TableRegister,
}

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const RFLAGS_ONE: u64 = 2;

/// Present, code, readable, accessed.
const CODE: u16 = 0x9b;
/// Present, data, writable, accessed.
const DATA: u16 = 0x93;
/// Present, busy 32-bit task state segment.
const TASK: u16 = 0x8b;
/// Limit in pages.
const GRANULAR: u16 = 0x800;
/// 32-bit.
const DEFAULT_32: u16 = 0x400;
/// 64-bit code.
const LONG: u16 = 0x200;

/// Selectors that Linux's boot protocol asks for: `__BOOT_CS` and `__BOOT_DS`.
const CS: u16 = 0x10;
const DS: u16 = 0x18;
const TR: u16 = 0x20;
const GDT_ENTRIES: u16 = 5;
const TSS_LIMIT: u32 = 0x67;

/// The descriptor of a segment of the GDT, 8 bytes.
fn descriptor(segment: &Segment) -> u64 {
    let limit = if segment.attributes & GRANULAR == 0 {
        u64::from(segment.limit)
    } else {
        u64::from(segment.limit >> 12)
    };
    let attributes = u64::from(segment.attributes);
    (limit & 0xffff)
        | (segment.base & 0xff_ffff) << 16
        | (attributes & 0xff) << 40
        | (limit >> 16 & 0xf) << 48
        | (attributes >> 8 & 0xf) << 52
        | (segment.base >> 24 & 0xff) << 56
}

/// Writes descriptor tables, and page tables if the mode wants them; gives the state of a vCPU that starts at `rip`.
pub(super) fn write(memory: &impl GuestMemory, mode: Mode, rip: u64) -> Result<EntryState, MemoryFault> {
    let flat = |selector, attributes| Segment {
        selector,
        attributes,
        limit: u32::MAX,
        base: 0,
    };
    let width = if mode == Mode::Long { LONG } else { DEFAULT_32 };
    let cs = flat(CS, CODE | GRANULAR | width);
    let data = flat(DS, DATA | GRANULAR | DEFAULT_32);
    let tr = Segment {
        selector: TR,
        attributes: TASK,
        limit: TSS_LIMIT,
        base: place::TSS,
    };
    for (entry, segment) in [(CS, &cs), (DS, &data), (TR, &tr)] {
        memory.write(place::GDT + u64::from(entry), &descriptor(segment).to_le_bytes())?;
    }
    let mut state = EntryState {
        mode,
        rip,
        rsi: 0,
        rbx: 0,
        rflags: RFLAGS_ONE,
        cr0: CR0_PE | CR0_ET,
        cr3: 0,
        cr4: 0,
        efer: 0,
        cs,
        data,
        tr,
        gdt: TableRegister {
            base: place::GDT,
            limit: GDT_ENTRIES * 8 - 1,
        },
    };
    if mode == Mode::Long {
        write_page_tables(memory)?;
        state.cr0 |= CR0_PG;
        state.cr3 = place::PAGE_TABLES;
        state.cr4 = CR4_PAE;
        state.efer = EFER_LME | EFER_LMA;
    }
    Ok(state)
}

/// Present and writable.
const TABLE: u64 = 3;
/// Present, writable, a large page.
const LARGE_PAGE: u64 = 0x83;
const LARGE_PAGE_BYTES: u64 = 2 << 20;
const GIB: u64 = 4;

/// Maps the first 4 GiB one to one with pages of 2 MiB.
fn write_page_tables(memory: &impl GuestMemory) -> Result<(), MemoryFault> {
    let level_3 = place::PAGE_TABLES + PAGE;
    memory.write(place::PAGE_TABLES, &(level_3 | TABLE).to_le_bytes())?;
    let mut page = [0; PAGE as usize];
    for gib in 0..GIB {
        let level_2 = level_3 + PAGE * (gib + 1);
        memory.write(level_3 + 8 * gib, &(level_2 | TABLE).to_le_bytes())?;
        for (entry, bytes) in (0..).zip(page.chunks_exact_mut(8)) {
            let address: u64 = (gib * 512 + entry) * LARGE_PAGE_BYTES;
            bytes.copy_from_slice(&(address | LARGE_PAGE).to_le_bytes());
        }
        memory.write(level_2, &page)?;
    }
    Ok(())
}
