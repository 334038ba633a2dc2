//! The machine: everything of the kernel that needs `unsafe`, and nothing else.
//!
//! | module | what it does |
//! |---|---|
//! | [`boot`], [`smp`] | from the loader to running cores; stopping them |
//! | [`features`], [`control`], [`mitigations`], [`msr`] | what the processor is and how it is set up |
//! | [`percpu`], `descriptors` | what each core has of its own |
//! | [`entry`], [`switch`], [`fpu`] | into the kernel and out of it |
//! | [`svm`] | guests |
//! | [`lock`], [`store`], [`tlb`] | the kernel's state, its objects in memory, shootdown |
//! | [`apic`], [`io_apic`], [`clock`] | interrupts and time |
//! | [`machine_check`], [`power`] | when things go wrong, and off |
//! | [`serial`], [`trace`] | output |
//!
//! Called by `ecusson` alone; knows `ecusson-core`'s data types, none of its logic.
#![no_std]
// On a host only what decides without touching the machine is built to run: mitigation policy, calendar.
#![cfg_attr(not(target_os = "none"), allow(dead_code, unused_imports, unused_macros))]

pub mod apic;
pub mod bind;
pub mod boot;
pub mod clock;
pub mod control;
mod descriptors;
pub mod entry;
pub mod features;
pub mod fpu;
pub mod io_apic;
pub mod lock;
pub mod machine_check;
pub mod mitigations;
pub mod msr;
pub mod percpu;
mod port;
pub mod power;
pub mod serial;
pub mod smp;
pub mod store;
pub mod svm;
pub mod switch;
pub mod tlb;
pub mod trace;

pub use bind::Fast;
pub use ecusson_abi::boot::BootInfo;
