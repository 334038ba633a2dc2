//! The device side of virtio split virtqueues (virtio 1.2, 2.7): what a guest's driver makes available, checked, and what it
//! gets back.
//!
//! Key types: [`Queue`], [`Chain`], [`Cursor`], [`InFlight`] (the record by which a restarted backend repeats what it had
//! begun). Used by the backends of guests and by the VMM's own devices. All memory is reached through `ecusson-guestmem`.
//!
//! A driver is a guest: everything it writes may be wrong, on purpose, and may change at any time. Each index and descriptor
//! is read once and checked; chains are bounded; a queue that broke a rule stays broken until it is set up anew
//! ([`QueueError`] says what was wrong). Packed queues are not offered.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod chain;
mod cursor;
#[cfg(feature = "driver")]
pub mod driver;
mod error;
mod inflight;
mod layout;
mod queue;

pub use chain::{CHAIN_MAX, Chain, Segment};
pub use cursor::{Cursor, Short};
pub use error::QueueError;
pub use inflight::InFlight;
pub use layout::{Features, Layout, SetupError};
pub use queue::{Queue, Resumed};
