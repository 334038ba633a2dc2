//! Calls, replies and waiting: the full case. The usual case is in [`crate::fast`] and must agree with this.
//!
//! A call is in one of two phases: *queued* at a busy server, or *called* (served). Whatever ends it early,
//! the caller gets `Dead` and, if it had lent its time, has it back ([`Kernel::end_call`]).

use ecusson_abi::{Error, Event, MAX_CALL_DEPTH, Rights, Status, Transfer, fault};

use crate::cap::Capability;
use crate::kernel::{Failure, Kernel};
use crate::name::Ref;
use crate::percpu::Effect;
use crate::portal::Portal;
use crate::store::Store;
use crate::thread::{State, Thread, flag};

/// So many callers that may not be served any more are cleared from a queue at most.
const STALE_CALLERS_A_STEP: usize = 16;

/// A portal that may be called now, and what the call will be.
struct Callable {
    server: Ref<Thread>,
    label: u64,
    is_donation: bool,
}

impl<S: Store> Kernel<S> {
    /// System call `Call`.
    ///
    /// # Errors
    /// As [`Kernel::lookup`]; `Dead` without a server, `TooDeep`, `BadState` for a server without time of its own
    /// that would need some; for the capability to send as [`Kernel::sendable`].
    pub(crate) fn call(&self, actor: Ref<Thread>, slot: u64, transfer: u64) -> Result<(), Failure> {
        let caller = self.store.thread(actor);
        let portal = self
            .lookup::<Portal>(caller, slot, Rights::CALL)
            .map_err(|error| Failure::at(error, 0))?;
        self.sendable(caller, Transfer(transfer))?;
        let callable = self.callable(actor, portal)?;
        // Nothing may fail from here on.
        caller.transfer.set(transfer);
        caller.open_slot(Transfer(transfer).receive_slot_plus_one());
        self.begin_call(actor, portal, &callable);
        Ok(())
    }

    /// Checks everything about a call that can fail.
    fn callable(&self, actor: Ref<Thread>, portal: Ref<Portal>) -> Result<Callable, Failure> {
        let caller = self.store.thread(actor);
        let portal = self.store.portal(portal);
        // A server that is being destroyed takes no more calls, or its destruction might never end.
        let living = portal
            .server
            .get()
            .filter(|&name| self.store.thread(name).header.is_alive());
        let name = living.ok_or(Failure::at(Error::Dead, 0))?;
        let server = self.store.thread(name);
        if caller.depth.get() + 1 >= MAX_CALL_DEPTH || !self.is_chain_free(actor, name) {
            return Err(Failure::at(Error::TooDeep, 0));
        }
        let is_donation = portal.is_passive() && server.core() == caller.core();
        let is_lent = is_donation && caller.sched_context.get().is_some();
        if !is_lent && server.own_sched_context.get().is_none() {
            return Err(Failure::at(Error::BadState, 0));
        }
        Ok(Callable {
            server: name,
            label: portal.label.get(),
            is_donation,
        })
    }

    /// Whether a call from `actor` to `server` closes no cycle and the chain below stays bounded.
    fn is_chain_free(&self, actor: Ref<Thread>, server: Ref<Thread>) -> bool {
        let mut link = Some(server);
        for _ in 0..MAX_CALL_DEPTH {
            match link {
                None => return true,
                Some(name) if name == actor => return false,
                Some(name) => link = self.store.thread(name).callee.get(),
            }
        }
        false
    }

    /// That the capability a transfer word sends may be sent.
    ///
    /// # Errors
    /// `BadCap` for an empty slot, `NoRight` without GRANT; argument 1.
    fn sendable(&self, sender: &Thread, transfer: Transfer) -> Result<(), Failure> {
        let Some(slot) = transfer.send_slot_plus_one().checked_sub(1) else {
            return Ok(());
        };
        let capability = self
            .capability(sender, u64::from(slot))
            .filter(|capability| !capability.is_none());
        let capability = capability.ok_or(Failure::at(Error::BadCap, 1))?;
        if capability.rights().has(Rights::GRANT) {
            Ok(())
        } else {
            Err(Failure::at(Error::NoRight, 1))
        }
    }

    fn begin_call(&self, actor: Ref<Thread>, portal: Ref<Portal>, callable: &Callable) {
        let (caller, server) = (self.store.thread(actor), self.store.thread(callable.server));
        caller.callee.set(Some(callable.server));
        if server.state() == State::Waiting {
            self.cancel_deadline(callable.server);
            self.deliver(actor, callable);
            if callable.is_donation {
                self.hand_over(callable.server);
            } else {
                self.make_ready(callable.server);
            }
            return;
        }
        let epoch = self.store.portal(portal).header.epoch.get();
        caller.called_through.set(Capability::new(portal, epoch, Rights::CALL));
        caller.set_state(State::Queued);
        self.join_callers(actor);
    }

    /// Puts a caller last among those of its priority who are queued at its server.
    pub(crate) fn join_callers(&self, name: Ref<Thread>) {
        let caller = self.store.thread(name);
        let Some(server) = caller.callee.get() else { return };
        let server = self.store.thread(server);
        let level = usize::from(caller.priority.get() & 31);
        server.callers[level].push_back(&self.store, name, Thread::queue_links);
        server.callers_bitmap.set(server.callers_bitmap.get() | 1 << level);
        server.set_flag(flag::CALLERS);
    }

    /// Takes a caller out of the queue of its priority at its server.
    pub(crate) fn leave_callers(&self, name: Ref<Thread>) {
        let caller = self.store.thread(name);
        let Some(server) = caller.callee.get() else { return };
        let server = self.store.thread(server);
        let level = usize::from(caller.priority.get() & 31);
        server.callers[level].remove(&self.store, name, Thread::queue_links);
        if server.callers[level].is_empty() {
            server.callers_bitmap.set(server.callers_bitmap.get() & !(1 << level));
        }
        if server.callers_bitmap.get() == 0 {
            server.clear_flag(flag::CALLERS);
        }
    }

    /// Hands a call to a server that takes calls: time, label, words, capability. Who runs next is not decided here.
    fn deliver(&self, actor: Ref<Thread>, callable: &Callable) {
        let (caller, server) = (self.store.thread(actor), self.store.thread(callable.server));
        caller.set_state(State::Called);
        server.caller.set(Some(actor));
        server.depth.set(caller.depth.get() + 1);
        if callable.is_donation {
            let lent = caller.sched_context.take();
            if lent.is_none() {
                // Its time was destroyed while it was queued: it gets none back.
                caller.set_flag(flag::BEREFT);
            }
            server.sched_context.set(lent);
        } else {
            // The caller keeps its time, but does not use it while it waits.
            server.sched_context.set(server.own_sched_context.get());
        }
        server.context.set_words(caller.message());
        let status = self.transfer(caller, server, Transfer(caller.transfer.get()));
        server.finish(status, callable.label);
    }

    /// Copies the capability that a message brings, if the receiver opened an empty slot for it.
    fn transfer(&self, sender: &Thread, receiver: &Thread, transfer: Transfer) -> Status {
        let mut status = Status::DONE;
        let slots = transfer
            .send_slot_plus_one()
            .checked_sub(1)
            .zip(receiver.receive_slot.get().checked_sub(1));
        let Some((from, to)) = slots else { return status };
        let Some(capability) = self.capability(sender, u64::from(from)) else {
            return status;
        };
        let may_send = capability.rights().has(Rights::GRANT) && self.is_live(capability);
        if let Ok(cell) = self.empty_slot(receiver, u64::from(to))
            && may_send
        {
            cell.set(capability.masked(Rights(transfer.send_rights())));
            receiver.open_slot(0);
            status.set_has_capability(true);
        }
        status
    }

    /// System call `ReplyWait`. Replies to whoever is served, then takes signals, a queued caller, or waits. With more stale
    /// callers than a step may clear it is made again at once, while the server still has the time to do so.
    pub(crate) fn reply_wait(&self, actor: Ref<Thread>, deadline: u64, transfer: u64) {
        let server = self.store.thread(actor);
        if !self.clear_stale_callers(actor) {
            Self::repeat(server);
            return;
        }
        if let Some(caller) = server.caller.get() {
            self.reply(actor, caller, Transfer(transfer));
        }
        server.open_slot(Transfer(transfer).receive_slot_plus_one());
        self.wait_for_call(actor, deadline);
    }

    fn reply(&self, actor: Ref<Thread>, caller_name: Ref<Thread>, transfer: Transfer) {
        let (server, caller) = (self.store.thread(actor), self.store.thread(caller_name));
        let has_lent = caller.sched_context.get().is_none();
        self.end_call(caller_name);
        if caller.has(flag::FAULTING) {
            caller.clear_flag(flag::FAULTING);
            if server.context.r12.get() != fault::RESUME {
                self.give_up(caller_name);
                return;
            }
        } else {
            let status = self.transfer(server, caller, transfer);
            caller.context.set_words(server.context.words());
            caller.finish(status, 0);
        }
        if has_lent {
            self.hand_over(caller_name);
        } else {
            self.make_ready(caller_name);
        }
    }

    /// Ends a call that is served: the links go, lent time goes back, wherever along the chain it is.
    /// The caller is left in no queue, state `Held`; the server goes on with its own time.
    pub(crate) fn end_call(&self, caller_name: Ref<Thread>) {
        let caller = self.store.thread(caller_name);
        let Some(server_name) = caller.callee.take() else {
            return;
        };
        let server = self.store.thread(server_name);
        server.caller.set(None);
        self.renumber(server_name);
        caller.set_state(State::Held);
        caller.clear_flag(flag::BEREFT);
        if caller.sched_context.get().is_none() {
            self.take_back(caller_name, server_name);
        }
    }

    /// Counts the depths of a chain anew, from a thread that serves nobody any more.
    fn renumber(&self, first: Ref<Thread>) {
        let mut name = first;
        for depth in 0..MAX_CALL_DEPTH {
            let thread = self.store.thread(name);
            thread.depth.set(depth);
            match thread.callee.get() {
                Some(next) if thread.state() == State::Called => name = next,
                _ => return,
            }
        }
    }

    /// Finds the time that a caller lent, from its server on downwards, and gives it back. Time that belongs
    /// to a server on the way is not the caller's.
    fn take_back(&self, caller_name: Ref<Thread>, server: Ref<Thread>) {
        let mut holder = server;
        let mut owned = [None; MAX_CALL_DEPTH as usize];
        for own in &mut owned {
            let thread = self.store.thread(holder);
            *own = thread.own_sched_context.get();
            if let Some(context) = thread.sched_context.get() {
                if !owned.contains(&Some(context)) {
                    self.fall_back(holder);
                    self.store.thread(caller_name).sched_context.set(Some(context));
                }
                return;
            }
            match thread.callee.get() {
                Some(next) => holder = next,
                None => return,
            }
        }
    }

    /// Ends a call early, in whatever phase, with `Dead`; the caller becomes ready.
    pub(crate) fn abort_call(&self, caller_name: Ref<Thread>, error: Error) {
        self.leave_call(caller_name);
        self.refuse(caller_name, error);
    }

    /// Takes a caller out of the call it waits in; state `Held`.
    pub(crate) fn leave_call(&self, caller_name: Ref<Thread>) {
        let caller = self.store.thread(caller_name);
        match caller.state() {
            State::Called => self.end_call(caller_name),
            State::Queued => self.leave_queue(caller_name),
            _ => {}
        }
    }

    /// Takes a queued caller out of its server's queue; state `Held`.
    fn leave_queue(&self, caller_name: Ref<Thread>) {
        let caller = self.store.thread(caller_name);
        self.leave_callers(caller_name);
        caller.callee.set(None);
        caller.called_through.set(Capability::NONE);
        caller.set_state(State::Held);
    }

    /// The caller with the highest priority in a server's queue.
    pub(crate) fn first_caller(&self, server: &Thread) -> Option<Ref<Thread>> {
        let level = server.callers_bitmap.get().checked_ilog2()? as usize;
        server.callers[level].first()
    }

    /// Refuses those before the first queued caller that may still be served; false if there may be more of them.
    fn clear_stale_callers(&self, actor: Ref<Thread>) -> bool {
        for _ in 0..STALE_CALLERS_A_STEP {
            let Some(caller) = self.first_caller(self.store.thread(actor)) else {
                return true;
            };
            let Err(failure) = self.queued_call(caller) else {
                return true;
            };
            self.leave_queue(caller);
            self.refuse(caller, failure.error);
        }
        false
    }

    /// What the call of a queued caller is, if it may still be served: its portal may have died meanwhile, or its time.
    fn queued_call(&self, caller: Ref<Thread>) -> Result<Callable, Failure> {
        let portal = self.live::<Portal>(self.store.thread(caller).called_through.get());
        self.callable(caller, portal.ok_or(Failure::at(Error::Dead, 0))?)
    }

    /// Signals first, then queued callers, then the deadline, then waiting.
    fn wait_for_call(&self, actor: Ref<Thread>, deadline: u64) {
        let server = self.store.thread(actor);
        if self.take_event(server) {
            return;
        }
        if let Some(caller) = self.first_caller(server)
            && let Ok(callable) = self.queued_call(caller)
        {
            self.leave_queue(caller);
            self.store.thread(caller).callee.set(Some(actor));
            self.deliver(caller, &callable);
            // It keeps the core only if the scheduler agrees. Without time of its own it was held since its reply.
            self.make_ready(actor);
            return;
        }
        self.wait_until(actor, State::Waiting, deadline);
    }

    /// Tells a caller that is in no call any more why; a thread whose fault nobody handles is ended.
    fn refuse(&self, caller_name: Ref<Thread>, error: Error) {
        let caller = self.store.thread(caller_name);
        if caller.has(flag::FAULTING) {
            self.give_up(caller_name);
            return;
        }
        caller.finish(Status::error(error), 0);
        self.make_ready(caller_name);
    }

    /// Ends a thread whose fault nobody handles: whom it serves gets `Dead`, and the time it was lent. Whom it serves may
    /// be a faulting thread in turn: at most as deep as calls are.
    fn give_up(&self, name: Ref<Thread>) {
        self.retire(name);
        self.effect(Effect::Unhandled(name));
    }

    /// System call `Wait`.
    pub(crate) fn wait(&self, actor: Ref<Thread>, deadline: u64) {
        if !self.take_event(self.store.thread(actor)) {
            self.wait_until(actor, State::WaitingSignal, deadline);
        }
    }

    /// Takes pending signals; they stay pending for a server that has just given back the only time it had.
    fn take_event(&self, thread: &Thread) -> bool {
        let bits = if thread.has_time() {
            self.take_signals(thread)
        } else {
            0
        };
        if bits != 0 {
            thread.finish(Status::event(Event::Signal), bits);
        }
        bits != 0
    }

    fn wait_until(&self, actor: Ref<Thread>, state: State, deadline: u64) {
        let thread = self.store.thread(actor);
        if deadline <= self.now.get() && thread.has_time() {
            thread.finish(Status::event(Event::Deadline), 0);
            return;
        }
        self.arm_deadline(actor, deadline);
        if state == State::Waiting || thread.caller.get().is_none() {
            thread.sched_context.set(None);
        }
        thread.set_state(state);
    }

    /// A processor exception of the current thread: a call to its fault handler, made in its name.
    pub fn fault(&self, report: crate::thread::Fault) {
        let Some(actor) = self.core(self.here.get()).current.get() else {
            return;
        };
        let thread = self.store.thread(actor);
        if thread.state() != State::Running {
            // Stopped from another core meanwhile: the instruction is repeated when the thread goes on.
            thread.set_flag(flag::FULL_CONTEXT);
            self.schedule();
            return;
        }
        thread.fault.set(report);
        thread.set_flag(flag::FAULTING | flag::FULL_CONTEXT);
        thread.transfer.set(0);
        thread.open_slot(0);
        let portal = self.live::<Portal>(thread.fault_handler.get());
        let callable = portal.and_then(|portal| self.callable(actor, portal).ok().map(|callable| (portal, callable)));
        match callable {
            Some((portal, callable)) => self.begin_call(actor, portal, &callable),
            None => self.give_up(actor),
        }
        self.schedule();
    }
}
