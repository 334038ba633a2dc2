//! The loader's pure half: everything that reads what firmware and boot loaders left in memory, and everything that
//! decides where things go. No unsafe code; memory is reached through [`physical::Physical`], so all of it runs on
//! the host.
//!
//! Way through it (called by the binary, `main.rs`): [`multiboot2`] or [`pvh`] fill a [`firmware::Firmware`];
//! [`acpi`] adds what the tables say to a `BootInfo`; [`memory_map`] makes RAM ranges; [`place`] chooses memory for
//! everything; [`paging`] builds the page tables; [`wall_clock`] reads the time; [`check`] looks at the result once more.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod bytes;
pub mod check;
pub mod command_line;
pub mod empty;
pub mod firmware;
pub mod list;
pub mod memory_map;
pub mod multiboot2;
pub mod paging;
pub mod physical;
pub mod place;
pub mod pvh;
pub mod ranges;
pub mod report;
pub mod wall_clock;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod layout_tests;
