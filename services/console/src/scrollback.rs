//! The latest output of a guest's console.
//!
//! Key type: [`Scrollback`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A ring of bytes.
#[derive(Clone, Debug)]
pub struct Scrollback {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Whether bytes were lost: the first line is not whole then.
    cut: bool,
}

impl Scrollback {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity: capacity.max(1),
            cut: false,
        }
    }

    /// Adds output; the oldest goes.
    pub fn push(&mut self, output: &[u8]) {
        let newest = &output[output.len().saturating_sub(self.capacity)..];
        let surplus = (self.bytes.len() + newest.len()).saturating_sub(self.capacity);
        self.cut |= surplus > 0 || newest.len() < output.len();
        self.bytes.drain(..surplus);
        self.bytes.extend(newest);
    }

    /// The last so many lines, the unfinished one included. Begins at the beginning of a line, if there is one.
    #[must_use]
    pub fn last_lines(&self, lines: usize) -> Vec<u8> {
        // The line feed before the wanted lines; one at the very end belongs to the last of them.
        let ends = self
            .bytes
            .iter()
            .enumerate()
            .rev()
            .skip(1)
            .filter(|(_, byte)| **byte == b'\n');
        let mut ends = ends.map(|(place, _)| place + 1);
        let first = match ends.nth(lines.saturating_sub(1)) {
            Some(first) => first,
            None if self.cut => self
                .bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |place| place + 1),
            None => 0,
        };
        self.bytes.iter().skip(first).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Scrollback;

    #[test]
    fn the_latest_lines_are_kept_whole() {
        let mut scrollback = Scrollback::new(20);
        scrollback.push(b"one\r\ntwo\r\n");
        assert_eq!(scrollback.last_lines(9), b"one\r\ntwo\r\n");
        assert_eq!(scrollback.last_lines(1), b"two\r\n");
        scrollback.push(b"three\r\nlogin: ");
        assert_eq!(scrollback.last_lines(9), b"two\r\nthree\r\nlogin: ");
        assert_eq!(scrollback.last_lines(1), b"login: ");
        scrollback.push(&[b'x'; 50]);
        assert_eq!(scrollback.last_lines(9), [b'x'; 20]);
    }
}
