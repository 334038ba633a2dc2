//! The end of a thread that found something wrong with itself: tell the supervisor why, then fault.
//!
//! The text goes to root in pieces, by the supervisor's portal; the fault behind it makes root end the process and decide
//! whether to start it again. Where there is no supervisor (root itself), the text goes to the kernel's log.

#[cfg(target_os = "none")]
use core::fmt::Write as _;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut text = crate::console::Line::default();
    // A formatter that fails leaves a shorter text.
    let _ = match info.location() {
        Some(place) => write!(text, "panic at {}:{}: {}", place.file(), place.line(), info.message()),
        None => write!(text, "panic: {}", info.message()),
    };
    if !tell_supervisor(text.as_bytes()) {
        crate::sys::log(text.as_bytes());
        crate::sys::log(b"\n");
    }
    crate::sys::fault()
}

/// Sends a text to the supervisor, in pieces. False if nobody takes it.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
fn tell_supervisor(text: &[u8]) -> bool {
    use ecusson_manifest::layout::slots::SUPERVISOR;
    ecusson_proto::supervisor::panic_messages(text).all(|words| {
        let answer = crate::sys::call(u64::from(SUPERVISOR), words);
        answer.failure().is_none()
    })
}

/// Ends this process as finished: the supervisor takes it away and starts it again only if the manifest says `always`.
pub fn exit(code: u64) -> ! {
    use ecusson_manifest::layout::slots::SUPERVISOR;
    let _ = crate::sys::call(u64::from(SUPERVISOR), ecusson_proto::supervisor::exit_message(code));
    // The supervisor does not answer a process that ended; where there is none, a fault ends the thread.
    crate::sys::fault()
}
