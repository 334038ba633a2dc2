//! Scheduling contexts: the right to processor time, in budgets per period, or by weight in the fair band.

use core::cell::Cell;

use ecusson_abi::{Error, Event, FAIR_PRIORITY, PRIORITIES, Rights, Status, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::{Header, Ref, object};
use crate::percpu::{CORE_CONTEXTS, CORE_THREADS, Core};
use crate::platform::Platform;
use crate::store::Store;
use crate::thread::{State, Thread, flag};

/// A scheduling context. Times are TSC ticks.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct SchedContext {
    /// Epoch.
    pub header: Header,
    /// Ticks it may use in a period; equal to the period for no limit.
    pub budget: Cell<u64>,
    /// Length of a period; 0 while it is not configured.
    pub period: Cell<u64>,
    /// Begin of the current period.
    pub window: Cell<u64>,
    /// Used in the current period.
    pub used: Cell<u64>,
    /// Used since creation.
    pub total: Cell<u64>,
    /// Fair band: weighted time used.
    pub virtual_time: Cell<u64>,
    /// Whose own time this is.
    pub thread: Cell<Option<Ref<Thread>>>,
    /// Fair band: share, 1 to 65535.
    pub weight: Cell<u32>,
    /// 1-based place in the timer heap, while it waits for its next period.
    pub timer_place: Cell<u32>,
    /// Core it gives time on.
    pub core: Cell<u8>,
    /// Priority it gives.
    pub priority: Cell<u8>,
}

object!(SchedContext, Small, sched_context);

impl SchedContext {
    /// Whether it was ever configured.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.period.get() != 0
    }

    /// Whether the budget of this period is used up.
    #[must_use]
    pub fn is_depleted(&self) -> bool {
        self.is_limited() && self.used.get() >= self.budget.get()
    }

    /// Whether it is bounded neither by a budget nor by a weight: only its total is counted.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.is_limited() && self.weight.get() == 0
    }

    /// Whether it has a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.budget.get() < self.period.get()
    }

    /// Begins a new period if the current one is over.
    pub(crate) fn roll(&self, now: u64) {
        let period = self.period.get();
        let elapsed = now.saturating_sub(self.window.get());
        if period != 0 && elapsed >= period {
            self.window.set(now - elapsed % period);
            self.used.set(0);
        }
    }

    /// Charges time that ended at `now`; what lies before the current period counts for the past one.
    pub(crate) fn charge(&self, ticks: u64, now: u64) {
        self.total.set(self.total.get().wrapping_add(ticks));
        if self.is_plain() {
            return;
        }
        self.used.set(self.used.get().saturating_add(ticks));
        self.roll(now);
        if self.used.get() == 0 {
            self.used.set(ticks.min(now.saturating_sub(self.window.get())));
        }
        if let Some(share) = (ticks << 10).checked_div(u64::from(self.weight.get())) {
            self.virtual_time.set(self.virtual_time.get().saturating_add(share));
        }
    }
}

/// What `configure` was asked for, checked.
struct Configuration {
    core: u8,
    priority: u8,
    weight: u32,
    budget: u64,
    period: u64,
}

/// Longest period: a day at 10 GHz. Sums of times stay far from overflow.
const LONGEST_PERIOD: u64 = 10_000_000_000 * 86_400;

impl<S: Store> Kernel<S> {
    /// `SchedContext.configure`, `bind`, `used`.
    pub(crate) fn sched_context_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<SchedContext>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        match words[0] {
            ops::sched_context::CONFIGURE => self.configure_context(actor, name, rights, words),
            ops::sched_context::BIND => self.bind_context(actor, name, rights, words),
            ops::sched_context::USED => {
                Failure::require(rights, Rights::READ)?;
                Ok(Outcome::Done(self.store.sched_context(name).total.get()))
            }
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    fn parse_configuration(&self, words: &Words) -> Result<Configuration, Failure> {
        let core = words[2] as u8;
        let priority = (words[2] >> 8) as u8;
        let weight = (words[2] >> 32) as u32;
        let bad_weight = priority == FAIR_PRIORITY && !(1..=0xFFFF).contains(&weight);
        if usize::from(core) >= self.core_count() || priority >= PRIORITIES || bad_weight {
            return Err(Failure::at(Error::BadArg, 2));
        }
        let (budget, period) = (words[3], words[4]);
        if budget == 0 || budget > period {
            return Err(Failure::at(Error::BadArg, 3));
        }
        if period > LONGEST_PERIOD {
            return Err(Failure::at(Error::BadArg, 4));
        }
        let weight = if priority == FAIR_PRIORITY { weight } else { 0 };
        Ok(Configuration {
            core,
            priority,
            weight,
            budget,
            period,
        })
    }

    fn configure_context(&self, actor: Ref<Thread>, name: Ref<SchedContext>, rights: Rights, words: &Words) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        let caller = self.store.thread(actor);
        self.argument::<Platform>(caller, words, 1, Rights::CPU_TIME)?;
        let wanted = self.parse_configuration(words)?;
        let context = self.store.sched_context(name);
        let moves = !context.is_configured() || context.core.get() != wanted.core;
        let target = self
            .cores
            .get(usize::from(wanted.core))
            .ok_or(Failure::at(Error::BadArg, 2))?;
        if moves {
            if target.contexts.get() >= CORE_CONTEXTS {
                return Err(Failure::at(Error::NoMemory, 2));
            }
            if let Some(thread) = context.thread.get() {
                self.may_move(thread, target)?;
            }
        }
        // Nothing may fail from here on.
        self.cancel_replenishment(name);
        if moves {
            self.move_context(name, wanted.core);
        }
        context.core.set(wanted.core);
        context.priority.set(wanted.priority);
        context.weight.set(wanted.weight);
        context.budget.set(wanted.budget);
        context.period.set(wanted.period);
        context.window.set(self.now.get());
        context.used.set(0);
        if let Some(thread) = context.thread.get() {
            self.store.thread(thread).own_priority.set(wanted.priority);
            self.reconsider_chain(name);
        }
        Ok(Outcome::Done(0))
    }

    /// A thread changes its core only while nobody's queues depend on where it is, after its core let go of it, and to a
    /// core that has room for it.
    fn may_move(&self, name: Ref<Thread>, target: &Core) -> Result<(), Failure> {
        let thread = self.store.thread(name);
        let idle = matches!(thread.state(), State::Inactive | State::Held);
        let alone = thread.caller.get().is_none() && thread.callers_bitmap.get() == 0;
        if !idle || !alone {
            return Err(Failure::at(Error::BadState, 0));
        }
        if self.is_current(name) {
            return Err(Failure::at(Error::Busy, 0));
        }
        if target.threads.get() >= CORE_THREADS {
            return Err(Failure::at(Error::NoMemory, 2));
        }
        Ok(())
    }

    /// Counts a context, and its thread, on another core.
    fn move_context(&self, name: Ref<SchedContext>, core: u8) {
        let context = self.store.sched_context(name);
        // Virtual times of two cores can't be compared: it begins at the floor of the new one.
        context.virtual_time.set(0);
        if context.is_configured() {
            let old = self.core(context.core.get());
            old.contexts.set(old.contexts.get().saturating_sub(1));
        }
        let new = self.core(core);
        new.contexts.set(new.contexts.get() + 1);
        if let Some(name) = context.thread.get() {
            let thread = self.store.thread(name);
            if thread.has(flag::GUEST) {
                // Its deadline is the old core's; one that comes early does no harm.
                self.leave_guest(name, Status::event(Event::Deadline), 0);
            }
            let old = self.core(thread.core());
            old.threads.set(old.threads.get().saturating_sub(1));
            new.threads.set(new.threads.get() + 1);
            thread.set_core(core);
        }
    }

    fn bind_context(&self, actor: Ref<Thread>, name: Ref<SchedContext>, rights: Rights, words: &Words) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        let caller = self.store.thread(actor);
        let target = self.argument::<Thread>(caller, words, 1, Rights::MANAGE)?;
        let (context, thread) = (self.store.sched_context(name), self.store.thread(target));
        if !context.is_configured() {
            return Err(Failure::at(Error::BadState, 0));
        }
        if context.thread.get().is_some() || thread.own_sched_context.get().is_some() {
            return Err(Failure::at(Error::Occupied, 1));
        }
        if context.core.get() != thread.core() {
            return Err(Failure::at(Error::BadArg, 1));
        }
        // Nothing may fail from here on.
        context.thread.set(Some(target));
        thread.own_sched_context.set(Some(name));
        thread.own_priority.set(context.priority.get());
        self.requeue(target);
        if let Some(notification) = thread.notification.get() {
            // Signals that came while it had no time to take them.
            self.signal(notification, 0);
        }
        Ok(Outcome::Done(0))
    }

    /// Marks those who lent a context along a chain of calls: none of them gets it back.
    fn bereave(&self, home: Ref<Thread>, holder: Ref<Thread>) {
        let mut lender = home;
        while lender != holder {
            let thread = self.store.thread(lender);
            thread.set_flag(flag::BEREFT);
            let Some(server) = thread.callee.get() else { return };
            lender = server;
        }
    }

    /// Takes a scheduling context from whoever holds it and from its own thread.
    pub(crate) fn unbind_context(&self, name: Ref<SchedContext>) {
        self.cancel_replenishment(name);
        let context = self.store.sched_context(name);
        if let Some(home) = context.thread.get() {
            let holder = self.holder_of(name);
            context.thread.set(None);
            let thread = self.store.thread(home);
            thread.own_sched_context.set(None);
            thread.own_priority.set(0);
            if let Some(holder) = holder {
                self.bereave(home, holder);
                self.fall_back(holder);
            }
        }
        if context.is_configured() {
            let core = self.core(context.core.get());
            core.contexts.set(core.contexts.get().saturating_sub(1));
            context.period.set(0);
        }
    }
}
