//! Entries of the kernel: system calls, faults, timers, and the machine's own steps.

use crate::abi::{DONE, EV_DEADLINE, EV_PROGRESS, Error, Kind, OP_DESTROY, OP_IDENTIFY, SIGNAL};
use crate::state::{Cap, Check, Run, State, at, ensure};

/// What an operation answers.
pub(crate) enum Reply {
    Done(u64),
    Progress(u64),
    Words(u64, [u64; 6]),
    /// The actor waits, or has other registers now.
    Gone,
}

pub(crate) type Outcome = Check<Reply>;

impl Reply {
    /// Done, or so much is left.
    pub(crate) fn progress(left: u64) -> Reply {
        if left == 0 {
            Reply::Done(0)
        } else {
            Reply::Progress(left)
        }
    }
}

/// A system call: its number, rdi, rsi, the message words.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which.
    pub number: u64,
    /// rdi.
    pub first: u64,
    /// rsi.
    pub second: u64,
    /// The message registers.
    pub words: [u64; 6],
}

/// What the timer interrupt may find due.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// A thread's deadline.
    Thread(u64),
    /// A context's replenishment.
    Context(u64),
}

/// What can happen on a core.
#[derive(Clone, Debug)]
pub enum Action {
    /// A system call of the current thread.
    Call(Request),
    /// An exception of it: vector, code, address.
    Fault([u64; 3]),
    /// The timer interrupt.
    Timer(Vec<Due>),
    /// The reschedule interrupt.
    Reschedule,
}

impl State {
    /// An entry of the kernel on a core at a time, up to the choice of the next thread, which [`State::choose`] makes.
    pub fn enter(&mut self, core: usize, time: u64, action: &Action) {
        self.charge_current(core, time);
        let current = self.cores[core].current;
        let actor = current.filter(|thread| self.runs(*thread, Run::Running));
        match action {
            Action::Call(request) => {
                if let Some(thread) = current {
                    self.load(thread, request);
                }
                if let Some(actor) = actor {
                    let outcome = self.perform(actor, request);
                    self.answer(actor, outcome);
                }
            }
            Action::Fault(fault) => {
                if let Some(actor) = actor {
                    self.fault(actor, *fault);
                }
            }
            Action::Timer(due) => due.iter().for_each(|due| self.expire(*due)),
            Action::Reschedule => {}
        }
        self.put_back(core);
    }

    /// Lets a core run a thread, if the choice is allowed; else says which would be.
    ///
    /// # Errors
    /// The allowed choices.
    pub fn choose(&mut self, core: usize, choice: Option<u64>) -> Result<(), Vec<Option<u64>>> {
        let allowed = self.allowed(core);
        if !allowed.contains(&choice) {
            return Err(allowed);
        }
        self.run_next(core, choice);
        Ok(())
    }

    /// The core did the flushes that were wanted.
    pub fn flushed(&mut self, core: usize) {
        self.cores[core].flushed = self.cores[core].wanted;
    }

    /// The core's root table is now that space's.
    pub fn loaded(&mut self, core: usize, space: Option<u64>) {
        self.cores[core].loaded = space;
    }

    fn load(&mut self, thread: u64, request: &Request) {
        self.set_words(thread, request.words);
        let registers = &mut self.thread_mut(thread).registers;
        registers[6] = request.number;
        registers[8] = request.first;
        registers[9] = request.second;
    }

    fn answer(&mut self, actor: u64, outcome: Outcome) {
        match outcome {
            Err((error, argument)) => self.finish(actor, error as u64, argument),
            Ok(Reply::Done(value)) => self.finish(actor, DONE, value),
            Ok(Reply::Progress(value)) => self.finish(actor, EV_PROGRESS, value),
            Ok(Reply::Words(value, words)) => {
                self.set_words(actor, words);
                self.finish(actor, DONE, value);
            }
            Ok(Reply::Gone) => {}
        }
    }

    fn perform(&mut self, actor: u64, request: &Request) -> Outcome {
        match request.number {
            0 => self.call(actor, request.first, request.second)?,
            1 => self.reply_wait(actor, request.first, request.second),
            2 => {
                let notification = at(0, self.lookup(actor, request.first, Kind::Notification, SIGNAL))?;
                self.signal(notification, request.words[0]);
                return Ok(Reply::Done(0));
            }
            3 => self.wait(actor, request.first),
            4 => return self.invoke(actor, request.first, &request.words),
            5 => return Err((Error::Unsupported, 0)),
            6 | 7 => return Ok(Reply::Done(0)),
            _ => return Err((Error::BadArg, 0)),
        }
        Ok(Reply::Gone)
    }

    fn invoke(&mut self, actor: u64, slot: u64, words: &[u64; 6]) -> Outcome {
        let cap = self.cap_at(actor, slot).ok_or((Error::BadCap, 0))?;
        if words[0] == OP_DESTROY {
            return self.destroy(cap);
        }
        ensure(self.is_live(cap), Error::Dead, 0)?;
        if words[0] == OP_IDENTIFY {
            return Ok(Reply::Done(cap.kind as u64 + (cap.rights << 8)));
        }
        self.operate(actor, cap, words)
    }

    fn operate(&mut self, actor: u64, cap: Cap, words: &[u64; 6]) -> Outcome {
        let Cap { object, rights, .. } = cap;
        match cap.kind {
            Kind::Memory => self.memory_operation(actor, object, rights, words),
            Kind::Region => self.region_operation(actor, object, rights, words),
            Kind::Space => self.space_operation(actor, object, rights, words),
            Kind::ProtectionDomain => self.domain_operation(actor, object, rights, words),
            Kind::Thread => self.thread_operation(actor, object, rights, words),
            Kind::SchedContext => self.context_operation(actor, object, rights, words),
            Kind::Portal => self.portal_operation(object, rights, words),
            Kind::Platform => self.platform_operation(actor, rights, words),
            Kind::Notification => Err((Error::BadArg, 0)),
            Kind::Vcpu | Kind::Interrupt | Kind::Ports => Err((Error::Unsupported, 0)),
        }
    }

    /// Something that the timer found; nothing happens if it is not due.
    fn expire(&mut self, due: Due) {
        let now = self.now;
        match due {
            Due::Thread(thread) => {
                if self.thread(thread).deadline.is_some_and(|deadline| deadline <= now) {
                    self.thread_mut(thread).deadline = None;
                    self.finish(thread, EV_DEADLINE, 0);
                    self.admit(thread);
                }
            }
            Due::Context(context) => {
                let of = self.context_mut(context);
                if of.armed.is_some_and(|end| end <= now) {
                    of.armed = None;
                    of.roll(now);
                    let holder = of.stack.first().copied();
                    if let Some(holder) = holder.filter(|holder| self.runs(*holder, Run::Held)) {
                        self.admit(holder);
                    }
                }
            }
        }
    }
}
