//! How the kernel reaches its objects: the direct map on the machine, arrays on the host.
//!
//! Objects are made of `Cell`s and reached by shared reference, so that any two of them can be worked on
//! together without a borrow of the whole store (`specs/adr/0001-cells-behind-store.md`). A page of zeroes is a
//! valid value of every object type.

use core::cell::Cell;

use crate::cap::CapabilityCell;
use crate::interrupt::Interrupt;
use crate::memory::Memory;
use crate::name::{Frame, Header, Ref};
use crate::notification::Notification;
use crate::platform::Platform;
use crate::portal::Portal;
use crate::ports::Ports;
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::Space;
use crate::thread::Thread;
use crate::vcpu::Vcpu;

/// What a page is used for. Pages of Regions and unused pages are `Plain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Unused, or part of a Region.
    Plain = 0,
    /// Small objects, [`crate::name::SMALL_OBJECT_BYTES`] each.
    Small = 1,
    /// A thread.
    Thread = 2,
    /// The first page of a protection domain.
    Domain = 3,
    /// A later page of a protection domain: its capability table.
    DomainTable = 4,
    /// A page table, or a page funded to become one.
    PageTable = 5,
    /// Given back to its Memory, in its list of free pages.
    Returned = 6,
    /// Registers of a vCPU, in the machine's own form.
    Vcpu = 7,
}

/// What the kernel knows of a page: 16 bytes, outside the page.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct FrameEntry {
    /// Bits 0..8 [`Tag`]; the rest: twice the physical address (a multiple of 128) of the Memory, Space or Vcpu that owns it.
    pub tag_owner: Cell<u64>,
    /// Bits 0..32: which small objects are in use. Bits 32..64: next page of the list it is in, 0 for none.
    pub detail: Cell<u64>,
}

impl FrameEntry {
    /// What the page is used for.
    #[must_use]
    pub fn tag(&self) -> Tag {
        match self.tag_owner.get() as u8 {
            1 => Tag::Small,
            2 => Tag::Thread,
            3 => Tag::Domain,
            4 => Tag::DomainTable,
            5 => Tag::PageTable,
            6 => Tag::Returned,
            7 => Tag::Vcpu,
            _ => Tag::Plain,
        }
    }

    /// Whether the page is tagged so: one comparison.
    #[must_use]
    #[inline(always)]
    pub fn is(&self, tag: Tag) -> bool {
        self.has_tag(tag as u8)
    }

    /// As [`FrameEntry::is`], by the tag's number.
    #[must_use]
    #[inline(always)]
    pub fn has_tag(&self, number: u8) -> bool {
        self.tag_owner.get() as u8 == number
    }

    /// The owner, whose type follows from the tag.
    #[must_use]
    pub fn owner<T>(&self) -> Option<Ref<T>> {
        Ref::new(self.tag_owner.get() >> 1 & !0x7F)
    }

    /// Gives the page a use, an owner and no list.
    pub fn assign<T>(&self, tag: Tag, owner: Ref<T>) {
        self.tag_owner.set(owner.address() << 1 | tag as u64);
        self.detail.set(0);
    }

    /// Makes the page plain.
    pub fn clear(&self) {
        self.tag_owner.set(0);
        self.detail.set(0);
    }

    /// Bit map of the small objects in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.detail.get() as u32
    }

    /// Sets the bit map.
    pub fn set_used(&self, used: u32) {
        self.detail.set(self.detail.get() >> 32 << 32 | u64::from(used));
    }

    /// Next page of the list.
    #[must_use]
    pub fn next(&self) -> Option<Frame> {
        match self.detail.get() >> 32 {
            0 => None,
            frame => Some(Frame(frame)),
        }
    }

    /// Sets the next page of the list.
    pub fn set_next(&self, next: Option<Frame>) {
        let frame = next.map_or(0, |frame| frame.0);
        self.detail.set(frame << 32 | u64::from(self.used()));
    }
}

/// Access to objects and pages by name.
///
/// The accessors may be called for names of living or dying objects and for tagged pages only; the core
/// keeps to that, and a store on the host asserts it.
pub trait Store {
    /// Small objects in a page, at most 32.
    const SMALL_OBJECTS: u32;
    /// Capabilities in a page of a protection domain's table.
    const SLOTS_PER_PAGE: u64;
    /// log2 of the entries of a page table.
    const TABLE_BITS: u32;
    /// Levels of a page table.
    const TABLE_LEVELS: u32;

    /// A thread.
    fn thread(&self, name: Ref<Thread>) -> &Thread;
    /// A portal.
    fn portal(&self, name: Ref<Portal>) -> &Portal;
    /// A notification.
    fn notification(&self, name: Ref<Notification>) -> &Notification;
    /// A scheduling context.
    fn sched_context(&self, name: Ref<SchedContext>) -> &SchedContext;
    /// A memory.
    fn memory(&self, name: Ref<Memory>) -> &Memory;
    /// A region.
    fn region(&self, name: Ref<Region>) -> &Region;
    /// A space.
    fn space(&self, name: Ref<Space>) -> &Space;
    /// A protection domain.
    fn protection_domain(&self, name: Ref<ProtectionDomain>) -> &ProtectionDomain;
    /// An interrupt.
    fn interrupt(&self, name: Ref<Interrupt>) -> &Interrupt;
    /// A port range.
    fn ports(&self, name: Ref<Ports>) -> &Ports;
    /// A vCPU.
    fn vcpu(&self, name: Ref<Vcpu>) -> &Vcpu;
    /// The platform.
    fn platform(&self, name: Ref<Platform>) -> &Platform;

    /// The entry of a page below [`Store::frame_count`].
    fn frame(&self, frame: Frame) -> &FrameEntry;
    /// Pages that have an entry; RAM lies below.
    fn frame_count(&self) -> u64;
    /// A slot of the capability table that begins at the frame; the index is below the table's size.
    fn slot(&self, table: Frame, index: u64) -> &CapabilityCell;
    /// An entry of a page table.
    fn entry(&self, table: Frame, index: u64) -> &Cell<u64>;
    /// The header at a physical address: of a place for a small object in a page tagged so, or at the begin of a page
    /// tagged as a thread or domain.
    fn header(&self, address: u64) -> &Header;
    /// Fills the room of a small object with zeroes.
    fn reset_small(&self, address: u64);
    /// Fills a page with zeroes. On the host: returns everything in it to its initial value.
    fn scrub(&self, frame: Frame);
    /// Copies the kernel's half into the root table of a new host space.
    fn copy_kernel_half(&self, root: Frame);
}
