//! KVM's paravirtual interface, by which Linux runs with few exits: clock, end of interrupt, time stolen, hypercalls.
//!
//! Key types: [`Paravirtual`], [`Hypercall`]. Linux "virt/kvm/x86/msr.rst", "cpuid.rst", "hypercalls.rst". Called by the vCPU's exits;
//! the pages that a guest registers are written through [`crate::memory::GuestMemory`], and a page that is not there harms
//! nobody but the guest.

mod clock;
mod hypercall;
mod pages;

pub use clock::ClockScale;
pub use hypercall::{Hypercall, HypercallArguments};
pub use pages::{Paravirtual, TlbFlush};

/// Features that are offered, by their bit in CPUID leaf 0x40000001, EAX.
pub(crate) mod feature {
    const CLOCK_OLD: u32 = 1 << 0;
    const NO_IO_DELAY: u32 = 1 << 1;
    const CLOCK: u32 = 1 << 3;
    const STEAL_TIME: u32 = 1 << 5;
    const END_OF_INTERRUPT: u32 = 1 << 6;
    const KICK: u32 = 1 << 7;
    pub(crate) const TLB_FLUSH: u32 = 1 << 9;
    const SEND_IPI: u32 = 1 << 11;
    const YIELD: u32 = 1 << 13;
    const MSI_EXTENDED_DESTINATION: u32 = 1 << 15;
    const CLOCK_STABLE: u32 = 1 << 24;

    /// All of them.
    pub(crate) const ALL: u32 = CLOCK_OLD
        | NO_IO_DELAY
        | CLOCK
        | STEAL_TIME
        | END_OF_INTERRUPT
        | KICK
        | TLB_FLUSH
        | SEND_IPI
        | YIELD
        | MSI_EXTENDED_DESTINATION
        | CLOCK_STABLE;
}
