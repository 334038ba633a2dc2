//! The front half of virtio 1.2 over PCI: what a driver sees until its queues are set up, and its interrupts.
//!
//! Key types: [`VirtioFunction`], [`Description`], [`Change`], [`QueueSetup`]. Queues are served elsewhere: by a backend that is told where
//! they are, or by the VMM's process. Doorbells are ports, which the kernel can turn into signals without the VMM.

mod common;
mod description;
mod function;

pub use common::{QueueSetup, Transport};
pub use description::{Description, features};
pub(crate) use function::MEMORY_BYTES;
pub use function::{Change, VirtioFunction};
