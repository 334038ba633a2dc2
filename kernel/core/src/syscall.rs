//! From a slow system call to its handler: one flat match, then one function each.

use ecusson_abi::{Error, Event, Kind, Rights, Status, Syscall, Words, ops};

use crate::cap::Capability;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::name::{Object, Ref};
use crate::notification::Notification;
use crate::percpu::Effect;
use crate::platform::Platform;
use crate::store::Store;
use crate::thread::{State, Thread, flag};

/// Bytes of the SYSCALL instruction, to repeat one.
const SYSCALL_BYTES: u64 = 2;
/// RFLAGS of user mode: interrupts on, bit 1 always set.
pub const USER_FLAGS: u64 = 0x202;

impl<S: Store> Kernel<S> {
    /// The system call whose registers are in the current thread's context. Afterwards the core's current
    /// thread is whoever runs next.
    pub fn syscall(&self) {
        let Some(actor) = self.core(self.here.get()).current.get() else {
            return;
        };
        let thread = self.store.thread(actor);
        if thread.state() == State::Running {
            self.dispatch(actor, thread);
        } else {
            // Stopped from another core meanwhile.
            Self::repeat(thread);
        }
        self.schedule();
    }

    /// Has a thread make the system call that it is in again when it goes on.
    pub(crate) fn repeat(thread: &Thread) {
        let context = &thread.context;
        context.rip.set(context.rip.get().wrapping_sub(SYSCALL_BYTES));
        context.rflags.set(USER_FLAGS);
        thread.set_flag(flag::FULL_CONTEXT);
    }

    fn dispatch(&self, actor: Ref<Thread>, thread: &Thread) {
        let context = &thread.context;
        let (first, second) = (context.rdi.get(), context.rsi.get());
        let result = match Syscall::from_code(context.rax.get()) {
            Some(Syscall::Call) => self.call(actor, first, second).map(|()| Outcome::Gone),
            Some(Syscall::ReplyWait) => {
                self.reply_wait(actor, first, second);
                Ok(Outcome::Gone)
            }
            Some(Syscall::Signal) => self.signal_slot(thread, first, context.r12.get()),
            Some(Syscall::Wait) => {
                self.wait(actor, first);
                Ok(Outcome::Gone)
            }
            Some(Syscall::Invoke) => self.invoke(actor, first, &context.words()),
            Some(Syscall::VcpuRun) => self.vcpu_run(actor, first, context.r12.get()),
            Some(Syscall::Yield) => {
                self.core(self.here.get()).turn_over.set(true);
                Ok(Outcome::Done(0))
            }
            Some(Syscall::Log) => Ok(self.log(&context.words())),
            None => Err(Failure::BAD_OPERATION),
        };
        Self::answer(thread, result);
    }

    fn answer(thread: &Thread, result: Answer) {
        match result {
            Ok(Outcome::Done(second)) => thread.finish(Status::DONE, second),
            Ok(Outcome::Progress(second)) => thread.finish(Status::event(Event::Progress), second),
            Ok(Outcome::Words(second, words)) => {
                thread.finish(Status::DONE, second);
                thread.context.set_words(words);
            }
            Ok(Outcome::Gone) => {}
            Err(failure) => thread.finish(Status::error(failure.error), failure.argument),
        }
    }

    fn signal_slot(&self, thread: &Thread, slot: u64, bits: u64) -> Answer {
        let name = self
            .lookup(thread, slot, Rights::SIGNAL)
            .map_err(|error| Failure::at(error, 0))?;
        self.signal(name, bits);
        Ok(Outcome::Done(0))
    }

    fn log(&self, words: &Words) -> Outcome {
        let bytes = [words[1], words[2], words[3], words[4], words[5]];
        self.effect(Effect::Log(bytes, words[0].min(40) as u8));
        Outcome::Done(0)
    }

    /// Notes work for the machine layer. An entry asks for one thing at most that must not be lost; a message about
    /// an unhandled fault gives way.
    pub(crate) fn effect(&self, effect: Effect) {
        let noted = &self.core(self.here.get()).effect;
        let is_message = matches!(effect, Effect::Unhandled(_) | Effect::Log(..));
        if !is_message || noted.get() == Effect::Nothing {
            noted.set(effect);
        }
    }

    /// System call `Invoke`: from the capability's kind to the kind's operations.
    fn invoke(&self, actor: Ref<Thread>, slot: u64, words: &Words) -> Answer {
        let thread = self.store.thread(actor);
        let capability = self.capability(thread, slot).filter(|capability| !capability.is_none());
        let capability = capability.ok_or(Failure::at(Error::BadCap, 0))?;
        let rights = capability.rights();
        if words[0] == ops::DESTROY {
            return self.destroy(capability);
        }
        if words[0] != ops::IDENTIFY {
            return self.operate(actor, capability, rights, words);
        }
        if self.is_live(capability) {
            Ok(Outcome::Done(capability.identity()))
        } else {
            Err(Failure::at(Error::Dead, 0))
        }
    }

    fn operate(&self, actor: Ref<Thread>, capability: Capability, rights: Rights, words: &Words) -> Answer {
        match capability.kind() {
            Some(Kind::Memory) => self.memory_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Region) => self.region_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Space) => self.space_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::ProtectionDomain) => self.domain_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Thread) => self.thread_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::SchedContext) => self.sched_context_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Portal) => self.portal_operation(self.named(capability)?, rights, words),
            Some(Kind::Interrupt) => self.interrupt_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Ports) => self.ports_operation(actor, self.named(capability)?, rights, words),
            Some(Kind::Platform) => self
                .named::<Platform>(capability)
                .and_then(|_| self.platform_operation(actor, rights, words)),
            Some(Kind::Notification) => Err(self
                .named::<Notification>(capability)
                .err()
                .unwrap_or(Failure::BAD_OPERATION)),
            Some(Kind::Vcpu) => self.vcpu_operation(actor, self.named(capability)?, rights, words),
            None => Err(Failure::at(Error::Unsupported, 0)),
        }
    }

    /// The object that a capability of its kind names, if it lives.
    fn named<T: Object>(&self, capability: Capability) -> Result<Ref<T>, Failure> {
        self.live(capability).ok_or(Failure::at(Error::Dead, 0))
    }
}
