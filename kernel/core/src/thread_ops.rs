//! Operations of Thread: start, stop, registers, fault handler, bound notification.

use ecusson_abi::{Error, Rights, USER_PAGES, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::Ref;
use crate::notification::Notification;
use crate::portal::Portal;
use crate::store::Store;
use crate::syscall::USER_FLAGS;
use crate::thread::{State, Thread, flag};

/// Flags of RFLAGS that `poke` may set: the arithmetic ones, direction and trap.
const POKE_FLAGS: u64 = 0xDD5;
/// Position of RFLAGS and RIP among the registers of `peek`.
const RFLAGS_INDEX: usize = 15;
const RIP_INDEX: usize = 16;

impl<S: Store> Kernel<S> {
    /// Operations of Thread.
    pub(crate) fn thread_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Thread>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        let needed = match words[0] {
            ops::thread::PEEK | ops::thread::INFO => Rights::READ,
            ops::thread::POKE => Rights::WRITE,
            _ => Rights::MANAGE,
        };
        Failure::require(rights, needed)?;
        match words[0] {
            ops::thread::START => self.start(actor, name, words),
            ops::thread::STOP => Ok(self.stop(name)),
            ops::thread::RESUME => Ok(self.resume(name)),
            ops::thread::SET_FAULT_HANDLER => self.set_fault_handler(actor, name, words),
            ops::thread::PEEK => self.peek(name, words),
            ops::thread::POKE => self.poke(name, words),
            ops::thread::BIND => self.bind_thread(actor, name, words),
            ops::thread::INFO => Ok(self.thread_info(name)),
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    fn start(&self, actor: Ref<Thread>, name: Ref<Thread>, words: &Words) -> Answer {
        if !is_user_address(words[1]) {
            return Err(Failure::at(Error::BadArg, 1));
        }
        let thread = self.store.thread(name);
        if name != actor && self.is_current(name) {
            // Another core has to let go of it, and the caller to try again.
            if thread.state() != State::Inactive {
                self.stop(name);
            }
            return Err(Failure::at(Error::Busy, 0));
        }
        // Nothing may fail from here on.
        self.retire(name);
        let context = &thread.context;
        for register in context.registers() {
            register.set(0);
        }
        context.rip.set(words[1]);
        context.rsp.set(words[2]);
        context.rdi.set(words[3]);
        context.rflags.set(USER_FLAGS);
        thread.clear_flag(flag::STOPPED);
        thread.set_flag(flag::FULL_CONTEXT);
        self.make_ready(name);
        Ok(if name == actor { Outcome::Gone } else { Outcome::Done(0) })
    }

    fn stop(&self, name: Ref<Thread>) -> Outcome {
        self.store.thread(name).set_flag(flag::STOPPED);
        self.hold(name);
        Outcome::Done(0)
    }

    fn resume(&self, name: Ref<Thread>) -> Outcome {
        let thread = self.store.thread(name);
        thread.clear_flag(flag::STOPPED);
        if thread.state() == State::Held {
            self.make_ready(name);
        }
        Outcome::Done(0)
    }

    fn set_fault_handler(&self, actor: Ref<Thread>, name: Ref<Thread>, words: &Words) -> Answer {
        let caller = self.store.thread(actor);
        self.argument::<Portal>(caller, words, 1, Rights::CALL)?;
        if let Some(capability) = self.capability(caller, words[1]) {
            self.store.thread(name).fault_handler.set(capability);
        }
        Ok(Outcome::Done(0))
    }

    /// Registers may be looked at while the thread can't run by itself.
    fn inspectable(&self, name: Ref<Thread>) -> Result<&Thread, Failure> {
        let thread = self.store.thread(name);
        let is_still = thread.has(flag::STOPPED) || thread.has(flag::FAULTING) || thread.state() == State::Inactive;
        if !is_still {
            return Err(Failure::at(Error::BadState, 0));
        }
        if self.is_current(name) {
            Err(Failure::at(Error::Busy, 0))
        } else {
            Ok(thread)
        }
    }

    fn peek(&self, name: Ref<Thread>, words: &Words) -> Answer {
        let thread = self.inspectable(name)?;
        let registers = thread.context.registers();
        let group = usize::try_from(words[1])
            .ok()
            .and_then(|group| registers.chunks(words.len()).nth(group));
        let group = group.ok_or(Failure::at(Error::BadArg, 1))?;
        let mut values = Words::default();
        for (value, register) in values.iter_mut().zip(group) {
            *value = register.get();
        }
        Ok(Outcome::Words(0, values))
    }

    fn poke(&self, name: Ref<Thread>, words: &Words) -> Answer {
        let thread = self.inspectable(name)?;
        let (group, index) = (words[1] >> 8, words[1] & 0xFF);
        if group >= 3 || index >= 6 {
            return Err(Failure::at(Error::BadArg, 1));
        }
        let index = (group * 6 + index) as usize;
        let value = match index {
            RIP_INDEX if !is_user_address(words[2]) => return Err(Failure::at(Error::BadArg, 2)),
            RFLAGS_INDEX => words[2] & POKE_FLAGS | USER_FLAGS,
            _ => words[2],
        };
        if let Some(register) = thread.context.registers().get(index) {
            register.set(value);
        }
        Ok(Outcome::Done(0))
    }

    fn bind_thread(&self, actor: Ref<Thread>, name: Ref<Thread>, words: &Words) -> Answer {
        let caller = self.store.thread(actor);
        let notification = self.argument::<Notification>(caller, words, 1, Rights::BIND)?;
        if self.store.thread(name).notification.get().is_some() {
            return Err(Failure::at(Error::Occupied, 0));
        }
        if self.store.notification(notification).thread.get().is_some() {
            return Err(Failure::at(Error::Occupied, 1));
        }
        self.bind_notification(notification, name);
        Ok(Outcome::Done(0))
    }

    fn thread_info(&self, name: Ref<Thread>) -> Outcome {
        use ecusson_abi::ops::thread_state;
        let thread = self.store.thread(name);
        let state = match thread.state() {
            State::Inactive => thread_state::INACTIVE,
            State::Running | State::Ready | State::Held => thread_state::RUNNABLE,
            State::Waiting | State::WaitingSignal => thread_state::WAITING,
            State::Called | State::Queued => thread_state::CALLING,
        };
        let stopped = u64::from(thread.has(flag::STOPPED)) * thread_state::STOPPED;
        Outcome::Words(state | stopped, [0, u64::from(thread.core()), 0, 0, 0, 0])
    }

    /// Takes a thread out of everything it takes part in. Whom it serves gets `Dead`; queued callers stay.
    pub(crate) fn retire(&self, name: Ref<Thread>) {
        let thread = self.store.thread(name);
        self.cancel_deadline(name);
        self.leave_call(name);
        self.hold(name);
        thread.set_state(State::Inactive);
        thread.clear_flag(flag::FAULTING | flag::GUEST | flag::LEFT_GUEST);
        thread.open_slot(0);
        if let Some(caller) = thread.caller.get() {
            self.abort_call(caller, Error::Dead);
        }
        thread.sched_context.set(None);
    }
}

/// Whether a thread may begin at an address: in the user half, in a page that may be mapped.
fn is_user_address(address: u64) -> bool {
    address / ecusson_abi::PAGE_BYTES < USER_PAGES
}
