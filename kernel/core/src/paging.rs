//! Page tables of host and guest spaces: radix trees in the processor's format (AMD APM vol. 2, 5.3; nested
//! paging uses the same, 15.25).
//!
//! An entry is written by one step and never half; tables, once linked, stay linked until their space ends, so
//! that no processor can walk a table that has become something else.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use ecusson_abi::{Error, PAGE_BYTES, Rights, USER_PAGES};

use crate::kernel::{Failure, Kernel};
use crate::name::{Frame, Ref};
use crate::region::Region;
use crate::space::{Space, SpaceKind};
use crate::store::{Store, Tag};

/// Bits of an entry.
pub mod bit {
    /// Present.
    pub const PRESENT: u64 = 1 << 0;
    /// Writable.
    pub const WRITABLE: u64 = 1 << 1;
    /// Reachable from user mode.
    pub const USER: u64 = 1 << 2;
    /// Write-through; with the next bit: uncached (PAT entry 3).
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// Cache disabled.
    pub const CACHE_DISABLE: u64 = 1 << 4;
    /// A large page (levels 1 and 2).
    pub const LARGE: u64 = 1 << 7;
    /// Not executable.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// Physical address.
    pub const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
}

/// Highest level at which a page of a host space can be mapped: 2 MiB.
const LARGEST_LEVEL: u8 = 1;

/// What remains to be mapped of a Region.
pub(crate) struct Mapping {
    virtual_page: u64,
    frame: u64,
    pages: u64,
    bits: u64,
}

impl Mapping {
    /// The part of a Region beyond the pages that are mapped already.
    pub(crate) fn of(region: &Region, virtual_page: u64, rights: Rights) -> Self {
        let done = u64::from(region.mapped.get());
        let mut bits = bit::PRESENT | bit::USER;
        if rights.has(Rights::WRITE) {
            bits |= bit::WRITABLE;
        }
        if !rights.has(Rights::EXECUTE) {
            bits |= bit::NO_EXECUTE;
        }
        if region.is_device.get() {
            bits |= bit::CACHE_DISABLE | bit::WRITE_THROUGH;
        }
        Self {
            virtual_page: virtual_page + done,
            frame: region.first.get() + done,
            pages: region.pages.get() - done,
            bits,
        }
    }

    /// Highest level, up to one, whose pages fit the alignment and the length of what remains.
    fn level<S: Store>(&self, largest: u8) -> u32 {
        let fits = |level: &u32| {
            let pages = pages_at::<S>(*level);
            (self.virtual_page | self.frame) & (pages - 1) == 0 && self.pages >= pages
        };
        let highest = u32::from(largest).min(S::TABLE_LEVELS - 2);
        (1..=highest).rev().find(fits).unwrap_or(0)
    }
}

/// Pages that an entry of a level covers.
fn pages_at<S: Store>(level: u32) -> u64 {
    1 << (S::TABLE_BITS * level)
}

/// Index of a page at a level.
fn index_at<S: Store>(page: u64, level: u32) -> u64 {
    page >> (S::TABLE_BITS * level) & (pages_at::<S>(1) - 1)
}

/// How far a walk got.
struct Walk {
    /// Table where it stopped.
    table: Frame,
    /// That table's level.
    level: u32,
}

impl<S: Store> Kernel<S> {
    /// Pages of a host or guest space.
    pub(crate) fn space_pages() -> u64 {
        // The upper half of a host space is the kernel's.
        let half = pages_at::<S>(S::TABLE_LEVELS) / 2;
        half.min(USER_PAGES)
    }

    /// Walks down to a level, or to the first entry that has no table below it.
    #[inline(always)]
    fn walk(&self, root: Frame, page: u64, level: u32) -> Walk {
        let mut walk = Walk {
            table: root,
            level: S::TABLE_LEVELS - 1,
        };
        while walk.level > level {
            let entry = self.store.entry(walk.table, index_at::<S>(page, walk.level)).get();
            if entry & bit::PRESENT == 0 || entry & bit::LARGE != 0 {
                break;
            }
            walk.table = Frame::of_address(entry & bit::ADDRESS);
            walk.level -= 1;
        }
        walk
    }

    /// The usual case of [`Kernel::map_step`]: one page, whose table exists and whose entry is free. `None` if it is not that.
    #[inline(always)]
    pub(crate) fn map_page(&self, space: Ref<Space>, mapping: &Mapping) -> Option<u32> {
        let walk = self.walk(Frame(self.store.space(space).root.get()), mapping.virtual_page, 0);
        let entry = self.store.entry(walk.table, index_at::<S>(mapping.virtual_page, 0));
        if mapping.pages != 1 || walk.level != 0 || entry.get() & bit::PRESENT != 0 {
            return None;
        }
        entry.set(Frame(mapping.frame).address() | mapping.bits);
        Some(1)
    }

    /// Maps as much as one table takes. Tables that are missing come from the space's unused pages.
    ///
    /// # Errors
    /// `Occupied` (argument 2) if an address is mapped, `NoMemory` with the pages to fund.
    pub(crate) fn map_step(&self, space_name: Ref<Space>, mapping: &Mapping) -> Result<u32, Failure> {
        let space = self.store.space(space_name);
        let root = Frame(space.root.get());
        let mut level = mapping.level::<S>(match space.kind() {
            SpaceKind::Guest => self.guest_pages.get(),
            _ => LARGEST_LEVEL,
        });
        let mut walk = self.walk(root, mapping.virtual_page, level);
        let found = |walk: &Walk| {
            let index = index_at::<S>(mapping.virtual_page, walk.level);
            self.store.entry(walk.table, index).get()
        };
        while walk.level == level && level > 0 && found(&walk) & (bit::PRESENT | bit::LARGE) == bit::PRESENT {
            // A table of smaller pages is there already: use it.
            level -= 1;
            walk = self.walk(root, mapping.virtual_page, level);
        }
        if walk.level > level && found(&walk) & bit::PRESENT != 0 {
            return Err(Failure::at(Error::Occupied, 2));
        }
        let missing = u64::from(walk.level - level);
        let short = missing.saturating_sub(space.unused.get());
        if short > 0 {
            return Err(Failure::at(Error::NoMemory, short));
        }
        let count = self.free_entries(&walk, level, mapping)?;
        // Nothing may fail from here on.
        while walk.level > level {
            let Some(table) = self.take_table(space_name) else {
                break;
            };
            let cell = self
                .store
                .entry(walk.table, index_at::<S>(mapping.virtual_page, walk.level));
            cell.set(table.address() | bit::PRESENT | bit::WRITABLE | bit::USER);
            walk = Walk {
                table,
                level: walk.level - 1,
            };
        }
        self.fill(&walk, mapping, count);
        Ok((count * pages_at::<S>(level)) as u32)
    }

    /// Entries of a table, from the mapping's first on, that can be filled at a level; at least one.
    fn free_entries(&self, walk: &Walk, level: u32, mapping: &Mapping) -> Result<u64, Failure> {
        let first = index_at::<S>(mapping.virtual_page, level);
        let fitting = (mapping.pages / pages_at::<S>(level)).min(pages_at::<S>(1) - first);
        if walk.level > level {
            return Ok(fitting);
        }
        for index in first..first + fitting {
            if self.store.entry(walk.table, index).get() & bit::PRESENT != 0 {
                // A later entry of large pages may have its own table of small ones: stop before it.
                let stops = level > 0 && index > first;
                return if stops {
                    Ok(index - first)
                } else {
                    Err(Failure::at(Error::Occupied, 2))
                };
            }
        }
        Ok(fitting)
    }

    fn fill(&self, walk: &Walk, mapping: &Mapping, count: u64) {
        let first = index_at::<S>(mapping.virtual_page, walk.level);
        let large = if walk.level > 0 { bit::LARGE } else { 0 };
        let step = pages_at::<S>(walk.level) * PAGE_BYTES;
        let mut value = Frame(mapping.frame).address() | mapping.bits | large;
        for index in first..first + count {
            self.store.entry(walk.table, index).set(value);
            value += step;
        }
    }

    pub(crate) fn take_table(&self, name: Ref<Space>) -> Option<Frame> {
        let space = self.store.space(name);
        let table = Frame(space.unused_head.get());
        if table.0 == 0 {
            return None;
        }
        let entry = self.store.frame(table);
        space.unused_head.set(entry.next().map_or(0, |next| next.0));
        space.unused.set(space.unused.get() - 1);
        entry.set_next(Some(Frame(space.used_head.get())).filter(|frame| frame.0 != 0));
        space.used_head.set(table.0);
        Some(table)
    }

    /// Unmaps from the last page of an attachment backwards, as much as lies in one table; the pages unmapped.
    pub(crate) fn unmap_step(&self, space_name: Ref<Space>, first: u64, last: u64) -> u32 {
        let walk = self.walk(Frame(self.store.space(space_name).root.get()), last, 0);
        let pages = pages_at::<S>(walk.level);
        let mut index = index_at::<S>(last, walk.level);
        let mut begin = last / pages * pages;
        let mut unmapped = 0;
        loop {
            let cell: &Cell<u64> = self.store.entry(walk.table, index);
            let is_leaf = walk.level == 0 || cell.get() & bit::LARGE != 0;
            if !is_leaf {
                break;
            }
            cell.set(0);
            unmapped += pages;
            if index == 0 || begin < first + pages {
                break;
            }
            index -= 1;
            begin -= pages;
        }
        unmapped as u32
    }

    /// Asks every core that has a space loaded for a flush; the generation. A guest space is loaded where one of its vCPUs is;
    /// elsewhere the machine layer compares the space's generation before it enters such a guest.
    pub(crate) fn request_flush(&self, space: Ref<Space>) -> u64 {
        let generation = self.flush_generation.get() + 1;
        self.flush_generation.set(generation);
        let space = self.store.space(space);
        space.flush.set(generation);
        let root = Frame(space.root.get()).address();
        for core in self.cores.iter().take(self.core_count()) {
            if self.uses_root(core, root) {
                core.flush_wanted.store(generation, Ordering::Release);
                self.core(self.here.get()).flush_requested.set(true);
            }
        }
        generation
    }

    /// Whether a flush is done everywhere. The generation is given by its low half, which suffices: a Region
    /// can't wait for four thousand million flushes of others.
    pub(crate) fn is_flushed(&self, low: u32) -> bool {
        let now = self.flush_generation.get();
        let generation = now - u64::from((now as u32).wrapping_sub(low));
        self.cores
            .iter()
            .take(self.core_count())
            .all(|core| core.has_flushed(generation))
    }

    /// Tags a page as one of a space's tables.
    pub(crate) fn tag_table(&self, space: Ref<Space>, frame: Frame) {
        self.store.frame(frame).assign(Tag::PageTable, space);
    }
}
