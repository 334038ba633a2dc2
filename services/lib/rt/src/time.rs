//! Time: ticks of the time-stamp counter, and the page that relates them to seconds.
//!
//! Key type: [`Clock`]. Every deadline of a system call is an absolute count of ticks.

use ecusson_abi::NO_DEADLINE;
use ecusson_abi::time::TimePage;
use ecusson_manifest::layout::TIME_PAGE_ADDRESS;

use crate::sys;

/// How ticks relate to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    page: TimePage,
}

impl Clock {
    /// The clock of a machine, from its time page.
    #[must_use]
    pub const fn new(page: TimePage) -> Self {
        Self { page }
    }

    /// The clock of a process that root started.
    ///
    /// `None` in a process without the time page ([`crate::environment()`] is `None`).
    #[must_use]
    pub fn of_process() -> Option<Self> {
        crate::environment()?;
        // SAFETY: root maps the page, read-only, into every process that has a boot table; it is written once, before
        // any process exists, and every value of its bytes is a `TimePage`.
        Some(Self::new(unsafe {
            core::ptr::read_volatile(TIME_PAGE_ADDRESS as *const TimePage)
        }))
    }

    /// Ticks in one second, at least 1.
    #[must_use]
    pub fn ticks_per_second(&self) -> u64 {
        self.page.ticks_per_second.max(1)
    }

    /// Ticks in so many microseconds.
    #[must_use]
    pub fn ticks_of_us(&self, count_us: u64) -> u64 {
        let ticks = u128::from(count_us) * u128::from(self.ticks_per_second()) / 1_000_000;
        u64::try_from(ticks).unwrap_or(NO_DEADLINE)
    }

    /// Nanoseconds in so many ticks.
    #[must_use]
    pub fn ns_of_ticks(&self, ticks: u64) -> u64 {
        let ns = (u128::from(ticks) * u128::from(self.page.nanoseconds_scale)) >> 32;
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since the kernel took over.
    #[must_use]
    pub fn uptime_ns(&self) -> u64 {
        self.ns_of_ticks(sys::now().saturating_sub(self.page.boot_ticks))
    }

    /// Nanoseconds since 1970-01-01 UTC; `None` if the machine has no wall clock.
    #[must_use]
    pub fn wall_clock_ns(&self) -> Option<u64> {
        let boot = self.page.boot_wall_clock_ns;
        if boot == 0 {
            None
        } else {
            Some(boot.saturating_add(self.uptime_ns()))
        }
    }

    /// The deadline so many microseconds from now.
    #[must_use]
    pub fn deadline_in_us(&self, count_us: u64) -> u64 {
        sys::now().saturating_add(self.ticks_of_us(count_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ticks_per_second: u64) -> Clock {
        let nanoseconds_scale = ((1_000_000_000_u128 << 32) / u128::from(ticks_per_second)) as u64;
        Clock::new(TimePage {
            ticks_per_second,
            nanoseconds_scale,
            boot_ticks: 0,
            boot_wall_clock_ns: 0,
        })
    }

    #[test]
    fn ticks_and_time_convert_without_overflow() {
        let clock = clock(3_000_000_000);
        assert_eq!(clock.ticks_of_us(1_000), 3_000_000);
        assert_eq!(clock.ticks_of_us(u64::MAX), NO_DEADLINE);
        // The scale is rounded down: an error below one part in 2^31.
        assert!(clock.ns_of_ticks(3_000_000_000).abs_diff(1_000_000_000) < 2);
        assert_eq!(clock.wall_clock_ns(), None);
    }
}
