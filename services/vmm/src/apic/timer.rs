//! The timer of a local APIC: one shot, periodic, or at a TSC value. It has no clock: it computes deadlines in guest TSC.
//!
//! Key type: [`Timer`]. Intel SDM vol. 3, 11.5.4. The bus runs at 1 GHz, as KVM's does.

use crate::time::Timebase;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimerMode {
    OneShot,
    Periodic,
    Deadline,
}

/// A guest that wants a shorter period than this gets this one: what it costs the host is bounded.
const PERIOD_MIN_NS: u64 = 50_000;

/// The timer's registers and what follows from them. Times are guest TSC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    timebase: Timebase,
    mode: TimerMode,
    initial: u32,
    /// The divide configuration as written.
    divide: u32,
    /// When it next fires.
    deadline: Option<u64>,
}

impl Timer {
    pub(super) fn new(timebase: Timebase) -> Self {
        Self {
            timebase,
            mode: TimerMode::OneShot,
            initial: 0,
            divide: 0,
            deadline: None,
        }
    }

    /// When it next fires, if it runs.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// The mode bits of the timer's vector register, 17 and 18. A change of mode stops the timer.
    pub(super) fn set_mode(&mut self, vector_register: u32) {
        let mode = match vector_register >> 17 & 3 {
            0 => TimerMode::OneShot,
            1 => TimerMode::Periodic,
            // The fourth value is reserved.
            _ => TimerMode::Deadline,
        };
        if mode != self.mode {
            if mode == TimerMode::Deadline || self.mode == TimerMode::Deadline {
                self.initial = 0;
                self.deadline = None;
            }
            self.mode = mode;
        }
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) fn divide(&self) -> u32 {
        self.divide
    }

    /// 1, 2, 4 ... 128, coded in bits 0, 1 and 3.
    fn divisor(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << ((code + 1) & 7)
    }

    fn period_ns(&self) -> u64 {
        u64::from(self.initial) * self.divisor()
    }

    fn period_ticks(&self) -> u64 {
        let ns = match self.mode {
            TimerMode::Periodic => self.period_ns().max(PERIOD_MIN_NS),
            TimerMode::OneShot | TimerMode::Deadline => self.period_ns(),
        };
        self.timebase.ticks(ns).max(1)
    }

    pub(super) fn set_divide(&mut self, value: u32, now: u64) {
        let count = self.current(now);
        self.divide = value & 0xb;
        // What is left of the count goes on at the new pace.
        if self.deadline.is_some() && self.mode != TimerMode::Deadline {
            let left = self.timebase.ticks(u64::from(count) * self.divisor());
            self.deadline = Some(now.saturating_add(left));
        }
    }

    pub(super) fn set_initial(&mut self, value: u32, now: u64) {
        if self.mode == TimerMode::Deadline {
            return;
        }
        self.initial = value;
        self.deadline = (value != 0).then(|| now.saturating_add(self.period_ticks()));
    }

    /// Writes the deadline register; zero stops the timer.
    pub(super) fn set_deadline(&mut self, tsc: u64) {
        if self.mode == TimerMode::Deadline {
            self.deadline = (tsc != 0).then_some(tsc);
        }
    }

    /// Reads the deadline register.
    pub(super) fn deadline_register(&self) -> u64 {
        match self.mode {
            TimerMode::Deadline => self.deadline.unwrap_or_default(),
            TimerMode::OneShot | TimerMode::Periodic => 0,
        }
    }

    /// The current count.
    pub(super) fn current(&self, now: u64) -> u32 {
        match (self.mode, self.deadline) {
            (TimerMode::OneShot | TimerMode::Periodic, Some(deadline)) => {
                let left = self.timebase.ns(deadline.saturating_sub(now)) / self.divisor();
                u32::try_from(left).unwrap_or(u32::MAX).min(self.initial)
            }
            _ => 0,
        }
    }

    /// Whether it fired by `now`; several periods at once are one.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        let Some(deadline) = self.deadline.filter(|&deadline| deadline <= now) else {
            return false;
        };
        self.deadline = match self.mode {
            TimerMode::Periodic => {
                let period = self.period_ticks();
                let missed = (now - deadline) / period;
                let step = period.saturating_mul(missed.saturating_add(1));
                Some(deadline.saturating_add(step))
            }
            TimerMode::OneShot | TimerMode::Deadline => None,
        };
        true
    }
}
