//! The logger behind `defmt`: frames, rzCOBS-encoded by `defmt`'s own encoder, put on their way to the second serial port.
//!
//! Used by whoever calls `defmt::info!` and its like; decoded on the host from the kernel's unstripped ELF.

use core::cell::UnsafeCell;

use crate::serial::TRACE;

#[cfg(target_os = "none")]
#[defmt::global_logger]
struct Logger;

/// The encoder of the frame being written.
struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: only touched between `acquire` and `release`, which hold the port.
unsafe impl Sync for Encoder {}

#[cfg_attr(not(target_os = "none"), allow(dead_code))]
static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

#[cfg(target_os = "none")]
// SAFETY: `acquire` takes the port, which one core holds at a time; interrupts are off in the kernel and the handlers of
// NMI and machine check do not trace, so that the same core does not come in twice. The one exception, a holder that was
// stopped by a panic, garbles a frame, which the decoder skips: encoder and port stay valid with any interleaving of bytes.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        TRACE.take();
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).start_frame(|bytes| TRACE.bytes(bytes)) }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).end_frame(|bytes| TRACE.bytes(bytes)) }
        TRACE.give();
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see above.
        unsafe { (*ENCODER.0.get()).write(bytes, |bytes| TRACE.bytes(bytes)) }
    }
}
