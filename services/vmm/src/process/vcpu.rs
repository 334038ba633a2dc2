//! A vCPU's thread.
//!
//! Key function: [`run`]. The thread waits until the guest is there, then enters it again and again; what comes out goes to the
//! library, what the library wants done is done here.

use alloc::format;
use alloc::string::ToString;

use ecusson_abi::NO_DEADLINE;
use ecusson_abi::vcpu::run as flag;
use ecusson_manifest::layout::{FREE_BASE, PAGE_BYTES, slots};
use ecusson_proto::vmm::State;
use ecusson_rt::cap::{Left, StatePage, wait};
use ecusson_rt::{Cap, Failure, sys};
use ecusson_vmm::apic::VcpuSet;
use ecusson_vmm::cpu::CpuState;
use ecusson_vmm::kvm::TlbFlush;
use ecusson_vmm::machine::{Entry, Exit, Next, Outcome, Page, Vcpu};

use super::control;
use super::guest::{End, Guest};

/// Where the state page of the first vCPU is mapped, virtual page; the others follow.
const STATE_PAGES: u64 = FREE_BASE / PAGE_BYTES;

/// Runs a vCPU, once there is a guest that has it.
pub(crate) fn run(index: usize) -> ! {
    let guest = loop {
        match control::guest() {
            Some(guest) if guest.processors.len() > index => break guest,
            _ => wait(NO_DEADLINE),
        };
    };
    let runner = Runner::new(guest, index).map_err(|failure| crash("taking the vCPU on", failure));
    if let Err(end) = runner.and_then(Runner::run) {
        guest.end(&end);
    }
    loop {
        let _ = wait(NO_DEADLINE);
    }
}

fn crash(what: &str, failure: Failure) -> End {
    End::Crashed(format!("{what}: {failure}"))
}

/// A vCPU and its thread.
struct Runner {
    guest: &'static Guest,
    state: StatePage,
    vcpu: Vcpu,
}

impl Runner {
    fn new(guest: &'static Guest, index: usize) -> Result<Self, Failure> {
        let processor = &guest.processors[index];
        let space = Cap::at(slots::SPACE.into());
        let state = StatePage::open(&processor.state, &space, STATE_PAGES + index as u64)?;
        processor.vcpu.adopt()?;
        state.tsc_offset.set(guest.start.wrapping_neg());
        let vcpu = guest.machine.vcpu(index);
        if index == 0 {
            Page::new(&state).enter_kernel(&guest.entry);
        }
        Ok(Self { guest, state, vcpu })
    }

    /// Runs until the guest is at its end, by this vCPU's doing or by another's.
    fn run(mut self) -> Result<(), End> {
        while self.guest.state() == State::Running {
            self.turn()?;
        }
        Ok(())
    }

    /// One entry and what follows it.
    fn turn(&mut self) -> Result<(), End> {
        let mut page = Page::new(&self.state);
        let mut kicks = VcpuSet::NONE;
        let guest = self.guest;
        let entry = guest
            .machine
            .prepare(&mut self.vcpu, &page, page.interruptibility(), guest.now(), &mut kicks);
        guest.kick(kicks);
        let mut flags = Page::flags(&entry);
        let mut waits = true;
        let deadline = match entry {
            Entry::Start { page: first } => {
                page.start(first);
                return Ok(());
            }
            Entry::Run {
                injection,
                deadline,
                flush,
                ..
            } => {
                page.fill(&self.vcpu, injection);
                if flush != TlbFlush::No {
                    flags |= flag::FLUSH;
                }
                waits = false;
                deadline
            }
            Entry::Wait { deadline } => deadline,
            Entry::WaitForStart => None,
        };
        let left = ecusson_rt::cap::run(guest.deadline(deadline), flags)
            .map_err(|failure| crash("running the vCPU", failure))?;
        let halt = page.take_halt().filter(|_| !waits);
        match left {
            Left::Exit(reason) if halt.is_none() => self.exit(reason)?,
            Left::Signal(_) if self.vcpu.index() == 0 => guest.look_after_board(),
            _ => {}
        }
        halt.map_or(Ok(()), |halt| self.deal_with(&halt))
    }

    fn exit(&mut self, reason: u64) -> Result<(), End> {
        let page = Page::new(&self.state);
        let exit = page.exit(reason).map_err(|_| {
            let rip = page.rip();
            End::Crashed(format!("the processor refuses the guest's state at {rip:#x}"))
        })?;
        self.deal_with(&exit)
    }

    fn deal_with(&mut self, exit: &Exit) -> Result<(), End> {
        let mut page = Page::new(&self.state);
        let guest = self.guest;
        let outcome = guest.machine.exit(&mut self.vcpu, exit, &mut page, guest.now());
        self.carry_out(&outcome)
    }

    fn carry_out(&self, outcome: &Outcome) -> Result<(), End> {
        self.guest.kick(outcome.kicks);
        if outcome.board_used {
            self.guest.look_after_board();
        }
        match outcome.next {
            Next::Continue => {}
            Next::Yield => sys::yield_now(),
            Next::SetExtendedState(value) => Page::new(&self.state).set_extended_state(value),
            Next::PowerOff => return Err(End::PoweredOff),
            Next::Reset => return Err(End::Reset),
            Next::TripleFault => return Err(End::Crashed("triple fault".to_string())),
        }
        Ok(())
    }
}
