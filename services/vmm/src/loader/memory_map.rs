//! The memory map that a guest is told, in the terms of E820 that Linux and PVH share.

use alloc::vec::Vec;

use crate::layout::{self, Layout, Stretch};

/// Memory, usable.
pub(super) const USABLE: u32 = 1;
/// Not memory, or not to be touched.
pub(super) const RESERVED: u32 = 2;

/// One line of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stretch: Stretch,
    /// [`USABLE`] or [`RESERVED`].
    pub(super) kind: u32,
}

/// The map of a guest, ascending and without overlaps.
pub(super) fn memory_map(layout: Layout) -> Vec<Entry> {
    let usable = |start: u64, end: u64| Entry {
        stretch: Stretch {
            start,
            bytes: end.saturating_sub(start),
        },
        kind: USABLE,
    };
    let reserved = |start: u64, bytes: u64| Entry {
        stretch: Stretch { start, bytes },
        kind: RESERVED,
    };
    let mut map = Vec::with_capacity(6);
    map.push(usable(0, layout::LOW_MEMORY_END));
    map.push(reserved(
        layout::LOW_MEMORY_END,
        layout::HIGH_MEMORY - layout::LOW_MEMORY_END,
    ));
    map.push(usable(layout::HIGH_MEMORY, layout.below_4g().end()));
    map.push(reserved(layout::ECAM, layout::ECAM_BYTES));
    if let Some(above) = layout.above_4g() {
        map.push(usable(above.start, above.end()));
    }
    map
}
