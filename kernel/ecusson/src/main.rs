//! The kernel: wires the core, which decides, to the machine, which does.
//!
//! `x86::boot` comes here from the loader; `main` sets up the machine, has the core make the first objects, starts the other
//! cores and leaves for root. From then on the kernel is entered through [`fast`] and [`trap`] only.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod fast;
mod init;
mod log;
mod trap;

use ecusson_x86::switch::{Guarded, Open};
use ecusson_x86::{BootInfo, entry, smp};

ecusson_x86::bind_kernel!(
    main: crate::main,
    core_main: crate::core_main,
    call: fast::call::<Open>,
    call_guarded: fast::call::<Guarded>,
    reply_wait: fast::reply_wait::<Open>,
    reply_wait_guarded: fast::reply_wait::<Guarded>,
    signal: fast::signal,
    identify: fast::identify,
    attach: fast::attach,
    system_call: trap::system_call,
    trap: trap::trap,
    guest_exit: trap::guest_exit,
);

/// The booting core: called once, with interrupts off, on its kernel stack.
fn main(info: &'static BootInfo) -> ! {
    if let Err(error) = init::start(info) {
        log::boot_line(format_args!("{error}"));
        smp::halt();
    }
    smp::release();
    core_main()
}

/// Every core, once all is set up: chooses its first thread and leaves the kernel.
fn core_main() -> ! {
    trap::enter_first();
    entry::exit()
}
