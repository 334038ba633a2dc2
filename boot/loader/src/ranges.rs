//! A sorted set of whole pages, as ranges that neither overlap nor touch.
//!
//! Key type: [`RangeSet`]. Used for RAM by [`crate::memory_map`] and for free memory by [`crate::place`].

use ecusson_abi::boot::{PAGE_BYTES, PhysRange, RANGE_MAX};

/// There is no room for one more range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The set. At most [`RANGE_MAX`] ranges, each a positive number of whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: [PhysRange; RANGE_MAX],
    count: usize,
}

impl Default for RangeSet {
    fn default() -> Self {
        Self::new()
    }
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        RangeSet {
            ranges: [PhysRange { base: 0, bytes: 0 }; RANGE_MAX],
            count: 0,
        }
    }

    /// The ranges in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[PhysRange] {
        self.ranges.get(..self.count).unwrap_or(&[])
    }

    /// Adds the whole pages inside `range`, joining what overlaps or touches.
    ///
    /// # Errors
    /// The set is full and unchanged.
    pub fn insert(&mut self, range: PhysRange) -> Result<(), Full> {
        let mut base = range.base.saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
        let mut end = range.end() & !(PAGE_BYTES - 1);
        if base >= end {
            return Ok(());
        }
        // Which existing ranges overlap or touch: `first..last`.
        let first = self.as_slice().partition_point(|old| old.end() < base);
        let last = self.as_slice().partition_point(|old| old.base <= end);
        if let Some(joined) = self.as_slice().get(first..last).filter(|joined| !joined.is_empty()) {
            base = joined.first().map_or(base, |old| old.base.min(base));
            end = joined.last().map_or(end, |old| old.end().max(end));
        }
        self.replace(
            first,
            last,
            &[PhysRange {
                base,
                bytes: end - base,
            }],
        )
    }

    /// Takes out every page that `range` touches.
    ///
    /// # Errors
    /// A range would be split and the set is full; it is unchanged.
    pub fn remove(&mut self, range: PhysRange) -> Result<(), Full> {
        if range.bytes == 0 {
            return Ok(());
        }
        let base = range.base & !(PAGE_BYTES - 1);
        let end = range.end().saturating_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1);
        let first = self.as_slice().partition_point(|old| old.end() <= base);
        let last = self.as_slice().partition_point(|old| old.base < end);
        let hit = self.as_slice().get(first..last).unwrap_or(&[]);
        let (Some(lowest), Some(highest)) = (hit.first(), hit.last()) else {
            return Ok(());
        };
        let below = PhysRange {
            base: lowest.base,
            bytes: base.saturating_sub(lowest.base),
        };
        let above = PhysRange {
            base: end,
            bytes: highest.end().saturating_sub(end),
        };
        match (below.bytes, above.bytes) {
            (0, 0) => self.replace(first, last, &[]),
            (_, 0) => self.replace(first, last, &[below]),
            (0, _) => self.replace(first, last, &[above]),
            _ => self.replace(first, last, &[below, above]),
        }
    }

    /// Gives up the smallest ranges until at most `count` are left; returns how many bytes that cost.
    pub fn shrink_to(&mut self, count: usize) -> u64 {
        let mut lost = 0;
        while self.count > count {
            let smallest = self.as_slice().iter().enumerate().min_by_key(|(_, range)| range.bytes);
            let Some((index, range)) = smallest.map(|(index, range)| (index, *range)) else {
                break;
            };
            if self.replace(index, index + 1, &[]).is_err() {
                break;
            }
            lost += range.bytes;
        }
        lost
    }

    /// Takes `bytes` (whole pages) at the lowest place from `from` that has the alignment and ends at or before
    /// `limit`. `None` when there is no such place, or the set is too full to be split.
    pub fn take(&mut self, bytes: u64, alignment: u64, from: u64, limit: u64) -> Option<PhysRange> {
        let found = self.as_slice().iter().find_map(|range| {
            let base = range.base.max(from).checked_next_multiple_of(alignment)?;
            let end = base.checked_add(bytes)?;
            (end <= range.end() && end <= limit).then_some(PhysRange { base, bytes })
        })?;
        self.remove(found).ok()?;
        Some(found)
    }

    /// Puts `new` in place of the ranges `first..last`.
    fn replace(&mut self, first: usize, last: usize, new: &[PhysRange]) -> Result<(), Full> {
        let count = self.count - (last - first) + new.len();
        if count > RANGE_MAX {
            return Err(Full);
        }
        self.ranges.copy_within(last..self.count, first + new.len());
        if let Some(room) = self.ranges.get_mut(first..first + new.len()) {
            room.copy_from_slice(new);
        }
        self.count = count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(first: u64, count: u64) -> PhysRange {
        PhysRange {
            base: first * PAGE_BYTES,
            bytes: count * PAGE_BYTES,
        }
    }

    /// Catches a wrong join or split: compares with a plain bitmap over every short sequence of operations.
    #[test]
    fn agrees_with_a_bitmap() {
        let mut seed = 1u64;
        for _ in 0..2000 {
            let mut set = RangeSet::new();
            let mut bitmap = [false; 64];
            for _ in 0..20 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let first = (seed >> 33) % 60;
                let count = 1 + (seed >> 40) % 4;
                let add = seed >> 62 != 0;
                let range = pages(first, count);
                if add { set.insert(range) } else { set.remove(range) }.unwrap();
                bitmap[first as usize..(first + count) as usize].fill(add);
            }
            let mut seen = [false; 64];
            let mut lowest = 0;
            for range in set.as_slice() {
                assert!(range.bytes > 0 && (lowest == 0 || range.base > lowest), "ranges touch");
                lowest = range.end();
                let first = (range.base / PAGE_BYTES) as usize;
                seen[first..first + (range.bytes / PAGE_BYTES) as usize].fill(true);
            }
            assert_eq!(seen, bitmap);
        }
    }

    /// Catches rounding in the wrong direction: RAM shrinks to whole pages, holes grow.
    #[test]
    fn rounds_inward_and_outward() {
        let mut set = RangeSet::new();
        set.insert(PhysRange {
            base: 1,
            bytes: 3 * PAGE_BYTES,
        })
        .unwrap();
        assert_eq!(set.as_slice(), [pages(1, 2)]);
        set.remove(PhysRange {
            base: 2 * PAGE_BYTES - 1,
            bytes: 1,
        })
        .unwrap();
        assert_eq!(set.as_slice(), [pages(2, 1)]);
    }

    /// Catches an overflow at the end of the address space and a set that grows beyond its room.
    #[test]
    fn refuses_what_does_not_fit() {
        let mut set = RangeSet::new();
        set.insert(PhysRange {
            base: u64::MAX - 10,
            bytes: 100,
        })
        .unwrap();
        set.remove(PhysRange {
            base: u64::MAX - 10,
            bytes: 100,
        })
        .unwrap();
        for index in 0..RANGE_MAX as u64 {
            set.insert(pages(4 * index, 3)).unwrap();
        }
        let before = set;
        assert_eq!(set.insert(pages(4000, 1)), Err(Full));
        assert_eq!(set.remove(pages(1, 1)), Err(Full));
        assert_eq!(set, before);
    }

    /// Catches giving up a large range instead of a small one.
    #[test]
    fn shrinks_by_the_smallest() {
        let mut set = RangeSet::new();
        for (first, count) in [(0, 5), (10, 1), (20, 9), (40, 2)] {
            set.insert(pages(first, count)).unwrap();
        }
        assert_eq!(set.shrink_to(4), 0);
        assert_eq!(set.shrink_to(2), 3 * PAGE_BYTES);
        assert_eq!(set.as_slice(), [pages(0, 5), pages(20, 9)]);
    }

    /// Catches a take that ignores alignment, start or limit.
    #[test]
    fn takes_the_lowest_fitting_place() {
        let mut set = RangeSet::new();
        set.insert(pages(1, 10)).unwrap();
        set.insert(pages(100, 100)).unwrap();
        assert_eq!(set.take(2 * PAGE_BYTES, 4 * PAGE_BYTES, 0, u64::MAX), Some(pages(4, 2)));
        assert_eq!(set.take(20 * PAGE_BYTES, PAGE_BYTES, 0, 100 * PAGE_BYTES), None);
        assert_eq!(
            set.take(2 * PAGE_BYTES, PAGE_BYTES, 150 * PAGE_BYTES, u64::MAX),
            Some(pages(150, 2))
        );
    }
}
