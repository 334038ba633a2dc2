//! The record of what is in flight, by which a restarted backend goes on where the last one stopped.
//!
//! Key type: [`InFlight`], over the words of a Region that outlives the backend. A head is in the record from before its chain
//! is acted upon until its used entry is published; a restarted backend finds there what it must repeat, in order.
//!
//! | word | what |
//! |---|---|
//! | 0 | mark and size of the queue; 0 when there is no record |
//! | 1 | the used index up to which the heads below were taken out |
//! | 8.. | for each head 0, or the number it was taken under: 1, 2, ... |
//!
//! The order of the stores makes each crash harmless. Taking a chain is one store. Giving chains back publishes the used index
//! in the guest's memory first, then clears the heads, then notes the index in word 1: after a crash in between, the two indexes
//! differ, and the used ring between them names the heads to clear. How many chains were ever taken follows: those given back and
//! those in the record. Words are stored whole and in program order (release); the reader comes after the writer's end.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::error::QueueError;

const MARK: u64 = 0x666C_7471 << 32;
const HEADER: usize = 0;
const USED: usize = 1;
const FIRST: usize = 8;

/// The record, taken up by one backend.
#[derive(Debug)]
pub struct InFlight<'r> {
    words: &'r [AtomicU64],
    /// The number of the last chain taken.
    last: u64,
}

impl<'r> InFlight<'r> {
    /// The record in these words, whatever they hold. For a queue of `size` descriptors [`InFlight::words`] of them are needed.
    #[must_use]
    pub fn new(words: &'r [AtomicU64]) -> Self {
        Self { words, last: 0 }
    }

    /// Words that a record for a queue of `size` takes.
    #[must_use]
    pub const fn words(size: u16) -> usize {
        FIRST + size as usize
    }

    fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::Release);
        }
    }

    const fn header(size: u16) -> u64 {
        MARK | size as u64
    }

    /// Begins a record of a queue of which nothing is in flight.
    pub(crate) fn begin(&mut self, size: u16, used: u16) -> Result<(), QueueError> {
        if self.words.len() < Self::words(size) {
            return Err(QueueError::BadRecord);
        }
        self.store(HEADER, 0);
        for head in 0..size {
            self.store(FIRST + usize::from(head), 0);
        }
        self.store(USED, u64::from(used));
        self.last = 0;
        // Last: a record that was not begun to its end is none.
        self.store(HEADER, Self::header(size));
        Ok(())
    }

    /// The used index noted, if there is a record for such a queue.
    pub(crate) fn used(&self, size: u16) -> Option<u16> {
        let begun = self.words.len() >= Self::words(size) && self.load(HEADER) == Self::header(size);
        // Its writer put 16 bits there.
        begun.then(|| self.load(USED) as u16)
    }

    /// All heads in flight, in the order they were taken; goes on numbering behind them.
    pub(crate) fn heads(&mut self, size: u16) -> Vec<u16> {
        let numbered = (0..size).map(|head| (self.load(FIRST + usize::from(head)), head));
        let mut heads: Vec<(u64, u16)> = numbered.filter(|(number, _)| *number != 0).collect();
        heads.sort_unstable();
        self.last = heads.last().map_or(0, |(number, _)| *number);
        heads.into_iter().map(|(_, head)| head).collect()
    }

    pub(crate) fn holds(&self, head: u16) -> bool {
        self.load(FIRST + usize::from(head)) != 0
    }

    pub(crate) fn take(&mut self, head: u16) {
        self.last += 1;
        self.store(FIRST + usize::from(head), self.last);
    }

    pub(crate) fn clear(&self, head: u16) {
        self.store(FIRST + usize::from(head), 0);
    }

    pub(crate) fn note_used(&self, used: u16) {
        self.store(USED, u64::from(used));
    }
}
