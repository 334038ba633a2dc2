//! What drivers in user mode stand on: memory that devices reach, PCI, interrupts by message, virtqueues with owned buffers.
//!
//! Key types: [`Process`] (what the driver's process was given), [`DmaBuffer`], [`pci::Bus`], [`MessageTransport`],
//! [`BufferQueue`]. Used by the drivers; built on the crate `virtio-drivers`. All unsafe code of the drivers is here.
//!
//! There is no PCI service yet: a driver reaches configuration space by its own I/O ports and device memory by the Platform's right
//! `mmio`, which are more than one device needs. `pci.rs` is what such a service will be made of.
#![no_std]

extern crate alloc;

mod dma;
mod hal;
pub mod pci;
mod process;
mod queue;
mod registers;
mod transport;

pub use dma::{DmaBuffer, NoRoom};
pub use hal::MachineHal;
pub use process::{Process, SetupError, Slots};
pub use queue::{BufferQueue, Buffers};
pub use registers::Registers;
pub use transport::MessageTransport;
pub use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};
