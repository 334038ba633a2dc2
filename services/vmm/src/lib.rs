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
//! | [`machine`] | all of it together: what an exit leads to, what to inject |
//! | [`memory`] | the trait behind which a guest's memory lies |
//! | [`acpi`] | the tables that describe all of it to the guest |
//! | [`apic`] | local APICs, I/O APIC, messages between them |
//! | [`chipset`] | serial port, clock, power registers |
//! | [`cpu`] | registers, exceptions, CPUID and model-specific registers |
//! | [`decode`] | instructions that touched device memory |
//! | [`kvm`] | the paravirtual interface: clock, end of interrupt, hypercalls |
//! | [`pci`] | the bus, configuration space, MSI-X |
//! | [`time`] | moments and frequencies |
//! | [`virtio`] | what drivers see of virtio devices until their queues are set up |
//! | [`loader`] | puts a Linux kernel into it: bzImage, and ELF with a PVH note |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acpi;
pub mod apic;
mod bytes;
pub mod chipset;
pub mod cpu;
pub mod decode;
pub mod kvm;
pub mod layout;
pub mod loader;
pub mod machine;
pub mod memory;
pub mod pci;
pub mod time;
pub mod virtio;
