//! Non-maskable interrupts of guests: none is delivered while the guest handles another (AMD APM vol. 2, 15.20 and 8.2.3).
//!
//! `VMRUN` injects one whatever the guest does, and the processor does not keep in mind that it did. So the kernel does, for each vCPU: from
//! the injection on, `IRET` is an exit. The guest then executes it without another exit, and can take an NMI once it is behind
//! it: at the first exit elsewhere, or, if one is held back, when a single step says so. An `IRET` that faults counts as
//! executed, as on the processor.
//!
//! Called by [`super`] before each entry and by [`super::run`] after each exit. Processors with virtual NMIs (15.21.10) need none
//! of this; they are not used so.

use ecusson_abi::vcpu::event;
use ecusson_abi::vcpu::nmi::{BLOCKED, HELD};

use super::control::{Block, Control, word};
use super::run::code;

/// What the state page shows.
pub(super) const SHOWN: u64 = BLOCKED | HELD;
/// The next entry injects one.
const INJECTED: u64 = 1 << 8;
/// The guest is before an `IRET` that was an exit.
const RETURNING: u64 = 1 << 9;
/// It steps over that `IRET` for the kernel.
const STEPPING: u64 = 1 << 10;

/// In the word of intercepted exceptions, which goes on with instructions.
const INTERCEPT_IRET: u64 = 1 << 52;
const TRAP_FLAG: u64 = 1 << 8;
const DEBUG_STATUS: usize = 0x568;
const SINGLE_STEP: u64 = 1 << 14;

/// Whose single step a debug exception was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Guest,
    Kernel,
}

fn is_nmi(event: u64) -> bool {
    event & (event::VALID | 0x700) == event::VALID | event::NMI
}

/// Takes back a step that was arranged for and not made yet.
pub(super) fn take_step_back(block: &Block, control: &Control) {
    if block.nmi.get() & STEPPING != 0 {
        control.set(word::RFLAGS, control.get(word::RFLAGS) & !TRAP_FLAG);
        block.nmi.set(block.nmi.get() & !STEPPING);
    }
}

/// The event that will be injected is known: holds an NMI back while the guest handles another, injects one that was held back
/// and may be delivered now, and sees to it that the end of the handler is noticed.
pub(super) fn before_entry(block: &Block, control: &Control) {
    take_step_back(block, control);
    let mut nmi = block.nmi.get() & (SHOWN | RETURNING);
    let wanted = control.get(word::EVENT);
    if is_nmi(wanted) && nmi & BLOCKED != 0 {
        control.set(word::EVENT, 0);
        nmi |= HELD;
    } else if is_nmi(wanted) {
        nmi |= INJECTED;
    } else if wanted & event::VALID == 0 && nmi & SHOWN == HELD {
        control.set(word::EVENT, event::VALID | event::NMI | 2);
        nmi = INJECTED;
    }
    let is_watched = nmi & (BLOCKED | INJECTED) != 0 && nmi & RETURNING == 0;
    let intercepts = control.get(word::EXCEPTION_INTERCEPTS) & !INTERCEPT_IRET;
    control.set(
        word::EXCEPTION_INTERCEPTS,
        if is_watched {
            intercepts | INTERCEPT_IRET
        } else {
            intercepts
        },
    );
    let flags = control.get(word::RFLAGS);
    if nmi & RETURNING != 0 && nmi & HELD != 0 && flags & TRAP_FLAG == 0 {
        control.set(word::RFLAGS, flags | TRAP_FLAG);
        nmi |= STEPPING;
    }
    block.nmi.set(nmi);
}

/// The guest left, and what is to be injected again is known. Whose step it was, if it made one.
pub(super) fn after_exit(block: &Block, control: &Control) -> Step {
    let (exit, rip) = (control.get(word::EXIT_CODE), control.get(word::RIP));
    let mut nmi = block.nmi.get();
    if nmi & INJECTED != 0 && !is_nmi(control.get(word::EVENT)) {
        nmi |= BLOCKED;
    }
    let is_own_step = nmi & STEPPING != 0 && exit == code::DEBUG;
    let is_there_still = rip == block.iret.get() && !is_own_step;
    if is_own_step {
        control.set(DEBUG_STATUS, control.get(DEBUG_STATUS) & !SINGLE_STEP);
    } else if is_there_still {
        take_step_back(block, control);
    }
    if nmi & RETURNING != 0 && !is_there_still {
        nmi &= !(BLOCKED | RETURNING);
    } else if exit == code::IRET {
        block.iret.set(rip);
        nmi |= RETURNING;
    }
    block.nmi.set(nmi & (SHOWN | RETURNING));
    if is_own_step { Step::Kernel } else { Step::Guest }
}
