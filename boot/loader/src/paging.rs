//! The kernel's page tables (AMD APM vol. 2, 5.3; Intel SDM vol. 3, 4.5).
//!
//! Key types: [`Tables`] maps ranges with the largest pages that fit; [`build`] makes the two address spaces that the
//! kernel starts with. Called by the binary with the [`Plan`] of [`crate::place`].

use ecusson_abi::boot::{
    BootInfo, DIRECT_MAP_BASE, HPET_VIRT, IO_APIC_VIRT, LOCAL_APIC_VIRT, PAGE_BYTES, PhysRange, SEGMENT_EXECUTE,
    SEGMENT_WRITE, StackKind, stack_top,
};
use ecusson_payload::FlatImage;

use crate::physical::{Physical, set_word, word};
use crate::place::{Plan, span};
use crate::report::Fault;

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits of an entry that hold the address.
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

const KERNEL_DATA: u64 = PRESENT | WRITE | GLOBAL | NO_EXECUTE;
const KERNEL_CODE: u64 = PRESENT | GLOBAL;
const KERNEL_CONSTANTS: u64 = PRESENT | GLOBAL | NO_EXECUTE;
const DEVICE: u64 = KERNEL_DATA | WRITE_THROUGH | CACHE_DISABLE;
/// Not global: it disappears with the address space.
const TRAMPOLINE: u64 = PRESENT;

const EXHAUSTED: Fault = Fault::new(
    "the page table pool is too small",
    "report this machine's memory map: it is a fault of the loader",
);

/// The largest page the processor knows (CPUID Fn8000_0001 EDX bit 26).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargestPage {
    /// 2 MiB.
    TwoMib,
    /// 1 GiB.
    OneGib,
}

/// Bytes mapped by one entry of a table of `level` (1 is the lowest).
const fn reach(level: u32) -> u64 {
    PAGE_BYTES << (9 * (level - 1))
}

/// An upper bound of the page tables that [`build`] makes for this RAM and a kernel of that size.
#[must_use]
pub fn tables_needed(ram: &[PhysRange], kernel_bytes: u64, largest: LargestPage) -> u64 {
    // The direct map is cut at each range's two ends, and at the kernel's: a table of 2 MiB and of 4 KiB pages for
    // each cut.
    let cuts = 2 * (ram.len() as u64 + 1);
    let top = ram.last().map_or(0, |range| range.end());
    let directories = match largest {
        LargestPage::OneGib => 0,
        LargestPage::TwoMib => ram.iter().map(|range| range.bytes.div_ceil(reach(3)) + 1).sum(),
    };
    let direct = 2 * cuts + top.div_ceil(reach(4)) + directories;
    // Two roots; the kernel's upper tables and those of the trampoline, the devices and the stacks; the kernel's
    // pages.
    direct + 2 + 8 + (16 << 20) / reach(2) + kernel_bytes.div_ceil(reach(2)) + 2 + kernel_bytes.div_ceil(reach(3)) + 1
}

/// Builds page tables in a pool of pages.
#[derive(Debug)]
pub struct Tables<'a, P: Physical> {
    memory: &'a mut P,
    next: u64,
    end: u64,
    largest: LargestPage,
}

impl<'a, P: Physical> Tables<'a, P> {
    /// Makes tables in `pool`, which the identity mapping reaches.
    pub fn new(memory: &'a mut P, pool: PhysRange, largest: LargestPage) -> Self {
        Tables {
            memory,
            next: pool.base,
            end: pool.end(),
            largest,
        }
    }

    /// One empty table.
    ///
    /// # Errors
    /// The pool is empty.
    pub fn table(&mut self) -> Result<u64, Fault> {
        if self.next >= self.end {
            return Err(EXHAUSTED);
        }
        let at = self.next;
        self.memory.write(at, PAGE_BYTES).ok_or(EXHAUSTED)?.fill(0);
        self.next += PAGE_BYTES;
        Ok(at)
    }

    /// Maps `bytes` bytes (whole pages) of physical memory at `virt`.
    ///
    /// # Errors
    /// The pool is empty.
    pub fn map(&mut self, root: u64, mut virt: u64, from: PhysRange, rights: u64) -> Result<(), Fault> {
        let mut phys = from.base;
        while phys < from.end() {
            let fits = |level| (virt | phys).is_multiple_of(reach(level)) && from.end() - phys >= reach(level);
            let level = match self.largest {
                LargestPage::OneGib if fits(3) => 3,
                _ if fits(2) => 2,
                _ => 1,
            };
            let entry = self.entry(root, virt, level)?;
            let large = if level == 1 { 0 } else { LARGE };
            set_word(self.memory, entry, phys | rights | large).ok_or(EXHAUSTED)?;
            phys += reach(level);
            virt = virt.wrapping_add(reach(level));
        }
        Ok(())
    }

    /// Where the entry for `virt` in the table of `level` stands; missing tables above it are made.
    fn entry(&mut self, root: u64, virt: u64, level: u32) -> Result<u64, Fault> {
        let mut table = root;
        let mut at = 4;
        loop {
            let entry = table + (virt / reach(at) % 512) * 8;
            if at == level {
                return Ok(entry);
            }
            let mut value = word(self.memory, entry).ok_or(EXHAUSTED)?;
            if value & PRESENT == 0 {
                // Rights are those of the last level: upper tables allow everything but user mode.
                value = self.table()? | PRESENT | WRITE;
                set_word(self.memory, entry, value).ok_or(EXHAUSTED)?;
            }
            table = value & ADDRESS;
            at -= 1;
        }
    }
}

/// The two address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spaces {
    /// The kernel's half alone.
    pub kernel_cr3: u64,
    /// The same and the trampoline page at its physical address.
    pub ap_cr3: u64,
    /// First address behind the tables used.
    pub tables_end: u64,
}

/// Builds both address spaces. `info` gives the devices' addresses, `kernel` the segments, `cores` the number of
/// stack sets.
///
/// # Errors
/// The pool is empty.
pub fn build<P: Physical>(
    tables: &mut Tables<'_, P>,
    plan: &Plan,
    ram: &[PhysRange],
    kernel: &FlatImage,
    info: &BootInfo,
    cores: u32,
) -> Result<Spaces, Fault> {
    let root = tables.table()?;
    let ap_root = tables.table()?;
    map_direct(tables, root, ram, plan.kernel)?;
    map_kernel(tables, root, kernel, plan.kernel.base)?;
    map_stacks(tables, root, plan.stacks, cores)?;
    map_devices(tables, root, info)?;
    // Every table of the kernel's half now exists, so the upper entries can be shared for ever.
    tables
        .memory
        .copy(root + PAGE_BYTES / 2, ap_root + PAGE_BYTES / 2, PAGE_BYTES / 2)
        .ok_or(EXHAUSTED)?;
    let page = PhysRange {
        base: plan.trampoline_phys,
        bytes: PAGE_BYTES,
    };
    tables.map(ap_root, page.base, page, TRAMPOLINE)?;
    Ok(Spaces {
        kernel_cr3: root,
        ap_cr3: ap_root,
        tables_end: tables.next,
    })
}

/// All RAM but the kernel's own: its code is nowhere writable, and its stacks are nowhere without guards.
fn map_direct<P: Physical>(
    tables: &mut Tables<'_, P>,
    root: u64,
    ram: &[PhysRange],
    kernel: PhysRange,
) -> Result<(), Fault> {
    let mut map = |base: u64, end: u64| {
        let range = PhysRange {
            base,
            bytes: end.saturating_sub(base),
        };
        tables.map(root, DIRECT_MAP_BASE + base, range, KERNEL_DATA)
    };
    for range in ram {
        if range.contains(kernel) {
            map(range.base, kernel.base)?;
            map(kernel.end(), range.end())?;
        } else {
            map(range.base, range.end())?;
        }
    }
    Ok(())
}

fn map_kernel<P: Physical>(tables: &mut Tables<'_, P>, root: u64, kernel: &FlatImage, phys: u64) -> Result<(), Fault> {
    let first = span(kernel).base;
    for segment in kernel.used() {
        let rights = match segment.flags & (SEGMENT_WRITE | SEGMENT_EXECUTE) {
            SEGMENT_WRITE => KERNEL_DATA,
            SEGMENT_EXECUTE => KERNEL_CODE,
            _ => KERNEL_CONSTANTS,
        };
        let range = PhysRange {
            base: phys + (segment.vaddr - first),
            bytes: segment.memory_bytes,
        };
        tables.map(root, segment.vaddr, range, rights)?;
    }
    Ok(())
}

fn map_stacks<P: Physical>(tables: &mut Tables<'_, P>, root: u64, stacks: PhysRange, cores: u32) -> Result<(), Fault> {
    let mut phys = stacks.base;
    for core in 0..cores {
        for kind in StackKind::ALL {
            let range = PhysRange {
                base: phys,
                bytes: kind.bytes(),
            };
            tables.map(root, stack_top(core, kind) - kind.bytes(), range, KERNEL_DATA)?;
            phys = range.end();
        }
    }
    Ok(())
}

fn map_devices<P: Physical>(tables: &mut Tables<'_, P>, root: u64, info: &BootInfo) -> Result<(), Fault> {
    let mut map = |virt: u64, phys: u64| {
        let page = PhysRange {
            base: phys & ADDRESS,
            bytes: PAGE_BYTES,
        };
        tables.map(root, virt, page, DEVICE)
    };
    if info.local_apic_phys != 0 {
        map(LOCAL_APIC_VIRT, info.local_apic_phys)?;
    }
    if info.hpet_phys != 0 {
        map(HPET_VIRT, info.hpet_phys)?;
    }
    for (index, io_apic) in info.io_apics().iter().enumerate() {
        map(IO_APIC_VIRT + index as u64 * PAGE_BYTES, io_apic.phys)?;
    }
    Ok(())
}
