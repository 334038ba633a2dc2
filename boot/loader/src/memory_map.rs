//! From the firmware's memory map to the two lists of `BootInfo`: RAM as whole pages, and everything else.
//!
//! Called by the binary after the boot protocol was parsed. Where entries overlap, RAM loses: a wrong hole costs memory, wrong
//! RAM costs the machine.

use ecusson_abi::boot::{BootReserved, DIRECT_MAP_LIMIT, PhysRange};

use crate::firmware::Region;
use crate::list::push;
use crate::ranges::RangeSet;
use crate::report::Report;

/// Address range type of RAM (ACPI 6.5, 15).
const RAM: u32 = 1;

/// The RAM that may be used.
pub fn ram<R: Report>(regions: &[Region], report: &mut R) -> RangeSet {
    let mut ram = RangeSet::new();
    for region in regions.iter().filter(|region| region.kind == RAM) {
        let mut range = PhysRange {
            base: region.base,
            bytes: region.bytes,
        };
        if range.end() > DIRECT_MAP_LIMIT {
            report.line(format_args!("memory above {DIRECT_MAP_LIMIT:#x} is not used"));
            range.bytes = DIRECT_MAP_LIMIT.saturating_sub(range.base);
        }
        if ram.insert(range).is_err() {
            report.line(format_args!(
                "memory map is in too many pieces; the one at {:#x} is not used",
                region.base
            ));
        }
    }
    for region in regions.iter().filter(|region| region.kind != RAM) {
        let hole = PhysRange {
            base: region.base,
            bytes: region.bytes,
        };
        while ram.remove(hole).is_err() {
            // No room to split: give up the part above the hole.
            report.line(format_args!(
                "memory map is in too many pieces; some memory above {:#x} is not used",
                hole.base
            ));
            let Some(split) = ram.as_slice().iter().find(|range| range.overlaps(hole)).copied() else {
                break;
            };
            if ram
                .remove(PhysRange {
                    base: hole.base,
                    bytes: split.end() - hole.base,
                })
                .is_err()
            {
                break;
            }
        }
    }
    ram
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
