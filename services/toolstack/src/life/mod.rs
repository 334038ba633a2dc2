//! The life cycle of domains, as a pure state machine: verbs and events in, actions out.
//!
//! Key types: [`Domains`] (all domains of the host), [`Event`] (what happened), [`Action`] (what is to be done), [`Platform`]
//! (who does it). Nothing here waits, reads a clock or fails half-way: a verb is refused before it changes anything.

mod action;
mod ending;
mod host;
mod machine;
mod memory;
mod restart;
mod scheduling;
mod state;

pub use action::{Action, Event, HostPower, Platform};
pub use host::STOP_TIMEOUT_MS;
pub use machine::{Domains, Refusal};
pub use memory::{HostResources, footprint_kib};
pub use restart::{FIRST_DELAY_MS, MAX_QUICK_RESTARTS, QUICK_LIFE_MS};
pub use scheduling::{PERIOD_US, VcpuTime};
pub use state::{Activity, DomId, Domain, EndReason, Hold, Moment, Phase, StartMode};
