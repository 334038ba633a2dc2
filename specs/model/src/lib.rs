//! The kernel's specification as a program: the state, and what each entry makes of it, with the scope of the Coq model.
//!
//! The first of the two descriptions is `specs/coq`, about which theorems are proved; this one is written apart from it and from
//! `kernel/core`, and [`compare`] drives it and the program extracted from the first with the same random entries, and compares
//! result and state after each.
#![forbid(unsafe_code)]

mod abi;
mod boot;
pub mod compare;
mod destroy;
mod entry;
mod ipc;
mod md5;
mod objects;
mod pages;
mod random;
mod region;
mod sched;
mod state;
mod text;

pub use entry::{Action, Due, Request};
pub use state::{Config, State};
