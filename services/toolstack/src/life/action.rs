//! What happens to domains, and what is to be done about it.
//!
//! Key types: [`Event`], [`Action`], [`Platform`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::scheduling::VcpuTime;
use super::state::{DomId, EndReason};
use crate::config::DomainConfig;

/// What becomes of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPower {
    /// It is switched off.
    Off,
    /// It starts again.
    Reboot,
}

/// Something to do. All of it may take time; the outcome comes back as an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the domain: memory, VMM process, ports of switch and block. Answered by `Built` or `BuildFailed`.
    Build {
        /// Which.
        domain: DomId,
        /// Of what.
        config: Box<DomainConfig>,
    },
    /// Give its processors time.
    Schedule {
        /// Which.
        domain: DomId,
        /// One for each processor.
        vcpus: Vec<VcpuTime>,
    },
    /// Let its processors run.
    Run {
        /// Which.
        domain: DomId,
    },
    /// Stop them, without asking the guest.
    Stop {
        /// Which.
        domain: DomId,
    },
    /// Press its power button.
    PowerButton {
        /// Which.
        domain: DomId,
    },
    /// Take everything down that `Build` made. Answered by `Gone`.
    Destroy {
        /// Which.
        domain: DomId,
    },
    /// Write a line to the log.
    Log(String),
    /// The last action: no domain is left.
    Power(HostPower),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `Build` is done.
    Built(DomId),
    /// `Build` is not possible; what it made is undone by `Destroy`.
    BuildFailed(DomId, String),
    /// The guest ended.
    Ended(DomId, EndReason),
    /// Its VMM died, with the reason that its supervisor gives.
    VmmDied(DomId, String),
    /// `Destroy` is done: memory and all else is back.
    Gone(DomId),
    /// The time came that `next_deadline_ms` named.
    Tick,
    /// Somebody pressed the host's power button.
    HostPowerButton,
}

/// Who carries actions out.
pub trait Platform {
    /// Begins an action. Its outcome comes back later, as an event; what needs no answer cannot fail.
    fn perform(&mut self, action: Action);
}
