//! Memory: donated pages, the objects made of them, and their reclamation.
//!
//! A Memory is a run of pages. Objects take pages from its lower end (and from pages that were given back),
//! Regions and split-off Memories from its upper end. Everything made from it lies within its run, children's
//! children included, so that `reclaim` is one sweep over the run.

use core::cell::Cell;

use ecusson_abi::{Error, Kind, Rights, Words, ops};

use crate::cap::{Capability, CapabilityCell};
use crate::destroy::Step;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::{Frame, Header, Object, Ref, SMALL_OBJECT_BYTES, object};
use crate::store::{FrameEntry, Store, Tag};
use crate::thread::Thread;

/// Pages a sweep looks at in one call.
const SWEEP_PAGES: u64 = 256;

/// Donated pages.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Memory {
    /// Epoch.
    pub header: Header,
    /// First page of the run.
    pub first: Cell<u64>,
    /// Pages of the run.
    pub pages: Cell<u64>,
    /// First page never used, counted from the lower end.
    pub next: Cell<u64>,
    /// End of the unused pages: what lies above belongs to Regions and split-off Memories.
    pub end: Cell<u64>,
    /// Pages given back.
    pub returned: Cell<u64>,
    /// First of the list of pages given back; 0 for none.
    pub returned_head: Cell<u64>,
    /// First of the list of pages of small objects with room; 0 for none.
    pub roomy_head: Cell<u64>,
    /// Where the sweep is: page number plus one; 0 for no sweep.
    pub sweep: Cell<u64>,
    /// One of the kernel's first Memories, which hold the kernel's own first objects.
    pub is_primal: Cell<bool>,
}

object!(Memory, Small, memory);

impl Memory {
    /// Makes it hold a run of unused pages.
    pub(crate) fn set_run(&self, first: u64, pages: u64) {
        self.first.set(first);
        self.pages.set(pages);
        self.empty();
    }

    fn empty(&self) {
        self.next.set(self.first.get());
        self.end.set(self.first.get() + self.pages.get());
        self.returned.set(0);
        self.returned_head.set(0);
        self.roomy_head.set(0);
        self.sweep.set(0);
    }

    /// Pages between the two ends.
    fn between(&self) -> u64 {
        self.end.get() - self.next.get()
    }

    /// Single pages that can still be taken.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.between() + self.returned.get()
    }

    /// First page of a run from the upper end, aligned; none if there is no room.
    fn upper_run(&self, pages: u64, alignment_log2: u64) -> Option<u64> {
        let first = self.end.get().checked_sub(pages)? >> alignment_log2 << alignment_log2;
        if first >= self.next.get() { Some(first) } else { None }
    }
}

/// Where a new object's capability goes and who pays for it: both checked.
pub(crate) struct Place<'a> {
    pub memory: Ref<Memory>,
    pub cell: &'a CapabilityCell,
}

impl<S: Store> Kernel<S> {
    /// Operations of Memory.
    pub(crate) fn memory_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Memory>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        match words[0] {
            ops::memory::SPLIT => {
                Failure::require(rights, Rights::MANAGE)?;
                self.split(actor, name, words)
            }
            ops::memory::CREATE => {
                Failure::require(rights, Rights::MANAGE)?;
                self.create(actor, name, words)
            }
            ops::memory::RECLAIM => {
                Failure::require(rights, Rights::MANAGE)?;
                self.reclaim(name)
            }
            ops::memory::INFO => {
                Failure::require(rights, Rights::READ)?;
                let memory = self.store.memory(name);
                let words = [0, memory.pages.get(), memory.first.get(), 0, 0, 0];
                Ok(Outcome::Words(memory.available(), words))
            }
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    /// That a Memory is not being reclaimed.
    pub(crate) fn usable(&self, name: Ref<Memory>) -> Result<&Memory, Failure> {
        let memory = self.store.memory(name);
        if memory.sweep.get() == 0 {
            Ok(memory)
        } else {
            Err(Failure::at(Error::BadState, 0))
        }
    }

    /// A Memory and an empty slot, and room in the Memory for one small object and `pages` pages.
    ///
    /// # Errors
    /// Those of lookup and slot with the index of their word; `NoMemory` with the pages that are missing.
    pub(crate) fn place<'a>(
        &'a self,
        actor: &Thread,
        memory: (u64, u64),
        slot: (u64, u64),
    ) -> Result<Place<'a>, Failure> {
        let name = self.lookup::<Memory>(actor, memory.1, Rights::MANAGE);
        let name = name.map_err(|error| Failure::at(error, memory.0))?;
        self.usable(name)?;
        let place = self.place_in(actor, name, slot)?;
        self.afford(name, 0, SmallObjects::One)?;
        Ok(place)
    }

    fn place_in<'a>(&'a self, actor: &Thread, memory: Ref<Memory>, slot: (u64, u64)) -> Result<Place<'a>, Failure> {
        let table = actor.table.get();
        self.empty_slot(actor, slot.1)
            .map_err(|error| Failure::at(error, slot.0))?;
        Ok(Place {
            memory,
            cell: self.store.slot(table, slot.1),
        })
    }

    /// That a Memory has single pages for this.
    ///
    /// # Errors
    /// `NoMemory` with the pages that are missing.
    pub(crate) fn afford(&self, name: Ref<Memory>, pages: u64, small: SmallObjects) -> Result<(), Failure> {
        let memory = self.store.memory(name);
        let for_small = u64::from(matches!(small, SmallObjects::One) && memory.roomy_head.get() == 0);
        let missing = (pages + for_small).saturating_sub(memory.available());
        if missing == 0 {
            Ok(())
        } else {
            Err(Failure::at(Error::NoMemory, missing))
        }
    }

    fn split(&self, actor: Ref<Thread>, name: Ref<Memory>, words: &Words) -> Answer {
        let memory = self.usable(name)?;
        let place = self.place_in(self.store.thread(actor), name, (2, words[2]))?;
        let first = self.run_beside_object(name, words[1], 0)?;
        // Nothing may fail from here on.
        memory.end.set(first);
        let child = self.make_small::<Memory>(&place, Rights::ALL);
        if let Some(child) = child {
            self.store.memory(child).set_run(first, words[1]);
        }
        Ok(Outcome::Done(0))
    }

    /// A run from the upper end that leaves room for a small object.
    fn run_beside_object(&self, name: Ref<Memory>, pages: u64, alignment_log2: u64) -> Result<u64, Failure> {
        let memory = self.store.memory(name);
        if pages == 0 || pages > crate::region::MAX_REGION_PAGES {
            return Err(Failure::at(Error::BadArg, 1));
        }
        self.afford(name, 0, SmallObjects::One)?;
        let reserve = u64::from(memory.roomy_head.get() == 0 && memory.returned.get() == 0);
        let first = memory
            .upper_run(pages, alignment_log2)
            .filter(|&first| first - memory.next.get() >= reserve);
        first.ok_or(Failure::at(
            Error::NoMemory,
            (pages + reserve).saturating_sub(memory.between()).max(1),
        ))
    }

    fn create(&self, actor: Ref<Thread>, name: Ref<Memory>, words: &Words) -> Answer {
        self.usable(name)?;
        let thread = self.store.thread(actor);
        let kind = Kind::from_code(words[1]).ok_or(Failure::at(Error::BadArg, 1))?;
        let place = self.place_in(thread, name, (2, words[2]))?;
        match kind {
            Kind::Region => self.create_region(&place, words),
            Kind::Space => self.create_space(&place, words),
            Kind::ProtectionDomain => self.create_domain(thread, &place, words),
            Kind::Thread => self.create_thread(thread, &place, words),
            Kind::SchedContext => self.create_plain::<crate::sched_context::SchedContext>(&place),
            Kind::Portal => self.create_portal(thread, &place, words),
            Kind::Notification => self.create_plain::<crate::notification::Notification>(&place),
            Kind::Vcpu => self.create_vcpu(thread, &place, words),
            Kind::Memory | Kind::Interrupt | Kind::Ports | Kind::Platform => Err(Failure::at(Error::BadArg, 1)),
        }
    }

    fn create_plain<T: Object>(&self, place: &Place<'_>) -> Answer {
        self.afford(place.memory, 0, SmallObjects::One)?;
        self.make_small::<T>(place, Rights::ALL);
        Ok(Outcome::Done(0))
    }

    fn create_region(&self, place: &Place<'_>, words: &Words) -> Answer {
        if words[4] > 18 {
            return Err(Failure::at(Error::BadArg, 4));
        }
        let first = self
            .run_beside_object(place.memory, words[3], words[4])
            .map_err(|failure| match failure.error {
                Error::BadArg => Failure::at(Error::BadArg, 3),
                _ => failure,
            })?;
        // Nothing may fail from here on.
        self.store.memory(place.memory).end.set(first);
        if let Some(region) = self.make_small::<crate::region::Region>(place, Rights::ALL) {
            self.store.region(region).set_run(first, words[3], Rights::ALL);
        }
        Ok(Outcome::Done(0))
    }

    fn create_portal(&self, actor: &Thread, place: &Place<'_>, words: &Words) -> Answer {
        let server = self.argument::<Thread>(actor, words, 3, Rights::MANAGE)?;
        if words[5] > ops::portal::ACTIVE {
            return Err(Failure::at(Error::BadArg, 5));
        }
        self.afford(place.memory, 0, SmallObjects::One)?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<crate::portal::Portal>(place, Rights::ALL) {
            let portal = self.store.portal(name);
            portal.server.set(Some(server));
            portal.label.set(words[4]);
            portal.mode.set(words[5]);
            let links = crate::portal::Portal::sibling_links;
            self.store.thread(server).portals.push_back(&self.store, name, links);
        }
        Ok(Outcome::Done(0))
    }

    /// Makes a small object, for which there is room, and its first capability.
    pub(crate) fn make_small<T: Object>(&self, place: &Place<'_>, rights: Rights) -> Option<Ref<T>> {
        let name = self.take_small::<T>(place.memory)?;
        self.announce(name, place.cell, rights);
        Some(name)
    }

    /// Gives a new object its epoch and its first capability.
    pub(crate) fn announce<T: Object>(&self, name: Ref<T>, cell: &CapabilityCell, rights: Rights) {
        let epoch = self.next_epoch(T::KIND);
        T::of(&self.store, name).header().epoch.set(epoch);
        cell.set(Capability::new(name, epoch, rights));
    }

    /// Takes the room of a small object, all zero.
    pub(crate) fn take_small<T>(&self, owner: Ref<Memory>) -> Option<Ref<T>> {
        let memory = self.store.memory(owner);
        if memory.roomy_head.get() == 0 {
            let frame = self.take_page(owner)?;
            self.store.frame(frame).assign(Tag::Small, owner);
            memory.roomy_head.set(frame.0);
        }
        let frame = Frame(memory.roomy_head.get());
        let entry = self.store.frame(frame);
        let index = entry.used().trailing_ones();
        entry.set_used(entry.used() | 1 << index);
        if entry.used() == full::<S>() {
            memory.roomy_head.set(entry.next().map_or(0, |next| next.0));
            entry.set_next(None);
        }
        Ref::new(frame.address() + u64::from(index) * SMALL_OBJECT_BYTES)
    }

    /// Gives the room of a small object back to its Memory.
    pub(crate) fn give_small<T: Object>(&self, name: Ref<T>) {
        let header = T::of(&self.store, name).header();
        header.epoch.set(0);
        header.dying.set(0);
        self.store.reset_small(name.address());
        let frame = name.frame();
        let entry = self.store.frame(frame);
        let was_full = entry.used() == full::<S>();
        entry.set_used(entry.used() & !(1 << name.index()));
        if let Some(owner) = entry.owner::<Memory>()
            && was_full
            && self.store.memory(owner).header.is_alive()
        {
            let memory = self.store.memory(owner);
            entry.set_next(Some(Frame(memory.roomy_head.get())).filter(|frame| frame.0 != 0));
            memory.roomy_head.set(frame.0);
        }
    }

    /// Takes a page and zeroes it.
    pub(crate) fn take_page(&self, owner: Ref<Memory>) -> Option<Frame> {
        let memory = self.store.memory(owner);
        let frame = if memory.returned_head.get() != 0 {
            let frame = Frame(memory.returned_head.get());
            memory
                .returned_head
                .set(self.store.frame(frame).next().map_or(0, |next| next.0));
            memory.returned.set(memory.returned.get() - 1);
            frame
        } else if memory.between() > 0 {
            let frame = Frame(memory.next.get());
            memory.next.set(frame.0 + 1);
            frame
        } else {
            return None;
        };
        self.store.frame(frame).clear();
        self.store.scrub(frame);
        Some(frame)
    }

    /// Takes a run of pages from the lower end and zeroes them; at most 256.
    pub(crate) fn take_lower_run(&self, owner: Ref<Memory>, pages: u64) -> Option<Frame> {
        let memory = self.store.memory(owner);
        if memory.between() < pages {
            return None;
        }
        let first = memory.next.get();
        memory.next.set(first + pages);
        for frame in first..first + pages {
            self.store.scrub(Frame(frame));
        }
        Some(Frame(first))
    }

    /// That a run of pages can be taken from the lower end.
    pub(crate) fn afford_run(&self, owner: Ref<Memory>, pages: u64) -> Result<(), Failure> {
        let missing = pages.saturating_sub(self.store.memory(owner).between());
        if missing == 0 {
            Ok(())
        } else {
            Err(Failure::at(Error::NoMemory, missing))
        }
    }

    /// Gives a page back to a Memory.
    pub(crate) fn give_page(&self, owner: Ref<Memory>, frame: Frame) {
        let memory = self.store.memory(owner);
        let entry = self.store.frame(frame);
        entry.clear();
        if !memory.header.is_alive() {
            // Its Memory was swept away with the one it was split from; that sweep takes the page.
            return;
        }
        entry.assign(Tag::Returned, owner);
        entry.set_next(Some(Frame(memory.returned_head.get())).filter(|frame| frame.0 != 0));
        memory.returned_head.set(frame.0);
        memory.returned.set(memory.returned.get() + 1);
    }

    // Reclamation

    fn reclaim(&self, name: Ref<Memory>) -> Answer {
        let memory = self.store.memory(name);
        if memory.is_primal.get() {
            return Err(Failure::at(Error::BadState, 0));
        }
        if memory.sweep.get() == 0 {
            memory.sweep.set(memory.first.get() + 1);
        }
        let end = memory.first.get() + memory.pages.get();
        for _ in 0..SWEEP_PAGES {
            let frame = Frame(memory.sweep.get() - 1);
            if frame.0 >= end {
                memory.empty();
                return Ok(Outcome::Done(0));
            }
            let entry = self.store.frame(frame);
            if !entry.is(Tag::Plain) {
                if matches!(self.sweep_page(frame, entry), Step::Again) {
                    break;
                }
                entry.clear();
            }
            memory.sweep.set(frame.0 + 2);
        }
        Ok(Outcome::Progress(end - (memory.sweep.get() - 1)))
    }

    /// Destroys what is in a page, one step.
    fn sweep_page(&self, frame: Frame, entry: &FrameEntry) -> Step {
        match entry.tag() {
            Tag::Plain | Tag::Returned => Step::Done,
            Tag::Small if entry.used() == 0 => Step::Done,
            Tag::Small => {
                let index = u64::from(entry.used().trailing_zeros());
                again(self.destroy_small_at(frame.address() + index * SMALL_OBJECT_BYTES))
            }
            Tag::Thread => Ref::new(frame.address()).map_or(Step::Done, |name| again(self.destroy_thread(name))),
            Tag::Domain => Ref::new(frame.address()).map_or(Step::Done, |name| again(self.destroy_domain(name))),
            Tag::DomainTable => entry
                .owner()
                .map_or(Step::Done, |name| again(self.destroy_domain(name))),
            Tag::PageTable => entry.owner().map_or(Step::Done, |name| again(self.destroy_space(name))),
            Tag::Vcpu => entry.owner().map_or(Step::Done, |name| again(self.destroy_vcpu(name))),
        }
    }
}

/// A destruction always changes the tag of its pages when it is done: look at the page again.
fn again(_: Step) -> Step {
    Step::Again
}

/// Bit map of a page of small objects without room.
const fn full<S: Store>() -> u32 {
    if S::SMALL_OBJECTS >= 32 {
        u32::MAX
    } else {
        (1 << S::SMALL_OBJECTS) - 1
    }
}

/// Whether an operation needs room for a small object.
#[derive(Clone, Copy)]
pub(crate) enum SmallObjects {
    None,
    One,
}
