//! Exhaustive breadth-first exploration of the real `kernel/core` in small universes.
//!
//! A [`Universe`] is a first state and a list of [`Action`]s: system calls with all their arguments, timer interrupts,
//! faults, reschedules and flushes, on either core. [`search::explore`] takes every action in every state that can be reached,
//! until there is no new state, and [`judge`] looks at each step: no panic, every invariant of `core::check`, a failed operation
//! changed nothing, rights never grew, the fast paths agree with the slow ones, every core that must choose anew was told.
//!
//! States are kept canonical ([`ecusson_core::host`]) and recognised by 128-bit fingerprints. Run by `cargo test -p ecusson-explore`
//! and by the binary of the same name.
#![forbid(unsafe_code)]

pub mod action;
pub mod judge;
pub mod machine;
pub mod packed;
pub mod report;
pub mod search;
pub mod universe;
mod universes;

pub use action::{Action, Entry};
pub use report::{Outcome, Report, Violation};
pub use universe::Universe;
