//! Where a queue lies, and what was negotiated.
//!
//! Key types: [`Layout`], [`Features`]. Filled by the PCI transport, checked by [`Layout::check`].

use core::fmt;

use ecusson_guestmem::{Access, Fault, Gpa, GuestMemory};

/// Most descriptors of a queue (virtio 1.2, 2.7).
const SIZE_MAX: u16 = 32768;

/// Addresses and size of a queue, as the driver gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Descriptors: a power of two, at most 32768.
    pub size: u16,
    /// The descriptor table, at a multiple of 16.
    pub descriptors: Gpa,
    /// The available ring (driver area), at a multiple of 2.
    pub available: Gpa,
    /// The used ring (device area), at a multiple of 4.
    pub used: Gpa,
}

/// Features of the transport that change queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// VIRTIO_F_INDIRECT_DESC: chains may lie in tables of their own.
    pub const INDIRECT: Self = Self(1 << 28);
    /// VIRTIO_F_EVENT_IDX: both sides say at which index they want to be told.
    pub const EVENT_INDEX: Self = Self(1 << 29);

    /// The queue's features among all that were negotiated.
    #[must_use]
    pub const fn of(negotiated: u64) -> Self {
        Self(negotiated & (Self::INDIRECT.0 | Self::EVENT_INDEX.0))
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As bits of the device's features.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A queue that can't be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// Zero, too many or no power of two.
    BadSize(u16),
    /// One of the three areas is not at a multiple of what virtio asks.
    Unaligned(Gpa),
    /// One of the three areas is not in the guest's memory.
    Memory(Fault),
}

impl From<Fault> for SetupError {
    fn from(fault: Fault) -> Self {
        Self::Memory(fault)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize(size) => write!(to, "a queue of {size} descriptors"),
            Self::Unaligned(at) => write!(to, "a part of a queue at {:#x}, which is not aligned", at.0),
            Self::Memory(fault) => write!(to, "a part of a queue at {:#x}: {:?}", fault.address.0, fault.kind),
        }
    }
}

impl Layout {
    /// Bytes of the descriptor table.
    #[must_use]
    pub const fn descriptor_bytes(size: u16) -> u64 {
        16 * size as u64
    }

    /// Bytes of the available ring: flags, index, ring, event.
    #[must_use]
    pub const fn available_bytes(size: u16) -> u64 {
        6 + 2 * size as u64
    }

    /// Bytes of the used ring: flags, index, ring, event.
    #[must_use]
    pub const fn used_bytes(size: u16) -> u64 {
        6 + 8 * size as u64
    }

    /// Checks it against a guest's memory.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn check(&self, memory: &GuestMemory) -> Result<(), SetupError> {
        if !self.size.is_power_of_two() || self.size > SIZE_MAX {
            return Err(SetupError::BadSize(self.size));
        }
        for (address, alignment) in [(self.descriptors, 16), (self.available, 2), (self.used, 4)] {
            if !address.0.is_multiple_of(alignment) {
                return Err(SetupError::Unaligned(address));
            }
        }
        memory.range(self.descriptors, Self::descriptor_bytes(self.size), Access::Read)?;
        memory.range(self.available, Self::available_bytes(self.size), Access::Read)?;
        memory.range(self.used, Self::used_bytes(self.size), Access::Write)?;
        Ok(())
    }

    // The areas were found in memory, which ends before 2^64: the sums below can't wrap. A guest whose memory was changed
    // since gets a fault from the access itself.

    pub(crate) fn available_flags(&self) -> Gpa {
        self.available
    }

    pub(crate) fn available_index(&self) -> Gpa {
        Gpa(self.available.0 + 2)
    }

    pub(crate) fn available_entry(&self, counter: u16) -> Gpa {
        Gpa(self.available.0 + 4 + 2 * u64::from(counter % self.size))
    }

    /// Where the driver says at which used index it wants an interrupt.
    pub(crate) fn used_event(&self) -> Gpa {
        Gpa(self.available.0 + 4 + 2 * u64::from(self.size))
    }

    pub(crate) fn used_flags(&self) -> Gpa {
        self.used
    }

    pub(crate) fn used_index(&self) -> Gpa {
        Gpa(self.used.0 + 2)
    }

    pub(crate) fn used_entry(&self, counter: u16) -> Gpa {
        Gpa(self.used.0 + 4 + 8 * u64::from(counter % self.size))
    }

    /// Where the device says at which available index it wants a kick.
    pub(crate) fn available_event(&self) -> Gpa {
        Gpa(self.used.0 + 4 + 8 * u64::from(self.size))
    }
}
