//! A [`Store`] of arrays: physical memory as the core sees it, when it runs on a host. Every page can hold
//! every type of object at once; which one counts is what its tag and headers say. Small on purpose: states are cloned.

mod canonical;
mod visit;

use core::cell::Cell;
use core::sync::atomic::Ordering;
use std::vec::Vec;

pub use canonical::{CANONICAL_DEADLINE, CANONICAL_NOW, fingerprint};
pub use visit::Visitor;

use crate::cap::CapabilityCell;
use crate::interrupt::Interrupt;
use crate::memory::Memory;
use crate::name::{Frame, Header, Ref, SMALL_OBJECT_BYTES};
use crate::notification::Notification;
use crate::percpu::Core;
use crate::platform::Platform;
use crate::portal::Portal;
use crate::ports::Ports;
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::Space;
use crate::store::{FrameEntry, Store, Tag};
use crate::thread::Thread;
use crate::vcpu::Vcpu;

impl Core {
    /// Does the flush that is wanted, if one is: a host has no translations to drop.
    pub fn serve_flush(&self) {
        self.flush_done
            .fetch_max(self.flush_wanted.load(Ordering::Acquire), Ordering::Release);
    }
}

/// Room for a small object of any kind.
#[derive(Clone, Debug, Default)]
struct Small {
    portal: Portal,
    notification: Notification,
    sched_context: SchedContext,
    memory: Memory,
    region: Region,
    space: Space,
    interrupt: Interrupt,
    ports: Ports,
    vcpu: Vcpu,
    platform: Platform,
}

impl Small {
    fn headers(&self) -> [&Header; 10] {
        [
            &self.portal.header,
            &self.notification.header,
            &self.sched_context.header,
            &self.memory.header,
            &self.region.header,
            &self.space.header,
            &self.interrupt.header,
            &self.ports.header,
            &self.vcpu.header,
            &self.platform.header,
        ]
    }
}

#[derive(Clone, Debug, Default)]
struct Page {
    entry: FrameEntry,
    small: Vec<Small>,
    thread: Thread,
    domain: ProtectionDomain,
    slots: Vec<CapabilityCell>,
    table: Vec<Cell<u64>>,
}

/// Physical memory. `SMALL` small objects a page (at most 32), `SLOTS` capabilities a page, `ENTRIES` entries a
/// page table (a power of two, three levels).
#[derive(Clone, Debug, Default)]
pub struct HostStore<const SMALL: usize, const SLOTS: usize, const ENTRIES: usize> {
    pages: Vec<Page>,
}

impl<const SMALL: usize, const SLOTS: usize, const ENTRIES: usize> HostStore<SMALL, SLOTS, ENTRIES> {
    /// Memory of so many pages; page 0 exists but is never used.
    #[must_use]
    pub fn new(pages: usize) -> Self {
        let page = || Page {
            small: std::vec![Small::default(); SMALL],
            slots: std::vec![CapabilityCell::default(); SLOTS],
            table: std::vec![Cell::new(0); ENTRIES],
            ..Page::default()
        };
        Self {
            pages: (0..pages).map(|_| page()).collect(),
        }
    }

    fn page(&self, frame: Frame) -> &Page {
        usize::try_from(frame.0)
            .ok()
            .and_then(|index| self.pages.get(index))
            .expect("the core names pages that exist")
    }

    fn small<T>(&self, name: Ref<T>) -> &Small {
        let page = self.page(name.frame());
        assert!(page.entry.is(Tag::Small), "{name:?} is not in a page of small objects");
        page.small
            .get(name.index() as usize)
            .expect("the core names objects that exist")
    }
}

impl<const SMALL: usize, const SLOTS: usize, const ENTRIES: usize> Store for HostStore<SMALL, SLOTS, ENTRIES> {
    const SMALL_OBJECTS: u32 = SMALL as u32;
    const SLOTS_PER_PAGE: u64 = SLOTS as u64;
    const TABLE_BITS: u32 = ENTRIES.ilog2();
    const TABLE_LEVELS: u32 = 3;

    fn thread(&self, name: Ref<Thread>) -> &Thread {
        let page = self.page(name.frame());
        assert!(page.entry.is(Tag::Thread), "{name:?} is no thread");
        &page.thread
    }
    fn portal(&self, name: Ref<Portal>) -> &Portal {
        &self.small(name).portal
    }
    fn notification(&self, name: Ref<Notification>) -> &Notification {
        &self.small(name).notification
    }
    fn sched_context(&self, name: Ref<SchedContext>) -> &SchedContext {
        &self.small(name).sched_context
    }
    fn memory(&self, name: Ref<Memory>) -> &Memory {
        // The owner of a page may be a Memory that was swept away: its page may have another use by now.
        let page = self.page(name.frame());
        &page
            .small
            .get(name.index() as usize)
            .expect("the core names objects that exist")
            .memory
    }
    fn region(&self, name: Ref<Region>) -> &Region {
        &self.small(name).region
    }
    fn space(&self, name: Ref<Space>) -> &Space {
        &self.small(name).space
    }
    fn protection_domain(&self, name: Ref<ProtectionDomain>) -> &ProtectionDomain {
        let page = self.page(name.frame());
        assert!(page.entry.is(Tag::Domain), "{name:?} is no protection domain");
        &page.domain
    }
    fn interrupt(&self, name: Ref<Interrupt>) -> &Interrupt {
        &self.small(name).interrupt
    }
    fn ports(&self, name: Ref<Ports>) -> &Ports {
        &self.small(name).ports
    }
    fn vcpu(&self, name: Ref<Vcpu>) -> &Vcpu {
        &self.small(name).vcpu
    }
    fn platform(&self, name: Ref<Platform>) -> &Platform {
        &self.small(name).platform
    }

    fn frame(&self, frame: Frame) -> &FrameEntry {
        &self.page(frame).entry
    }
    fn frame_count(&self) -> u64 {
        self.pages.len() as u64
    }
    fn slot(&self, table: Frame, index: u64) -> &CapabilityCell {
        let page = self.page(Frame(table.0 + index / SLOTS as u64));
        page.slots
            .get((index % SLOTS as u64) as usize)
            .expect("an index below the page's slots")
    }
    fn entry(&self, table: Frame, index: u64) -> &Cell<u64> {
        self.page(table)
            .table
            .get(index as usize)
            .expect("the core names entries that exist")
    }
    fn header(&self, address: u64) -> &Header {
        let page = self.page(Frame::of_address(address));
        let is_begin = page.entry.is(Tag::Small) || address.is_multiple_of(ecusson_abi::PAGE_BYTES);
        assert!(
            is_begin,
            "{address:#x} lies within an object: its registers are no header"
        );
        match page.entry.tag() {
            Tag::Thread => &page.thread.header,
            Tag::Domain => &page.domain.header,
            _ => {
                let index = address % ecusson_abi::PAGE_BYTES / SMALL_OBJECT_BYTES;
                let small = page
                    .small
                    .get(index as usize)
                    .expect("the core names objects that exist");
                let headers = small.headers();
                let used = headers.iter().find(|header| header.is_alive() || header.is_dying());
                used.copied().unwrap_or(&small.portal.header)
            }
        }
    }
    fn reset_small(&self, address: u64) {
        let index = address % ecusson_abi::PAGE_BYTES / SMALL_OBJECT_BYTES;
        if let Some(small) = self.page(Frame::of_address(address)).small.get(index as usize) {
            small.reset();
        }
    }
    fn scrub(&self, frame: Frame) {
        self.page(frame).reset();
    }
    fn copy_kernel_half(&self, _root: Frame) {}
}
