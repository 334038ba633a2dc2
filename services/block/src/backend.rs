//! A disk, as the attachments see it.
//!
//! Key types: [`Backend`], [`Operation`]. Implemented by [`crate::Image`] and by the process for disk drivers.

use alloc::sync::Arc;

use ecusson_guestmem::GuestMemory;
use ecusson_virtqueue::Cursor;

/// Sectors of virtio-blk, always of this size.
pub const SECTOR_BYTES: u64 = 512;

/// What a disk is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Whether it knows `Discard`.
    pub discard: bool,
    /// Most buffers of one operation.
    pub max_segments: u32,
    /// Most bytes of one operation.
    pub max_bytes: u32,
}

/// The name of an operation in flight, unique among all attachments of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Which attachment.
    pub attachment: u32,
    /// Which request of it.
    pub head: u16,
}

/// The guest's buffers of an operation; as many bytes as sectors are meant.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The guest's memory; cloned by a backend that copies later.
    pub memory: &'a Arc<GuestMemory>,
    /// The buffers. A backend that needs them after `submit` keeps its pieces.
    pub buffers: Cursor<'a>,
}

/// Whether zeroed sectors may be given back to the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmap {
    /// The space stays taken.
    Keep,
    /// The medium may free it.
    Allowed,
}

/// What a disk is asked to do. Sectors are within its geometry: the volume was checked.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// From the disk into the guest.
    Read {
        /// First sector.
        first: u64,
        /// Where to.
        data: Data<'a>,
    },
    /// From the guest to the disk.
    Write {
        /// First sector.
        first: u64,
        /// What.
        data: Data<'a>,
    },
    /// Brings all that completed before to the medium.
    Flush,
    /// The content of these sectors is of no more use.
    Discard {
        /// First sector.
        first: u64,
        /// How many.
        sectors: u64,
    },
    /// Zeroes.
    WriteZeroes {
        /// First sector.
        first: u64,
        /// How many.
        sectors: u64,
        /// Whether the space may be freed.
        unmap: Unmap,
    },
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not, or not all of it.
    Failed,
}

/// No room for another operation now; there is after the next completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// A disk. Operations in flight together may be done in any order.
pub trait Backend {
    /// What it is like; does not change.
    fn geometry(&self) -> Geometry;

    /// Begins an operation.
    ///
    /// # Errors
    /// [`Busy`]; at least one operation is in flight then.
    fn submit(&mut self, token: Token, operation: Operation<'_>) -> Result<(), Busy>;

    /// The next operation that ended, if one did.
    fn completed(&mut self) -> Option<(Token, Outcome)>;
}
