//! [`crate::place`] and [`crate::paging`] together, over many random machines: what was planned is disjoint, the page
//! tables say exactly what they should, and the kernel's check agrees.

use ecusson_abi::boot::*;
use ecusson_payload::{
    Extent, FlatImage, FlatSegment, PAYLOAD_HEADER_BYTES, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader,
};

use crate::fake::{Lines, Memory};
use crate::firmware::Region;
use crate::memory_map;
use crate::paging::{LargestPage, Spaces, Tables, build};
use crate::physical::word;
use crate::place::{Plan, Request, fill, plan};
use crate::ranges::RangeSet;

const MIB: u64 = 1 << 20;

/// A small generator: the same machines in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn segment(vaddr: u64, pages: u64, flags: u32) -> FlatSegment {
    FlatSegment {
        file_offset: 4096,
        vaddr,
        file_bytes: 10,
        memory_bytes: pages * 4096,
        flags,
        reserved: 0,
    }
}

fn image(entry: u64, segments: &[FlatSegment]) -> FlatImage {
    let mut image = FlatImage {
        entry,
        segment_count: segments.len() as u32,
        ..FlatImage::default()
    };
    image.segments[..segments.len()].copy_from_slice(segments);
    image
}

/// A kernel of three segments with a gap, the first large enough for a large page; a root of two; bundle and
/// composition.
fn header(payload_bytes: u64) -> PayloadHeader {
    let kernel = [
        segment(KERNEL_BASE, 513, SEGMENT_READ | SEGMENT_EXECUTE),
        segment(KERNEL_BASE + 600 * 4096, 3, SEGMENT_READ),
        segment(KERNEL_BASE + 603 * 4096, 20, SEGMENT_READ | SEGMENT_WRITE),
    ];
    let root = [
        segment(0x40_0000, 9, SEGMENT_READ | SEGMENT_EXECUTE),
        segment(0x80_0000, 30, SEGMENT_READ | SEGMENT_WRITE),
    ];
    PayloadHeader {
        magic: PAYLOAD_MAGIC,
        version: PAYLOAD_VERSION,
        header_bytes: PAYLOAD_HEADER_BYTES as u32,
        total_bytes: payload_bytes,
        kernel: image(KERNEL_BASE + 5, &kernel),
        root: image(0x40_0010, &root),
        bundle: Extent {
            offset: 0x3000,
            bytes: 0x1801,
        },
        composition: Extent {
            offset: 0x5000,
            bytes: 77,
        },
    }
}

/// RAM of up to 60 pieces with odd ends, some of it above 4 GiB, the image in one of them.
fn machine(dice: &mut Dice) -> RangeSet {
    let mut regions = vec![
        Region {
            base: 0,
            bytes: 0x9_F000,
            kind: 1,
        },
        Region {
            base: MIB,
            bytes: 64 * MIB + dice.below(2000) * 4096,
            kind: 1,
        },
    ];
    let mut at = 128 * MIB;
    for _ in 0..dice.below(60) {
        at += dice.below(50_000) * 4096;
        let bytes = (1 + dice.below([4, 600, 200_000][dice.0 as usize % 3])) * 4096;
        regions.push(Region {
            base: at,
            bytes,
            kind: 1,
        });
        at += bytes;
    }
    if dice.below(2) == 0 {
        regions.push(Region {
            base: (4 << 30) + dice.below(9) * MIB,
            bytes: dice.below(2000) << 30,
            kind: 1,
        });
    }
    memory_map::ram(&regions, &mut Lines::default())
}

fn walk(memory: &Memory, root: u64, virt: u64) -> Option<(u64, u64)> {
    let mut table = root;
    for shift in [39, 30, 21, 12] {
        let entry = word(memory, table + (virt >> shift & 511) * 8)?;
        if entry & 1 == 0 {
            return None;
        }
        if shift == 12 || (shift < 39 && entry & 0x80 != 0) {
            let offset = virt & ((1 << shift) - 1);
            return Some(((entry & 0x000F_FFFF_FFFF_F000 & !((1 << shift) - 1)) | offset, entry));
        }
        table = entry & 0x000F_FFFF_FFFF_F000;
    }
    None
}

const WRITE: u64 = 2;
const NO_EXECUTE: u64 = 1 << 63;

/// The mappings of the kernel, its stacks and devices, and that W^X holds.
fn check_kernel(memory: &Memory, spaces: &Spaces, plan: &Plan, request: &Request<'_>) {
    let at = |virt| walk(memory, spaces.kernel_cr3, virt);
    let first = request.header.kernel.segments[0].vaddr;
    for segment in request.header.kernel.used() {
        for virt in [segment.vaddr, segment.vaddr + segment.memory_bytes - 1] {
            let (phys, entry) = at(virt).expect("a kernel page is missing");
            assert_eq!(phys, plan.kernel.base + (virt - first));
            assert_eq!(entry & WRITE != 0, segment.flags & SEGMENT_WRITE != 0);
            assert_eq!(entry & NO_EXECUTE == 0, segment.flags & SEGMENT_EXECUTE != 0);
        }
        assert_eq!(
            at(segment.vaddr - 1).is_some(),
            segment.flags & SEGMENT_WRITE != 0,
            "only data has a neighbour"
        );
    }
    let mut frames = Vec::new();
    for core in 0..request.cores {
        for kind in StackKind::ALL {
            let top = stack_top(core, kind);
            let (phys, entry) = at(top - 1).expect("a stack is missing");
            assert!(plan.stacks.base <= phys && phys < plan.stacks.end());
            assert!(entry & WRITE != 0 && entry & NO_EXECUTE != 0);
            assert_eq!(at(top - kind.bytes() - 1), None, "no guard below a stack");
            frames.extend((0..kind.bytes() / 4096).map(|page| at(top - (page + 1) * 4096).map(|(phys, _)| phys)));
        }
    }
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len() as u64, plan.stacks.bytes / 4096, "two stacks share a page");
    assert_eq!(
        at(LOCAL_APIC_VIRT).map(|(phys, entry)| (phys, entry & 0x18)),
        Some((0xFEE0_0000, 0x18))
    );
    assert_eq!(at(plan.trampoline_phys), None);
    let (phys, entry) = walk(memory, spaces.ap_cr3, plan.trampoline_phys).expect("no trampoline");
    assert_eq!((phys, entry & (WRITE | NO_EXECUTE)), (plan.trampoline_phys, 0));
    for slot in 256..512 {
        assert_eq!(
            word(memory, spaces.kernel_cr3 + slot * 8),
            word(memory, spaces.ap_cr3 + slot * 8)
        );
    }
}

/// The direct map holds exactly RAM without the kernel: the edges of every range are looked at from both sides.
fn check_direct_map(memory: &Memory, spaces: &Spaces, plan: &Plan, ram: &RangeSet) {
    let expected = |phys: u64| {
        let page = PhysRange {
            base: phys & !4095,
            bytes: 4096,
        };
        ram.as_slice().iter().any(|range| range.contains(page)) && !plan.kernel.overlaps(page)
    };
    let edges = ram
        .as_slice()
        .iter()
        .chain([&plan.kernel])
        .flat_map(|range| [range.base, range.end()]);
    for edge in edges {
        for phys in [
            edge.saturating_sub(1),
            edge,
            edge + 4096,
            edge + 2 * MIB,
            edge.saturating_sub(2 * MIB),
        ] {
            let found = walk(memory, spaces.kernel_cr3, DIRECT_MAP_BASE + phys);
            assert_eq!(found.map(|(phys, _)| phys), expected(phys).then_some(phys));
            assert!(found.is_none_or(|(_, entry)| entry & NO_EXECUTE != 0 && entry & WRITE != 0));
        }
    }
}

fn boot_info(cores: u32) -> BootInfo {
    let mut info = crate::empty::boot_info();
    info.local_apic_phys = 0xFEE0_0000;
    info.cpu_count = cores;
    for core in 0..cores {
        info.cpus[core as usize] = BootCpu {
            apic_id: core,
            acpi_id: core,
            node: 0,
            flags: CPU_ENABLED,
        };
    }
    info
}

fn one_machine(dice: &mut Dice) {
    let mut ram = machine(dice);
    let cores = 1 + dice.below(64) as u32;
    memory_map::remove_devices(&mut ram, &boot_info(cores));
    let pages = if dice.below(2) == 0 {
        LargestPage::OneGib
    } else {
        LargestPage::TwoMib
    };
    let payload = PhysRange {
        base: (2 + dice.below(30)) * MIB + 0x7000,
        bytes: 0x20_0000,
    };
    let header = header(payload.bytes);
    header.check(payload.bytes).expect("the test's payload");
    let loader = PhysRange {
        base: MIB,
        bytes: 0x6_0000,
    };
    let request = Request {
        ram: &ram,
        loader,
        payload,
        header: &header,
        cores,
        boot_info_bytes: 20_000,
        pages,
    };
    let plan = plan(&request).expect("there is enough memory");
    let mut info = boot_info(cores);
    let mut memory = Memory::default().with(plan.page_tables.base, vec![0xAA; plan.page_tables.bytes as usize]);
    let mut tables = Tables::new(&mut memory, plan.page_tables, pages);
    let spaces =
        build(&mut tables, &plan, ram.as_slice(), &header.kernel, &info, cores).expect("the pool is large enough");
    check_kernel(&memory, &spaces, &plan, &request);
    check_direct_map(&memory, &spaces, &plan, &ram);

    fill(&mut info, &request, &plan, spaces.tables_end).expect("there is room in the lists");
    (info.kernel_cr3, info.ap_cr3) = (spaces.kernel_cr3, spaces.ap_cr3);
    info.command_line = PhysRange {
        base: info.boot_info_phys.base + 0x3000,
        bytes: 100,
    };
    assert_eq!(crate::check::check(&info), Ok(()));
    // Nothing is lost: all RAM above 1 MiB is free or has one of the known users.
    let users = [
        info.frame_table.bytes,
        info.kernel_phys.bytes,
        info.boot_info_phys.bytes,
        info.page_tables_phys.bytes,
        0x2000 + 0x1000,
        39 * 4096,
    ];
    let free: u64 = info.free().iter().map(|range| range.bytes).sum();
    let all: u64 = info.ram().iter().map(|range| range.bytes).sum();
    assert_eq!(free + users.iter().sum::<u64>() + 0x9_F000, all);
}

/// Catches overlaps, holes in the direct map, a writable code page, a missing guard, a page table pool that is too
/// small, and memory that is lost, on 120 machines.
#[test]
fn every_machine_is_laid_out_right() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..120 {
        one_machine(&mut dice);
    }
}

/// Catches a plan that overwrites what lies outside RAM, and a machine without memory that is started.
#[test]
fn refuses_machines_that_are_too_small() {
    let header = header(0x20_0000);
    let machine = |bytes| {
        let mut ram = RangeSet::new();
        ram.insert(PhysRange {
            base: 0x8000,
            bytes: 0x1000,
        })
        .unwrap();
        ram.insert(PhysRange { base: MIB, bytes }).unwrap();
        ram
    };
    let try_with = |ram: &RangeSet, payload| {
        let loader = PhysRange {
            base: MIB,
            bytes: 0x6_0000,
        };
        let pages = LargestPage::TwoMib;
        plan(&Request {
            ram,
            loader,
            payload,
            header: &header,
            cores: 1,
            boot_info_bytes: 20_000,
            pages,
        })
        .map(|_| ())
    };
    let near = PhysRange {
        base: MIB + 0x6_0000,
        bytes: 0x20_0000,
    };
    assert_eq!(try_with(&machine(16 * MIB), near), Ok(()));
    assert!(try_with(&machine(4 * MIB), near).is_err());
    assert!(try_with(&machine(2 * MIB), near).is_err());
    assert!(try_with(&machine(16 * MIB), PhysRange { base: 32 * MIB, ..near }).is_err());
    let mut no_low = RangeSet::new();
    no_low
        .insert(PhysRange {
            base: MIB,
            bytes: 16 * MIB,
        })
        .unwrap();
    assert!(try_with(&no_low, near).is_err());
}
