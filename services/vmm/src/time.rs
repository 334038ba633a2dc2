//! Times as this library is told them: it has no clock of its own.
//!
//! Key types: [`Now`], [`Timebase`].

/// Time of day as the host knows it: nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

/// The moment of an exit or an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The guest's TSC.
    pub tsc: u64,
    /// Time of day.
    pub wall: Wall,
}

/// How guest TSC and nanoseconds relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timebase {
    khz: u32,
}

const NS_PER_MS: u128 = 1_000_000;

impl Timebase {
    /// A TSC of so many kHz; zero is taken as one.
    #[must_use]
    pub fn new(khz: u32) -> Self {
        Self { khz: khz.max(1) }
    }

    /// Frequency in kHz.
    #[must_use]
    pub fn khz(self) -> u32 {
        self.khz
    }

    /// Ticks in so many nanoseconds, rounded up, saturating.
    #[must_use]
    pub fn ticks(self, ns: u64) -> u64 {
        let ticks = (u128::from(ns) * u128::from(self.khz)).div_ceil(NS_PER_MS);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Nanoseconds in so many ticks, rounded down, saturating.
    #[must_use]
    pub fn ns(self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * NS_PER_MS / u128::from(self.khz);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}
