//! Decides which memory everything gets, before anything is written.
//!
//! Key types: [`Request`], [`Plan`]. Called by the binary after parsing; [`crate::paging`] and the binary carry it
//! out.

use ecusson_abi::boot::{
    BootInfo, BootSegment, FRAME_ENTRY_BYTES, PAGE_BYTES, PhysRange, RANGE_MAX, SEGMENT_MAX, StackKind,
};
use ecusson_payload::{Extent, FlatImage, PayloadHeader};

use crate::paging;
use crate::ranges::{Full, RangeSet};
use crate::report::Fault;

/// Where ordinary memory begins.
const MIB: u64 = 1 << 20;
/// What the loader reaches through its identity mapping.
pub const REACH: u64 = 4 << 30;
/// Alignment of the kernel, so that its large segments can have large pages.
const KERNEL_ALIGNMENT: u64 = 2 * MIB;
/// How many ranges the plan and its end may add to those of RAM: one for each thing placed or left in place.
const CUTS: usize = 24;
/// A frame table above this size goes above 4 GiB where possible, to leave memory for 32-bit DMA.
const LARGE_TABLE_BYTES: u64 = 64 * MIB;

const NO_MEMORY: Fault = Fault::new(
    "not enough memory in one piece below 4 GiB",
    "give the machine more memory",
);
const NO_TABLE: Fault = Fault::new(
    "no room for the frame table in one piece",
    "give the machine more memory",
);
const NO_TRAMPOLINE: Fault = Fault::new(
    "no free page below 640 KiB to start other processors from",
    "update the machine's firmware",
);
const PIECES: Fault = Fault::new("the memory map is in too many pieces", "update the machine's firmware");
const OVERWRITTEN: Fault = Fault::new(
    "the image was loaded outside of the machine's memory",
    "give the machine more memory, or use another boot loader",
);

/// What has to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// All RAM.
    pub ram: &'a RangeSet,
    /// The running loader with its bss.
    pub loader: PhysRange,
    /// The payload where it was loaded.
    pub payload: PhysRange,
    /// Its header, checked.
    pub header: &'a PayloadHeader,
    /// How many cores get stacks.
    pub cores: u32,
    /// Size of the boot information in bytes.
    pub boot_info_bytes: u64,
    /// What the processor can map at once.
    pub pages: paging::LargestPage,
}

/// Where everything goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The kernel's segments with the gaps between them, then `stacks`.
    pub kernel: PhysRange,
    /// All stacks of all cores, in the order of cores and [`StackKind::ALL`], the end of `kernel`.
    pub stacks: PhysRange,
    /// Page tables: a pool, of which the rest is given back.
    pub page_tables: PhysRange,
    /// Boot information and command line.
    pub boot_info: PhysRange,
    /// The frame table.
    pub frame_table: PhysRange,
    /// First frame behind all RAM.
    pub top_frame: u64,
    /// The start page of other cores.
    pub trampoline_phys: u64,
    /// Root's segments.
    pub root: [BootSegment; SEGMENT_MAX],
    /// What is left while the loader and the payload are still needed.
    pub free: RangeSet,
}

/// Bytes of all stacks of one core.
#[must_use]
pub fn stack_bytes_per_core() -> u64 {
    StackKind::ALL.iter().map(|kind| kind.bytes()).sum()
}

/// Chooses memory for everything.
///
/// # Errors
/// There is not enough memory, or the image lies where there is none.
pub fn plan(request: &Request<'_>) -> Result<Plan, Fault> {
    let ram = request.ram.as_slice();
    let in_ram = |range: PhysRange| ram.iter().any(|piece| piece.contains(range));
    if !in_ram(request.loader) || !in_ram(request.payload) {
        return Err(OVERWRITTEN);
    }
    let mut free = *request.ram;
    free.shrink_to(RANGE_MAX - CUTS);
    let low = PhysRange { base: 0, bytes: MIB };
    for used in [low, request.loader, request.payload] {
        free.remove(used).map_err(|Full| PIECES)?;
    }
    let top_frame = ram.last().map_or(0, |piece| piece.end() / PAGE_BYTES);

    let image_bytes = span(&request.header.kernel).bytes;
    let stack_bytes = stack_bytes_per_core() * u64::from(request.cores);
    let mut take = |bytes, alignment| free.take(bytes, alignment, MIB, REACH).ok_or(NO_MEMORY);
    let kernel = take(image_bytes + stack_bytes, KERNEL_ALIGNMENT)?;
    let stacks = PhysRange {
        base: kernel.base + image_bytes,
        bytes: stack_bytes,
    };
    let tables = paging::tables_needed(ram, kernel.bytes, request.pages);
    let page_tables = take(tables * PAGE_BYTES, PAGE_BYTES)?;
    let boot_info = take(request.boot_info_bytes.next_multiple_of(PAGE_BYTES), PAGE_BYTES)?;
    let mut root = [BootSegment::default(); SEGMENT_MAX];
    for (placed, segment) in root.iter_mut().zip(request.header.root.used()) {
        let range = take(segment.memory_bytes, PAGE_BYTES)?;
        let pages = range.bytes / PAGE_BYTES;
        *placed = BootSegment {
            phys: range.base,
            vaddr: segment.vaddr,
            pages,
            flags: segment.flags,
            reserved: 0,
        };
    }
    let frame_table = place_frame_table(&mut free, top_frame).ok_or(NO_TABLE)?;
    let trampoline_phys = place_trampoline(request.ram).ok_or(NO_TRAMPOLINE)?;
    Ok(Plan {
        kernel,
        stacks,
        page_tables,
        boot_info,
        frame_table,
        top_frame,
        trampoline_phys,
        root,
        free,
    })
}

/// The virtual addresses from the first to the last segment of a checked image.
#[must_use]
pub fn span(image: &FlatImage) -> PhysRange {
    let segments = image.used();
    let base = segments.first().map_or(0, |segment| segment.vaddr);
    let end = segments
        .last()
        .map_or(base, |segment| segment.vaddr + segment.memory_bytes);
    PhysRange {
        base,
        bytes: end - base,
    }
}

fn place_frame_table(free: &mut RangeSet, top_frame: u64) -> Option<PhysRange> {
    let bytes = (top_frame * FRAME_ENTRY_BYTES).next_multiple_of(PAGE_BYTES);
    let high = if bytes > LARGE_TABLE_BYTES {
        free.take(bytes, PAGE_BYTES, REACH, u64::MAX)
    } else {
        None
    };
    high.or_else(|| free.take(bytes, PAGE_BYTES, MIB, u64::MAX))
}

/// A page below 640 KiB; the first 32 KiB only when there is nothing else (firmware likes them).
fn place_trampoline(ram: &RangeSet) -> Option<u64> {
    let mut low = *ram;
    let page = low.take(PAGE_BYTES, PAGE_BYTES, 0x8000, 0xA_0000);
    page.or_else(|| low.take(PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, 0xA_0000))
        .map(|page| page.base)
}

/// Writes the plan and the final free memory into `info`: the loader's pages and all of the payload but bundle and
/// composition become free, and so does the rest of the page table pool behind `tables_end`.
///
/// # Errors
/// Memory is in too many pieces.
pub fn fill(info: &mut BootInfo, request: &Request<'_>, plan: &Plan, tables_end: u64) -> Result<(), Fault> {
    let mut free = plan.free;
    let kept = |extent: Extent| PhysRange {
        base: request.payload.base + extent.offset,
        bytes: extent.bytes,
    };
    let rest = PhysRange {
        base: tables_end,
        bytes: plan.page_tables.end() - tables_end,
    };
    for unused in [request.loader, request.payload, rest] {
        free.insert(unused).map_err(|Full| PIECES)?;
    }
    info.bundle = kept(request.header.bundle);
    info.composition = kept(request.header.composition);
    for extent in [&mut info.bundle, &mut info.composition] {
        if extent.bytes == 0 {
            *extent = PhysRange::default();
        }
        free.remove(*extent).map_err(|Full| PIECES)?;
    }
    info.bundle.bytes = info.bundle.bytes.next_multiple_of(PAGE_BYTES);

    copy_ranges(request.ram, &mut info.ram, &mut info.ram_count);
    copy_ranges(&free, &mut info.free, &mut info.free_count);
    info.top_frame = plan.top_frame;
    info.frame_table = plan.frame_table;
    info.trampoline_phys = plan.trampoline_phys;
    info.kernel_phys = plan.kernel;
    info.kernel_virt = span(&request.header.kernel).base;
    info.boot_info_phys = plan.boot_info;
    info.page_tables_phys = PhysRange {
        base: plan.page_tables.base,
        bytes: tables_end - plan.page_tables.base,
    };
    info.root_entry = request.header.root.entry;
    info.root_segments = plan.root;
    info.root_segment_count = request.header.root.segment_count;
    Ok(())
}

fn copy_ranges(from: &RangeSet, to: &mut [PhysRange], count: &mut u32) {
    let ranges = from.as_slice();
    if let Some(room) = to.get_mut(..ranges.len()) {
        room.copy_from_slice(ranges);
        *count = ranges.len() as u32;
    }
}
