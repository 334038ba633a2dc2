//! What processor a guest sees: registers, exceptions, CPUID and model-specific registers.
//!
//! Key types: [`CpuState`], [`Cpuid`], [`Offer`], [`Msrs`]. CPUID is made from the host's CPUID when the domain is created.

mod cpuid;
mod exception;
mod msr;
mod state;

pub use cpuid::{Cpuid, Leaf, Offer};
pub use exception::Exception;
pub use msr::Msrs;
pub use state::{CpuState, PlainState, Segment, System, TableRegister, gpr};
