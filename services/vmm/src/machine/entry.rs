//! Before a vCPU is entered: what others sent, what the timer did, what is to be injected.
//!
//! Key types: [`Entry`], [`Injection`]. Intel SDM vol. 3, 7.9 (priority of events) and 11.8 (interrupt acceptance).

use super::{Activity, BoardLock, Machine, Outcome, Vcpu};
use crate::apic::{Posted, VcpuSet};
use crate::cpu::{CpuState, Exception};
use crate::kvm::TlbFlush;
use crate::memory::GuestMemory;
use crate::time::Now;

const INTERRUPTS_ENABLED: u64 = 1 << 9;

/// What the processor would take at the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruptibility {
    /// An event waits to be injected again, because it did not get through the last time.
    pub event_pending: bool,
    /// The instruction after STI or a move to SS has not run yet.
    pub shadowed: bool,
    /// A non-maskable interrupt is being handled.
    pub nmi_blocked: bool,
}

/// An event to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// An exception.
    Exception(Exception),
    /// A non-maskable interrupt.
    Nmi,
    /// An external interrupt.
    Interrupt(u8),
}

/// How a vCPU goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It runs.
    Run {
        /// What to inject. It counts as delivered: if it does not get through, the kernel injects it again.
        injection: Option<Injection>,
        /// Something waits: leave the guest as soon as it takes interrupts.
        interrupt_window: bool,
        /// The same for non-maskable interrupts.
        nmi_window: bool,
        /// Leave the guest at this guest TSC.
        deadline: Option<u64>,
        /// Flush the guest's translations first.
        flush: TlbFlush,
    },
    /// It is halted: wait for a kick or this guest TSC, then prepare again.
    Wait {
        /// Guest TSC.
        deadline: Option<u64>,
    },
    /// It has not been started: wait for a kick, then prepare again.
    WaitForStart,
    /// Reset its registers as after INIT, start it in real mode at the beginning of this page, and prepare again.
    Start {
        /// Selector of CS by 256, its base by 4096; RIP is 0.
        page: u8,
    },
}

impl<M: GuestMemory, B: BoardLock> Machine<M, B> {
    /// Decides how a vCPU goes on. What its interrupts ask of others while it is prepared is added to `kicks`.
    pub fn prepare(
        &self,
        vcpu: &mut Vcpu,
        state: &impl CpuState,
        interruptibility: Interruptibility,
        now: Now,
        kicks: &mut VcpuSet,
    ) -> Entry {
        self.take_back(vcpu, kicks);
        if let Some(posted) = self.fabric.take(vcpu.index)
            && let Some(page) = self.accept(vcpu, &posted)
        {
            return Entry::Start { page };
        }
        vcpu.apic.expire(now.tsc);
        let deadline = vcpu.apic.deadline();
        let was_waiting = vcpu.activity == Activity::Waiting;
        match vcpu.activity {
            Activity::WaitingForStart => return Entry::WaitForStart,
            Activity::Halted | Activity::Waiting if !vcpu.wakes(state.rflags()) => {
                if !was_waiting {
                    vcpu.paravirtual.before_wait(&self.memory);
                    vcpu.activity = Activity::Waiting;
                }
                return Entry::Wait { deadline };
            }
            _ => {}
        }
        if vcpu.activity != Activity::Running {
            vcpu.activity = Activity::Running;
            // A wake that comes before its halt counts for it.
            vcpu.woken = false;
        }
        let flush = if was_waiting {
            vcpu.paravirtual.after_wait(&self.memory)
        } else {
            TlbFlush::No
        };
        let injection = vcpu.inject(state.rflags(), interruptibility);
        vcpu.paravirtual.before_entry(&vcpu.apic, &self.memory);
        Entry::Run {
            injection,
            interrupt_window: vcpu.apic.pending().is_some(),
            nmi_window: vcpu.nmi,
            deadline,
            flush,
        }
    }

    /// After a run of the guest: takes back the offer to end an interrupt silently.
    pub(super) fn take_back(&self, vcpu: &mut Vcpu, kicks: &mut VcpuSet) {
        let effect = vcpu.paravirtual.after_exit(&mut vcpu.apic, &self.memory);
        let mut outcome = Outcome::new();
        self.carry_out(vcpu, effect, &mut outcome);
        *kicks = kicks.and(outcome.kicks);
    }

    /// Takes what others sent; gives the page at which to start, if the vCPU is to.
    fn accept(&self, vcpu: &mut Vcpu, posted: &Posted) -> Option<u8> {
        if posted.init {
            vcpu.apic.init(self.timebase);
            self.fabric.route(vcpu.index, vcpu.apic.routing());
            vcpu.activity = Activity::WaitingForStart;
            vcpu.exception = None;
            vcpu.nmi = false;
            vcpu.woken = false;
        }
        vcpu.apic.accept(posted);
        vcpu.nmi |= posted.nmi;
        vcpu.woken |= posted.woken;
        let page = posted.startup.filter(|_| vcpu.activity == Activity::WaitingForStart)?;
        vcpu.activity = Activity::Running;
        Some(page)
    }
}

impl Vcpu {
    /// Whether anything ends its halt.
    fn wakes(&self, rflags: u64) -> bool {
        let interrupt = rflags & INTERRUPTS_ENABLED != 0 && self.apic.pending().is_some();
        interrupt || self.nmi || self.woken || self.exception.is_some()
    }

    /// The most urgent event that the processor takes now.
    fn inject(&mut self, rflags: u64, interruptibility: Interruptibility) -> Option<Injection> {
        if interruptibility.event_pending {
            return None;
        }
        if let Some(exception) = self.exception.take() {
            return Some(Injection::Exception(exception));
        }
        if self.nmi && !interruptibility.nmi_blocked && !interruptibility.shadowed {
            self.nmi = false;
            return Some(Injection::Nmi);
        }
        let takes = rflags & INTERRUPTS_ENABLED != 0 && !interruptibility.shadowed;
        let vector = self.apic.pending().filter(|_| takes)?;
        self.apic.begin(vector);
        Some(Injection::Interrupt(vector))
    }
}
