//! The pages that a vCPU shares with its VMM, registered by MSRs: clock, stolen time, end of interrupt.
//!
//! Key type: [`Paravirtual`], one a vCPU. [`Paravirtual::before_entry`] and [`Paravirtual::after_exit`] bracket each run of the guest,
//! [`Paravirtual::before_wait`] and [`Paravirtual::after_wait`] each halt.

use super::clock::ClockScale;
use crate::apic::{ApicEffect, BadAccess, LocalApic};
use crate::memory::GuestMemory;
use crate::time::{Now, Timebase};

mod msr {
    pub(super) const WALL_CLOCK_OLD: u32 = 0x11;
    pub(super) const SYSTEM_TIME_OLD: u32 = 0x12;
    pub(super) const WALL_CLOCK: u32 = 0x4b56_4d00;
    pub(super) const SYSTEM_TIME: u32 = 0x4b56_4d01;
    pub(super) const STEAL_TIME: u32 = 0x4b56_4d03;
    pub(super) const END_OF_INTERRUPT: u32 = 0x4b56_4d04;
}

const ENABLED: u64 = 1;
/// Offsets in the page of stolen time.
mod steal {
    pub(super) const VERSION: u64 = 8;
    pub(super) const PREEMPTED: u64 = 16;
}
const PREEMPTED: u8 = 1;
/// Set by other vCPUs beside [`PREEMPTED`]: flush before you run again.
const FLUSH: u8 = 2;

/// Whether translations of the guest must be flushed before it is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlbFlush {
    /// No.
    No,
    /// All of this vCPU's.
    Yes,
}

/// A vCPU's share of the paravirtual interface.
#[derive(Clone, Debug)]
pub struct Paravirtual {
    scale: ClockScale,
    wall_clock: u64,
    system_time: u64,
    steal_time: u64,
    end_of_interrupt: u64,
    /// Nanoseconds for which the vCPU was ready and did not run.
    stolen_ns: u64,
    steal_version: u32,
    /// The guest was told that it may end its interrupt in memory.
    end_offered: bool,
}

impl Paravirtual {
    /// Nothing registered.
    #[must_use]
    pub fn new(timebase: Timebase) -> Self {
        Self {
            scale: ClockScale::new(timebase),
            wall_clock: 0,
            system_time: 0,
            steal_time: 0,
            end_of_interrupt: 0,
            stolen_ns: 0,
            steal_version: 0,
            end_offered: false,
        }
    }

    /// Whether an MSR is one of these.
    #[must_use]
    pub fn has_msr(number: u32) -> bool {
        matches!(number, msr::WALL_CLOCK_OLD | msr::SYSTEM_TIME_OLD) || number >> 8 == msr::WALL_CLOCK >> 8
    }

    /// Reads one of the MSRs.
    ///
    /// # Errors
    /// [`BadAccess`] for what is not offered.
    pub fn read_msr(&self, number: u32) -> Result<u64, BadAccess> {
        match number {
            msr::WALL_CLOCK | msr::WALL_CLOCK_OLD => Ok(self.wall_clock),
            msr::SYSTEM_TIME | msr::SYSTEM_TIME_OLD => Ok(self.system_time),
            msr::STEAL_TIME => Ok(self.steal_time),
            msr::END_OF_INTERRUPT => Ok(self.end_of_interrupt),
            _ => Err(BadAccess),
        }
    }

    /// Writes one of the MSRs: registers a page, and fills it in.
    ///
    /// # Errors
    /// [`BadAccess`] for what is not offered, and for reserved bits.
    pub fn write_msr(&mut self, number: u32, value: u64, memory: &impl GuestMemory, now: Now) -> Result<(), BadAccess> {
        match number {
            msr::WALL_CLOCK | msr::WALL_CLOCK_OLD => {
                self.wall_clock = value;
                // A page that is not memory stays unwritten: the guest's own loss, here and below.
                let _ = memory.write(value & !3, &self.scale.wall_page(now));
            }
            msr::SYSTEM_TIME | msr::SYSTEM_TIME_OLD => {
                self.system_time = value;
                if value & ENABLED != 0 {
                    let _ = memory.write(value & !ENABLED, &self.scale.page());
                }
            }
            msr::STEAL_TIME => {
                if value & 0x3e != 0 {
                    return Err(BadAccess);
                }
                self.steal_time = value;
                self.write_stolen(memory);
            }
            msr::END_OF_INTERRUPT => {
                if value & 2 != 0 {
                    return Err(BadAccess);
                }
                self.end_of_interrupt = value;
                self.end_offered = false;
            }
            _ => return Err(BadAccess),
        }
        Ok(())
    }

    /// Takes back what was offered before the guest ran; gives what the guest's end of an interrupt asks of others.
    pub fn after_exit(&mut self, apic: &mut LocalApic, memory: &impl GuestMemory) -> ApicEffect {
        if !core::mem::take(&mut self.end_offered) {
            return ApicEffect::None;
        }
        match memory.swap_u8(self.end_of_interrupt & !3, 0) {
            // The guest took the offer: it has ended its interrupt.
            Ok(flag) if flag & 1 == 0 => apic.end(),
            // It has not, or its page is gone: it will say so by a register.
            _ => ApicEffect::None,
        }
    }

    /// Lets the guest end its interrupt without an exit, where nobody waits for that end.
    pub fn before_entry(&mut self, apic: &LocalApic, memory: &impl GuestMemory) {
        if self.end_of_interrupt & ENABLED != 0 && apic.end_is_silent() {
            self.end_offered = memory.write(self.end_of_interrupt & !3, &[1]).is_ok();
        }
    }

    /// Tells the other vCPUs that this one does not run: they need not wait for it, nor interrupt it to flush.
    pub fn before_wait(&self, memory: &impl GuestMemory) {
        if let Some(page) = self.steal_page() {
            let _ = memory.write(page.saturating_add(steal::PREEMPTED), &[PREEMPTED]);
        }
    }

    /// Tells them that it runs again; gives what they left for it to do first.
    #[must_use]
    pub fn after_wait(&self, memory: &impl GuestMemory) -> TlbFlush {
        let Some(page) = self.steal_page() else {
            return TlbFlush::No;
        };
        match memory.swap_u8(page.saturating_add(steal::PREEMPTED), 0) {
            Ok(flags) if flags & FLUSH != 0 => TlbFlush::Yes,
            _ => TlbFlush::No,
        }
    }

    /// Accounts for time in which the vCPU was ready and did not run.
    pub fn add_stolen(&mut self, ns: u64, memory: &impl GuestMemory) {
        self.stolen_ns = self.stolen_ns.saturating_add(ns);
        self.write_stolen(memory);
    }

    fn steal_page(&self) -> Option<u64> {
        (self.steal_time & ENABLED != 0).then_some(self.steal_time & !0x3f)
    }

    /// Writes the time with an odd version around it, for readers on other vCPUs.
    fn write_stolen(&mut self, memory: &impl GuestMemory) {
        let Some(page) = self.steal_page() else { return };
        let odd = self.steal_version.wrapping_add(1);
        self.steal_version = odd.wrapping_add(1);
        let version_at = page.saturating_add(steal::VERSION);
        let _ = memory.write(version_at, &odd.to_le_bytes());
        let _ = memory.write(page, &self.stolen_ns.to_le_bytes());
        let _ = memory.write(version_at, &self.steal_version.to_le_bytes());
    }
}
