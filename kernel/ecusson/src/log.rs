//! Lines for people on the console, trace frames for tools, and the panic handler.

use core::fmt;
use core::panic::PanicInfo;

use ecusson_x86::smp::{self, Stop};
use ecusson_x86::{power, serial};

/// Puts one line on its way to the console: what happened, on which core. Whoever calls this has `serial::send` called when
/// the kernel lock is released.
pub(crate) fn line(message: fmt::Arguments<'_>) {
    serial::line(message);
}

/// Writes one line to the console before the first thread runs: there is no timer yet that would send it later.
pub(crate) fn boot_line(message: fmt::Arguments<'_>) {
    serial::line(message);
    serial::flush();
}

/// A broken invariant of the kernel: says where, stops every core, and does what the command line wants then.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if smp::stop_others() == Stop::Again {
        power::after_panic();
    }
    serial::flush();
    match info.location() {
        Some(place) => {
            serial::emergency_line(format_args!(
                "kernel panic at {}:{}: {}",
                place.file(),
                place.line(),
                info.message()
            ));
        }
        None => serial::emergency_line(format_args!("kernel panic: {}", info.message())),
    }
    power::after_panic()
}
