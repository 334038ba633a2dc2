//! Invariants of the whole state, checked object by object: what `specs/` calls well-formed.
//!
//! Tests call [`Kernel::check`] after every step; the hostile test has the machine call it at its end. A finding
//! names the invariant and the object. The walk visits every page and is not bounded: a kernel has it with the feature `check` only,
//! which is for tests.

use core::cell::Cell;

use ecusson_abi::{Error, FAIR_PRIORITY, Kind, MAX_CALL_DEPTH};

use crate::cap::Capability;
use crate::kernel::{Failure, Kernel, Outcome};
use crate::name::{Frame, Object, Ref, SMALL_OBJECT_BYTES};
use crate::notification::Notification;
use crate::paging::bit;
use crate::percpu::{CORE_CONTEXTS, CORE_THREADS, Core};
use crate::portal::Portal;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::{Space, SpaceKind};
use crate::store::{FrameEntry, Store, Tag};
use crate::thread::{State, Thread, flag};
use crate::vcpu::Vcpu;

/// A violated invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which, as `specs/invariants.toml` names it.
    pub invariant: &'static str,
    /// Physical address of the object it was found at.
    pub address: u64,
}

type Checked = Result<(), Finding>;

fn ensure(holds: bool, invariant: &'static str, address: u64) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Finding { invariant, address })
    }
}

/// Lists longer than this are taken for cycles.
const LONGEST_LIST: usize = 1 << 20;

impl<S: Store> Kernel<S> {
    /// `Platform.CHECK`: `BadState` with the address of the first finding.
    pub(crate) fn check_all(&self) -> Result<Outcome, Failure> {
        match self.check() {
            Ok(()) => Ok(Outcome::Done(0)),
            Err(finding) => Err(Failure::at(Error::BadState, finding.address)),
        }
    }

    /// Checks every invariant between two kernel entries.
    ///
    /// # Errors
    /// The first violation found.
    pub fn check(&self) -> Checked {
        for number in 0..self.store.frame_count() {
            self.check_page(Frame(number), self.store.frame(Frame(number)))?;
        }
        self.cores
            .iter()
            .take(self.core_count())
            .try_for_each(|core| self.check_core(core).and_then(|()| self.check_counts(core)))
    }

    /// A core has counted all that may be in its heaps, and no more than fit.
    fn check_counts(&self, core: &Core) -> Checked {
        let (index, address) = (core.index.get(), u64::from(core.index.get()));
        let (mut threads, mut contexts) = (0, 0);
        for frame in (0..self.store.frame_count()).map(Frame) {
            let tag = self.store.frame(frame).tag();
            if tag == Tag::Thread {
                let name = Ref::<Thread>::new(frame.address());
                threads += u32::from(name.is_some_and(|name| self.store.thread(name).core() == index));
            } else if tag == Tag::Small {
                let places = (frame.address()..).step_by(SMALL_OBJECT_BYTES as usize);
                let counted = places
                    .take(S::SMALL_OBJECTS as usize)
                    .filter(|&at| self.is_counted(at, index));
                contexts += counted.count() as u32;
            }
        }
        let fits = threads <= CORE_THREADS && contexts <= CORE_CONTEXTS;
        ensure(fits && threads == core.threads.get(), "core-threads", address)?;
        ensure(contexts == core.contexts.get(), "core-contexts", address)
    }

    /// Whether a configured scheduling context of a core is at an address.
    fn is_counted(&self, address: u64, core: u8) -> bool {
        let is_context = self.store.header(address).kind() == Some(Kind::SchedContext);
        is_context
            && Ref::<SchedContext>::new(address).is_some_and(|name| {
                let context = self.store.sched_context(name);
                context.is_configured() && context.core.get() == core
            })
    }

    fn check_page(&self, frame: Frame, entry: &FrameEntry) -> Checked {
        match entry.tag() {
            Tag::Plain | Tag::Returned | Tag::Vcpu | Tag::DomainTable | Tag::PageTable => Ok(()),
            Tag::Thread => Ref::new(frame.address()).map_or(Ok(()), |name| self.check_thread(name)),
            Tag::Domain => Ref::new(frame.address()).map_or(Ok(()), |name| self.check_domain(name)),
            Tag::Small => (0..u64::from(S::SMALL_OBJECTS)).try_for_each(|index| {
                let address = frame.address() + index * SMALL_OBJECT_BYTES;
                let kind = self.store.header(address).kind();
                ensure(
                    kind.is_some() == (entry.used() >> index & 1 == 1),
                    "small-object-map",
                    address,
                )?;
                self.check_small(address, kind)
            }),
        }
    }

    fn check_small(&self, address: u64, kind: Option<Kind>) -> Checked {
        match kind {
            Some(Kind::Notification) => Ref::new(address).map_or(Ok(()), |name| self.check_notification(name)),
            Some(Kind::SchedContext) => Ref::new(address).map_or(Ok(()), |name| self.check_context(name)),
            Some(Kind::Region) => Ref::new(address).map_or(Ok(()), |name| self.check_region(name)),
            Some(Kind::Portal) => Ref::new(address).map_or(Ok(()), |name| self.check_portal(name)),
            Some(Kind::Vcpu) => Ref::new(address).map_or(Ok(()), |name| self.check_vcpu(name)),
            Some(Kind::Space) => Ref::new(address).map_or(Ok(()), |name| self.check_space(name)),
            _ => Ok(()),
        }
    }

    fn check_thread(&self, name: Ref<Thread>) -> Checked {
        let (thread, address) = (self.store.thread(name), name.address());
        self.check_place(name, thread)?;
        self.check_chain(name, thread)?;
        let has_timer = thread.timer_place.get() != 0;
        ensure(thread.has(flag::DEADLINE) == has_timer, "deadline-flag", address)?;
        let waits = matches!(thread.state(), State::Waiting | State::WaitingSignal);
        let is_inside = thread.has(flag::GUEST);
        ensure(!has_timer || waits || is_inside, "deadline-only-while-waiting", address)?;
        let vcpu = thread.vcpu.get().map(|vcpu| self.store.vcpu(vcpu));
        let agrees = vcpu.map(|vcpu| vcpu.thread.get() == Some(name) && !vcpu.header.is_dying());
        ensure(agrees.unwrap_or(!is_inside), "vcpu-link", address)?;
        if let Some(notification) = thread.notification.get() {
            let bound = self.store.notification(notification).thread.get();
            ensure(bound == Some(name), "notification-link", address)?;
        }
        ensure(
            thread.notification.get().is_some() || !thread.has(flag::SIGNALS),
            "signals-flag",
            address,
        )?;
        if let Some(context) = thread.own_sched_context.get() {
            let context = self.store.sched_context(context);
            ensure(context.thread.get() == Some(name), "context-link", address)?;
            ensure(context.core.get() == thread.core(), "context-core", address)?;
            ensure(
                context.priority.get() == thread.own_priority.get(),
                "context-priority",
                address,
            )?;
        }
        let is_open = thread.receive_slot.get() != 0;
        ensure(thread.has(flag::RECEIVING) == is_open, "receiving-flag", address)?;
        let has_callers = thread.callers_bitmap.get() != 0;
        ensure(thread.has(flag::CALLERS) == has_callers, "callers-flag", address)?;
        for (level, list) in thread.callers.iter().enumerate() {
            let marked = thread.callers_bitmap.get() >> level & 1 == 1;
            ensure(marked != list.is_empty(), "callers-bitmap", address)?;
            self.check_list(list.iter(&self.store, Thread::queue_links), |caller| {
                let caller = self.store.thread(caller);
                let is_here = caller.state() == State::Queued && caller.callee.get() == Some(name);
                ensure(
                    is_here && usize::from(caller.priority.get()) == level,
                    "caller-queue",
                    address,
                )
            })?;
        }
        self.check_list(thread.portals.iter(&self.store, Portal::sibling_links), |portal| {
            ensure(
                self.store.portal(portal).server.get() == Some(name),
                "portal-link",
                address,
            )
        })
    }

    /// State, queues and time agree.
    fn check_place(&self, name: Ref<Thread>, thread: &Thread) -> Checked {
        let address = name.address();
        let core = self.core(thread.core());
        let is_current = core.current.get() == Some(name);
        match thread.state() {
            State::Running => ensure(is_current, "running-is-current", address)?,
            State::Held => {
                let context = thread.sched_context.get().map(|name| self.store.sched_context(name));
                let awaits_period = context.is_some_and(|context| context.timer_place.get() != 0);
                let has_cause = thread.has(flag::STOPPED) || awaits_period || !thread.has_time();
                ensure(has_cause, "held-for-a-cause", address)?;
            }
            State::Waiting => ensure(thread.callers_bitmap.get() == 0, "waiting-without-callers", address)?,
            State::Ready => {
                ensure(!thread.has(flag::STOPPED), "ready-not-stopped", address)?;
                ensure(self.is_enqueued(core, name, thread), "ready-is-queued", address)?;
            }
            _ => {}
        }
        if matches!(thread.state(), State::Ready | State::Running) {
            ensure(thread.sched_context.get().is_some(), "ready-has-time", address)?;
        }
        let may_hold = !matches!(thread.state(), State::Inactive | State::Waiting);
        ensure(
            may_hold || thread.sched_context.get().is_none(),
            "idle-holds-no-time",
            address,
        )?;
        ensure(
            thread.state() != State::Inactive || thread.caller.get().is_none(),
            "inactive-serves-nobody",
            address,
        )
    }

    fn is_enqueued(&self, core: &Core, name: Ref<Thread>, thread: &Thread) -> bool {
        let level = thread.priority.get();
        if level == FAIR_PRIORITY {
            let entry = core.fair.at(thread.fair_place.get() as usize);
            return entry.is_some_and(|entry| entry.name == name.address());
        }
        let list = core.ready[usize::from(level & 31)].iter(&self.store, Thread::queue_links);
        list.take(LONGEST_LIST).any(|queued| queued == name)
    }

    /// Calls: both ends agree, depth counts up, no cycle.
    fn check_chain(&self, name: Ref<Thread>, thread: &Thread) -> Checked {
        let address = name.address();
        let is_calling = matches!(thread.state(), State::Called | State::Queued);
        ensure(thread.callee.get().is_some() == is_calling, "callee-state", address)?;
        if thread.state() == State::Called {
            let server = thread.callee.get().map(|server| self.store.thread(server));
            let agrees = server.is_some_and(|server| server.caller.get() == Some(name));
            ensure(agrees, "callee-link", address)?;
        }
        if let Some(caller) = thread.caller.get() {
            let caller = self.store.thread(caller);
            let agrees = caller.state() == State::Called && caller.callee.get() == Some(name);
            ensure(agrees, "caller-link", address)?;
            ensure(thread.depth.get() == caller.depth.get() + 1, "depth", address)?;
        } else {
            ensure(thread.depth.get() == 0, "depth", address)?;
        }
        ensure(thread.depth.get() < MAX_CALL_DEPTH, "depth-bound", address)?;
        let chain = core::iter::successors(thread.callee.get(), |&next| self.store.thread(next).callee.get());
        let mut chain = chain.take(LONGEST_LIST);
        ensure(!chain.any(|next| next == name), "chain-acyclic", address)
    }

    fn check_core(&self, core: &Core) -> Checked {
        let address = u64::from(core.index.get());
        if let Some(current) = core.current.get() {
            let thread = self.store.thread(current);
            ensure(thread.core() == core.index.get(), "current-core", current.address())?;
            let above = core.ready_bitmap.get() >> (thread.priority.get() & 31);
            let is_here = self.here.get() == core.index.get();
            let is_highest = thread.state() != State::Running || above <= 1;
            ensure(!is_here || is_highest, "highest-runs", current.address())?;
        }
        for (level, list) in core.ready.iter().enumerate() {
            let marked = core.ready_bitmap.get() >> level & 1 == 1;
            let is_fair = level == usize::from(FAIR_PRIORITY);
            let is_empty = if is_fair { core.fair.is_empty() } else { list.is_empty() };
            ensure(marked != is_empty, "ready-bitmap", address)?;
            self.check_list(list.iter(&self.store, Thread::queue_links), |name| {
                let thread = self.store.thread(name);
                let fits = thread.state() == State::Ready && usize::from(thread.priority.get()) == level;
                ensure(fits && thread.core() == core.index.get(), "ready-queue", name.address())
            })?;
        }
        for place in 1..=core.fair.len() {
            let entry = core.fair.at(place).and_then(|entry| Ref::<Thread>::new(entry.name));
            let agrees = entry.is_some_and(|name| self.store.thread(name).fair_place.get() as usize == place);
            ensure(agrees, "fair-place", address)?;
        }
        for place in 1..=core.timers.len() {
            self.check_timer(core, place)?;
        }
        Ok(())
    }

    fn check_timer(&self, core: &Core, place: usize) -> Checked {
        let Some(entry) = core.timers.at(place) else {
            return Ok(());
        };
        let parent = core.timers.at(place / 2);
        ensure(
            parent.is_none_or(|parent| parent.key <= entry.key),
            "timer-order",
            entry.name,
        )?;
        let known: Option<&Cell<u32>> = if entry.name & 1 == 1 {
            Ref::<SchedContext>::new(entry.name & !1).map(|name| &self.store.sched_context(name).timer_place)
        } else {
            Ref::<Thread>::new(entry.name).map(|name| &self.store.thread(name).timer_place)
        };
        ensure(
            known.is_some_and(|known| known.get() as usize == place),
            "timer-place",
            entry.name,
        )
    }

    fn check_notification(&self, name: Ref<Notification>) -> Checked {
        let notification = self.store.notification(name);
        let Some(thread) = notification.thread.get() else {
            return Ok(());
        };
        let thread = self.store.thread(thread);
        ensure(
            thread.notification.get() == Some(name),
            "notification-link",
            name.address(),
        )?;
        let is_pending = notification.bits.get() != 0;
        ensure(is_pending == thread.has(flag::SIGNALS), "signals-flag", name.address())?;
        let waits = matches!(thread.state(), State::Waiting | State::WaitingSignal);
        ensure(
            !(is_pending && waits && thread.has_time()),
            "no-lost-wakeup",
            name.address(),
        )
    }

    fn check_context(&self, name: Ref<SchedContext>) -> Checked {
        let (context, address) = (self.store.sched_context(name), name.address());
        let Some(home) = context.thread.get() else {
            return ensure(context.timer_place.get() == 0, "unbound-context-idle", address);
        };
        ensure(
            self.store.thread(home).own_sched_context.get() == Some(name),
            "context-link",
            address,
        )?;
        let is_used = self.holder_of(name);
        let holders = self.count_holders(home, name);
        ensure(holders == usize::from(is_used.is_some()), "context-one-holder", address)
    }

    /// Threads along the chain from a context's own thread that hold it.
    fn count_holders(&self, home: Ref<Thread>, name: Ref<SchedContext>) -> usize {
        let chain = core::iter::successors(Some(home), |&next| self.store.thread(next).callee.get());
        let held = |thread: &Ref<Thread>| self.store.thread(*thread).sched_context.get() == Some(name);
        chain.take(LONGEST_LIST).filter(held).count()
    }

    fn check_portal(&self, name: Ref<Portal>) -> Checked {
        let Some(server) = self.store.portal(name).server.get() else {
            return Ok(());
        };
        let mut portals = self
            .store
            .thread(server)
            .portals
            .iter(&self.store, Portal::sibling_links)
            .take(LONGEST_LIST);
        ensure(portals.any(|portal| portal == name), "portal-link", name.address())
    }

    fn check_domain(&self, name: Ref<crate::protection_domain::ProtectionDomain>) -> Checked {
        let domain = self.store.protection_domain(name);
        if let Some(space) = domain.space.get() {
            ensure(
                self.store.space(space).domain.get() == Some(name),
                "domain-space-link",
                name.address(),
            )?;
        }
        self.check_list(domain.threads.iter(&self.store, Thread::sibling_links), |thread| {
            ensure(
                self.store.thread(thread).domain.get() == Some(name),
                "domain-thread-link",
                name.address(),
            )
        })?;
        let slots = domain.table_pages.get() * S::SLOTS_PER_PAGE;
        let table = Frame(name.frame().0 + 1);
        (0..slots).try_for_each(|slot| self.check_capability(self.store.slot(table, slot).get(), name.address()))
    }

    /// A living capability names an object of its kind, of the past.
    fn check_capability(&self, capability: Capability, address: u64) -> Checked {
        if capability.is_none() {
            return ensure(capability.epoch == 0, "empty-slot", address);
        }
        ensure(capability.epoch >> 4 <= self.epoch.get(), "epoch-of-the-past", address)?;
        let same_kind = capability
            .kind()
            .is_some_and(|kind| capability.epoch & 0xF == kind as u64);
        ensure(same_kind, "capability-kind", address)
    }

    /// Both ends of a vCPU's links agree; its pages are its own; one core at most has it loaded.
    fn check_vcpu(&self, name: Ref<Vcpu>) -> Checked {
        let (vcpu, address) = (self.store.vcpu(name), name.address());
        let thread = vcpu.thread.get().map(|thread| self.store.thread(thread).vcpu.get());
        ensure(thread.is_none_or(|vcpu| vcpu == Some(name)), "vcpu-link", address)?;
        for page in &vcpu.pages {
            let entry = self.store.frame(page.get());
            ensure(
                entry.is(Tag::Vcpu) && entry.owner() == Some(name),
                "vcpu-pages",
                address,
            )?;
        }
        let cores = self.cores.iter().take(self.core_count());
        let loaded = cores.filter(|core| core.guest.get() == Some(name)).count();
        ensure(loaded <= 1, "vcpu-on-one-core", address)
    }

    fn check_space(&self, name: Ref<Space>) -> Checked {
        let space = self.store.space(name);
        self.check_list(
            space.attachments.iter(&self.store, Region::attachment_links),
            |region| {
                ensure(
                    self.store.region(region).space.get() == Some(name),
                    "attachment-link",
                    name.address(),
                )
            },
        )
    }

    fn check_region(&self, name: Ref<Region>) -> Checked {
        let (region, address) = (self.store.region(name), name.address());
        ensure(region.scrubbed.get() <= region.pages.get(), "scrubbed-bound", address)?;
        if let Some(parent) = region.parent.get() {
            let parent = self.store.region(parent);
            let within = region.first.get() >= parent.first.get()
                && region.first.get() + region.pages.get() <= parent.first.get() + parent.pages.get();
            ensure(within, "slice-within-parent", address)?;
            let rights = ecusson_abi::Rights(parent.rights.get());
            let access = ecusson_abi::Rights(region.rights.get() & 7);
            ensure(rights.has(access), "slice-rights", address)?;
        }
        let Some(space) = region.space.get() else {
            return ensure(region.mapped.get() == 0, "unattached-unmapped", address);
        };
        ensure(
            region.scrubbed.get() == region.pages.get(),
            "attached-is-scrubbed",
            address,
        )?;
        if self.store.space(space).kind() == SpaceKind::Dma {
            return Ok(());
        }
        (0..u64::from(region.mapped.get())).try_for_each(|page| {
            let expected = (region.first.get() + page, region.attached_rights.get());
            let found = self.translate(space, region.virtual_page.get() + page);
            ensure(found == Some(expected), "tables-equal-map", address)
        })
    }

    /// What the page tables of a space say of a page: frame and rights.
    #[must_use]
    pub fn translate(&self, space: Ref<Space>, page: u64) -> Option<(u64, u8)> {
        let mut table = Frame(self.store.space(space).root.get());
        for level in (0..S::TABLE_LEVELS).rev() {
            let index = page >> (S::TABLE_BITS * level) & ((1 << S::TABLE_BITS) - 1);
            let entry = self.store.entry(table, index).get();
            if entry & bit::PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & bit::LARGE != 0 {
                let offset = page & ((1 << (S::TABLE_BITS * level)) - 1);
                let writable = u8::from(entry & bit::WRITABLE != 0) << 1;
                let executable = u8::from(entry & bit::NO_EXECUTE == 0) << 2;
                return Some((
                    Frame::of_address(entry & bit::ADDRESS).0 + offset,
                    1 | writable | executable,
                ));
            }
            table = Frame::of_address(entry & bit::ADDRESS);
        }
        None
    }

    fn check_list<T: Object>(
        &self,
        list: impl Iterator<Item = Ref<T>>,
        mut each: impl FnMut(Ref<T>) -> Checked,
    ) -> Checked {
        for (count, name) in list.enumerate() {
            ensure(count < LONGEST_LIST, "list-finite", name.address())?;
            each(name)?;
        }
        Ok(())
    }
}
