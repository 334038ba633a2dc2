//! The first objects: root's process, and capabilities to everything else the machine has.

use core::cell::Cell;

use ecusson_abi::{PAGE_BYTES, Rights, ops, root_slots};

use crate::cap::Capability;
use crate::kernel::{CORES, Kernel};
use crate::memory::{Memory, Place};
use crate::name::{Frame, Object, Ref, SMALL_OBJECT_BYTES};
use crate::notification::Notification;
use crate::platform::Platform;
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::Space;
use crate::store::{Store, Tag};
use crate::thread::{Thread, flag};

/// A run of pages: first page, pages.
pub type Run = (u64, u64);

/// A segment of root's image, already in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Where its pages are.
    pub run: Run,
    /// Where root sees it, first virtual page.
    pub virtual_page: u64,
    /// How.
    pub rights: Rights,
}

/// What the machine layer found and checked.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// Free memory; at least one run, the first large enough for root's own objects.
    pub free: &'a [Run],
    /// Pages nobody may map as a device: RAM and the kernel's devices.
    pub reserved: &'a [Run],
    /// Local APIC identifiers of the cores, the boot core first.
    pub apic_ids: &'a [u32],
    /// TSC ticks in a microsecond.
    pub ticks_per_us: u64,
    /// TSC now.
    pub now: u64,
    /// Root's image.
    pub segments: &'a [Segment],
    /// Where root begins.
    pub entry: u64,
    /// Boot information pages.
    pub boot_info: Run,
    /// The other processes' segments.
    pub bundle: Run,
    /// The image tool's composition.
    pub composition: Run,
    /// The time page.
    pub time_page: Run,
}

/// Ranges of [`Boot::reserved`] that are kept.
pub const MAX_RESERVED: usize = 162;

/// Table pages that root's space gets to begin with.
const ROOT_TABLES: u64 = 32;

/// Priority of root's first thread, the highest but one.
const ROOT_PRIORITY: u8 = 30;

impl<S: Store> Kernel<S> {
    /// Makes the first objects. Root is current on the boot core afterwards. Answers `None` if the first run of
    /// memory is too small.
    pub fn boot(&self, boot: &Boot<'_>) -> Option<()> {
        self.init_cores(boot);
        for (slot, range) in self.reserved.iter().zip(boot.reserved) {
            slot.set((range.0, range.0 + range.1));
        }
        let memory = self.first_memory(boot.free)?;
        let space = self.take_small::<Space>(memory)?;
        self.init_space(space, memory, ops::space::HOST);
        self.add_tables(space, memory, ROOT_TABLES);
        let domain = self.make_domain(memory, root_slots::TABLE_PAGES, space)?;
        let thread = self.make_thread(memory, domain, 0, 0)?;
        let put = Placer {
            kernel: self,
            memory,
            table: Frame(domain.frame().0 + 1),
        };
        put.existing(domain, root_slots::SELF);
        put.existing(space, root_slots::SPACE);
        put.existing(thread, root_slots::THREAD);
        put.existing(memory, root_slots::MEMORY);
        put.new_object::<Platform>(root_slots::PLATFORM, Rights::ALL)?;
        for (run, slot) in boot.free.iter().skip(1).zip(root_slots::MEMORY + 1..) {
            if slot >= root_slots::MEMORY + root_slots::MEMORY_COUNT {
                break;
            }
            let name = put.new_object::<Memory>(slot, Rights::ALL)?;
            self.store.memory(name).set_run(run.0, run.1);
            self.store.memory(name).is_primal.set(true);
        }
        put.regions(boot)?;
        self.start_root(&put, boot, thread, space)
    }

    fn init_cores(&self, boot: &Boot<'_>) {
        self.core_count.set(boot.apic_ids.len().min(CORES));
        self.ticks_per_us.set(boot.ticks_per_us.max(1));
        self.now.set(boot.now);
        for ((index, core), &apic_id) in (0u8..).zip(&self.cores).zip(boot.apic_ids) {
            core.index.set(index);
            core.apic_id.set(apic_id);
            core.charged_since.set(boot.now);
            core.running_word
                .set(Thread::run_word(crate::thread::State::Running, index));
        }
    }

    /// The first Memory lives in the first page of its own run.
    fn first_memory(&self, free: &[Run]) -> Option<Ref<Memory>> {
        let &(first, pages) = free.first()?;
        if pages < 64 {
            return None;
        }
        let name = Ref::<Memory>::new(Frame(first).address())?;
        self.store.scrub(Frame(first));
        let entry = self.store.frame(Frame(first));
        entry.assign(Tag::Small, name);
        entry.set_used(1);
        let memory = self.store.memory(name);
        memory.header.epoch.set(self.next_epoch(Memory::KIND));
        memory.set_run(first, pages);
        memory.next.set(first + 1);
        memory.roomy_head.set(first);
        memory.is_primal.set(true);
        Some(name)
    }

    fn start_root(&self, put: &Placer<'_, S>, boot: &Boot<'_>, name: Ref<Thread>, space: Ref<Space>) -> Option<()> {
        let slots = root_slots::SEGMENTS..root_slots::SEGMENTS + root_slots::SEGMENT_COUNT;
        for (segment, slot) in boot.segments.iter().zip(slots) {
            let region = put.new_object::<Region>(slot, Rights::ALL)?;
            let object = self.store.region(region);
            object.set_run(segment.run.0, segment.run.1, segment.rights);
            object.scrubbed.set(segment.run.1);
            self.attach_now(region, space, segment.virtual_page, segment.rights)?;
        }
        let context = put.new_object::<SchedContext>(root_slots::SCHED_CONTEXT, Rights::ALL)?;
        let notification = put.new_object::<Notification>(root_slots::NOTIFICATION, Rights::ALL)?;
        let (object, thread) = (self.store.sched_context(context), self.store.thread(name));
        object.priority.set(ROOT_PRIORITY);
        object.budget.set(PAGE_BYTES);
        object.period.set(PAGE_BYTES);
        object.thread.set(Some(name));
        self.core(0).contexts.set(1);
        thread.own_sched_context.set(Some(context));
        thread.own_priority.set(ROOT_PRIORITY);
        self.bind_notification(notification, name);
        thread.context.rip.set(boot.entry);
        thread.context.rflags.set(crate::syscall::USER_FLAGS);
        thread.set_flag(flag::FULL_CONTEXT);
        self.make_ready(name);
        self.schedule();
        Some(())
    }

    /// Attaches a Region in as many steps as it takes.
    fn attach_now(&self, name: Ref<Region>, space: Ref<Space>, virtual_page: u64, rights: Rights) -> Option<()> {
        let region = self.store.region(name);
        while u64::from(region.mapped.get()) < region.pages.get() {
            let mapping = crate::paging::Mapping::of(region, virtual_page, rights);
            let mapped = self.map_step(space, &mapping).ok()?;
            region.mapped.set(region.mapped.get() + mapped);
        }
        region.space.set(Some(space));
        region.virtual_page.set(virtual_page);
        region.attached_rights.set(rights.0);
        self.store
            .space(space)
            .attachments
            .push_back(&self.store, name, Region::attachment_links);
        Some(())
    }
}

/// Puts objects into root's table.
struct Placer<'k, S> {
    kernel: &'k Kernel<S>,
    memory: Ref<Memory>,
    table: Frame,
}

impl<S: Store> Placer<'_, S> {
    fn existing<T: Object>(&self, name: Ref<T>, slot: u64) {
        let header = T::of(&self.kernel.store, name).header();
        if header.epoch.get() == 0 {
            header.epoch.set(self.kernel.next_epoch(T::KIND));
        }
        self.kernel
            .store
            .slot(self.table, slot)
            .set(Capability::new(name, header.epoch.get(), Rights::ALL));
    }

    fn new_object<T: Object>(&self, slot: u64, rights: Rights) -> Option<Ref<T>> {
        let place = Place {
            memory: self.memory,
            cell: self.kernel.store.slot(self.table, slot),
        };
        self.kernel.make_small::<T>(&place, rights)
    }

    fn regions(&self, boot: &Boot<'_>) -> Option<()> {
        let shared = Rights::READ.with(Rights::MANAGE).with(Rights::GRANT);
        let code = shared.with(Rights::EXECUTE);
        let runs = [
            (root_slots::BOOT_INFO, boot.boot_info, shared),
            (root_slots::BUNDLE, boot.bundle, code),
            (root_slots::COMPOSITION, boot.composition, shared),
            (root_slots::TIME_PAGE, boot.time_page, shared),
        ];
        for (slot, run, rights) in runs {
            if run.1 == 0 {
                continue;
            }
            let name = self.new_object::<Region>(slot, rights)?;
            let region = self.kernel.store.region(name);
            region.set_run(run.0, run.1, rights);
            region.scrubbed.set(run.1);
        }
        Some(())
    }
}

/// What the layout of small objects relies on.
const _: () = {
    assert!(size_of::<Region>() as u64 <= SMALL_OBJECT_BYTES);
    assert!(size_of::<Space>() as u64 <= SMALL_OBJECT_BYTES);
    assert!(size_of::<SchedContext>() as u64 <= SMALL_OBJECT_BYTES);
    assert!(size_of::<Memory>() as u64 <= SMALL_OBJECT_BYTES);
    assert!(size_of::<ProtectionDomain>() as u64 <= PAGE_BYTES);
    assert!(size_of::<Thread>() <= 1024);
    assert!(size_of::<Cell<Option<Ref<Thread>>>>() == 8);
};
