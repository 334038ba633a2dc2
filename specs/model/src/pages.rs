//! Pages of a Memory: what can be had, what is taken, what is given back.

use crate::abi::{Error, MAX_REGION_PAGES, PAGE_BYTES, SMALL_BYTES};
use crate::state::{Body, Check, Frame, State, ensure};

/// The page an address lies in.
pub(crate) fn page_of(address: u64) -> u64 {
    address / PAGE_BYTES
}

impl State {
    fn between(&self, memory: u64) -> u64 {
        let memory = self.memory(memory);
        memory.end.saturating_sub(memory.next)
    }

    pub(crate) fn available(&self, memory: u64) -> u64 {
        self.between(memory) + self.memory(memory).returned.len() as u64
    }

    pub(crate) fn usable(&self, memory: u64) -> Check<()> {
        ensure(self.memory(memory).sweep.is_none(), Error::BadState, 0)
    }

    /// Room for so many pages and, where `has_small`, one small object.
    pub(crate) fn afford(&self, memory: u64, pages: u64, has_small: bool) -> Check<()> {
        let needs_page = has_small && self.memory(memory).roomy.is_empty();
        let missing = (pages + u64::from(needs_page)).saturating_sub(self.available(memory));
        ensure(missing == 0, Error::NoMemory, missing)
    }

    /// Room for so many pages one after the other.
    pub(crate) fn afford_run(&self, memory: u64, pages: u64) -> Check<()> {
        let missing = pages.saturating_sub(self.between(memory));
        ensure(missing == 0, Error::NoMemory, missing)
    }

    /// First page of an aligned run at the upper end, which leaves room for the small object that will name it.
    pub(crate) fn run_beside_object(&self, memory: u64, pages: u64, align: u64, argument: u64) -> Check<u64> {
        ensure(pages != 0 && pages <= MAX_REGION_PAGES, Error::BadArg, argument)?;
        self.afford(memory, 0, true)?;
        let of = self.memory(memory);
        let reserve = u64::from(of.roomy.is_empty() && of.returned.is_empty());
        let first = of.end.checked_sub(pages).map(|first| first >> align << align);
        let missing = (pages + reserve).saturating_sub(self.between(memory)).max(1);
        first
            .filter(|first| of.next + reserve <= *first)
            .ok_or((Error::NoMemory, missing))
    }

    /// Takes the first page of the unused run.
    pub(crate) fn take_next(&mut self, memory: u64, frame: Frame) -> u64 {
        let of = self.memory_mut(memory);
        assert!(of.next < of.end, "no page left");
        let page = of.next;
        of.next += 1;
        self.frames.insert(page, frame);
        page
    }

    /// Takes a page, a returned one before a new one.
    pub(crate) fn take_page(&mut self, memory: u64, frame: Frame) -> u64 {
        match self.memory_mut(memory).returned.pop() {
            Some(page) => {
                self.frames.insert(page, frame);
                page
            }
            None => self.take_next(memory, frame),
        }
    }

    fn full(&self) -> u64 {
        (1 << self.config.small_objects) - 1
    }

    /// Takes the room of a small object: its address.
    pub(crate) fn take_small(&mut self, memory: u64) -> u64 {
        let page = match self.memory(memory).roomy.last() {
            Some(page) => *page,
            None => {
                let page = self.take_page(memory, Frame::Small { owner: memory, used: 0 });
                self.memory_mut(memory).roomy.push(page);
                page
            }
        };
        let full = self.full();
        let Some(Frame::Small { used, .. }) = self.frames.get_mut(&page) else {
            panic!("{page} has no small objects")
        };
        let index = u64::from(used.trailing_ones());
        *used |= 1 << index;
        if *used == full {
            self.memory_mut(memory).roomy.pop();
        }
        page * PAGE_BYTES + index * SMALL_BYTES
    }

    fn is_living_memory(&self, memory: u64) -> bool {
        self.objects
            .get(&memory)
            .is_some_and(|object| object.is_alive && matches!(object.body, Body::Memory(_)))
    }

    /// Gives a page back; it is plain again where its Memory is gone.
    pub(crate) fn give_page(&mut self, memory: u64, page: u64) {
        if self.is_living_memory(memory) {
            self.memory_mut(memory).returned.push(page);
            self.frames.insert(page, Frame::Returned(memory));
        } else {
            self.frames.remove(&page);
        }
    }

    /// Removes a dying small object and gives its room back; nothing happens while something names it.
    pub(crate) fn end_small(&mut self, address: u64) {
        if !self.objects.contains_key(&address) || !self.remove(address) {
            return;
        }
        let (page, full) = (page_of(address), self.full());
        let Some(Frame::Small { owner, used }) = self.frames.get_mut(&page) else {
            panic!("{page} has no small objects")
        };
        let (owner, was_full) = (*owner, *used == full);
        *used &= !(1 << (address % PAGE_BYTES / SMALL_BYTES));
        if was_full && self.is_living_memory(owner) {
            self.memory_mut(owner).roomy.push(page);
        }
    }

    pub(crate) fn owner_of(&self, page: u64) -> u64 {
        match self.frames.get(&page) {
            Some(
                Frame::Small { owner, .. }
                | Frame::Thread(owner)
                | Frame::Domain(owner)
                | Frame::Table(owner)
                | Frame::PageTable(owner)
                | Frame::Returned(owner),
            ) => *owner,
            None => 0,
        }
    }

    /// Whether nothing but the Memory itself claims a page of it.
    pub(crate) fn is_empty_memory(&self, memory: u64) -> bool {
        let of = self.memory(memory);
        let (first, end) = (of.first, of.first + of.pages);
        let overlaps = |(from, to): (u64, u64)| from.max(first) < to.min(end);
        let is_claimed = self.objects.iter().any(|(address, object)| {
            *address != memory
                && match &object.body {
                    Body::Memory(other) => overlaps((other.next, other.end)),
                    Body::Region(region) if !region.is_device && region.parent.is_none() => {
                        overlaps((region.first, region.first + region.pages))
                    }
                    _ => false,
                }
        });
        !is_claimed && self.frames.range(first..end).next().is_none()
    }
}
