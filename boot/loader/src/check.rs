//! The rules that a [`BootInfo`] must keep, checked once it is complete: the kernel relies on all of them.
//!
//! Called by `start`, last of all; [`BootInfo`] itself and its layout are `ecusson_abi::boot`'s.

use ecusson_abi::boot::{
    BootInfo, BootSegment, COMMAND_LINE_MAX, DIRECT_MAP_LIMIT, FRAME_ENTRY_BYTES, KERNEL_BASE, KERNEL_LIMIT,
    PAGE_BYTES, PhysRange, SEGMENT_EXECUTE, SEGMENT_READ, SEGMENT_WRITE, USER_LIMIT, aligned,
};

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

/// Which rule of [`BootInfo`] is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// Magic number, version or size are another: loader and kernel were built from different sources.
    Version,
    /// A count is above the length of its array.
    Count,
    /// `ram` or `free` are empty, unaligned, out of order, touching, or beyond `top_frame`.
    Ranges,
    /// A free range is not RAM, or below 1 MiB.
    FreeNotRam,
    /// The frame table, page tables, kernel, boot information, payload or root lie outside RAM or overlap free
    /// memory or each other; or a device of the kernel's lies in RAM.
    Placement,
    /// A page table or the trampoline page is unaligned or out of its room.
    PageTables,
    /// No core, two cores with one id, or the booting core is not in the list.
    Cpus,
    /// Root has no segment, or one that is unaligned, overlapping, outside the user's half, or of wrong rights.
    Root,
}

impl BootInfoError {
    /// The rule in words, for a line on the console.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            BootInfoError::Version => "loader and kernel were built from different versions",
            BootInfoError::Count => "a count is above the room of its list",
            BootInfoError::Ranges => "the memory ranges are empty, unaligned, out of order or touching",
            BootInfoError::FreeNotRam => "a free range is not RAM or lies below 1 MiB",
            BootInfoError::Placement => "two users of memory overlap, or one lies outside RAM",
            BootInfoError::PageTables => "a page table or the trampoline page lies in a wrong place",
            BootInfoError::Cpus => "the list of processors is empty or contradicts itself",
            BootInfoError::Root => "the root process has a segment that cannot be mapped",
        }
    }
}

/// Turns a rule into a result, so that a check reads as a list of rules.
const fn rule(holds: bool, error: BootInfoError) -> Result<(), BootInfoError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Checks every rule the kernel relies on. Bounded: at most 128 x 128 comparisons.
///
/// # Errors
/// The first rule broken.
pub fn check(info: &BootInfo) -> Result<(), BootInfoError> {
    check_version(info)?;
    check_counts(info)?;
    check_ranges(info)?;
    check_tables(info)?;
    check_placement(info)?;
    check_cpus(info)?;
    check_root(info)
}

fn check_version(info: &BootInfo) -> Result<(), BootInfoError> {
    rule(info.is_of_this_version(), BootInfoError::Version)
}

fn check_counts(info: &BootInfo) -> Result<(), BootInfoError> {
    let pairs = [
        (info.cpu_count, info.cpus.len()),
        (info.ram_count, info.ram.len()),
        (info.free_count, info.free.len()),
        (info.reserved_count, info.reserved.len()),
        (info.io_apic_count, info.io_apics.len()),
        (info.override_count, info.overrides.len()),
        (info.local_nmi_count, info.local_nmis.len()),
        (info.ecam_count, info.ecam.len()),
        (info.memory_node_count, info.memory_nodes.len()),
        (info.iommu_count, info.iommus.len()),
        (info.root_segment_count, info.root_segments.len()),
    ];
    let fits = pairs.iter().all(|&(count, room)| count as usize <= room);
    rule(
        fits && info.command_line.bytes <= COMMAND_LINE_MAX,
        BootInfoError::Count,
    )
}

fn check_ranges(info: &BootInfo) -> Result<(), BootInfoError> {
    let top = info.top_frame.checked_mul(PAGE_BYTES).ok_or(BootInfoError::Ranges)?;
    rule(top <= DIRECT_MAP_LIMIT, BootInfoError::Ranges)?;
    for ranges in [info.ram(), info.free()] {
        rule(!ranges.is_empty(), BootInfoError::Ranges)?;
        // Behind each range one page must be missing, or the two should be one.
        let mut lowest = 0;
        for range in ranges {
            let whole = range.bytes != 0 && aligned(range.base | range.bytes);
            let end = range.base.checked_add(range.bytes).ok_or(BootInfoError::Ranges)?;
            rule(whole && range.base >= lowest && end <= top, BootInfoError::Ranges)?;
            lowest = end + PAGE_BYTES;
        }
    }
    let low = info.free().iter().any(|range| range.base < 0x10_0000);
    let inside = info.free().iter().all(|&range| is_ram(info, range));
    rule(!low && inside, BootInfoError::FreeNotRam)
}

fn check_tables(info: &BootInfo) -> Result<(), BootInfoError> {
    let roots = [info.kernel_cr3, info.ap_cr3];
    let placed = roots.iter().all(|&root| {
        let page = PhysRange {
            base: root,
            bytes: PAGE_BYTES,
        };
        aligned(root) && info.page_tables_phys.contains(page)
    });
    let low = info.ap_cr3 < 1 << 32;
    let trampoline = PhysRange {
        base: info.trampoline_phys,
        bytes: PAGE_BYTES,
    };
    let startable = aligned(trampoline.base) && trampoline.base != 0 && trampoline.end() <= 0xA_0000;
    rule(
        placed && low && startable && is_ram(info, trampoline),
        BootInfoError::PageTables,
    )
}

/// Every known user of memory lies in RAM, and no two of them, nor one and free memory, share a byte.
fn check_placement(info: &BootInfo) -> Result<(), BootInfoError> {
    let table_bytes = info
        .top_frame
        .checked_mul(FRAME_ENTRY_BYTES)
        .ok_or(BootInfoError::Placement)?;
    rule(info.frame_table.bytes >= table_bytes, BootInfoError::Placement)?;
    rule(
        aligned(info.frame_table.base | info.bundle.base | info.bundle.bytes),
        BootInfoError::Placement,
    )?;
    rule(aligned(info.composition.base), BootInfoError::Placement)?;
    rule(
        info.boot_info_phys.contains(info.command_line),
        BootInfoError::Placement,
    )?;
    let kernel_end = info
        .kernel_virt
        .checked_add(info.kernel_phys.bytes)
        .ok_or(BootInfoError::Placement)?;
    let kernel_room = info.kernel_virt >= KERNEL_BASE && kernel_end <= KERNEL_LIMIT;
    rule(
        kernel_room && aligned(info.kernel_phys.base | info.kernel_virt),
        BootInfoError::Placement,
    )?;

    let hidden = |device: PhysRange| info.ram().iter().all(|ram| !ram.overlaps(device));
    rule(info.kernel_devices().all(hidden), BootInfoError::Placement)?;

    let fixed = [
        info.frame_table,
        info.kernel_phys,
        info.boot_info_phys,
        info.page_tables_phys,
        info.bundle,
        info.composition,
    ];
    for (index, &range) in fixed.iter().enumerate() {
        check_alone(info, range, fixed.get(index + 1..).unwrap_or(&[]))?;
    }
    for (index, segment) in info.root_segments().iter().enumerate() {
        let range = segment.frames().ok_or(BootInfoError::Placement)?;
        check_alone(info, range, &fixed)?;
        let others = info.root_segments().get(index + 1..).unwrap_or(&[]);
        let shared = others
            .iter()
            .filter_map(BootSegment::frames)
            .any(|other| other.overlaps(range));
        rule(!shared, BootInfoError::Placement)?;
    }
    Ok(())
}

/// `range` is RAM and overlaps neither free memory nor `others`.
fn check_alone(info: &BootInfo, range: PhysRange, others: &[PhysRange]) -> Result<(), BootInfoError> {
    if range.bytes == 0 {
        return Ok(());
    }
    let taken = info.free().iter().chain(others).any(|other| other.overlaps(range));
    rule(is_ram(info, range) && !taken, BootInfoError::Placement)
}

/// Whether `range` lies inside one range of RAM.
fn is_ram(info: &BootInfo, range: PhysRange) -> bool {
    let exact = range.base.checked_add(range.bytes).is_some();
    exact && info.ram().iter().any(|ram| ram.contains(range))
}

fn check_cpus(info: &BootInfo) -> Result<(), BootInfoError> {
    let cpus = info.cpus();
    rule(info.bsp_index < info.cpu_count, BootInfoError::Cpus)?;
    for (index, cpu) in cpus.iter().enumerate() {
        let others = cpus.get(index + 1..).unwrap_or(&[]);
        rule(
            others.iter().all(|other| other.apic_id != cpu.apic_id),
            BootInfoError::Cpus,
        )?;
    }
    Ok(())
}

fn check_root(info: &BootInfo) -> Result<(), BootInfoError> {
    let mut lowest = PAGE_BYTES;
    let mut entry_found = false;
    for segment in info.root_segments() {
        let frames = segment.frames().ok_or(BootInfoError::Root)?;
        let end = segment.vaddr.checked_add(frames.bytes).ok_or(BootInfoError::Root)?;
        let room = segment.vaddr >= lowest && end <= USER_LIMIT - PAGE_BYTES;
        rule(
            room && frames.bytes != 0 && aligned(frames.base | segment.vaddr),
            BootInfoError::Root,
        )?;
        let both = SEGMENT_WRITE | SEGMENT_EXECUTE;
        let rights = segment.flags & SEGMENT_READ != 0
            && segment.flags & !(both | SEGMENT_READ) == 0
            && segment.flags & both != both;
        rule(rights, BootInfoError::Root)?;
        let inside = segment.vaddr <= info.root_entry && info.root_entry < end;
        entry_found |= inside && segment.flags & SEGMENT_EXECUTE != 0;
        lowest = end;
    }
    rule(entry_found, BootInfoError::Root)
}
