//! Interrupt controllers: a local APIC a vCPU, one I/O APIC, and the messages between them.
//!
//! Key types: [`LocalApic`], [`IoApic`], [`Message`], [`Fabric`]. A local APIC belongs to its vCPU's thread and nobody else touches
//! it; interrupts from elsewhere are posted to the vCPU's inbox in the fabric, without a lock, and taken by its thread before
//! it enters the guest. Whoever posts learns whom to kick. Intel SDM vol. 3, chapter 11; AMD APM vol. 2, chapter 16.

mod fabric;
mod io;
mod local;
mod message;
mod timer;
mod vectors;

pub use fabric::{Fabric, Posted, Routing, VcpuSet};
pub use io::{IoApic, PINS};
pub use local::{ApicEffect, ApicMode, BadAccess, LocalApic};
pub use message::{Delivery, Destination, Message, Shorthand, Trigger};
pub use vectors::Vectors;
