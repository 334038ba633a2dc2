//! Descriptor rings between two services in a shared region: one producer, one consumer, neither trusts the other.
//!
//! Key types: [`Producer`], [`Consumer`] (and [`bytes`] for streams of bytes), over the words of a region (`rt`'s `environment::shared_words`). Each side keeps
//! its own counter to itself and only publishes it; what the peer publishes is checked at each look. A hostile peer can put
//! nonsense into descriptors or say [`Broken`] things; it can't make this side read or write outside the ring.
//!
//! | word | what | who writes |
//! |---|---|---|
//! | 0 | descriptors produced | producer |
//! | 8 | descriptors consumed | consumer |
//! | 16.. | descriptors, two words each, a power of two of them | producer |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod bytes;

use core::sync::atomic::{AtomicU64, Ordering};

/// Two words whose meaning is the two services' own. The consumer checks them before use.
pub type Descriptor = [u64; 2];

/// The counters lie on cache lines of their own.
const CONSUMED: usize = 8;
const FIRST: usize = 16;

/// The peer published a counter that can't be: the ring is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a look at the ring gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// No room now.
    Full,
    /// See [`Broken`].
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct Ring<'a> {
    words: &'a [AtomicU64],
    capacity: u64,
    /// This side's counter.
    own: u64,
}

impl<'a> Ring<'a> {
    fn new(words: &'a [AtomicU64], counter: usize) -> Option<Self> {
        let room = words.len().checked_sub(FIRST)? / 2;
        let capacity = 1_u64 << room.checked_ilog2()?;
        Some(Self {
            words,
            capacity,
            own: words.get(counter)?.load(Ordering::Relaxed),
        })
    }

    /// The two words of a descriptor; the index is cut to the ring, whatever the counter.
    fn place(&self, counter: u64) -> Option<&'a [AtomicU64]> {
        let first = FIRST + 2 * (counter % self.capacity) as usize;
        self.words.get(first..first + 2)
    }

    fn peer(&self, counter: usize) -> u64 {
        // Acquire: with the peer's Release, what it wrote before the counter is seen behind it.
        self.words.get(counter).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn publish(&mut self, counter: usize) {
        self.own = self.own.wrapping_add(1);
        if let Some(word) = self.words.get(counter) {
            word.store(self.own, Ordering::Release);
        }
    }
}

/// The side that puts descriptors in.
#[derive(Debug)]
pub struct Producer<'a>(Ring<'a>);

/// The side that takes descriptors out.
#[derive(Debug)]
pub struct Consumer<'a>(Ring<'a>);

impl<'a> Producer<'a> {
    /// Takes up a ring where it was left: a fresh region is an empty ring. `None` for fewer than 18 words.
    #[must_use]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        Ring::new(words, 0).map(Self)
    }

    /// Puts a descriptor in. `Ok(true)` if the ring was empty, so that the consumer may sleep and wants a signal.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn push(&mut self, descriptor: Descriptor) -> Result<bool, PushError> {
        let waiting = self.0.own.wrapping_sub(self.0.peer(CONSUMED));
        if waiting > self.0.capacity {
            return Err(PushError::Broken);
        }
        if waiting == self.0.capacity {
            return Err(PushError::Full);
        }
        for (word, value) in self.0.place(self.0.own).unwrap_or_default().iter().zip(descriptor) {
            word.store(value, Ordering::Relaxed);
        }
        self.0.publish(0);
        // Looked at again after publishing: a consumer that emptied the ring meanwhile may have gone to sleep.
        core::sync::atomic::fence(Ordering::SeqCst);
        Ok(self.0.peer(CONSUMED).wrapping_add(1) == self.0.own)
    }
}

impl<'a> Consumer<'a> {
    /// As [`Producer::new`].
    #[must_use]
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        Ring::new(words, CONSUMED).map(Self)
    }

    /// Takes the oldest descriptor out; `None` when the ring is empty, after which the consumer may wait for a signal.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn pop(&mut self) -> Result<Option<Descriptor>, Broken> {
        // Pairs with the producer's fence: of "consumed" and "produced" one side at least sees the other's latest.
        core::sync::atomic::fence(Ordering::SeqCst);
        let waiting = self.0.peer(0).wrapping_sub(self.0.own);
        if waiting > self.0.capacity {
            return Err(Broken);
        }
        if waiting == 0 {
            return Ok(None);
        }
        let mut descriptor = Descriptor::default();
        for (value, word) in descriptor.iter_mut().zip(self.0.place(self.0.own).unwrap_or_default()) {
            *value = word.load(Ordering::Relaxed);
        }
        self.0.publish(CONSUMED);
        Ok(Some(descriptor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    proptest! {
        /// The ring is a queue of its capacity, whatever the order of pushes and pops.
        #[test]
        fn it_is_a_queue(count in 18_usize..60, steps in prop::collection::vec(any::<bool>(), 0..200)) {
            let memory = words(count);
            let (mut producer, mut consumer) = (Producer::new(&memory).unwrap(), Consumer::new(&memory).unwrap());
            let capacity = 1 << ((count - 16) / 2).ilog2();
            let mut model = VecDeque::new();
            for (number, is_push) in (0..).zip(steps) {
                if is_push {
                    let expected = if model.len() == capacity { Err(PushError::Full) } else { Ok(model.is_empty()) };
                    prop_assert_eq!(producer.push([number, !number]), expected);
                    if expected.is_ok() { model.push_back([number, !number]); }
                } else {
                    prop_assert_eq!(consumer.pop(), Ok(model.pop_front()));
                }
            }
        }

        /// Whatever a peer writes, nothing but an error or a descriptor comes of it.
        #[test]
        fn a_hostile_peer_breaks_nothing(writes in prop::collection::vec((0_usize..24, any::<u64>()), 0..60)) {
            let memory = words(24);
            let (mut producer, mut consumer) = (Producer::new(&memory).unwrap(), Consumer::new(&memory).unwrap());
            for (index, value) in writes {
                memory[index].store(value, Ordering::Relaxed);
                let _ = (producer.push([1, 2]), consumer.pop());
            }
        }
    }

    #[test]
    fn an_impossible_counter_is_noticed() {
        let memory = words(32);
        let (mut producer, mut consumer) = (Producer::new(&memory).unwrap(), Consumer::new(&memory).unwrap());
        memory[0].store(9, Ordering::Relaxed);
        assert_eq!(consumer.pop(), Err(Broken));
        memory[CONSUMED].store(1, Ordering::Relaxed);
        assert_eq!(producer.push([0; 2]), Err(PushError::Broken));
        assert!(Producer::new(&memory[..17]).is_none());
    }

    #[test]
    fn two_threads_lose_nothing() {
        const COUNT: u64 = 100_000;
        let memory = words(48);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut producer = Producer::new(&memory).unwrap();
                for number in 0..COUNT {
                    while producer.push([number, number ^ 7]) == Err(PushError::Full) {
                        std::thread::yield_now();
                    }
                }
            });
            let mut consumer = Consumer::new(&memory).unwrap();
            let mut expected = 0;
            while expected < COUNT {
                match consumer.pop().unwrap() {
                    Some(descriptor) => {
                        assert_eq!(descriptor, [expected, expected ^ 7]);
                        expected += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
    }
}
