//! Tests of the VMM's library through its public interface; one program, because linking takes longer than running.

mod acpi;
mod apic;
mod chipset;
mod cpu;
mod decode;
mod loader;
mod machine;
mod page;
mod pci;
mod support;
