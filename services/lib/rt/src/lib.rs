//! What every process stands on: the way from the kernel to `main`, system calls, typed capabilities, an event loop, a heap,
//! and a panic handler that tells the supervisor.
//!
//! Key items: [`entry!`], [`root_entry!`] and [`guarded_root_entry!`] (start), [`environment`] (what the manifest gave), [`Cap`] and the operations of
//! each kind, [`serve`] with [`Server`] (event loop), [`heap!`], [`println!`]. Used by every service, driver
//! and test program; calls the kernel through [`sys`].
#![cfg_attr(not(test), no_std)]

pub mod cap;
pub mod console;
pub mod controlled;
pub mod environment;
pub mod event_loop;
pub mod file;
pub mod fpu;
pub mod heap;
pub mod lock;
mod panic;
pub mod root_stack;
mod start;
pub mod sys;
pub mod time;
pub mod timers;
pub mod window;

pub use cap::{Cap, Failure, Progress};
pub use controlled::Controlled;
pub use environment::environment;
pub use event_loop::{Server, serve};
pub use file::File;
pub use panic::exit;
pub use timers::Timers;
