//! The two serial ports of the kernel: lines for people on the first, trace frames ([`crate::trace`]) on the second.
//! Polled, each byte with a bounded wait, so that a port that hangs costs time but stops nothing
//! (National Semiconductor PC16550D data sheet).
//!
//! Key type: [`Port`]. Called by `ecusson::log` through [`line`], by the panic handler through [`emergency_line`].

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::port::{read_u8, write_u8};

/// A 16550 at a fixed address.
#[derive(Debug)]
pub struct Port {
    base: u16,
    present: AtomicBool,
    taken: AtomicBool,
}

/// Lines for people: COM1.
pub static CONSOLE: Port = Port::at(0x3F8);
/// Trace frames: COM2.
pub static TRACE: Port = Port::at(0x2F8);

/// Polls of the line status before a byte is given up; a byte takes some 90 us at 115,200 baud, a poll about 1 us.
const POLLS: u32 = 10_000;
/// Polls of another core's hold on the port before a line is written anyhow.
const LOCK_POLLS: u32 = 10_000_000;

const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

impl Port {
    const fn at(base: u16) -> Self {
        Self {
            base,
            present: AtomicBool::new(false),
            taken: AtomicBool::new(false),
        }
    }

    /// Sets 115,200 baud, 8 data bits, no parity, and finds out whether there is a port at all: the scratch register of a
    /// missing one does not keep its value.
    pub fn set_up(&self) {
        let set_up = [
            (1, 0x00),
            (3, 0x80),
            (0, 0x01),
            (1, 0x00),
            (3, 0x03),
            (2, 0x07),
            (4, 0x03),
        ];
        // SAFETY: the two bases are those of the PC's serial ports since ever; nothing else answers there, and a UART
        // does not touch memory.
        unsafe {
            write_u8(self.base + 7, 0x5A);
            let found = read_u8(self.base + 7) == 0x5A;
            if found {
                for (register, value) in set_up {
                    write_u8(self.base + register, value);
                }
            }
            self.present.store(found, Ordering::Relaxed);
        }
    }

    /// Whether a port was found.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed)
    }

    /// Sends a byte, or gives it up after a bounded wait.
    pub fn byte(&self, byte: u8) {
        if !self.is_present() {
            return;
        }
        // SAFETY: as in `set_up`.
        unsafe {
            for _ in 0..POLLS {
                if read_u8(self.base + LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                    break;
                }
            }
            write_u8(self.base, byte);
        }
    }

    /// Sends bytes.
    pub fn bytes(&self, bytes: &[u8]) {
        for &byte in bytes {
            self.byte(byte);
        }
    }

    /// Takes the port for one line or frame. Bounded: a holder that never lets go (it was stopped by a panic elsewhere)
    /// costs a garbled line, not a hung machine.
    pub(crate) fn take(&self) {
        for _ in 0..LOCK_POLLS {
            if !self.taken.swap(true, Ordering::Acquire) {
                return;
            }
            core::hint::spin_loop();
        }
    }

    /// Lets the port go.
    pub(crate) fn give(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

/// Writes text, a carriage return before each line feed.
struct Text;

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                CONSOLE.byte(b'\r');
            }
            CONSOLE.byte(byte);
        }
        Ok(())
    }
}

/// Writes a line `[core] message` to the console.
pub fn line(message: fmt::Arguments<'_>) {
    CONSOLE.take();
    emergency_line(message);
    CONSOLE.give();
}

/// As [`line`], without asking whether another core is just writing.
pub fn emergency_line(message: fmt::Arguments<'_>) {
    let _ = writeln!(Text, "[{}] {message}", crate::percpu::core_number());
}

/// Writes bytes as they are, non-printable ones as dots: text that user mode wants logged.
pub fn user_text(bytes: &[u8]) {
    CONSOLE.take();
    for &byte in bytes {
        match byte {
            b'\n' => CONSOLE.bytes(b"\r\n"),
            0x20..0x7F | b'\t' => CONSOLE.byte(byte),
            _ => CONSOLE.byte(b'.'),
        }
    }
    CONSOLE.give();
}
