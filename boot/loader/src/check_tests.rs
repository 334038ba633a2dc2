//! The rules of boot information, one broken at a time.

use super::*;

const fn range(base: u64, bytes: u64) -> PhysRange {
    PhysRange { base, bytes }
}

/// A small machine: 16 MiB, two cores.
fn info() -> BootInfo {
    let mut info = crate::empty::boot_info();
    (info.ram_count, info.free_count, info.cpu_count, info.root_segment_count) = (2, 2, 2, 2);
    info.ram[0] = range(0, 0x9_F000);
    info.ram[1] = range(0x10_0000, 0xF0_0000);
    info.free[0] = range(0x10_0000, 0x10_0000);
    info.free[1] = range(0x80_0000, 0x80_0000);
    info.top_frame = 0x1000;
    info.frame_table = range(0x30_0000, 0x1_0000);
    info.kernel_phys = range(0x20_0000, 0x2_0000);
    info.kernel_virt = KERNEL_BASE;
    info.page_tables_phys = range(0x40_0000, 0x1_0000);
    (info.kernel_cr3, info.ap_cr3, info.trampoline_phys) = (0x40_0000, 0x40_1000, 0x8000);
    info.boot_info_phys = range(0x50_0000, 0x4000);
    info.command_line = range(0x50_3000, 4);
    info.bundle = range(0x51_0000, 0x2000);
    info.composition = range(0x52_0000, 77);
    info.cpus[1].apic_id = 1;
    info.root_entry = 0x40_0000;
    let exec = SEGMENT_READ | SEGMENT_EXECUTE;
    info.root_segments[0] = BootSegment {
        phys: 0x53_0000,
        vaddr: 0x40_0000,
        pages: 2,
        flags: exec,
        reserved: 0,
    };
    info.root_segments[1] = BootSegment {
        phys: 0x54_0000,
        vaddr: 0x50_0000,
        pages: 9,
        flags: 3,
        reserved: 0,
    };
    info
}

/// Catches a rule of the boot information that is not checked.
#[test]
fn boot_information_rules_are_checked() {
    use BootInfoError::{Count, Cpus, FreeNotRam, PageTables, Placement, Ranges, Root, Version};
    type Change = fn(&mut BootInfo);
    let cases: [(Change, Result<(), BootInfoError>); 34] = [
        (|_| {}, Ok(())),
        (|info| info.bundle = range(0, 0), Ok(())),
        (|info| info.magic ^= 1, Err(Version)),
        (|info| info.struct_bytes -= 8, Err(Version)),
        (|info| info.direct_map_base += 1, Err(Version)),
        (|info| info.io_apic_count = 17, Err(Count)),
        (|info| info.command_line.bytes = 4097, Err(Count)),
        (|info| info.ram_count = 0, Err(Ranges)),
        (|info| info.free_count = 0, Err(Ranges)),
        (|info| info.free[1].base = 0x20_0000, Err(Ranges)),
        (|info| info.free[1].bytes = 0x80_0001, Err(Ranges)),
        (|info| info.ram[1].bytes = !4095, Err(Ranges)),
        (|info| info.top_frame = 0xFFF, Err(Ranges)),
        (|info| info.top_frame = u64::MAX, Err(Ranges)),
        (|info| info.free[0] = range(0x1000, 0x1000), Err(FreeNotRam)),
        (|info| info.ram[1].bytes -= PAGE_BYTES, Err(FreeNotRam)),
        (|info| info.kernel_cr3 += 8, Err(PageTables)),
        (|info| info.ap_cr3 = 0x41_0000, Err(PageTables)),
        (|info| info.trampoline_phys = 0x9_F000, Err(PageTables)),
        (|info| info.trampoline_phys = 0, Err(PageTables)),
        (|info| info.frame_table.bytes = 0xF000, Err(Placement)),
        (|info| info.frame_table.base = 0x1F_F000, Err(Placement)),
        (|info| info.bundle.base = 0x50_3000, Err(Placement)),
        (|info| info.composition.base = 0x1_0000_0000, Err(Placement)),
        (|info| info.kernel_virt = KERNEL_LIMIT - PAGE_BYTES, Err(Placement)),
        (|info| info.command_line.base = 0x50_3FFD, Err(Placement)),
        (|info| info.root_segments[1].phys = 0x53_1000, Err(Placement)),
        (|info| info.root_segments[1].pages = u64::MAX, Err(Placement)),
        (|info| info.bsp_index = 2, Err(Cpus)),
        (|info| info.cpus[1].apic_id = 0, Err(Cpus)),
        (|info| info.root_segments[1].flags = 7, Err(Root)),
        (|info| info.root_segments[1].vaddr = 0x40_1000, Err(Root)),
        (
            |info| info.root_segments[1].vaddr = USER_LIMIT - 9 * PAGE_BYTES,
            Err(Root),
        ),
        (|info| info.root_entry = 0x50_0000, Err(Root)),
    ];
    for (index, (change, expected)) in cases.iter().enumerate() {
        let mut info = info();
        change(&mut info);
        assert_eq!(check(&info), *expected, "case {index}");
    }
}
