//! From the firmware's memory map to the two lists of `BootInfo`: RAM as whole pages, and everything else.
//!
//! Called by the binary after the boot protocol was parsed. Where entries overlap, RAM loses: a wrong hole costs
//! memory, wrong RAM costs the machine.

use ecusson_abi::boot::{BootInfo, BootReserved, DIRECT_MAP_LIMIT, PhysRange, RANGE_MAX};

use crate::firmware::Region;
use crate::list::push;
use crate::ranges::RangeSet;
use crate::report::Report;

/// Address range type of RAM (ACPI 6.5, 15).
const RAM: u32 = 1;

/// Ranges that the set keeps free, so that every region can be added or cut out.
const SPARE: usize = 1;

/// The RAM that may be used.
pub fn ram<R: Report>(regions: &[Region], report: &mut R) -> RangeSet {
    let mut ram = RangeSet::new();
    let mut lost = 0;
    for region in regions.iter().filter(|region| region.kind == RAM) {
        let mut range = PhysRange {
            base: region.base,
            bytes: region.bytes,
        };
        if range.end() > DIRECT_MAP_LIMIT {
            report.line(format_args!("memory above {DIRECT_MAP_LIMIT:#x} is not used"));
            range.bytes = DIRECT_MAP_LIMIT.saturating_sub(range.base);
        }
        if ram.insert(range).is_ok() {
            lost += ram.shrink_to(RANGE_MAX - SPARE);
        }
    }
    for region in regions.iter().filter(|region| region.kind != RAM) {
        // One cut needs one more range at the most, which is spare.
        if ram
            .remove(PhysRange {
                base: region.base,
                bytes: region.bytes,
            })
            .is_ok()
        {
            lost += ram.shrink_to(RANGE_MAX - SPARE);
        }
    }
    if lost != 0 {
        report.line(format_args!(
            "memory map is in too many pieces; the smallest, {} KiB, are not used",
            lost >> 10
        ));
    }
    ram
}

/// Takes out of RAM what firmware says of devices elsewhere: registers of the kernel's own and PCI configuration windows.
pub fn remove_devices(ram: &mut RangeSet, info: &BootInfo) {
    let windows = info.ecam().iter().map(|ecam| ecam.window());
    for range in info.kernel_devices().chain(windows) {
        // One cut needs one more range at the most.
        let _ = ram.shrink_to(RANGE_MAX - SPARE);
        let _ = ram.remove(range);
    }
}

/// Lists what is not RAM, in ascending order, in `list`.
pub fn reserved<R: Report>(regions: &[Region], list: &mut [BootReserved], count: &mut u32, report: &mut R) {
    for region in regions.iter().filter(|region| region.kind != RAM && region.bytes != 0) {
        let range = PhysRange {
            base: region.base,
            bytes: region.bytes.min(u64::MAX - region.base),
        };
        if !push(
            list,
            count,
            BootReserved {
                range,
                kind: region.kind,
                reserved: 0,
            },
        ) {
            report.line(format_args!(
                "reserved memory at {:#x} is left out of the list",
                region.base
            ));
        }
    }
    if let Some(used) = list.get_mut(..*count as usize) {
        used.sort_unstable_by_key(|entry| entry.range.base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecusson_abi::boot::{BootEcam, BootIommu, IOMMU_AMD, IOMMU_INTEL};

    use crate::fake::Lines;
    use crate::firmware::REGION_MAX;

    fn region(base: u64, bytes: u64, kind: u32) -> Region {
        Region { base, bytes, kind }
    }

    /// Catches RAM that wins over a hole, and an order of entries that matters.
    #[test]
    fn holes_win() {
        let mut regions = [
            region(0x10_0000, 0x10_0000, 1),
            region(0x10_1001, 1, 2),
            region(0x1F_0000, 0x2_0000, 4),
            region(0x20_0000, 0x1_0000, 1),
            region(0, 0x500, 1),
        ];
        for _ in 0..regions.len() {
            regions.rotate_left(1);
            let mut lines = Lines::default();
            let ram = ram(&regions, &mut lines);
            let expected = [
                PhysRange {
                    base: 0x10_0000,
                    bytes: 0x1000,
                },
                PhysRange {
                    base: 0x10_2000,
                    bytes: 0xE_E000,
                },
            ];
            assert_eq!(ram.as_slice(), expected);
            assert!(lines.0.is_empty());
        }
    }

    /// Catches RAM in a window of PCI or in the registers of a device that the kernel drives.
    #[test]
    fn devices_are_no_ram() {
        let mut info = crate::empty::boot_info();
        (info.local_apic_phys, info.hpet_phys) = (0xFEE0_0000, 0);
        (info.ecam_count, info.iommu_count) = (1, 2);
        info.ecam[0] = BootEcam {
            base: 0xE000_0000,
            start_bus: 1,
            end_bus: 2,
            ..BootEcam::default()
        };
        info.iommus[0] = BootIommu {
            phys: 0xFED9_0000,
            kind: IOMMU_INTEL,
            segment: 0,
            detail: 0x101,
        };
        info.iommus[1] = BootIommu {
            phys: 0xFEB8_0000,
            kind: IOMMU_AMD,
            ..info.iommus[0]
        };
        let mut ram = ram(&[region(0xE000_0000, 0x2000_0000, 1)], &mut Lines::default());
        remove_devices(&mut ram, &info);
        let expected = [
            (0xE000_0000, 0xE010_0000),
            (0xE030_0000, 0xFEB8_0000),
            (0xFEC0_0000, 0xFED9_0000),
            (0xFED9_2000, 0xFEE0_0000),
            (0xFEE0_1000, 0x1_0000_0000),
        ];
        let found: Vec<_> = ram.as_slice().iter().map(|range| (range.base, range.end())).collect();
        assert_eq!(found, expected);
    }

    /// Catches an overflow by absurd entries, and RAM that the direct map has no room for.
    #[test]
    fn absurd_entries_are_cut() {
        let mut lines = Lines::default();
        let regions = [
            region(0x10_0000, u64::MAX, 1),
            region(u64::MAX, u64::MAX, 1),
            region(u64::MAX - 1, 9, 7),
            region(5, 0, 2),
        ];
        let ram = ram(&regions, &mut lines);
        assert_eq!(
            ram.as_slice(),
            [PhysRange {
                base: 0x10_0000,
                bytes: DIRECT_MAP_LIMIT - 0x10_0000
            }]
        );
        assert!(!lines.0.is_empty());
        let (mut list, mut count) = ([BootReserved::default(); 2], 0);
        reserved(&regions, &mut list, &mut count, &mut lines);
        assert_eq!((count, list[0].range.base, list[0].range.bytes), (1, u64::MAX - 1, 1));
    }

    /// Catches a map in very many pieces that stops the machine, or costs its largest piece.
    #[test]
    fn too_many_pieces_cost_the_smallest() {
        let mut regions = [region(0, 0, 1); REGION_MAX];
        for (index, region) in regions.iter_mut().enumerate() {
            *region = self::region(index as u64 * 0x10000, 0x1000, 1);
        }
        regions[REGION_MAX - 1] = region(1 << 32, 1 << 30, 1);
        let mut lines = Lines::default();
        let ram = ram(&regions, &mut lines);
        assert_eq!(
            ram.as_slice().last(),
            Some(&PhysRange {
                base: 1 << 32,
                bytes: 1 << 30
            })
        );
        assert_eq!(lines.0.len(), 1);
        let (mut list, mut count) = ([BootReserved::default(); 4], 0);
        reserved(
            &[region(0x3000, 1, 2), region(0x1000, 1, 99)],
            &mut list,
            &mut count,
            &mut lines,
        );
        assert_eq!((list[0].kind, list[1].kind, count), (99, 2, 2));
    }
}
