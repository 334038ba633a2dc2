//! Regions: pages that may be mapped. A Region has at most one attachment; slices are Regions of their own
//! that end with their parent.

use core::cell::Cell;

use ecusson_abi::{Error, MAX_SLICE_DEPTH, Rights, Words, ops};

use crate::destroy::Step;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::list::Links;
use crate::name::{Frame, Header, Ref, object};
use crate::paging::Mapping;
use crate::space::{Space, SpaceKind};
use crate::store::Store;
use crate::thread::Thread;

/// Pages that one `scrub` zeroes.
const SCRUB_PAGES: u64 = 64;

/// A run of pages that may be mapped.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Region {
    /// Epoch.
    pub header: Header,
    /// First page.
    pub first: Cell<u64>,
    /// Pages.
    pub pages: Cell<u64>,
    /// Pages known to be zeroed, from the first; it may be attached when all are.
    pub scrubbed: Cell<u64>,
    /// Most rights a mapping may have.
    pub rights: Cell<u8>,
    /// Rights of the attachment.
    pub attached_rights: Cell<u8>,
    /// Parents above it.
    pub depth: Cell<u8>,
    /// Device memory: mapped uncached, never scrubbed.
    pub is_device: Cell<bool>,
    /// The Region it is a slice of.
    pub parent: Cell<Option<Ref<Region>>>,
    /// First of its slices.
    pub first_child: Cell<Option<Ref<Region>>>,
    /// Next slice of its parent.
    pub next: Cell<Option<Ref<Region>>>,
    /// Previous slice of its parent.
    pub previous: Cell<Option<Ref<Region>>>,
    /// Space it is attached to.
    pub space: Cell<Option<Ref<Space>>>,
    /// In the space's list of attachments.
    pub attachments: Links<Region>,
    /// First virtual page of the attachment.
    pub virtual_page: Cell<u64>,
    /// Pages mapped so far. While it is being detached: pages not unmapped yet.
    pub mapped: Cell<u32>,
    /// Low half of the generation of the flush that its unmapping asked for, plus one; 0 for none.
    pub flush: Cell<u32>,
}

object!(Region, Small, region);

/// Most pages of a Region: 8 TiB. Page counts fit 32 bits.
pub const MAX_REGION_PAGES: u64 = 1 << 31;

impl Region {
    /// Makes it hold a run of pages.
    pub(crate) fn set_run(&self, first: u64, pages: u64, rights: Rights) {
        self.first.set(first);
        self.pages.set(pages);
        self.rights.set(rights.0);
    }

    /// Links of a space's attachments.
    #[must_use]
    pub fn attachment_links(&self) -> &Links<Self> {
        &self.attachments
    }

    /// Whether it is attached, or being attached or detached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.space.get().is_some()
    }
}

impl<S: Store> Kernel<S> {
    /// Operations of Region.
    pub(crate) fn region_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Region>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        match words[0] {
            ops::region::ATTACH => self.attach(actor, name, rights, words),
            ops::region::INFO => {
                Failure::require(rights, Rights::READ)?;
                let region = self.store.region(name);
                let words = [0, u64::from(region.mapped.get()), region.virtual_page.get(), 0, 0, 0];
                Ok(Outcome::Words(region.pages.get(), words))
            }
            ops::region::DIRTY | ops::region::MARK_DIRTY => Err(Failure::at(Error::Unsupported, 0)),
            _ => {
                Failure::require(rights, Rights::MANAGE)?;
                self.manage_region(actor, name, rights, words)
            }
        }
    }

    fn manage_region(&self, actor: Ref<Thread>, name: Ref<Region>, rights: Rights, words: &Words) -> Answer {
        match words[0] {
            ops::region::SLICE => self.slice(actor, name, rights, words),
            ops::region::DETACH => match self.detach_step(name) {
                Step::Done => Ok(Outcome::Done(0)),
                Step::Again => Ok(Outcome::Progress(u64::from(self.store.region(name).mapped.get()))),
            },
            ops::region::SCRUB => Ok(self.scrub_region(name)),
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    fn scrub_region(&self, name: Ref<Region>) -> Outcome {
        let region = self.store.region(name);
        let (first, done) = (region.first.get(), region.scrubbed.get());
        let until = region.pages.get().min(done + SCRUB_PAGES);
        for frame in first + done..first + until {
            self.store.scrub(Frame(frame));
        }
        region.scrubbed.set(until);
        let left = region.pages.get() - until;
        if left == 0 {
            Outcome::Done(0)
        } else {
            Outcome::Progress(left)
        }
    }

    fn slice(&self, actor: Ref<Thread>, name: Ref<Region>, held: Rights, words: &Words) -> Answer {
        let parent = self.store.region(name);
        let (first, pages) = (words[1], words[2]);
        if first >= parent.pages.get() {
            return Err(Failure::at(Error::BadArg, 1));
        }
        if pages == 0 || pages > parent.pages.get() - first {
            return Err(Failure::at(Error::BadArg, 2));
        }
        let mut above = core::iter::successors(Some(name), |&region| self.store.region(region).parent.get());
        if above.any(|region| self.store.region(region).header.is_dying()) {
            // It ends with what is being destroyed, which might never end if there were new ones.
            return Err(Failure::at(Error::Dead, 0));
        }
        if parent.depth.get() >= MAX_SLICE_DEPTH {
            return Err(Failure::at(Error::TooDeep, 0));
        }
        if parent.scrubbed.get() < parent.pages.get() {
            return Err(Failure::at(Error::BadState, 0));
        }
        let place = self.place(self.store.thread(actor), (4, words[4]), (5, words[5]))?;
        // Nothing may fail from here on.
        let rights = Rights(words[3] as u8).and(Rights(parent.rights.get())).and(held);
        let rights = rights.with(Rights::MANAGE.with(Rights::GRANT).and(held));
        if let Some(child_name) = self.make_small::<Region>(&place, rights) {
            let child = self.store.region(child_name);
            child.set_run(parent.first.get() + first, pages, rights);
            child.scrubbed.set(pages);
            child.is_device.set(parent.is_device.get());
            child.depth.set(parent.depth.get() + 1);
            self.adopt(name, child_name);
        }
        Ok(Outcome::Done(0))
    }

    fn adopt(&self, parent_name: Ref<Region>, child_name: Ref<Region>) {
        let (parent, child) = (self.store.region(parent_name), self.store.region(child_name));
        child.parent.set(Some(parent_name));
        child.next.set(parent.first_child.get());
        if let Some(sibling) = parent.first_child.get() {
            self.store.region(sibling).previous.set(Some(child_name));
        }
        parent.first_child.set(Some(child_name));
    }

    /// Takes a slice out of its parent's list.
    pub(crate) fn disown(&self, child_name: Ref<Region>) {
        let child = self.store.region(child_name);
        let Some(parent) = child.parent.take() else { return };
        let (next, previous) = (child.next.take(), child.previous.take());
        match previous {
            Some(previous) => self.store.region(previous).next.set(next),
            None => self.store.region(parent).first_child.set(next),
        }
        if let Some(next) = next {
            self.store.region(next).previous.set(previous);
        }
    }

    /// The last in a chain of first slices: what must be destroyed before this Region. At most
    /// [`MAX_SLICE_DEPTH`] steps.
    pub(crate) fn deepest_slice(&self, name: Ref<Region>) -> Ref<Region> {
        let mut deepest = name;
        for _ in 0..=MAX_SLICE_DEPTH {
            match self.store.region(deepest).first_child.get() {
                Some(child) => deepest = child,
                None => break,
            }
        }
        deepest
    }

    // Attachment

    pub(crate) fn attach(&self, actor: Ref<Thread>, name: Ref<Region>, held: Rights, words: &Words) -> Answer {
        let caller = self.store.thread(actor);
        let space_name = self.argument::<Space>(caller, words, 1, Rights::MANAGE)?;
        let region = self.store.region(name);
        let rights = Rights(words[3] as u8);
        let space = self.store.space(space_name);
        self.check_attach(name, held, rights, space.kind())?;
        if space.kind() == SpaceKind::Dma {
            return self.attach_identity(name, space_name, rights);
        }
        if words[2]
            .checked_add(region.pages.get())
            .is_none_or(|end| end > Self::space_pages())
        {
            return Err(Failure::at(Error::BadArg, 2));
        }
        match region.space.get() {
            None => {}
            Some(attached) => {
                let goes_on = attached == space_name
                    && region.virtual_page.get() == words[2]
                    && region.attached_rights.get() == rights.0
                    && region.flush.get() == 0
                    && u64::from(region.mapped.get()) < region.pages.get();
                if !goes_on {
                    return Err(Failure::at(Error::Occupied, 0));
                }
            }
        }
        let mapping = Mapping::of(region, words[2], rights);
        let mapped = match self.map_page(space_name, &mapping) {
            Some(mapped) => mapped,
            None => self.map_step(space_name, &mapping)?,
        };
        // Nothing may fail from here on.
        if !region.is_attached() {
            region.space.set(Some(space_name));
            region.virtual_page.set(words[2]);
            region.attached_rights.set(rights.0);
            space.attachments.push_back(&self.store, name, Region::attachment_links);
        }
        region.mapped.set(region.mapped.get() + mapped);
        match region.pages.get() - u64::from(region.mapped.get()) {
            0 => Ok(Outcome::Done(0)),
            left => Ok(Outcome::Progress(left)),
        }
    }

    /// Rights, scrubbing, and W^X, but for guests: what they execute is theirs to decide.
    fn check_attach(&self, name: Ref<Region>, held: Rights, rights: Rights, kind: SpaceKind) -> Result<(), Failure> {
        let region = self.store.region(name);
        let access = Rights::READ.with(Rights::WRITE).with(Rights::EXECUTE);
        let is_writable_code = kind != SpaceKind::Guest && rights.has(Rights::WRITE.with(Rights::EXECUTE));
        if rights.and(access) != rights || !rights.has(Rights::READ) || is_writable_code {
            return Err(Failure::at(Error::BadArg, 3));
        }
        if !held.has(rights) || !Rights(region.rights.get()).has(rights) {
            return Err(Failure::at(Error::NoRight, 3));
        }
        if region.scrubbed.get() < region.pages.get() {
            return Err(Failure::at(Error::BadState, 0));
        }
        Ok(())
    }

    /// Without an IOMMU a device sees all memory: the attachment only records that, and gives the bus address.
    fn attach_identity(&self, name: Ref<Region>, space_name: Ref<Space>, rights: Rights) -> Answer {
        let (region, space) = (self.store.region(name), self.store.space(space_name));
        if region.is_attached() {
            return Err(Failure::at(Error::Occupied, 0));
        }
        region.space.set(Some(space_name));
        region.virtual_page.set(region.first.get());
        region.attached_rights.set(rights.0);
        region.mapped.set(region.pages.get() as u32);
        space.attachments.push_back(&self.store, name, Region::attachment_links);
        Ok(Outcome::Done(Frame(region.first.get()).address()))
    }

    /// One step of taking an attachment back: at most one page table's worth of pages, then the flush.
    pub(crate) fn detach_step(&self, name: Ref<Region>) -> Step {
        let region = self.store.region(name);
        let Some(space_name) = region.space.get() else {
            return Step::Done;
        };
        let space = self.store.space(space_name);
        if region.mapped.get() > 0 {
            if space.kind() == SpaceKind::Dma {
                region.mapped.set(0);
            } else {
                let last = region.virtual_page.get() + u64::from(region.mapped.get()) - 1;
                let unmapped = self.unmap_step(space_name, region.virtual_page.get(), last);
                region.mapped.set(region.mapped.get() - unmapped);
            }
            // Every step asks for a flush, so that whatever interleaves with this finds none missing.
            region.flush.set((self.request_flush(space_name) as u32).max(1));
            return Step::Again;
        }
        if region.flush.get() != 0 && !self.is_flushed(region.flush.get()) {
            return Step::Again;
        }
        space.attachments.remove(&self.store, name, Region::attachment_links);
        region.space.set(None);
        region.flush.set(0);
        Step::Done
    }
}
