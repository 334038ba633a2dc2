//! PCI: one bus with a host bridge and up to 31 virtio functions.
//!
//! Key types: [`Bus`], [`ConfigSpace`], [`MsiX`], [`Window`]. PCI Local Bus 3.0, chapter 6; PCI Express Base 5.0, 7.2.2 (ECAM). No bridges
//! and no line interrupts: functions have MSI-X.

mod bus;
mod config;
mod msix;

pub use bus::{Bus, BusEffect, SlotError};
pub use config::{Bar, ConfigSpace, Identity, Space, Window};
pub use msix::MsiX;
