//! KVM's hypercalls (Linux "virt/kvm/x86/hypercalls.rst").
//!
//! Key types: [`HypercallArguments`] in, [`Hypercall`] out. Interrupts are posted to the fabric here; whom to kick is returned.

use crate::apic::{Delivery, Destination, Fabric, Message, Trigger, VcpuSet};

mod number {
    pub(super) const POLL_INTERRUPTS: u64 = 1;
    pub(super) const KICK: u64 = 5;
    pub(super) const SEND_IPI: u64 = 10;
    pub(super) const YIELD: u64 = 11;
}

/// Linux's negative error numbers, as KVM gives them.
mod error {
    pub(super) const NOT_PERMITTED: u64 = 1_u64.wrapping_neg();
    pub(super) const INVALID: u64 = 22_u64.wrapping_neg();
    pub(super) const UNKNOWN: u64 = 1000_u64.wrapping_neg();
}

/// The registers of a hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HypercallArguments {
    /// RAX.
    pub number: u64,
    /// RBX, RCX, RDX, RSI.
    pub words: [u64; 4],
    /// Current privilege level.
    pub privilege: u8,
}

/// What a hypercall led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypercall {
    /// For RAX.
    pub result: u64,
    /// vCPUs to kick.
    pub kicks: VcpuSet,
    /// The caller would rather have another vCPU run.
    pub yields: bool,
}

impl Hypercall {
    fn result(result: u64) -> Self {
        Self {
            result,
            kicks: VcpuSet::NONE,
            yields: false,
        }
    }
}

impl HypercallArguments {
    /// Carries a hypercall out.
    #[must_use]
    pub fn carry_out(&self, fabric: &Fabric) -> Hypercall {
        if self.privilege != 0 {
            return Hypercall::result(error::NOT_PERMITTED);
        }
        let [first, second, ..] = self.words;
        match self.number {
            number::POLL_INTERRUPTS => Hypercall::result(0),
            number::KICK => {
                let vcpu = usize::try_from(second).unwrap_or(usize::MAX);
                Hypercall {
                    kicks: fabric.wake(vcpu),
                    ..Hypercall::result(0)
                }
            }
            number::SEND_IPI => self.send_ipi(fabric),
            number::YIELD => {
                let vcpu = usize::try_from(first).unwrap_or(usize::MAX);
                Hypercall {
                    yields: vcpu < fabric.vcpus(),
                    ..Hypercall::result(0)
                }
            }
            _ => Hypercall::result(error::UNKNOWN),
        }
    }

    /// 128 bits of APIC numbers from a least one on, and the low half of an interrupt command.
    fn send_ipi(&self, fabric: &Fabric) -> Hypercall {
        let [low, high, least, command] = self.words;
        let command = command as u32;
        let delivery = Delivery::of_bits(command >> 8);
        if !matches!(delivery, Delivery::Fixed | Delivery::Nmi) {
            return Hypercall::result(error::INVALID);
        }
        let set = u128::from(low) | u128::from(high) << 64;
        let mut kicks = VcpuSet::NONE;
        for vcpu in 0..fabric.vcpus() as u64 {
            let bit = vcpu.checked_sub(least).and_then(|bit| u32::try_from(bit).ok());
            let is_target = bit
                .and_then(|bit| set.checked_shr(bit))
                .is_some_and(|rest| rest & 1 != 0);
            if is_target {
                kicks = kicks.and(fabric.send(&Message {
                    destination: Destination::Physical(vcpu as u32),
                    delivery,
                    vector: command as u8,
                    trigger: Trigger::Edge,
                }));
            }
        }
        Hypercall {
            kicks,
            ..Hypercall::result(u64::from(kicks.0.count_ones()))
        }
    }
}
