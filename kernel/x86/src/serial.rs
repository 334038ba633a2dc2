//! The two serial ports of the kernel: lines for people on the first, trace frames ([`crate::trace`]) on the second
//! (National Semiconductor PC16550D data sheet).
//!
//! A byte takes 90 us, and nobody waits for it: text goes into the port's [`Ring`], which holds what a second and a half sends.
//! Who put something there sends as much as the port takes at once ([`send`]) when it has released the kernel lock; what is
//! left it sends later, from its core's timer ([`crate::apic::set_output_time`]). What finds no room is lost, and the next
//! text says how many bytes. Only before the first thread, before the end of the machine and after a panic bytes are waited
//! for, each in bounds ([`flush`]).
//!
//! Key type: [`Port`]. Called by `ecusson::log` through [`line`], by the panic handler through [`emergency_line`].

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::port::{read_u8, write_u8};

/// A 16550 at a fixed address.
#[derive(Debug)]
pub struct Port {
    base: u16,
    present: AtomicBool,
    /// Whether somebody is putting text into the ring.
    taken: AtomicBool,
    /// Whether somebody is sending from it.
    sending: AtomicBool,
    ring: &'static Ring,
}

/// Bytes that a ring holds.
const RING_BYTES: usize = 16 * 1024;

/// Bytes on their way to a port. One core at a time puts, one at a time takes; the two need not wait for each other.
#[derive(Debug)]
struct Ring {
    bytes: [AtomicU8; RING_BYTES],
    /// Bytes put so far.
    put: AtomicU32,
    /// Bytes taken so far.
    taken: AtomicU32,
    /// Bytes that found no room since that was last said.
    lost: AtomicU32,
}

impl Ring {
    const fn new() -> Self {
        Self {
            bytes: [const { AtomicU8::new(0) }; RING_BYTES],
            put: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            lost: AtomicU32::new(0),
        }
    }

    fn room(&self) -> usize {
        let held = self
            .put
            .load(Ordering::Relaxed)
            .wrapping_sub(self.taken.load(Ordering::Acquire));
        RING_BYTES.saturating_sub(held as usize)
    }

    fn is_empty(&self) -> bool {
        self.room() == RING_BYTES
    }

    fn put(&self, byte: u8) {
        if self.room() == 0 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let put = self.put.load(Ordering::Relaxed);
        self.bytes[put as usize % RING_BYTES].store(byte, Ordering::Relaxed);
        self.put.store(put.wrapping_add(1), Ordering::Release);
    }

    fn take(&self) -> Option<u8> {
        let taken = self.taken.load(Ordering::Relaxed);
        if self.put.load(Ordering::Acquire) == taken {
            return None;
        }
        let byte = self.bytes[taken as usize % RING_BYTES].load(Ordering::Relaxed);
        self.taken.store(taken.wrapping_add(1), Ordering::Release);
        Some(byte)
    }
}

// Apart from the ports, so that they are zeroes and take no room in the image.
static CONSOLE_RING: Ring = Ring::new();
static TRACE_RING: Ring = Ring::new();
/// Lines for people: COM1.
pub static CONSOLE: Port = Port::at(0x3F8, &CONSOLE_RING);
/// Trace frames: COM2.
pub static TRACE: Port = Port::at(0x2F8, &TRACE_RING);

/// Polls of the line status before a byte is given up; a byte takes some 90 us at 115,200 baud, a poll about 1 us.
const POLLS: u32 = 10_000;
/// Polls of another core's hold on a ring before a line is put there anyhow, or not sent from it.
const LOCK_POLLS: u32 = 10_000_000;
/// Bytes that a transmitter takes when it is empty.
const FIFO_BYTES: usize = 16;
/// Most bytes that are sent at once, by a port that is never busy: an emulated one.
const BURST_BYTES: usize = 512;
/// Time after which the rest is sent: what the transmitter needs for what it took.
const REST_US: u64 = 1_400;

const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

impl Port {
    const fn at(base: u16, ring: &'static Ring) -> Self {
        Self {
            base,
            present: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            sending: AtomicBool::new(false),
            ring,
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

    /// Puts bytes into the ring.
    pub fn bytes(&self, bytes: &[u8]) {
        for &byte in bytes {
            self.ring.put(byte);
        }
    }

    /// Takes the ring for one line or frame. Bounded: a holder that never lets go (it was stopped by a panic elsewhere)
    /// costs a garbled line, not a hung machine.
    pub(crate) fn take(&self) {
        let _ = wait_for(&self.taken);
    }

    /// Lets the ring go.
    pub(crate) fn give(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Sends as much as the port takes without waiting; says whether something is left.
    fn send(&self) -> bool {
        if self.ring.is_empty() {
            return false;
        }
        // Who sends now is soon done; this core's bytes may have come too late for it.
        if wait_for(&self.sending) {
            for _ in 0..BURST_BYTES / FIFO_BYTES {
                // SAFETY: as in `set_up`.
                if self.is_present() && unsafe { read_u8(self.base + LINE_STATUS) } & TRANSMITTER_EMPTY == 0 {
                    break;
                }
                for byte in core::iter::from_fn(|| self.ring.take()).take(FIFO_BYTES) {
                    if self.is_present() {
                        // SAFETY: as in `set_up`; the transmitter has room for as many.
                        unsafe { write_u8(self.base, byte) }
                    }
                }
            }
            self.sending.store(false, Ordering::Release);
        }
        !self.ring.is_empty()
    }
}

/// Waits, in bounds, for a flag that somebody has set for a short time, and sets it; says whether that came about.
fn wait_for(flag: &AtomicBool) -> bool {
    (0..LOCK_POLLS).any(|_| {
        let is_free = !flag.swap(true, Ordering::Acquire);
        if !is_free {
            core::hint::spin_loop();
        }
        is_free
    })
}

/// Sends what the ports take at once, and has the timer of this core send the rest. Called without the kernel lock.
#[cold]
pub fn send() {
    let rests = [&CONSOLE, &TRACE].map(Port::send);
    let is_left = rests.contains(&true);
    let later = crate::clock::now() + crate::clock::ticks_per_second() / 1_000_000 * REST_US;
    crate::apic::set_output_time(if is_left { later } else { u64::MAX });
}

/// Sends everything, however long it takes (each byte in bounds): at the end of the machine, and after a panic.
pub fn flush() {
    for port in [&CONSOLE, &TRACE] {
        core::iter::from_fn(|| port.ring.take()).for_each(|byte| port.byte(byte));
    }
}

/// Writes text, each byte in some way, a carriage return before each line feed.
struct Text(fn(u8));

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0(b'\r');
            }
            self.0(byte);
        }
        Ok(())
    }
}

/// Takes the console's ring, and says what was lost if there is room for that.
fn begin() {
    CONSOLE.take();
    let ring = &CONSOLE.ring;
    if ring.lost.load(Ordering::Relaxed) != 0 && ring.room() > 64 {
        let lost = ring.lost.swap(0, Ordering::Relaxed);
        let _ = writeln!(Text(|byte| CONSOLE.ring.put(byte)), "\n[{lost} bytes lost]");
    }
}

/// Puts a line `[core] message` on its way to the console. [`send`] sends it.
pub fn line(message: fmt::Arguments<'_>) {
    begin();
    write_line(|byte| CONSOLE.ring.put(byte), message);
    CONSOLE.give();
}

/// Writes a line to the console and waits until it is sent, past all that is in the ring.
pub fn emergency_line(message: fmt::Arguments<'_>) {
    write_line(|byte| CONSOLE.byte(byte), message);
}

fn write_line(put: fn(u8), message: fmt::Arguments<'_>) {
    let _ = writeln!(Text(put), "[{}] {message}", crate::percpu::core_number());
}

/// Puts bytes on their way as they are, non-printable ones as dots: text that user mode wants logged.
pub fn user_text(bytes: &[u8]) {
    begin();
    for &byte in bytes {
        match byte {
            b'\n' => CONSOLE.bytes(b"\r\n"),
            0x20..0x7F | b'\t' => CONSOLE.ring.put(byte),
            _ => CONSOLE.ring.put(b'.'),
        }
    }
    CONSOLE.give();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches bytes out of order, a ring that overwrites what was not taken, and a loss that is not counted.
    #[test]
    fn a_ring_keeps_order_and_counts_what_it_loses() {
        let ring = Ring::new();
        ring.put.store(u32::MAX - 5, Ordering::Relaxed);
        ring.taken.store(u32::MAX - 5, Ordering::Relaxed);
        assert!(ring.is_empty() && ring.take().is_none());
        for number in 0..RING_BYTES + 7 {
            ring.put(number as u8);
        }
        assert_eq!((ring.room(), ring.lost.load(Ordering::Relaxed)), (0, 7));
        for number in 0..RING_BYTES {
            assert_eq!(ring.take(), Some(number as u8));
        }
        assert!(ring.take().is_none());
    }
}
