//! Descriptor chains: from a head to a list of buffers that lie in the guest's memory.
//!
//! Key types: [`Chain`], [`Segment`]. Called by `queue.rs`.

use alloc::vec::Vec;

use ecusson_guestmem::{Access, Gpa, GuestMemory};

use crate::error::QueueError;
use crate::layout::{Features, Layout};

/// Most descriptors of a chain that uses an indirect table. A chain in the queue's own table may have as many as the queue.
pub const CHAIN_MAX: u32 = 1024;

/// Descriptor flags (virtio 1.2, 2.7.5).
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// A buffer of the guest, found in its memory when the chain was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub address: Gpa,
    /// Length in bytes, never 0.
    pub bytes: u32,
}

/// What a driver made available at once: buffers to read, then buffers to write.
///
/// Take chains into one that is used again and again: it keeps its room.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: u16,
    segments: Vec<Segment>,
    /// So many of the segments are for reading.
    readable: usize,
}

impl Chain {
    /// The first descriptor, by which the chain goes back.
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Buffers for the device to read.
    #[must_use]
    pub fn readable(&self) -> &[Segment] {
        &self.segments[..self.readable]
    }

    /// Buffers for the device to write.
    #[must_use]
    pub fn writable(&self) -> &[Segment] {
        &self.segments[self.readable..]
    }

    /// Reads the chain that begins at `head`, in place of what was here.
    pub(crate) fn fill(
        &mut self,
        memory: &GuestMemory,
        layout: &Layout,
        features: Features,
        head: u16,
    ) -> Result<(), QueueError> {
        self.head = head;
        self.segments.clear();
        self.readable = 0;
        let mut walk = Walk {
            memory,
            features,
            chain: self,
            bytes: 0,
        };
        let indirect = walk.table(layout.descriptors, u32::from(layout.size), head, Table::Own)?;
        let Some(Segment { address, bytes }) = indirect else {
            return Ok(());
        };
        let entries = bytes / 16;
        if bytes % 16 != 0 || entries == 0 {
            return Err(QueueError::BadIndirect(head));
        }
        if entries > CHAIN_MAX {
            return Err(QueueError::TooLong(head));
        }
        memory.range(address, u64::from(bytes), Access::Read)?;
        walk.table(address, entries, 0, Table::Indirect).map(|_| ())
    }
}

/// Which table is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// The queue's.
    Own,
    /// One that a descriptor of the queue's points to.
    Indirect,
}

struct Walk<'a> {
    memory: &'a GuestMemory,
    features: Features,
    chain: &'a mut Chain,
    bytes: u64,
}

struct Descriptor {
    address: Gpa,
    bytes: u32,
    flags: u16,
    next: u16,
}

impl Walk<'_> {
    /// Takes the segments of one table, from `first` on. Answers the indirect table that ends the chain, if one does.
    fn table(&mut self, table: Gpa, entries: u32, first: u16, kind: Table) -> Result<Option<Segment>, QueueError> {
        let head = self.chain.head;
        let mut index = first;
        // A chain without a loop visits each descriptor once at most.
        for _ in 0..entries {
            if u32::from(index) >= entries {
                return Err(QueueError::NoSuchDescriptor(index));
            }
            let descriptor = self.descriptor(table, index)?;
            if descriptor.flags & INDIRECT != 0 {
                let negotiated = self.features.has(Features::INDIRECT);
                if !negotiated || kind == Table::Indirect || descriptor.flags & NEXT != 0 {
                    return Err(QueueError::BadIndirect(head));
                }
                let Descriptor { address, bytes, .. } = descriptor;
                return Ok(Some(Segment { address, bytes }));
            }
            self.add(&descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(None);
            }
            index = descriptor.next;
        }
        Err(QueueError::Loop(head))
    }

    fn descriptor(&self, table: Gpa, index: u16) -> Result<Descriptor, QueueError> {
        let mut bytes = [0; 16];
        // The table was found in memory, so that the sum does not wrap.
        self.memory.read(Gpa(table.0 + 16 * u64::from(index)), &mut bytes)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Ok(Descriptor {
            address: Gpa(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
            bytes: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }

    fn add(&mut self, descriptor: &Descriptor) -> Result<(), QueueError> {
        let chain = &mut *self.chain;
        let writable = descriptor.flags & WRITE != 0;
        if !writable && chain.readable != chain.segments.len() {
            return Err(QueueError::ReadAfterWrite(chain.head));
        }
        // Empty buffers are allowed and of no use.
        if descriptor.bytes == 0 {
            return Ok(());
        }
        self.bytes += u64::from(descriptor.bytes);
        if self.bytes > u64::from(u32::MAX) {
            return Err(QueueError::TooLong(chain.head));
        }
        let access = if writable { Access::Write } else { Access::Read };
        self.memory
            .range(descriptor.address, u64::from(descriptor.bytes), access)?;
        chain.segments.push(Segment {
            address: descriptor.address,
            bytes: descriptor.bytes,
        });
        if !writable {
            chain.readable = chain.segments.len();
        }
        Ok(())
    }
}
