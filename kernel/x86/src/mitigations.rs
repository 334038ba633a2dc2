//! Which mitigations of processor weaknesses this core needs and how they are applied: the policy of
//! `specs/adr/0003-processor-mitigations.md` as a function of [`Features`], without side effects.
//!
//! Key types: [`Mode`] (from the command line), [`Policy`]. Called once a core by [`crate::control`]; the entry code
//! reads [`Policy::entry`] as bits of its per-core block.

use crate::features::{Features, Vendor};

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What the processor needs.
    Auto,
    /// All that it offers, needed or not: for measuring.
    Force,
    /// Nothing, and start even where the kernel would refuse.
    Off,
}

/// SPEC_CTRL: indirect branch restricted speculation.
pub const SPEC_IBRS: u64 = 1 << 0;
/// SPEC_CTRL: no predictions from the sibling thread.
pub const SPEC_STIBP: u64 = 1 << 1;
/// SPEC_CTRL: no speculative store bypass.
pub const SPEC_SSBD: u64 = 1 << 2;
/// SPEC_CTRL: no predictions from branch history of less privileged code (Intel).
pub const SPEC_BHI_DIS_S: u64 = 1 << 10;

/// Work at the border: clear buffers (VERW) before every return to user mode.
pub const CLEAR_BUFFERS: u8 = 1;
/// Work at the border: predictor barrier when another address space is loaded.
pub const BARRIER_ON_SWITCH: u8 = 2;
/// Work at the border: fill the return predictor when another address space is loaded.
pub const FILL_RETURNS: u8 = 4;
/// Work at the border: predictor barrier at every entry (measuring, and where returns can be steered).
pub const BARRIER_ON_ENTRY: u8 = 8;

// Bits of ARCH_CAPABILITIES (Intel SDM vol. 4, table 2-2).
const RDCL_NO: u64 = 1 << 0;
const IBRS_ALL: u64 = 1 << 1;
const MDS_NO: u64 = 1 << 5;
const TAA_NO: u64 = 1 << 8;
const FBSDP_NO: u64 = 1 << 14;
const FB_CLEAR: u64 = 1 << 17;
const RFDS_NO: u64 = 1 << 27;
const RFDS_CLEAR: u64 = 1 << 28;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Policy {
    /// Value of SPEC_CTRL, written once and left.
    pub speculation_control: u64,
    /// Whether EFER.AIBRSE is set (AMD).
    pub automatic_ibrs: bool,
    /// `CLEAR_BUFFERS`, `BARRIER_ON_SWITCH`, `FILL_RETURNS`, `BARRIER_ON_ENTRY`.
    pub entry: u8,
    /// Why the kernel must not start here.
    pub refusal: Option<&'static str>,
}

impl Policy {
    /// The policy for a processor.
    #[must_use]
    pub fn new(features: &Features, mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::default(),
            Mode::Auto => Self::needed(features),
            Mode::Force => Self {
                refusal: Self::needed(features).refusal,
                ..Self::everything(features)
            },
        }
    }

    fn needed(features: &Features) -> Self {
        let speculation = &features.speculation;
        let mut policy = Self {
            refusal: refusal(features),
            ..Self::default()
        };
        // Left on for good where the manufacturer says that this is the intended use.
        if speculation.automatic_ibrs {
            policy.automatic_ibrs = true;
        } else if speculation.capabilities & IBRS_ALL != 0 || speculation.ibrs_always_on {
            policy.speculation_control |= SPEC_IBRS;
        }
        if speculation.stibp && features.hyper_threads {
            policy.speculation_control |= SPEC_STIBP;
        }
        if speculation.bhi_control && speculation.capabilities & IBRS_ALL != 0 {
            policy.speculation_control |= SPEC_BHI_DIS_S;
        }
        if speculation.ibpb {
            // The barrier also clears the return predictor on processors of today; filling it covers the others.
            policy.entry |= BARRIER_ON_SWITCH | FILL_RETURNS;
        }
        if needs_cleared_buffers(features) {
            policy.entry |= CLEAR_BUFFERS;
        }
        policy
    }

    fn everything(features: &Features) -> Self {
        let speculation = &features.speculation;
        let when = |has: bool, bits: u64| if has { bits } else { 0 };
        let barriers = if speculation.ibpb {
            BARRIER_ON_SWITCH | BARRIER_ON_ENTRY
        } else {
            0
        };
        Self {
            speculation_control: when(speculation.ibrs, SPEC_IBRS)
                | when(speculation.stibp, SPEC_STIBP)
                | when(speculation.ssbd, SPEC_SSBD)
                | when(speculation.bhi_control, SPEC_BHI_DIS_S),
            automatic_ibrs: speculation.automatic_ibrs,
            // VERW without MD_CLEAR is a plain instruction: harmless, and it costs what it would.
            entry: barriers | FILL_RETURNS | CLEAR_BUFFERS,
            refusal: None,
        }
    }
}

/// Meltdown and L1TF: without a second set of page tables the kernel's memory would be readable.
fn refusal(features: &Features) -> Option<&'static str> {
    let exposed =
        features.vendor == Vendor::Intel && features.family == 6 && features.speculation.capabilities & RDCL_NO == 0;
    exposed.then_some(
        "this processor lets user mode read kernel memory (Meltdown, RDCL_NO is clear); use another processor, or add \
         mitigations=off to the command line to run without protection",
    )
}

fn needs_cleared_buffers(features: &Features) -> bool {
    let (speculation, says) = (&features.speculation, features.speculation.capabilities);
    let sampling = speculation.md_clear && says & MDS_NO == 0;
    let aborts = speculation.restricted_transactions && says & TAA_NO == 0;
    let device_data = says & FB_CLEAR != 0 && says & FBSDP_NO == 0;
    let registers = says & RFDS_CLEAR != 0 && says & RFDS_NO == 0;
    features.vendor == Vendor::Intel && (sampling || aborts || device_data || registers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Speculation;

    fn processor(vendor: Vendor, family: u32, speculation: Speculation) -> Features {
        Features {
            vendor,
            family,
            hyper_threads: true,
            speculation,
            ..Features::detect()
        }
    }

    #[test]
    fn a_processor_with_meltdown_is_refused_unless_told_off() {
        let old = processor(
            Vendor::Intel,
            6,
            Speculation {
                md_clear: true,
                ibpb: true,
                ..Speculation::default()
            },
        );
        assert!(Policy::new(&old, Mode::Auto).refusal.is_some());
        assert!(Policy::new(&old, Mode::Force).refusal.is_some());
        assert_eq!(Policy::new(&old, Mode::Off), Policy::default());
    }

    #[test]
    fn enhanced_ibrs_stays_on_and_buffers_are_left_alone_where_nothing_leaks() {
        let capabilities = RDCL_NO | IBRS_ALL | MDS_NO | TAA_NO;
        let speculation = Speculation {
            ibrs: true,
            ibpb: true,
            stibp: true,
            capabilities,
            ..Speculation::default()
        };
        let policy = Policy::new(&processor(Vendor::Intel, 6, speculation), Mode::Auto);
        assert_eq!(policy.refusal, None);
        assert_eq!(policy.speculation_control, SPEC_IBRS | SPEC_STIBP);
        assert_eq!(policy.entry, BARRIER_ON_SWITCH | FILL_RETURNS);
    }

    #[test]
    fn register_sampling_alone_asks_for_cleared_buffers() {
        let capabilities = RDCL_NO | IBRS_ALL | MDS_NO | TAA_NO | RFDS_CLEAR;
        let speculation = Speculation {
            capabilities,
            ..Speculation::default()
        };
        let policy = Policy::new(&processor(Vendor::Intel, 6, speculation), Mode::Auto);
        assert_eq!(policy.entry & CLEAR_BUFFERS, CLEAR_BUFFERS);
    }

    #[test]
    fn amd_uses_automatic_ibrs_and_is_never_refused() {
        let speculation = Speculation {
            automatic_ibrs: true,
            ibpb: true,
            ..Speculation::default()
        };
        let policy = Policy::new(&processor(Vendor::Amd, 0x19, speculation), Mode::Auto);
        assert!(policy.automatic_ibrs && policy.refusal.is_none());
        assert_eq!(policy.speculation_control & SPEC_IBRS, 0);
        assert_eq!(policy.entry & CLEAR_BUFFERS, 0);
    }
}
