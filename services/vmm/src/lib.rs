//! The machine that a guest sees, as pure logic: no system calls, no threads, no memory of its own.
//!
//! A domain's VMM process runs one thread a vCPU around `VcpuRun` and gives what comes out of it to this library, which
//! answers with what to do next. Everything that a guest can name is checked here; no action of a guest panics, indexes
//! outside a table, overflows or loops without a bound. What a guest's memory is, is the process's matter: see
//! [`memory::GuestMemory`].
//!
//! | module | what |
//! |---|---|
//! | [`layout`] | guest-physical addresses, ports and interrupt lines, in one place |
//! | [`memory`] | the trait behind which a guest's memory lies |
//! | [`loader`] | puts a Linux kernel into it: bzImage, and ELF with a PVH note |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bytes;
pub mod layout;
pub mod loader;
pub mod memory;
