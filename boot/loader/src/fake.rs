//! Physical memory for tests: a few pieces of bytes at chosen addresses.

use core::fmt;

use crate::physical::Physical;
use crate::report::Report;

/// Pieces of memory; everything else is unreachable.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Vec<(u64, Vec<u8>)>);

impl Memory {
    /// Puts `bytes` at `base`.
    pub(crate) fn with(mut self, base: u64, bytes: Vec<u8>) -> Self {
        self.0.push((base, bytes));
        self
    }
}

impl Physical for Memory {
    fn read(&self, base: u64, bytes: u64) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, piece)| {
            let from = usize::try_from(base.checked_sub(*start)?).ok()?;
            piece.get(from..from.checked_add(usize::try_from(bytes).ok()?)?)
        })
    }

    fn write(&mut self, base: u64, bytes: u64) -> Option<&mut [u8]> {
        self.0.iter_mut().find_map(|(start, piece)| {
            let from = usize::try_from(base.checked_sub(*start)?).ok()?;
            piece.get_mut(from..from.checked_add(usize::try_from(bytes).ok()?)?)
        })
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()> {
        let copy = self.read(from, bytes)?.to_vec();
        self.write(to, bytes)?.copy_from_slice(&copy);
        Some(())
    }
}

/// Keeps the lines.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Vec<String>);

impl Report for Lines {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.0.push(line.to_string());
    }
}
