//! The seam between entry code and the kernel binary: which Rust functions entry code calls, and what fast paths answer.

use crate::lock::Guard;

/// Binds the functions of the kernel binary that entry code calls. Used once, in `ecusson`'s `main`, whose own code stays
/// free of `unsafe`: the signatures are checked here.
///
/// * `main`: `fn(&'static BootInfo) -> !`, on the booting core;
/// * `core_main`: `fn() -> !`, on every other core once it is set up;
/// * `call`: `fn(slot) -> Fast`, when no capability goes with the message; `reply_wait`: `fn() -> Fast`, without deadline and
///   capability; of both a second one for processors with work at the border; `signal`: `fn(slot, word 0) -> Fast`; `identify`: `fn(slot) -> Fast` and `attach`: `fn(slot, word 1, word 2, word 3) -> Fast`, `Invoke` of
///   these operations. All answer [`Fast::no`] when the case is not theirs;
/// * `system_call`: `fn()`, the slow path: arguments are in the current thread's context;
/// * `trap`: `fn(vector, code)`, exceptions and interrupts of user mode, interrupts of the idle loop;
/// * `guest_exit`: `fn()`, a guest left the processor.
#[macro_export]
macro_rules! bind_kernel {
    (main: $main:path, core_main: $core_main:path, call: $call:path, call_guarded: $call_guarded:path,
     reply_wait: $reply_wait:path, reply_wait_guarded: $reply_wait_guarded:path, signal: $signal:path,
     identify: $identify:path, attach: $attach:path, system_call: $system_call:path, trap: $trap:path,
     guest_exit: $guest_exit:path $(,)?) => {
        const _: () = {
            $crate::entry_points! {
                ecusson_main(info: &'static $crate::BootInfo) -> ! = $main;
                ecusson_core_main() -> ! = $core_main;
                ecusson_fast_call(slot: u64) -> $crate::Fast = $call;
                ecusson_fast_call_guarded(slot: u64) -> $crate::Fast = $call_guarded;
                ecusson_fast_reply_wait() -> $crate::Fast = $reply_wait;
                ecusson_fast_reply_wait_guarded() -> $crate::Fast = $reply_wait_guarded;
                ecusson_fast_signal(slot: u64, bits: u64) -> $crate::Fast = $signal;
                ecusson_fast_identify(slot: u64) -> $crate::Fast = $identify;
                ecusson_fast_attach(slot: u64, word1: u64, word2: u64, word3: u64) -> $crate::Fast = $attach;
                ecusson_system_call() -> () = $system_call;
                ecusson_trap(vector: u64, code: u64) -> () = $trap;
                ecusson_guest_exit() -> () = $guest_exit;
            }
        };
    };
}

/// Functions under names and with the calling convention that entry code knows.
#[doc(hidden)]
#[macro_export]
macro_rules! entry_points {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $function:path;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> $result {
            $function($($argument),*)
        }
    )*};
}

/// What a fast path answers, in rax and rdx.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fast {
    /// Virtual address of the thread that goes on, 0 if the slow path must do it all.
    thread: u64,
    /// The second result word.
    second: u64,
}

impl Fast {
    /// Not a usual case; nothing was changed. Gives the lock back out of the usual case's way: the caller jumps here, as it would
    /// not if the compiler knew the answer.
    #[cold]
    #[inline(never)]
    pub fn no(_: Guard<'_>) -> Self {
        Self {
            thread: core::hint::black_box(0),
            second: 0,
        }
    }

    /// Done: status 0 for the thread at an address, which is this core's current one.
    #[inline(always)]
    pub(crate) const fn to(thread: u64, second: u64) -> Self {
        Self { thread, second }
    }
}
