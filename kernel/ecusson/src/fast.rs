//! Fast paths: called by entry code with the message words in their registers, which these functions preserve and never see.
//!
//! Each takes the lock, asks the core's fast path, and switches; what the core does not take goes to [`crate::trap`]. Entry
//! code has already sorted out calls that carry a capability and waits that have a deadline.

use ecusson_x86::lock::KERNEL;
use ecusson_x86::{Fast, switch};

/// `Call`.
#[inline(always)]
pub(crate) fn call(slot: u64) -> Fast {
    let kernel = KERNEL.lock();
    let core = kernel.this_core();
    match kernel.fast_call(core, slot) {
        Some(label) => switch::fast(&kernel, core, label),
        None => Fast::NO,
    }
}

/// `ReplyWait`.
#[inline(always)]
pub(crate) fn reply_wait() -> Fast {
    let kernel = KERNEL.lock();
    let core = kernel.this_core();
    match kernel.fast_reply_wait(core) {
        Some(()) => switch::fast(&kernel, core, 0),
        None => Fast::NO,
    }
}

/// `Signal`.
#[inline(always)]
pub(crate) fn signal(slot: u64, bits: u64) -> Fast {
    let kernel = KERNEL.lock();
    let core = kernel.this_core();
    kernel
        .fast_signal(core, slot, bits)
        .map_or(Fast::NO, |()| switch::stay(core, 0))
}

/// `Invoke`: the question what a slot holds.
#[inline(always)]
pub(crate) fn identify(slot: u64) -> Fast {
    let kernel = KERNEL.lock();
    let core = kernel.this_core();
    kernel
        .fast_identify(core, slot)
        .map_or(Fast::NO, |found| switch::stay(core, found))
}

/// `Invoke`: mapping one page.
#[inline(always)]
pub(crate) fn attach(slot: u64, arguments: [u64; 3]) -> Fast {
    let kernel = KERNEL.lock();
    let core = kernel.this_core();
    kernel
        .fast_attach(core, slot, arguments)
        .map_or(Fast::NO, |second| switch::stay(core, second))
}
