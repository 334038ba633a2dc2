//! Fast paths: called by entry code with the message words in their registers, which these functions preserve and never see.
//!
//! Each takes the lock, asks the core's fast path, and switches; what the core does not take goes to [`crate::trap`].

use ecusson_abi::{NO_DEADLINE, ops};
use ecusson_x86::lock::KERNEL;
use ecusson_x86::{Fast, switch};

/// `Call`.
#[inline(always)]
pub(crate) fn call(slot: u64, transfer: u64) -> Fast {
    if transfer != 0 {
        return Fast::NO;
    }
    let kernel = KERNEL.lock();
    match kernel.fast_call(kernel.this_core(), slot) {
        Some(label) => {
            switch::fast(&kernel);
            Fast::done(label)
        }
        None => Fast::NO,
    }
}

/// `ReplyWait`.
#[inline(always)]
pub(crate) fn reply_wait(deadline: u64, transfer: u64) -> Fast {
    if deadline != NO_DEADLINE || transfer != 0 {
        return Fast::NO;
    }
    let kernel = KERNEL.lock();
    match kernel.fast_reply_wait(kernel.this_core()) {
        Some(()) => {
            switch::fast(&kernel);
            Fast::done(0)
        }
        None => Fast::NO,
    }
}

/// `Signal`.
#[inline(always)]
pub(crate) fn signal(slot: u64, bits: u64) -> Fast {
    let kernel = KERNEL.lock();
    kernel
        .fast_signal(kernel.this_core(), slot, bits)
        .map_or(Fast::NO, |()| Fast::done(0))
}

/// `Invoke`: only the question what a slot holds.
#[inline(always)]
pub(crate) fn invoke(slot: u64, operation: u64) -> Fast {
    if operation != ops::IDENTIFY {
        return Fast::NO;
    }
    let kernel = KERNEL.lock();
    kernel
        .fast_identify(kernel.this_core(), slot)
        .map_or(Fast::NO, Fast::done)
}
