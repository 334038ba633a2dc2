//! Time: the TSC, and how fast it runs.
//!
//! The frequency comes from CPUID where the processor tells, else from a comparison with the HPET, the ACPI timer or the
//! old interval timer over [`WINDOW_US`]. The same comparison calibrates the APIC timer where that has no TSC deadline.
//! Called by [`crate::boot`] once; [`now`] by everybody.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::boot::{BootInfo, FADT_HARDWARE_REDUCED, FADT_PRESENT, FADT_TIMER_32_BITS, HPET_VIRT, REGISTER_PORT};

use crate::apic;
use crate::features::{Features, tsc_frequency_by_cpuid};
use crate::port::{read_u8, read_u32, write_u8};

/// Length of a comparison.
const WINDOW_US: u64 = 1_000;
/// Readings of which the one with the least delay counts.
const SAMPLES: u32 = 5;
/// Polls before a reference clock that stands still is given up.
const POLLS: u32 = 10_000_000;

static TICKS_PER_SECOND: AtomicU64 = AtomicU64::new(0);

/// The TSC now. Not ordered against what surrounds it: deadlines and charges do not need it to the instruction.
#[must_use]
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: RDTSC exists and is allowed in ring 0.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// TSC ticks in a second.
#[must_use]
pub fn ticks_per_second() -> u64 {
    TICKS_PER_SECOND.load(Ordering::Relaxed)
}

/// A clock of known speed to compare with.
#[derive(Clone, Copy, Debug)]
enum Reference {
    Hpet { ticks_per_second: u64 },
    PmTimer { port: u16, mask: u64 },
    IntervalTimer,
}

const HPET_CAPABILITIES: u64 = 0x00;
const HPET_CONFIGURATION: u64 = 0x10;
const HPET_COUNTER: u64 = 0xF0;
const PM_TIMER_HZ: u64 = 3_579_545;
const INTERVAL_TIMER_HZ: u64 = 1_193_182;

impl Reference {
    fn find(info: &BootInfo) -> Self {
        if info.hpet_phys != 0 {
            // SAFETY: the loader mapped the HPET's page uncached at this address. Starting its counter raises no interrupt.
            let period = unsafe {
                let configuration = (HPET_VIRT + HPET_CONFIGURATION) as *mut u64;
                configuration.write_volatile(configuration.read_volatile() | 1);
                ((HPET_VIRT + HPET_CAPABILITIES) as *const u64).read_volatile() >> 32
            };
            // The period is in femtoseconds and at most 100 ns (IA-PC HPET 1.0a, 2.3.4).
            if (1..=100_000_000).contains(&period) {
                return Self::Hpet {
                    ticks_per_second: 1_000_000_000_000_000 / period,
                };
            }
        }
        let fadt = &info.fadt;
        let usable = fadt.flags & FADT_PRESENT != 0 && fadt.flags & FADT_HARDWARE_REDUCED == 0;
        if usable && fadt.pm_timer.address != 0 && fadt.pm_timer.space == REGISTER_PORT {
            let mask = if fadt.flags & FADT_TIMER_32_BITS != 0 {
                0xFFFF_FFFF
            } else {
                0xFF_FFFF
            };
            return Self::PmTimer {
                port: fadt.pm_timer.address as u16,
                mask,
            };
        }
        Self::IntervalTimer
    }

    fn ticks_per_second(self) -> u64 {
        match self {
            Self::Hpet { ticks_per_second } => ticks_per_second,
            Self::PmTimer { .. } => PM_TIMER_HZ,
            Self::IntervalTimer => INTERVAL_TIMER_HZ,
        }
    }

    /// Starts the interval timer's channel 2 at its largest count, without a sound; the others run anyhow.
    fn start(self) {
        if matches!(self, Self::IntervalTimer) {
            // SAFETY: ports of the PC's interval timer and of its gate; neither touches memory.
            unsafe {
                write_u8(0x61, read_u8(0x61) & !2 | 1);
                write_u8(0x43, 0xB0);
                write_u8(0x42, 0xFF);
                write_u8(0x42, 0xFF);
            }
        }
    }

    fn read(self) -> u64 {
        // SAFETY: reading a counter; where it is was found out in `find`.
        unsafe {
            match self {
                Self::Hpet { .. } => u64::from(((HPET_VIRT + HPET_COUNTER) as *const u32).read_volatile()),
                Self::PmTimer { port, .. } => u64::from(read_u32(port)),
                Self::IntervalTimer => {
                    write_u8(0x43, 0x80);
                    let low = read_u8(0x42);
                    // It counts down.
                    0xFFFF - (u64::from(low) | u64::from(read_u8(0x42)) << 8)
                }
            }
        }
    }

    /// Ticks from one reading to a later one, less than a round apart.
    fn between(self, from: u64, to: u64) -> u64 {
        let mask = match self {
            Self::Hpet { .. } => 0xFFFF_FFFF,
            Self::PmTimer { mask, .. } => mask,
            Self::IntervalTimer => 0xFFFF,
        };
        to.wrapping_sub(from) & mask
    }

    /// The TSC and this clock at the same moment, as well as can be: the pair that took the least time to read.
    fn sample(self) -> (u64, u64) {
        let mut best = (u64::MAX, 0, 0);
        for _ in 0..SAMPLES {
            let before = now();
            let value = self.read();
            let after = now();
            let delay = after.wrapping_sub(before);
            if delay < best.0 {
                best = (delay, before + delay / 2, value);
            }
        }
        (best.1, best.2)
    }
}

/// Finds out how fast the TSC (and, if need be, the APIC timer) runs. `None` when nothing tells: no CPUID, no clock that
/// moves.
pub(crate) fn calibrate(features: &Features, info: &BootInfo) -> Option<u64> {
    let told = tsc_frequency_by_cpuid(features);
    if let Some(frequency) = told
        && !apic::needs_calibration()
    {
        TICKS_PER_SECOND.store(frequency, Ordering::Relaxed);
        return told;
    }
    let reference = Reference::find(info);
    reference.start();
    apic::start_counter();
    let window = reference.ticks_per_second() * WINDOW_US / 1_000_000;
    let (tsc_0, reference_0) = reference.sample();
    let timer_0 = apic::counted();
    let mut polls = 0;
    while reference.between(reference_0, reference.read()) < window {
        polls += 1;
        if polls == POLLS {
            return None;
        }
    }
    let (tsc_1, reference_1) = reference.sample();
    let timer_1 = apic::counted();
    let tsc = tsc_1.wrapping_sub(tsc_0);
    if apic::needs_calibration() {
        apic::set_timer_ratio(u64::from(timer_1.wrapping_sub(timer_0)), tsc);
    }
    let elapsed = reference.between(reference_0, reference_1).max(1);
    let measured = u128::from(tsc) * u128::from(reference.ticks_per_second()) / u128::from(elapsed);
    let frequency = told.unwrap_or(measured as u64);
    TICKS_PER_SECOND.store(frequency, Ordering::Relaxed);
    (frequency != 0).then_some(frequency)
}

/// Waits by the TSC.
pub(crate) fn wait_us(microseconds: u64) {
    let begin = now();
    let ticks = ticks_per_second() / 1_000_000 * microseconds;
    while now().wrapping_sub(begin) < ticks {
        core::hint::spin_loop();
    }
}
