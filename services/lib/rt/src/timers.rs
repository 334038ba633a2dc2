//! Timers of an event loop: a few deadlines, each with what it stands for.
//!
//! Key type: [`Timers`]. A service asks for the next deadline when it waits and for what has expired when it wakes.

use ecusson_abi::NO_DEADLINE;

/// At most `N` timers; each has a key, and a key has one timer. Times are absolute ticks.
#[derive(Clone, Debug)]
pub struct Timers<K, const N: usize> {
    armed: [Option<(u64, K)>; N],
}

impl<K: Copy + PartialEq, const N: usize> Default for Timers<K, N> {
    fn default() -> Self {
        Self { armed: [None; N] }
    }
}

/// All `N` timers are armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<K: Copy + PartialEq, const N: usize> Timers<K, N> {
    /// Arms the timer of a key, or moves it.
    ///
    /// # Errors
    /// [`Full`] when `N` others are armed.
    pub fn arm(&mut self, key: K, at: u64) -> Result<(), Full> {
        self.cancel(key);
        let free = self.armed.iter_mut().find(|timer| timer.is_none()).ok_or(Full)?;
        *free = Some((at, key));
        Ok(())
    }

    /// Disarms the timer of a key, if it is armed.
    pub fn cancel(&mut self, key: K) {
        for timer in &mut self.armed {
            if timer.is_some_and(|(_, other)| other == key) {
                *timer = None;
            }
        }
    }

    /// The earliest time; [`NO_DEADLINE`] if none is armed.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.armed
            .iter()
            .flatten()
            .map(|(at, _)| *at)
            .min()
            .unwrap_or(NO_DEADLINE)
    }

    /// Takes the earliest timer whose time has come. Call it until it answers `None`.
    pub fn take_expired(&mut self, now: u64) -> Option<K> {
        let first = self.armed.iter_mut().filter(|timer| timer.is_some());
        let first = first.min_by_key(|timer| timer.map_or(NO_DEADLINE, |(at, _)| at))?;
        let (_, key) = (*first).filter(|(at, _)| *at <= now)?;
        *first = None;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_in_order_and_once() {
        let mut timers = Timers::<u8, 3>::default();
        for (key, at) in [(1, 30), (2, 10), (3, 20)] {
            timers.arm(key, at).unwrap();
        }
        assert_eq!(timers.arm(4, 5), Err(Full));
        assert_eq!((timers.next(), timers.take_expired(9)), (10, None));
        assert_eq!(
            [
                timers.take_expired(25),
                timers.take_expired(25),
                timers.take_expired(25)
            ],
            [Some(2), Some(3), None]
        );
        timers.arm(1, 40).unwrap();
        assert_eq!(timers.next(), 40, "arming again moves the timer");
        timers.cancel(1);
        assert_eq!((timers.next(), timers.take_expired(u64::MAX)), (NO_DEADLINE, None));
    }
}
