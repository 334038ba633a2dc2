//! Fast paths: called by entry code with the message words in their registers, which these functions preserve and never see.
//!
//! Each takes the lock, asks the core's fast path, and switches; what the core does not take goes to [`crate::trap`]. Entry
//! code has already sorted out calls that carry a capability and waits that have a deadline.

use ecusson_core::percpu::Core;
use ecusson_x86::lock::{Guard, KERNEL};
use ecusson_x86::switch::Border;
use ecusson_x86::{Fast, switch};

/// `Call`.
#[inline(always)]
pub(crate) fn call<B: Border>(slot: u64) -> Fast {
    under_lock(|kernel, core| {
        let label = kernel.fast_call(core, slot)?;
        switch::fast::<B>(kernel, core, label)
    })
}

/// `ReplyWait`.
#[inline(always)]
pub(crate) fn reply_wait<B: Border>() -> Fast {
    under_lock(|kernel, core| {
        kernel.fast_reply_wait(core)?;
        switch::fast::<B>(kernel, core, 0)
    })
}

/// `Signal`.
#[inline(always)]
pub(crate) fn signal(slot: u64, bits: u64) -> Fast {
    under_lock(|kernel, core| {
        kernel.fast_signal(core, slot, bits)?;
        switch::stay(core, 0)
    })
}

/// `Invoke`: the question what a slot holds.
#[inline(always)]
pub(crate) fn identify(slot: u64) -> Fast {
    under_lock(|kernel, core| switch::stay(core, kernel.fast_identify(core, slot)?))
}

/// `Invoke`: mapping one page.
#[inline(always)]
pub(crate) fn attach(slot: u64, space: u64, page: u64, rights: u64) -> Fast {
    under_lock(|kernel, core| switch::stay(core, kernel.fast_attach(core, slot, [space, page, rights])?))
}

#[inline(always)]
fn under_lock(path: impl FnOnce(&Guard<'_>, &Core) -> Option<Fast>) -> Fast {
    let kernel = KERNEL.lock();
    match path(&kernel, kernel.user_core()) {
        Some(fast) => fast,
        None => Fast::no(kernel),
    }
}
