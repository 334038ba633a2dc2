//! Lines for people, through the kernel's log. They reach the console in debug kernels, before any driver runs.
//!
//! Key items: [`Line`], [`println!`].

use core::fmt::{self, Write};

use crate::sys;

/// Bytes of a line that are kept; the rest is cut.
pub const LINE_BYTES: usize = 240;

/// A line on its way: collected whole, so that it goes out in one piece.
#[derive(Clone, Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; LINE_BYTES],
            length: 0,
        }
    }
}

impl Line {
    /// What was written, as far as there was room.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Writes a line to the kernel's log; `println!` calls it.
pub fn print_line(text: fmt::Arguments<'_>) {
    let mut line = Line::default();
    // Writing into a line does not fail; a value's own formatter may, and then the line ends there.
    let _ = line.write_fmt(text);
    line.length = line.length.min(LINE_BYTES - 1);
    let _ = line.write_str("\n");
    sys::log(line.as_bytes());
}

/// Writes a line to the kernel's log, in the manner of the standard library.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::print_line(format_args!($($argument)*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_at_its_end() {
        let mut line = Line::default();
        for _ in 0..LINE_BYTES {
            line.write_str("ab").unwrap();
        }
        assert_eq!(line.as_bytes().len(), LINE_BYTES);
        assert!(line.as_bytes().ends_with(b"ab"));
    }
}
