//! Which slots of root's capability table are in use.
//!
//! Key type: [`Slots`]. Owned by [`crate::machine::Machine`].

use ecusson_abi::{SLOTS_PER_PAGE, root_slots};

/// First slot that the kernel does not fill.
pub const FIRST: u64 = root_slots::MEMORY + root_slots::MEMORY_COUNT;
/// Slots of root's table.
pub const COUNT: u64 = root_slots::TABLE_PAGES * SLOTS_PER_PAGE;

/// A bit for each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    used: [u64; (COUNT / 64) as usize],
}

impl Default for Slots {
    fn default() -> Self {
        let mut slots = Self {
            used: [0; (COUNT / 64) as usize],
        };
        for slot in 0..FIRST {
            slots.set(slot, true);
        }
        slots
    }
}

impl Slots {
    fn set(&mut self, slot: u64, used: bool) {
        let Some(word) = self.used.get_mut((slot / 64) as usize) else {
            return;
        };
        let bit = 1 << (slot % 64);
        *word = if used { *word | bit } else { *word & !bit };
    }

    /// Takes the lowest free slot; `None` when the table is full.
    pub fn take(&mut self) -> Option<u64> {
        let index = self.used.iter().position(|word| *word != u64::MAX)?;
        let slot = index as u64 * 64 + u64::from(self.used.get(index)?.trailing_ones());
        self.set(slot, true);
        Some(slot)
    }

    fn is_used(&self, slot: u64) -> bool {
        self.used
            .get((slot / 64) as usize)
            .is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    /// The slots that were taken since.
    pub fn newer_than<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = u64> + 'a {
        (FIRST..COUNT).filter(|slot| self.is_used(*slot) && !before.is_used(*slot))
    }

    /// Gives a slot back; it must have been emptied. Slots of the kernel's stay taken.
    pub fn give_back(&mut self, slot: u64) {
        if slot >= FIRST {
            self.set(slot, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_given_once_and_again_when_it_is_back() {
        let mut slots = Slots::default();
        for expected in FIRST..COUNT {
            assert_eq!(slots.take(), Some(expected));
        }
        assert_eq!(slots.take(), None);
        let before = slots.clone();
        slots.give_back(700);
        slots.give_back(root_slots::PLATFORM);
        slots.give_back(COUNT + 5);
        assert_eq!((slots.take(), slots.take()), (Some(700), None));
        slots.give_back(701);
        assert_eq!(before.newer_than(&slots).collect::<alloc::vec::Vec<_>>(), [701]);
    }
}
