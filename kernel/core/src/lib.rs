//! The kernel of Ecusson as pure logic: objects, capabilities, memory, spaces, threads, scheduling and IPC.
//!
//! No unsafe code, no machine, no allocation. The machine layer (`ecusson-x86`) calls, under the kernel
//! lock, [`Kernel::enter`] and then one of [`Kernel::syscall`], [`Kernel::timer`], [`Kernel::interrupt`],
//! [`Kernel::fault`] or a fast path of [`fast`]; afterwards the core's `current` thread is whoever runs next.
//! On a host the same code runs over arrays ([`host`]), where it is explored and fuzzed.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
extern crate std;

pub mod boot;
pub mod cap;
#[cfg(feature = "check")]
pub mod check;
pub mod destroy;
pub mod fast;
pub mod heap;
#[cfg(feature = "host")]
pub mod host;
pub mod interrupt;
pub mod ipc;
pub mod kernel;
pub mod list;
pub mod memory;
pub mod name;
pub mod notification;
pub mod paging;
pub mod percpu;
pub mod platform;
pub mod portal;
pub mod ports;
pub mod protection_domain;
pub mod region;
pub mod sched;
pub mod sched_context;
pub mod space;
pub mod store;
pub mod syscall;
pub mod thread;
mod thread_ops;
pub mod vcpu;

pub use kernel::Kernel;
pub use name::{Frame, Ref};
pub use store::Store;
