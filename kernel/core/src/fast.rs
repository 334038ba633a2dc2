//! The fast paths: what a system call costs when nothing unusual is the case.
//!
//! Each answers `None` before it changed anything if the case is not the usual one; the slow path then does
//! the whole call. The machine layer calls them under the kernel lock with the message registers live;
//! none of them reads or writes a message word.

use ecusson_abi::{Event, FAIR_PRIORITY, Kind, MAX_CALL_DEPTH, NO_DEADLINE, Rights, Status, Syscall, fault, ops};

use crate::cap::Capability;
use crate::kernel::{Kernel, Outcome};
use crate::name::Ref;
use crate::notification::Notification;
use crate::percpu::{Core, FIRST_VECTOR};
use crate::portal::Portal;
use crate::region::Region;
use crate::store::Store;
use crate::thread::{Fault, State, Thread, flag};

/// What a thread that faulted has beside its state while its handler is called.
const FAULTED: u32 = flag::FAULTING | flag::FULL_CONTEXT;

impl<S: Store> Kernel<S> {
    /// `Call` of a passive portal whose server waits on this core. The server becomes current on the
    /// caller's scheduling context; the result is the portal's label.
    ///
    /// The caller was the highest-priority thread of the core and the server runs at no less, so that the
    /// scheduler need not be asked.
    #[inline(always)]
    pub fn fast_call(&self, core: &Core, slot: u64) -> Option<u64> {
        let caller_name = core.current.get()?;
        let caller = self.store.thread(caller_name);
        let capability = self.capability(caller, slot)?;
        if !capability.permits(Kind::Portal, Rights::CALL) {
            return None;
        }
        let (_, label) = self.lend_turn(core, caller_name, capability, 0)?;
        Some(label)
    }

    /// A fault of the current thread, all of whose registers are saved, when the handler's portal is passive and its server waits on
    /// this core: a call made in the thread's name.
    #[inline(always)]
    pub fn fast_fault(&self, core: &Core, report: Fault) -> Option<()> {
        let name = core.current.get()?;
        let thread = self.store.thread(name);
        let (server, label) = self.lend_turn(core, name, thread.fault_handler.get(), FAULTED)?;
        thread.fault.set(report);
        thread.transfer.set(0);
        server.context.set_words(thread.fault_message());
        server.context.rax.set(Status::DONE.0);
        server.context.rdx.set(label);
        Some(())
    }

    /// Makes the waiting server of a passive portal of this core current on the caller's time. `flags` join the caller's state.
    /// The result is the server and the portal's label.
    #[inline(always)]
    fn lend_turn(
        &self,
        core: &Core,
        caller_name: Ref<Thread>,
        capability: Capability,
        flags: u32,
    ) -> Option<(&Thread, u64)> {
        let caller = self.store.thread(caller_name);
        let portal = self.store.portal(self.live::<Portal>(capability)?);
        let server_name = portal.server.get()?;
        let server = self.store.thread(server_name);
        let running = core.running_word.get();
        let waiting = running ^ (State::Running as u32 ^ State::Waiting as u32);
        let usual = caller.run.get() == running && server.run.get() == waiting && portal.is_passive();
        let depth = caller.depth.get() + 1;
        if !usual || depth >= MAX_CALL_DEPTH {
            return None;
        }
        // Nothing may fail from here on. Whoever runs has time to lend (`ready-has-time`).
        caller
            .run
            .set(running ^ (State::Running as u32 ^ State::Called as u32) | flags);
        caller.callee.set(Some(server_name));
        server.run.set(running);
        server.sched_context.set(caller.sched_context.take());
        server.caller.set(Some(caller_name));
        server.depth.set(depth);
        server
            .priority
            .set(caller.priority.get().max(server.own_priority.get()));
        core.current.set(Some(server_name));
        Some((server, portal.label.get()))
    }

    /// `ReplyWait` without deadline, to a caller on this core that lent its time, when neither signals nor
    /// callers wait and no thread is ready at the caller's priority or above.
    #[inline(always)]
    pub fn fast_reply_wait(&self, core: &Core) -> Option<()> {
        self.return_turn(core, 0).map(|_| ())
    }

    /// The fast paths that come after the registers are saved. The result is who runs now.
    #[inline(always)]
    pub fn fast_saved(&self, core: &Core, now: u64) -> Option<Ref<Thread>> {
        const YIELD: u64 = Syscall::Yield as u64;
        const REPLY_WAIT: u64 = Syscall::ReplyWait as u64;
        let actor = self.store.thread(core.current.get()?);
        match actor.context.rax.get() {
            YIELD => self.fast_yield(core, now),
            REPLY_WAIT if actor.has_resume() => self.return_turn(core, FAULTED),
            _ => None,
        }
    }

    /// Makes the caller, whose state is `Called` with these flags beside it, current on the time it lent; its server waits.
    #[inline(always)]
    fn return_turn(&self, core: &Core, flags: u32) -> Option<Ref<Thread>> {
        let server = self.store.thread(core.current.get()?);
        let caller_name = server.caller.get()?;
        let caller = self.store.thread(caller_name);
        let running = core.running_word.get();
        let called = running ^ (State::Running as u32 ^ State::Called as u32) | flags;
        let usual = server.run.get() == running && caller.run.get() == called;
        let is_lent = caller.sched_context.get().is_none();
        let priority = caller.priority.get() & 31;
        // An equal that is ready is the slow path's business too: in the fair band the caller's slice needs its timer.
        if !usual || !is_lent || core.ready_bitmap.get() >> priority != 0 {
            return None;
        }
        // Nothing may fail from here on.
        server
            .run
            .set(running ^ (State::Running as u32 ^ State::Waiting as u32));
        server.caller.set(None);
        server.depth.set(0);
        caller.run.set(running | flags & flag::FULL_CONTEXT);
        caller.sched_context.set(server.sched_context.take());
        caller.callee.set(None);
        core.current.set(Some(caller_name));
        Some(caller_name)
    }

    /// `Yield`: to the first of the ready equals, when nobody above is ready and neither side's time has a limit or a weight,
    /// so that no timer changes.
    #[inline(always)]
    fn fast_yield(&self, core: &Core, now: u64) -> Option<Ref<Thread>> {
        let name = core.current.get()?;
        let thread = self.store.thread(name);
        let level = thread.priority.get() & 31;
        let equals = &core.ready[usize::from(level)];
        let next_name = equals.first()?;
        let next = self.store.thread(next_name);
        let running = core.running_word.get();
        let is_usual = thread.run.get() == running && core.ready_bitmap.get() >> level == 1;
        let context = self.store.sched_context(thread.sched_context.get()?);
        let next_context = self.store.sched_context(next.sched_context.get()?);
        let is_plain = context.is_plain() && next_context.is_plain();
        if !is_usual || !is_plain || core.reschedule.get() {
            return None;
        }
        // Nothing may fail from here on.
        context.total.set(
            context
                .total
                .get()
                .wrapping_add(now.saturating_sub(core.charged_since.get())),
        );
        core.charged_since.set(now);
        equals.remove(&self.store, next_name, Thread::queue_links);
        equals.push_back(&self.store, name, Thread::queue_links);
        thread.set_state(State::Ready);
        thread.finish(Status::DONE, 0);
        next.set_state(State::Running);
        core.current.set(Some(next_name));
        Some(next_name)
    }

    /// `Signal` of a notification whose thread, if it has one, does not wait.
    #[inline(always)]
    pub fn fast_signal(&self, core: &Core, slot: u64, bits: u64) -> Option<()> {
        let actor = self.store.thread(core.current.get()?);
        let capability = self.capability(actor, slot)?;
        if !capability.permits(Kind::Notification, Rights::SIGNAL) {
            return None;
        }
        let notification = self.store.notification(self.live::<Notification>(capability)?);
        if let Some(waiter) = notification.thread.get() {
            let thread: &Thread = self.store.thread(waiter);
            let is_pending = thread.has(crate::thread::flag::SIGNALS);
            if !is_pending {
                return None;
            }
        }
        notification.bits.set(notification.bits.get() | bits);
        Some(())
    }

    /// `Invoke` of `IDENTIFY`: kind and rights of a living capability.
    #[inline(always)]
    pub fn fast_identify(&self, core: &Core, slot: u64) -> Option<u64> {
        let actor = self.store.thread(core.current.get()?);
        let capability = self.capability(actor, slot)?;
        if !self.is_live(capability) {
            return None;
        }
        Some(capability.identity())
    }

    /// A device's interrupt that needs no masking, for a thread of this core that waits, has unlimited time of its own and comes
    /// before everybody here: it becomes current at once, and is the result. Comes after [`Kernel::enter`]; the timer may stay as it is, for such
    /// a thread needs none.
    #[inline(always)]
    pub fn fast_interrupt(&self, core: &Core, vector: u8) -> Option<Ref<Thread>> {
        let index = usize::from(vector.wrapping_sub(FIRST_VECTOR));
        let interrupt = self.store.interrupt(core.vectors.get(index)?.get()?);
        if interrupt.needs_masking() {
            return None;
        }
        let notification = self
            .store
            .notification(self.live::<Notification>(interrupt.notification.get())?);
        let waiter_name = notification.thread.get()?;
        let waiter = self.store.thread(waiter_name);
        let own = waiter.own_sched_context.get()?;
        let level = waiter.own_priority.get() & 31;
        let running = core.running_word.get();
        let wait = (waiter.run.get() ^ running ^ State::Running as u32) & !flag::LOADED;
        let is_waiting = wait == State::Waiting as u32 || wait == State::WaitingSignal as u32;
        let is_free = waiter.caller.get().is_none() && self.store.sched_context(own).is_plain();
        let is_first = core.ready_bitmap.get() >> level == 0 && level != FAIR_PRIORITY;
        if !is_waiting || !is_free || !is_first || core.reschedule.get() {
            return None;
        }
        if let Some(current_name) = core.current.get() {
            let current = self.store.thread(current_name);
            let is_usual = current.run.get() & !(flag::FULL_CONTEXT | flag::LOADED) == running;
            if !is_usual || current.priority.get() >= level {
                return None;
            }
            // Nothing may fail from here on. It was charged on entry and has time left, or the core would have to choose anew.
            self.enqueue_on(core, current_name, true);
        }
        waiter.context.rax.set(Status::event(Event::Signal).0);
        waiter.context.rdx.set(notification.bits.take() | interrupt.bits.get());
        waiter.set_state(State::Running);
        waiter.sched_context.set(Some(own));
        waiter.priority.set(level);
        core.current.set(Some(waiter_name));
        Some(waiter_name)
    }

    /// `Invoke` of `ATTACH` for a Region of one page whose table exists: all of the operation, without the way to the scheduler and back.
    #[inline(always)]
    pub fn fast_attach(&self, core: &Core, slot: u64, arguments: [u64; 3]) -> Option<u64> {
        let actor_name = core.current.get()?;
        let actor = self.store.thread(actor_name);
        let capability = self.capability(actor, slot)?;
        if !capability.permits(Kind::Region, Rights::NONE) {
            return None;
        }
        let name = self.live::<Region>(capability)?;
        if actor.run.get() != core.running_word.get() || self.store.region(name).pages.get() != 1 {
            return None;
        }
        let [space, page, rights] = arguments;
        let words = [ops::region::ATTACH, space, page, rights, 0, 0];
        match self.attach(actor_name, name, capability.rights(), &words) {
            Ok(Outcome::Done(second)) => Some(second),
            _ => None,
        }
    }
}

impl Thread {
    /// Whether its arguments are those of a `ReplyWait` that has a faulting caller go on and waits without end.
    #[inline(always)]
    fn has_resume(&self) -> bool {
        let context = &self.context;
        context.rdi.get() == NO_DEADLINE && context.rsi.get() == 0 && context.r12.get() == fault::RESUME
    }
}
