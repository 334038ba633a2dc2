//! What a driver did wrong.
//!
//! Key type: [`QueueError`].

use core::fmt;

use ecusson_guestmem::{Fault, FaultKind};

/// Why a queue broke. All but `Memory(Gone)` and `BadRecord` are the driver's fault; the device says so to its guest by
/// DEVICE_NEEDS_RESET (virtio 1.2, 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The queue or a buffer is not in the guest's memory; or the guest ends.
    Memory(Fault),
    /// The available index is further ahead than the queue is long.
    IndexJump {
        /// What the driver published.
        available: u16,
        /// What this side took last.
        taken: u16,
    },
    /// A head or a `next` that is no descriptor of the table.
    NoSuchDescriptor(u16),
    /// A head that is in flight already.
    HeadInFlight(u16),
    /// A chain of more descriptors than there are: a loop. Its head.
    Loop(u16),
    /// A chain of more than `CHAIN_MAX` descriptors or 4 GiB. Its head.
    TooLong(u16),
    /// A descriptor that the device reads behind one that it writes. The chain's head.
    ReadAfterWrite(u16),
    /// An indirect table where none may be, or of an odd length. The chain's head.
    BadIndirect(u16),
    /// The used index is not where this side left it, beyond what a crash explains.
    UsedIndex(u16),
    /// The record of what is in flight is too short for the queue or has nonsense in it.
    BadRecord,
}

impl QueueError {
    /// Whether it is the guest's end and nobody's fault.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(
            self,
            Self::Memory(Fault {
                kind: FaultKind::Gone,
                ..
            })
        )
    }
}

impl From<Fault> for QueueError {
    fn from(fault: Fault) -> Self {
        Self::Memory(fault)
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(fault) => write!(to, "memory at {:#x}: {:?}", fault.address.0, fault.kind),
            Self::IndexJump { available, taken } => write!(to, "available index {available} after {taken}"),
            Self::NoSuchDescriptor(index) => write!(to, "no descriptor {index}"),
            Self::HeadInFlight(head) => write!(to, "descriptor {head} is in flight already"),
            Self::Loop(head) => write!(to, "the chain at {head} is a loop"),
            Self::TooLong(head) => write!(to, "the chain at {head} is too long"),
            Self::ReadAfterWrite(head) => write!(to, "the chain at {head} has readable behind writable buffers"),
            Self::BadIndirect(head) => write!(to, "the chain at {head} has a wrong indirect table"),
            Self::UsedIndex(index) => write!(to, "used index {index} is not this side's"),
            Self::BadRecord => write!(to, "the record of what is in flight is no such record"),
        }
    }
}
