//! The arithmetic of KVM's clock: guest TSC to nanoseconds by a multiplication and a shift.
//!
//! Key type: [`ClockScale`]. The clock is a function of the guest's TSC alone: it is zero where that is zero. So its page is written
//! once, all vCPUs agree, and a guest that is paused or moved goes on where its TSC goes on.

use crate::bytes::put;
use crate::time::{Now, Timebase};

/// `ns = ((ticks << shift) * multiplier) >> 32`, with a right shift for a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockScale {
    multiplier: u32,
    shift: i8,
}

/// The TSC is the same on all processors of the guest, and so is the clock.
const STABLE: u8 = 1;
const NS: u64 = 1_000_000_000;

/// Bytes of a clock page.
pub(super) const CLOCK_BYTES: usize = 32;
/// Bytes of the wall clock's page.
pub(super) const WALL_BYTES: usize = 12;

impl ClockScale {
    /// Of a TSC's frequency. The multiplier gets all 32 bits of precision.
    #[must_use]
    pub fn new(timebase: Timebase) -> Self {
        // Nanoseconds a tick, with 64 bits behind the point: below 2^84.
        let per_tick = (1_000_000_u128 << 64) / u128::from(timebase.khz());
        let bits = 128 - per_tick.leading_zeros();
        // The multiplier is the top 32 bits; the point belongs 32 bits from its right.
        let multiplier = (per_tick >> bits.saturating_sub(32)) as u32;
        let shift = bits as i32 - 64;
        Self {
            multiplier,
            shift: shift as i8,
        }
    }

    /// What a guest computes from so many ticks.
    #[must_use]
    pub fn ns(self, ticks: u64) -> u64 {
        let shifted = if self.shift >= 0 {
            ticks.checked_shl(self.shift.unsigned_abs().into()).unwrap_or_default()
        } else {
            ticks.checked_shr(self.shift.unsigned_abs().into()).unwrap_or_default()
        };
        ((u128::from(shifted) * u128::from(self.multiplier)) >> 32) as u64
    }

    /// `pvclock_vcpu_time_info`: version, TSC and time of the start, scale, flags.
    pub(super) fn page(self) -> [u8; CLOCK_BYTES] {
        let mut page = [0; CLOCK_BYTES];
        put(&mut page, 0, &2_u32.to_le_bytes());
        put(&mut page, 24, &self.multiplier.to_le_bytes());
        put(&mut page, 28, &[self.shift as u8, STABLE]);
        page
    }

    /// `pvclock_wall_clock`: the time of day when the clock was zero.
    pub(super) fn wall_page(self, now: Now) -> [u8; WALL_BYTES] {
        let start = now.wall.0.saturating_sub(self.ns(now.tsc));
        let mut page = [0; WALL_BYTES];
        put(&mut page, 0, &2_u32.to_le_bytes());
        put(&mut page, 4, &((start / NS) as u32).to_le_bytes());
        put(&mut page, 8, &((start % NS) as u32).to_le_bytes());
        page
    }
}
