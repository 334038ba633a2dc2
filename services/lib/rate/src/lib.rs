//! Token buckets: how many bytes and operations a domain may use in a second.
//!
//! Key types: [`Bucket`], [`Limiter`] (two buckets: bytes and operations). Used by block and switch, for each disk and port. Time is
//! in nanoseconds and only goes forward; what tells it is the caller's business.
//!
//! A bucket goes into debt: whoever finds it above zero may use as much as one request needs, and the next one waits until the
//! debt is paid. So a request larger than the bucket passes some time, and over any time `t` no more is used than
//! `burst + rate * t` and one request.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

const NANOSECONDS: i128 = 1_000_000_000;

/// How fast a bucket fills, and how full it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units in a second; 0 lets nothing pass once the burst is used up.
    pub per_second: u64,
    /// Units that may be used at once after a pause.
    pub burst: u64,
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Units times 10^9; negative: debt.
    level: i128,
    filled_at_ns: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now_ns: u64) -> Self {
        Self {
            rate,
            level: i128::from(rate.burst) * NANOSECONDS,
            filled_at_ns: now_ns,
        }
    }

    fn fill(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.filled_at_ns);
        self.filled_at_ns = self.filled_at_ns.max(now_ns);
        let gained = i128::from(passed).saturating_mul(i128::from(self.rate.per_second));
        let level = self.level.saturating_add(gained);
        self.level = level.min(i128::from(self.rate.burst) * NANOSECONDS);
    }

    /// Whether something may be used now.
    ///
    /// # Errors
    /// When it may, in nanoseconds; `u64::MAX` for never.
    pub fn ready(&mut self, now_ns: u64) -> Result<(), u64> {
        self.fill(now_ns);
        if self.level > 0 {
            return Ok(());
        }
        let rate = u128::from(self.rate.per_second);
        if rate == 0 || self.rate.burst == 0 {
            return Err(u64::MAX);
        }
        let wait = self.level.unsigned_abs() / rate + 1;
        Err(u64::try_from(wait).map_or(u64::MAX, |wait| now_ns.saturating_add(wait)))
    }

    /// Uses so many units, by debt if need be. Ask [`Bucket::ready`] first.
    pub fn charge(&mut self, units: u64) {
        self.level = self.level.saturating_sub(i128::from(units) * NANOSECONDS);
    }
}

/// The limits of one disk or port; what is `None` has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: Option<Rate>,
    /// Operations or packets.
    pub operations: Option<Rate>,
}

/// The buckets of one disk or port.
#[derive(Clone, Debug)]
pub struct Limiter {
    bytes: Option<Bucket>,
    operations: Option<Bucket>,
}

impl Limiter {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: Limits, now_ns: u64) -> Self {
        Self {
            bytes: limits.bytes.map(|rate| Bucket::new(rate, now_ns)),
            operations: limits.operations.map(|rate| Bucket::new(rate, now_ns)),
        }
    }

    /// Whether another operation may begin now.
    ///
    /// # Errors
    /// When it may, as [`Bucket::ready`].
    pub fn ready(&mut self, now_ns: u64) -> Result<(), u64> {
        let waits = [&mut self.bytes, &mut self.operations]
            .into_iter()
            .flatten()
            .filter_map(|bucket| bucket.ready(now_ns).err());
        match waits.max() {
            None => Ok(()),
            Some(until) => Err(until),
        }
    }

    /// One operation of so many bytes.
    pub fn charge(&mut self, bytes: u64) {
        if let Some(bucket) = &mut self.bytes {
            bucket.charge(bytes);
        }
        if let Some(bucket) = &mut self.operations {
            bucket.charge(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever uses as much as is allowed, when it is allowed, stays under the line, and close to it.
        #[test]
        fn a_greedy_user_gets_the_rate(
            per_second in 1_u64..1_000_000_000,
            burst in 1_u64..10_000_000,
            costs in prop::collection::vec(1_u64..2_000_000, 1..200),
        ) {
            let mut bucket = Bucket::new(Rate { per_second, burst }, 5);
            let (mut now, mut used) = (5, 0_u64);
            for cost in costs {
                if let Err(until) = bucket.ready(now) {
                    prop_assert!(until > now);
                    // Not a nanosecond too long.
                    prop_assert!(bucket.clone().ready(until - 1).is_err() || until - 1 == now);
                    now = until;
                    prop_assert!(bucket.ready(now).is_ok());
                }
                let allowed = u128::from(burst) + u128::from(per_second) * u128::from(now - 5) / 1_000_000_000;
                prop_assert!(u128::from(used) <= allowed);
                bucket.charge(cost);
                used += cost;
            }
        }

        #[test]
        fn extremes_are_survived(per_second: u64, burst: u64, steps in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20)) {
            let rate = Some(Rate { per_second, burst });
            let mut limiter = Limiter::new(Limits { bytes: rate, operations: rate }, 0);
            for (now, bytes) in steps {
                let _ = limiter.ready(now);
                limiter.charge(bytes);
            }
        }
    }

    #[test]
    fn the_tighter_bucket_holds() {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        let limits = Limits {
            bytes: rate(1000, 1000),
            operations: rate(10, 1),
        };
        let mut limiter = Limiter::new(limits, 0);
        assert_eq!(limiter.ready(0), Ok(()));
        limiter.charge(3000);
        // 2,000 bytes of debt; one operation of debt would be over after a tenth of a second.
        assert_eq!(limiter.ready(100_000_001), Err(2_000_000_001));
        assert_eq!(limiter.ready(2_000_000_001), Ok(()));
        assert_eq!(Limiter::new(Limits::default(), 0).ready(0), Ok(()));
        let none = rate(0, 0);
        assert_eq!(
            Limiter::new(
                Limits {
                    bytes: none,
                    operations: None
                },
                0
            )
            .ready(9),
            Err(u64::MAX)
        );
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(
            Rate {
                per_second: 1_000_000_000,
                burst: 10,
            },
            100,
        );
        bucket.charge(10);
        assert_eq!(bucket.ready(50), Err(51));
        assert_eq!(bucket.ready(101), Ok(()));
    }
}
