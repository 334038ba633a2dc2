//! The core's objects in physical memory, reached through the direct map.
//!
//! Key type: [`PhysStore`]. Called by the core under the kernel lock. Each accessor is one addition: the name of an object
//! is its physical address.

use core::cell::Cell;

use ecusson_abi::boot::{DIRECT_MAP_BASE, FRAME_ENTRY_BYTES, PAGE_BYTES};
use ecusson_abi::time::TimePage;
use ecusson_core::cap::CapabilityCell;
use ecusson_core::interrupt::Interrupt;
use ecusson_core::memory::Memory;
use ecusson_core::name::{Frame, Header, Ref, SMALL_OBJECT_BYTES};
use ecusson_core::notification::Notification;
use ecusson_core::platform::Platform;
use ecusson_core::portal::Portal;
use ecusson_core::ports::Ports;
use ecusson_core::protection_domain::ProtectionDomain;
use ecusson_core::region::Region;
use ecusson_core::sched_context::SchedContext;
use ecusson_core::space::Space;
use ecusson_core::store::{FrameEntry, Store};
use ecusson_core::thread::Thread;
use ecusson_core::vcpu::Vcpu;
use static_assertions::{const_assert, const_assert_eq};

const_assert_eq!(size_of::<FrameEntry>() as u64, FRAME_ENTRY_BYTES);
const_assert!(size_of::<Thread>() <= crate::fpu::AREA_OFFSET);
const_assert_eq!(size_of::<CapabilityCell>(), 16);

/// Entries in the upper half of a root table: the kernel's.
const KERNEL_HALF: core::ops::Range<usize> = 256..512;

/// The store. One exists, in [`crate::lock::KERNEL`].
#[derive(Clone, Debug)]
pub struct PhysStore {
    frames: Cell<*const FrameEntry>,
    frame_count: Cell<u64>,
    kernel_root: Cell<u64>,
}

/// Where a physical address of RAM is in the kernel's address space.
#[must_use]
#[inline(always)]
pub const fn direct(address: u64) -> u64 {
    address.wrapping_add(DIRECT_MAP_BASE)
}

impl PhysStore {
    /// A store without memory.
    pub(crate) const fn new() -> Self {
        Self {
            frames: Cell::new(core::ptr::null()),
            frame_count: Cell::new(0),
            kernel_root: Cell::new(0),
        }
    }

    /// Tells the store where the frame table is, how many entries it has, and which root table has the kernel's half.
    ///
    /// # Safety
    /// The table is zeroed, lies in the direct map and belongs to nobody else; the root is a page table with the kernel's
    /// half complete.
    pub(crate) unsafe fn set_memory(&self, frame_table: u64, frame_count: u64, kernel_root: u64) {
        self.frames.set(direct(frame_table) as *const FrameEntry);
        self.frame_count.set(frame_count);
        self.kernel_root.set(kernel_root);
    }

    /// Fills in the time page, which is scrubbed first.
    ///
    /// `frame` must be a page of free memory that is given to nobody else; that is checked as far as the store can.
    pub fn write_time_page(&self, frame: u64, time: TimePage) {
        assert!(frame < self.frame_count.get() && self.frame(Frame(frame)).tag_owner.get() == 0);
        self.scrub(Frame(frame));
        // SAFETY: a whole page of RAM that is no object's; called at boot, before user mode can have it.
        unsafe { (direct(Frame(frame).address()) as *mut TimePage).write(time) }
    }

    /// The object of a name.
    #[inline(always)]
    fn object<T>(&self, name: Ref<T>) -> &T {
        // SAFETY: a `Ref<T>` that the core follows names a living or dying object of that type (`ecusson_core::name`): made
        // from a capability whose epoch was compared, or from a link that is severed before the page is given back. Its page
        // is tagged, so it is no Region's and no user mapping reaches it; it is RAM below `frame_count`, which the direct
        // map holds for the kernel's lifetime. The page was scrubbed when it was tagged, and zeroes are valid for every
        // object type, which all consist of cells; aliasing shared references to cells are allowed, and the kernel lock keeps
        // other cores out.
        unsafe { &*(direct(name.address()) as *const T) }
    }
}

/// Accessors of [`Store`], all alike: the function and the object that it reaches.
macro_rules! accessors {
    ($($function:ident: $object:ident),*) => {$(
        #[inline(always)]
        fn $function(&self, name: Ref<$object>) -> &$object {
            self.object(name)
        }
    )*};
}

impl Store for PhysStore {
    const SMALL_OBJECTS: u32 = 32;
    const SLOTS_PER_PAGE: u64 = ecusson_abi::SLOTS_PER_PAGE;
    const TABLE_BITS: u32 = 9;
    const TABLE_LEVELS: u32 = 4;

    accessors!(thread: Thread, portal: Portal, notification: Notification, sched_context: SchedContext, memory: Memory);
    accessors!(region: Region, space: Space, protection_domain: ProtectionDomain, interrupt: Interrupt, ports: Ports);
    accessors!(vcpu: Vcpu, platform: Platform);

    #[inline(always)]
    fn frame(&self, frame: Frame) -> &FrameEntry {
        debug_assert!(frame.0 < self.frame_count.get());
        // SAFETY: the core asks for frames below `frame_count` only (the trait's contract); the table has that many entries,
        // is zeroed, and is nobody else's (`set_memory`).
        unsafe { &*self.frames.get().add(frame.0 as usize) }
    }

    fn frame_count(&self) -> u64 {
        self.frame_count.get()
    }

    #[inline(always)]
    fn slot(&self, table: Frame, index: u64) -> &CapabilityCell {
        // SAFETY: the table's pages are tagged as such, contiguous, and the index is below its size (the trait's contract);
        // otherwise as in `object`.
        unsafe { &*(direct(table.address()) as *const CapabilityCell).add(index as usize) }
    }

    #[inline(always)]
    fn entry(&self, table: Frame, index: u64) -> &Cell<u64> {
        // SAFETY: the page is tagged as a page table; the index is masked into it. The processor's walker reads it and sets
        // accessed and dirty bits beside us: single aligned words, which `Cell` reads and writes as such.
        unsafe { &*(direct(table.address()) as *const Cell<u64>).add(index as usize % 512) }
    }

    #[inline(always)]
    fn header(&self, address: u64) -> &Header {
        // SAFETY: the page is tagged as one of objects (the trait's contract), each of which begins with its header;
        // otherwise as in `object`.
        unsafe { &*(direct(address) as *const Header) }
    }

    fn reset_small(&self, address: u64) {
        // SAFETY: the room of a small object that is being made or was destroyed, in a page tagged as such: nobody follows a
        // link to it (`ecusson_core::name`). Its cells are overwritten by zeroes, which are valid for every object type.
        unsafe { core::ptr::write_bytes(direct(address) as *mut u8, 0, SMALL_OBJECT_BYTES as usize) }
    }

    fn scrub(&self, frame: Frame) {
        // SAFETY: the page is a tagged page that holds no living object, or a Region's page that its owner wants zeroed: no
        // Rust reference into it exists (the trait's contract).
        unsafe { core::ptr::write_bytes(direct(frame.address()) as *mut u8, 0, PAGE_BYTES as usize) }
    }

    fn copy_kernel_half(&self, root: Frame) {
        let from = direct(self.kernel_root.get()) as *const Cell<u64>;
        let to = direct(root.address()) as *const Cell<u64>;
        for index in KERNEL_HALF {
            // SAFETY: both are page tables of 512 words; `to` is tagged as one and not yet in use, `from` never changes.
            unsafe { (*to.add(index)).set((*from.add(index)).get()) }
        }
    }
}
