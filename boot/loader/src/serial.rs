//! COM1 as the loader's only voice, polled (16550: National Semiconductor PC16550D, 8).
//!
//! Key type: [`Serial`]. Used by the binary alone.

use core::fmt::{self, Write};

use ecusson_loader::report::Report;

use crate::machine::{port_in, port_out};

const COM1: u16 = 0x3f8;
/// How often the line status is asked before a byte is sent anyway: a port that isn't there must not stop the
/// machine.
const PATIENCE: u32 = 100_000;
/// Line status: the transmitter can take a byte.
const READY: u8 = 0x20;

/// The port, set up.
pub(crate) struct Serial(());

impl Serial {
    /// Sets COM1 to 115200 baud, 8 bits, no parity.
    pub(crate) fn new() -> Self {
        let setup: [(u16, u8); 7] = [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 3)];
        for (register, value) in setup {
            port_out(COM1 + register, value);
        }
        Serial(())
    }

    fn byte(&mut self, byte: u8) {
        for _ in 0..PATIENCE {
            if port_in(COM1 + 5) & READY != 0 {
                break;
            }
        }
        port_out(COM1, byte);
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.byte(byte));
        Ok(())
    }
}

impl Report for Serial {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to the port cannot fail.
        let _ = write!(self, "ecusson loader: {line}\r\n");
    }
}
