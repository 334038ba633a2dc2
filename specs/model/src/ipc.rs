//! Calls, replies, waiting, signals, faults.

use crate::abi::{
    CALL, DONE, EV_DEADLINE, EV_PROGRESS, EV_SIGNAL, Error, FAULT_WORD, GRANT, Kind, MAX_CALL_DEPTH, NO_DEADLINE,
    STALE_CALLERS, WITH_CAP, holds,
};
use crate::state::{Call, Cap, Check, Run, State, at, ensure};

/// The slot sent, plus one.
fn send_slot(transfer: u64) -> u64 {
    transfer & 0xFFFF
}

fn receive_slot(transfer: u64) -> u64 {
    transfer >> 32 & 0xFFFF
}

impl State {
    /// The result of the system call that a thread is in; closes the slot it may have opened.
    pub(crate) fn finish(&mut self, thread: u64, status: u64, second: u64) {
        let thread = self.thread_mut(thread);
        thread.receive = 0;
        thread.registers[6] = status;
        thread.registers[7] = second;
    }

    pub(crate) fn set_words(&mut self, thread: u64, words: [u64; 6]) {
        self.thread_mut(thread).registers[..6].copy_from_slice(&words);
    }

    fn words(&self, thread: u64) -> [u64; 6] {
        let registers = &self.thread(thread).registers;
        std::array::from_fn(|index| registers[index])
    }

    /// What a thread sends: its words, or its fault.
    fn message(&self, thread: u64) -> [u64; 6] {
        let of = self.thread(thread);
        let [vector, code, address] = of.fault;
        if of.is_faulting {
            [
                FAULT_WORD + vector,
                code,
                address,
                of.registers[16],
                of.registers[17],
                0,
            ]
        } else {
            self.words(thread)
        }
    }

    // Ending calls.

    fn end_served(&mut self, caller: u64) {
        self.thread_mut(caller).call = None;
        self.set_run(caller, Run::Held);
        let lent = self.lent_by(caller).filter(|_| self.held_by(caller).is_none());
        if let Some(context) = lent {
            let holder = self.context(context).stack[0];
            self.take_back(caller);
            self.fall_back(holder);
        }
    }

    fn leave_call(&mut self, caller: u64) {
        match self.thread(caller).call {
            Some(call) if call.is_served => self.end_served(caller),
            Some(_) => {
                self.thread_mut(caller).call = None;
                self.set_run(caller, Run::Held);
            }
            None => {}
        }
    }

    /// Takes a thread out of everything it takes part in: whom it serves gets `Dead`; a faulting caller is ended likewise.
    pub(crate) fn retire(&mut self, thread: u64) {
        self.thread_mut(thread).deadline = None;
        self.leave_call(thread);
        self.hold(thread);
        let of = self.thread_mut(thread);
        of.run = Run::Inactive;
        of.receive = 0;
        of.is_faulting = false;
        if let Some(caller) = self.caller_of(thread) {
            self.abort_call(caller, Error::Dead);
        }
        self.let_go(thread);
    }

    /// Ends a call, and tells the caller why.
    pub(crate) fn abort_call(&mut self, caller: u64, error: Error) {
        self.leave_call(caller);
        if self.thread(caller).is_faulting {
            self.retire(caller);
        } else {
            self.finish(caller, error as u64, 0);
            self.admit(caller);
        }
    }

    // Calls.

    /// Whether the chain of calls that begins at a server ends without meeting the caller.
    fn is_chain_free(&self, caller: u64, server: u64) -> bool {
        let mut link = Some(server);
        for _ in 0..MAX_CALL_DEPTH {
            match link {
                None => return true,
                Some(thread) if thread == caller => return false,
                Some(thread) => link = self.thread(thread).call.map(|call| call.server),
            }
        }
        false
    }

    /// Server of a portal that may be called now, and whether the call lends it the caller's time.
    fn callable(&self, caller: u64, portal: u64) -> Check<(u64, bool)> {
        let portal = self.portal(portal);
        let server = portal.server.ok_or((Error::Dead, 0))?;
        let donates = !portal.is_active && self.thread(server).core == self.thread(caller).core;
        let fits = self.depth(caller) + 1 < MAX_CALL_DEPTH && self.is_chain_free(caller, server);
        ensure(fits, Error::TooDeep, 0)?;
        ensure(donates || self.own_of(server).is_some(), Error::BadState, 0)?;
        Ok((server, donates))
    }

    fn sendable(&self, thread: u64, transfer: u64) -> Check<()> {
        let Some(slot) = send_slot(transfer).checked_sub(1) else {
            return Ok(());
        };
        let cap = self.cap_at(thread, slot).ok_or((Error::BadCap, 1))?;
        ensure(holds(cap.rights, GRANT), Error::NoRight, 1)
    }

    /// Sends the capability of a message, if the receiver opened an empty slot and the sender may; the status word's part.
    fn transfer_cap(&mut self, from: u64, to: u64, transfer: u64) -> u64 {
        let cap = send_slot(transfer)
            .checked_sub(1)
            .and_then(|slot| self.cap_at(from, slot));
        let cap = cap.filter(|cap| holds(cap.rights, GRANT) && self.is_live(*cap));
        let slot = self
            .thread(to)
            .receive
            .checked_sub(1)
            .filter(|slot| self.empty_slot(to, *slot).is_ok());
        let (Some(cap), Some(slot)) = (cap, slot) else {
            return DONE;
        };
        self.copy_cap(cap, self.thread(to).domain, slot, transfer >> 16 & 0xFF);
        WITH_CAP
    }

    /// Hands a queued call to a server that takes calls: time, label, words, capability.
    fn deliver(&mut self, caller: u64, server: u64, label: u64, donates: bool) {
        if let Some(call) = &mut self.thread_mut(caller).call {
            call.is_served = true;
        }
        if donates {
            self.let_go(server);
            self.lend(caller, server);
        } else {
            self.run_own(server);
        }
        let status = self.transfer_cap(caller, server, self.thread(caller).transfer);
        self.set_words(server, self.message(caller));
        self.finish(server, status, label);
    }

    fn begin_call(&mut self, caller: u64, server: u64, donates: bool, portal: u64) {
        self.stamps += 1;
        let epoch = self.objects[&portal].epoch;
        let via = Cap {
            object: portal,
            kind: Kind::Portal,
            rights: CALL,
            epoch,
        };
        let level = self.thread(caller).priority & 31;
        let call = Call {
            server,
            is_served: false,
            via,
            level,
            stamp: self.stamps,
        };
        self.thread_mut(caller).call = Some(call);
        self.set_run(caller, Run::Calling);
        if self.runs(server, Run::Waiting) {
            self.thread_mut(server).deadline = None;
            self.deliver(caller, server, self.portal(portal).label, donates);
            self.admit(server);
        }
    }

    pub(crate) fn call(&mut self, actor: u64, slot: u64, transfer: u64) -> Check<()> {
        let portal = at(0, self.lookup(actor, slot, Kind::Portal, CALL))?;
        self.sendable(actor, transfer)?;
        let (server, donates) = self.callable(actor, portal)?;
        self.thread_mut(actor).transfer = transfer;
        self.thread_mut(actor).receive = receive_slot(transfer);
        self.begin_call(actor, server, donates, portal);
        Ok(())
    }

    // Replies and waiting.

    /// The queued caller of the highest level, the longest waiting of those.
    pub(crate) fn first_caller(&self, server: u64) -> Option<u64> {
        let queued = self
            .threads()
            .filter_map(|(caller, thread)| Some((caller, thread.call?)));
        let queued = queued.filter(|(_, call)| !call.is_served && call.server == server);
        queued
            .min_by_key(|(_, call)| (std::cmp::Reverse(call.level), call.stamp))
            .map(|(caller, _)| caller)
    }

    fn reply(&mut self, actor: u64, transfer: u64) {
        let Some(caller) = self.caller_of(actor) else { return };
        if self.thread(caller).is_faulting {
            self.end_served(caller);
            self.thread_mut(caller).is_faulting = false;
            if self.thread(actor).registers[0] == 0 {
                self.admit(caller);
            } else {
                self.retire(caller);
            }
        } else {
            let status = self.transfer_cap(actor, caller, transfer);
            self.set_words(caller, self.words(actor));
            self.finish(caller, status, 0);
            self.end_served(caller);
            self.admit(caller);
        }
    }

    /// Takes the signals that are pending for a thread; 0 for none.
    fn take_signals(&mut self, thread: u64) -> u64 {
        if !std::mem::take(&mut self.thread_mut(thread).has_signals) {
            return 0;
        }
        let notification = self.note_of(thread);
        notification.map_or(0, |notification| {
            std::mem::take(&mut self.notification_mut(notification).bits)
        })
    }

    fn wait_until(&mut self, actor: u64, run: Run, deadline: u64) {
        if deadline != NO_DEADLINE {
            if deadline <= self.now {
                self.finish(actor, EV_DEADLINE, 0);
                return;
            }
            self.thread_mut(actor).deadline = Some(deadline);
        }
        let keeps_time = run == Run::WaitingSignal && self.caller_of(actor).is_some();
        if !keeps_time {
            self.let_go(actor);
        }
        self.set_run(actor, run);
    }

    /// Whether a queued caller's portal still lives and its call may still begin; else why not.
    fn still_callable(&self, server: u64, caller: u64) -> Result<(bool, u64), Error> {
        let call = self.thread(caller).call.ok_or(Error::TooDeep)?;
        if !self.is_live(call.via) {
            return Err(Error::Dead);
        }
        match self.callable(caller, call.via.object) {
            Ok((now, donates)) if now == server => Ok((donates, self.portal(call.via.object).label)),
            _ => Err(Error::TooDeep),
        }
    }

    fn take_callers(&mut self, actor: u64, deadline: u64) {
        for _ in 0..STALE_CALLERS {
            let Some(caller) = self.first_caller(actor) else { break };
            match self.still_callable(actor, caller) {
                Ok((donates, label)) => {
                    self.deliver(caller, actor, label, donates);
                    if self.runs(actor, Run::Running) {
                        self.set_run(actor, Run::Held);
                        self.admit(actor);
                    }
                    return;
                }
                Err(error) => self.abort_call(caller, error),
            }
        }
        if self.first_caller(actor).is_some() {
            self.finish(actor, EV_PROGRESS, 0);
        } else {
            self.wait_until(actor, Run::Waiting, deadline);
        }
    }

    pub(crate) fn reply_wait(&mut self, actor: u64, deadline: u64, transfer: u64) {
        self.reply(actor, transfer);
        self.thread_mut(actor).receive = receive_slot(transfer);
        match self.take_signals(actor) {
            0 => self.take_callers(actor, deadline),
            bits => self.finish(actor, EV_SIGNAL, bits),
        }
    }

    pub(crate) fn wait(&mut self, actor: u64, deadline: u64) {
        match self.take_signals(actor) {
            0 => self.wait_until(actor, Run::WaitingSignal, deadline),
            bits => self.finish(actor, EV_SIGNAL, bits),
        }
    }

    /// A fault is a call made in the thread's name; without a handler that can be called, its end.
    pub(crate) fn fault(&mut self, actor: u64, fault: [u64; 3]) {
        let thread = self.thread_mut(actor);
        thread.receive = 0;
        thread.transfer = 0;
        thread.is_faulting = true;
        thread.fault = fault;
        let portal = thread.handler.filter(|cap| self.is_live(*cap)).map(|cap| cap.object);
        match portal.map(|portal| (portal, self.callable(actor, portal))) {
            Some((portal, Ok((server, donates)))) => self.begin_call(actor, server, donates, portal),
            _ => self.retire(actor),
        }
    }

    // Signals.

    pub(crate) fn signal(&mut self, notification: u64, bits: u64) {
        let of = self.notification_mut(notification);
        of.bits |= bits;
        let all = of.bits;
        let Some(thread) = of.bound.filter(|_| all != 0) else {
            return;
        };
        if matches!(self.thread(thread).run, Run::Waiting | Run::WaitingSignal) {
            self.thread_mut(thread).deadline = None;
            self.notification_mut(notification).bits = 0;
            self.finish(thread, EV_SIGNAL, all);
            self.admit(thread);
        } else {
            self.thread_mut(thread).has_signals = true;
        }
    }

    pub(crate) fn unbind_notification(&mut self, notification: u64) {
        if let Some(thread) = self.notification_mut(notification).bound.take() {
            self.thread_mut(thread).has_signals = false;
        }
    }
}
