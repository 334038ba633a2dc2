//! The read-only time page: how to turn TSC values into time.

/// The time page, mapped read-only into processes that ask for it. Written once at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TimePage {
    /// TSC ticks in one second.
    pub ticks_per_second: u64,
    /// `nanoseconds = (ticks * scale) >> 32`: scale in 2^-32 nanoseconds a tick.
    pub nanoseconds_scale: u64,
    /// TSC at which the kernel took over.
    pub boot_ticks: u64,
    /// Wall clock at `boot_ticks`, nanoseconds since 1970-01-01 UTC; 0 if it is not known.
    pub boot_wall_clock_ns: u64,
}

static_assertions::const_assert_eq!(core::mem::size_of::<TimePage>(), 32);
