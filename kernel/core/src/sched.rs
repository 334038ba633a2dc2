//! The scheduler: who runs next on a core, budgets, the fair band, deadlines.
//!
//! Fixed priorities; equal priorities take turns when a thread yields or its slice of the fair band is over.
//! At [`FAIR_PRIORITY`] the thread with the least weighted (virtual) time runs. Time is charged to scheduling
//! contexts at every kernel entry that may change who runs ([`Kernel::enter`]).

use ecusson_abi::{Event, FAIR_PRIORITY, NO_DEADLINE, Status};

use crate::heap::Entry;
use crate::kernel::Kernel;
use crate::name::Ref;
use crate::percpu::{Core, FAIR_SLICE_US};
use crate::sched_context::SchedContext;
use crate::store::Store;
use crate::thread::{State, Thread, flag};

/// Bit of a timer's name that marks a scheduling context (objects are 128-byte aligned).
const REPLENISH: u64 = 1;

impl<S: Store> Kernel<S> {
    /// Begins a kernel entry of a core: notes time and place, charges whoever ran.
    pub fn enter(&self, core: u8, now: u64) {
        self.enter_on(self.core(core), now);
    }

    /// As [`Kernel::enter`], for whoever has the core at hand.
    #[inline(always)]
    pub fn enter_on(&self, core: &Core, now: u64) {
        self.now.set(now);
        self.here.set(core.index.get());
        self.charge(core, now);
    }

    fn charge(&self, core: &Core, now: u64) {
        let ticks = now.saturating_sub(core.charged_since.get());
        core.charged_since.set(now);
        let Some(thread) = core.current.get() else { return };
        let thread = self.store.thread(thread);
        if let Some(name) = thread.sched_context.get() {
            let context = self.store.sched_context(name);
            context.charge(ticks, now);
            if context.is_depleted() {
                core.reschedule.set(true);
            }
        }
    }

    /// Chooses who runs next on the core of this entry and makes it current.
    pub fn schedule(&self) {
        let core = self.core(self.here.get());
        if let Some(name) = core.current.get() {
            if !self.must_leave(core, name) {
                return;
            }
            self.put_back(core, name);
        }
        core.reschedule.set(false);
        core.turn_over.set(false);
        core.rearm.set(true);
        let next = self.take_highest(core);
        if let Some(name) = next {
            let thread = self.store.thread(name);
            thread.set_state(State::Running);
            if thread.priority.get() == FAIR_PRIORITY {
                core.slice_began.set(self.now.get());
            }
        }
        core.current.set(next);
    }

    /// Whether the current thread of a core must make place.
    fn must_leave(&self, core: &Core, name: Ref<Thread>) -> bool {
        let thread = self.store.thread(name);
        if thread.state() != State::Running || core.reschedule.get() || core.turn_over.get() {
            return true;
        }
        let above = core.ready_bitmap.get() >> (thread.priority.get() & 31);
        above > 1 || above == 1 && thread.priority.get() == FAIR_PRIORITY && self.is_slice_over(core)
    }

    fn is_slice_over(&self, core: &Core) -> bool {
        let slice = FAIR_SLICE_US * self.ticks_per_us.get();
        self.now.get().saturating_sub(core.slice_began.get()) >= slice
    }

    /// Puts the current thread, if it could go on, among the ready ones.
    fn put_back(&self, core: &Core, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        if thread.state() != State::Running {
            return;
        }
        let goes_first = !core.turn_over.get();
        thread.set_state(State::Held);
        if self.is_eligible(thread) {
            self.enqueue(name, goes_first);
        }
    }

    /// Whether a thread may run: not stopped, on a context with budget left. A context without budget gets
    /// its replenishment timer.
    fn is_eligible(&self, thread: &Thread) -> bool {
        if thread.has(flag::STOPPED) {
            return false;
        }
        let Some(name) = thread.sched_context.get() else {
            return false;
        };
        let context = self.store.sched_context(name);
        context.roll(self.now.get());
        if context.is_depleted() {
            self.arm_replenishment(name);
            return false;
        }
        true
    }

    /// Makes a thread, in no queue, ready on its core, or held if it may not run.
    pub(crate) fn make_ready(&self, name: Ref<Thread>) {
        self.admit(name, false);
    }

    /// As [`Kernel::make_ready`], for a thread that goes on with the turn of the one that called or answered it: it runs
    /// before its equals, as on the fast paths.
    pub(crate) fn hand_over(&self, name: Ref<Thread>) {
        self.admit(name, true);
    }

    fn admit(&self, name: Ref<Thread>, goes_first: bool) {
        let thread = self.store.thread(name);
        if thread.sched_context.get().is_none() {
            thread.sched_context.set(thread.own_sched_context.get());
        }
        self.renew_priority(thread);
        thread.set_state(State::Held);
        if !self.is_eligible(thread) {
            return;
        }
        self.enqueue(name, goes_first);
        self.preempt(thread);
    }

    /// The higher of its own priority and that of the caller who lent it time.
    fn renew_priority(&self, thread: &Thread) {
        let is_lent = thread.sched_context.get() != thread.own_sched_context.get();
        let lender = if is_lent { thread.caller.get() } else { None };
        let lent = lender.map_or(0, |caller| self.store.thread(caller).priority.get());
        thread.priority.set(thread.own_priority.get().max(lent));
    }

    /// Has the core of a thread that became ready choose anew if the thread should run before whoever runs there, or share
    /// the fair band with it: the core has no timer for slices while it runs a band of one.
    fn preempt(&self, thread: &Thread) {
        let index = thread.core();
        if index == self.here.get() {
            return;
        }
        let core = self.core(index);
        let current = core.current.get().map(|name| self.store.thread(name));
        let level = thread.priority.get();
        let begins_band = level == FAIR_PRIORITY && core.fair.len() == 1;
        if current.is_none_or(|current| current.priority.get() < level + u8::from(begins_band)) {
            self.send_ipi(index);
        }
    }

    /// Has a core enter the kernel and choose anew.
    pub(crate) fn send_ipi(&self, index: u8) {
        if index == self.here.get() {
            self.core(index).reschedule.set(true);
            return;
        }
        let here = self.core(self.here.get());
        here.ipi_mask.set(here.ipi_mask.get() | 1 << index);
    }

    fn enqueue(&self, name: Ref<Thread>, goes_first: bool) {
        self.enqueue_on(self.core(self.store.thread(name).core()), name, goes_first);
    }

    #[inline(always)]
    pub(crate) fn enqueue_on(&self, core: &Core, name: Ref<Thread>, goes_first: bool) {
        let thread = self.store.thread(name);
        let level = thread.priority.get() & 31;
        thread.set_state(State::Ready);
        core.ready_bitmap.set(core.ready_bitmap.get() | 1 << level);
        if level == FAIR_PRIORITY {
            self.enqueue_fair(core, name);
        } else if goes_first {
            core.ready[usize::from(level)].push_front(&self.store, name, Thread::queue_links);
        } else {
            core.ready[usize::from(level)].push_back(&self.store, name, Thread::queue_links);
        }
    }

    fn enqueue_fair(&self, core: &Core, name: Ref<Thread>) {
        let context = self
            .store
            .thread(name)
            .sched_context
            .get()
            .map(|name| self.store.sched_context(name));
        // Who runs has a slice from now on.
        core.rearm.set(true);
        let floor = core.fair_floor.get();
        let key = context.map_or(floor, |context| context.virtual_time.get().max(floor));
        if let Some(context) = context {
            context.virtual_time.set(key);
        }
        core.fair.insert(
            Entry {
                key,
                name: name.address(),
            },
            |name, place| self.place_fair(name, place),
        );
    }

    fn place_fair(&self, name: u64, place: u32) {
        if let Some(name) = Ref::<Thread>::new(name) {
            self.store.thread(name).fair_place.set(place);
        }
    }

    /// Takes a ready thread out of its queue.
    pub(crate) fn dequeue(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        let core = self.core(thread.core());
        let level = thread.priority.get() & 31;
        let list = &core.ready[usize::from(level)];
        let is_empty = if level == FAIR_PRIORITY {
            core.fair.remove(thread.fair_place.get() as usize, |name, place| {
                self.place_fair(name, place);
            });
            core.fair.is_empty()
        } else {
            list.remove(&self.store, name, Thread::queue_links);
            list.is_empty()
        };
        if is_empty {
            core.ready_bitmap.set(core.ready_bitmap.get() & !(1 << level));
        }
    }

    /// Takes the thread that should run next out of the ready queue.
    fn take_highest(&self, core: &Core) -> Option<Ref<Thread>> {
        let level = core.ready_bitmap.get().checked_ilog2()? as usize;
        let name = if level == usize::from(FAIR_PRIORITY) {
            let first = core.fair.first()?;
            core.fair_floor.set(core.fair_floor.get().max(first.key));
            Ref::new(first.name)?
        } else {
            core.ready[level].first()?
        };
        self.dequeue(name);
        Some(name)
    }

    /// Takes a thread off the processor or out of the ready queue; it becomes held. A thread that runs on
    /// another core stays current there until that core has entered the kernel.
    pub(crate) fn hold(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        match thread.state() {
            State::Ready => {
                self.dequeue(name);
                thread.set_state(State::Held);
            }
            State::Running => {
                thread.set_state(State::Held);
                self.send_ipi(thread.core());
            }
            _ => {}
        }
    }

    /// Whether a core still has the thread as its current one.
    pub(crate) fn is_current(&self, name: Ref<Thread>) -> bool {
        self.core(self.store.thread(name).core()).current.get() == Some(name)
    }

    /// After a change of a context's parameters: the priorities of those who lent it, and then its holder's priority and
    /// place, are computed anew.
    pub(crate) fn reconsider_chain(&self, name: Ref<SchedContext>) {
        let Some(holder) = self.holder_of(name) else { return };
        let mut link = self.store.sched_context(name).thread.get();
        while let Some(lender) = link.filter(|&lender| lender != holder) {
            let lender = self.store.thread(lender);
            self.renew_priority(lender);
            link = lender.callee.get();
        }
        self.requeue(holder);
    }

    /// Computes a thread's priority and its place in the queue it stands in anew.
    pub(crate) fn requeue(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        match thread.state() {
            State::Ready => {
                self.dequeue(name);
                self.make_ready(name);
            }
            State::Held => self.make_ready(name),
            State::Running => {
                self.renew_priority(thread);
                self.send_ipi(thread.core());
            }
            State::Queued => {
                self.leave_callers(name);
                self.renew_priority(thread);
                self.join_callers(name);
            }
            _ => self.renew_priority(thread),
        }
    }

    /// The thread that holds a context: its own, or the end of the chain of servers it was lent along.
    pub(crate) fn holder_of(&self, name: Ref<SchedContext>) -> Option<Ref<Thread>> {
        let mut thread = self.store.sched_context(name).thread.get()?;
        for _ in 0..ecusson_abi::MAX_CALL_DEPTH {
            if self.store.thread(thread).sched_context.get() == Some(name) {
                return Some(thread);
            }
            thread = self.store.thread(thread).callee.get()?;
        }
        None
    }

    /// A thread loses the time it runs on and goes on with its own, if it has some.
    pub(crate) fn fall_back(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        let is_queued = thread.state() == State::Ready;
        if is_queued {
            self.dequeue(name);
        }
        thread.sched_context.set(None);
        match thread.state() {
            State::Ready | State::Held => self.make_ready(name),
            State::Running => {
                thread.sched_context.set(thread.own_sched_context.get());
                self.renew_priority(thread);
                self.core(thread.core()).reschedule.set(true);
                self.send_ipi(thread.core());
                if thread.sched_context.get().is_none() {
                    thread.set_state(State::Held);
                }
            }
            _ => {}
        }
    }

    // Timers

    fn place_timer(&self, name: u64, place: u32) {
        if name & REPLENISH != 0 {
            if let Some(name) = Ref::<SchedContext>::new(name & !REPLENISH) {
                self.store.sched_context(name).timer_place.set(place);
            }
        } else if let Some(name) = Ref::<Thread>::new(name) {
            self.store.thread(name).timer_place.set(place);
        }
    }

    fn arm_replenishment(&self, name: Ref<SchedContext>) {
        let context = self.store.sched_context(name);
        if context.timer_place.get() != 0 {
            return;
        }
        let key = context.window.get().saturating_add(context.period.get());
        let entry = Entry {
            key,
            name: name.address() | REPLENISH,
        };
        self.core(context.core.get())
            .timers
            .insert(entry, |name, place| self.place_timer(name, place));
        self.timer_changed(context.core.get(), key);
    }

    /// Removes a context's replenishment timer, if it has one.
    pub(crate) fn cancel_replenishment(&self, name: Ref<SchedContext>) {
        let context = self.store.sched_context(name);
        let place = context.timer_place.get() as usize;
        self.core(context.core.get())
            .timers
            .remove(place, |name, place| self.place_timer(name, place));
    }

    /// Arms a thread's deadline; none if it never comes.
    pub(crate) fn arm_deadline(&self, name: Ref<Thread>, deadline: u64) {
        if deadline == NO_DEADLINE {
            return;
        }
        let thread = self.store.thread(name);
        thread.set_flag(flag::DEADLINE);
        let entry = Entry {
            key: deadline,
            name: name.address(),
        };
        self.core(thread.core())
            .timers
            .insert(entry, |name, place| self.place_timer(name, place));
        self.timer_changed(thread.core(), deadline);
    }

    /// Disarms a thread's deadline, if it has one.
    pub(crate) fn cancel_deadline(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        if !thread.has(flag::DEADLINE) {
            return;
        }
        thread.clear_flag(flag::DEADLINE);
        let place = thread.timer_place.get() as usize;
        self.core(thread.core())
            .timers
            .remove(place, |name, place| self.place_timer(name, place));
    }

    /// A core whose timer must fire earlier than it knows has to enter the kernel.
    fn timer_changed(&self, index: u8, key: u64) {
        let is_first = self.core(index).timers.first().is_some_and(|first| first.key == key);
        if !is_first {
            return;
        }
        if index == self.here.get() {
            self.core(index).rearm.set(true);
        } else {
            self.send_ipi(index);
        }
    }

    /// Timer interrupt of the core of this entry: handles what is due, a bounded number of entries at a time.
    pub fn timer(&self) {
        let core = self.core(self.here.get());
        for _ in 0..16 {
            match core.timers.first() {
                Some(first) if first.key <= self.now.get() => self.expire(core, first),
                _ => return,
            }
        }
    }

    fn expire(&self, core: &Core, first: Entry) {
        core.timers.remove(1, |name, place| self.place_timer(name, place));
        if first.name & REPLENISH == 0 {
            if let Some(name) = Ref::<Thread>::new(first.name) {
                let thread = self.store.thread(name);
                thread.clear_flag(flag::DEADLINE);
                if !matches!(thread.state(), State::Waiting | State::WaitingSignal) {
                    self.leave_guest(name, Status::event(Event::Deadline), 0);
                } else if thread.has_time() {
                    thread.finish(Status::event(Event::Deadline), 0);
                    self.make_ready(name);
                }
            }
        } else if let Some(name) = Ref::<SchedContext>::new(first.name & !REPLENISH) {
            self.store.sched_context(name).roll(self.now.get());
            let holder = self.holder_of(name);
            if let Some(holder) = holder.filter(|&holder| self.store.thread(holder).state() == State::Held) {
                self.make_ready(holder);
            }
        }
    }

    /// When a core's timer must fire next, if that may be earlier than the core knows. Asked on the way out of an entry.
    #[inline(always)]
    pub fn new_timer(&self, core: &Core) -> Option<u64> {
        core.rearm.take().then(|| self.next_timer(core))
    }

    /// When a core's timer must fire next; [`NO_DEADLINE`] for never.
    #[must_use]
    pub fn next_timer(&self, core: &Core) -> u64 {
        let timer = core.timers.first().map_or(NO_DEADLINE, |first| first.key);
        let Some(thread) = core.current.get().map(|name| self.store.thread(name)) else {
            return timer;
        };
        let Some(context) = thread.sched_context.get() else {
            return timer;
        };
        let context = self.store.sched_context(context);
        let mut next = timer;
        if context.is_limited() {
            let left = context.budget.get().saturating_sub(context.used.get());
            next = next.min(self.now.get().saturating_add(left));
        }
        if thread.priority.get() == FAIR_PRIORITY && !core.fair.is_empty() {
            let slice = FAIR_SLICE_US * self.ticks_per_us.get();
            next = next.min(core.slice_began.get().saturating_add(slice));
        }
        next
    }
}
