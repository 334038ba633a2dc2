//! The driver of virtio disks (virtio 1.2, 5.2), as logic over a transport.
//!
//! Key types: [`Disk`], [`Request`], [`Completion`]. Requests are submitted without waiting; when the device interrupts, its driver's
//! process asks [`Disk::completed`] until nothing comes. Not the driver of `virtio-drivers`, which waits for each flush in a loop.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

use ecusson_drivers::{BufferQueue, Buffers, DmaBuffer, Transport};
use virtio_drivers::Error;

/// Bytes of a sector, whatever the device's blocks are.
pub const SECTOR_BYTES: usize = 512;

/// Descriptors of the queue; a request takes two.
const QUEUE_SIZE: usize = 64;
const REQUESTS_MAX: usize = QUEUE_SIZE / 2;
const HEADER_BYTES: usize = 16;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;

/// Written to the status byte before the device does: no status that there is.
const STATUS_NONE: u8 = 0xFF;
const STATUS_OK: u8 = 0;

bitflags::bitflags! {
    /// What this driver knows of a device's features.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// No writes.
        const READ_ONLY = 1 << 5;
        /// There are flushes, and a cache that they write back.
        const FLUSH = 1 << 9;
        /// Not the old interface.
        const VERSION_1 = 1 << 32;
        /// Addresses go through an IOMMU, if there is one.
        const ACCESS_PLATFORM = 1 << 33;
    }
}

/// Why a request was not taken, or the disk is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// As many requests as there may be are in flight, or the pool has no room: again after the next completion.
    Busy,
    /// Sectors that the disk has not, no sectors, or a write to a disk that takes none.
    BadRequest,
    /// The device breaks virtio's rules or refuses the driver.
    Device(Error),
}

impl fmt::Display for DiskError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => to.write_str("the disk is busy"),
            Self::BadRequest => to.write_str("a request that does not fit the disk"),
            Self::Device(error) => write!(to, "the device: {error}"),
        }
    }
}

impl From<Error> for DiskError {
    fn from(error: Error) -> Self {
        match error {
            Error::QueueFull => Self::Busy,
            other => Self::Device(other),
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Reads so many sectors.
    Read {
        /// The first.
        first: u64,
        /// How many.
        sectors: usize,
    },
    /// Writes sectors.
    Write {
        /// The first.
        first: u64,
        /// Whole sectors.
        data: &'a [u8],
    },
    /// Brings all that was completed before to the medium. On a disk without a cache it is done at once.
    Flush,
}

/// The name of a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(u16);

/// A request that ended.
#[derive(Debug)]
pub struct Completion {
    /// Which.
    pub token: Token,
    /// Whether it was done.
    pub is_done: bool,
    answer: DmaBuffer,
}

impl Completion {
    /// What was read; nothing for other requests, and for those that failed.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let data = self.answer.split_last().map_or(&[][..], |(_, data)| data);
        if self.is_done { data } else { &[] }
    }
}

/// A disk.
#[derive(Debug)]
pub struct Disk<T: Transport> {
    transport: T,
    queue: BufferQueue<QUEUE_SIZE>,
    features: Features,
    sectors: u64,
    in_flight: usize,
}

impl<T: Transport> Disk<T> {
    /// Takes the device up: from reset to a queue in use.
    ///
    /// # Errors
    /// `Device`; `Device(Unsupported)` for one that only knows the old interface.
    pub fn new(mut transport: T) -> Result<Self, DiskError> {
        let features = transport.begin_init(Features::all());
        if !features.contains(Features::VERSION_1) {
            return Err(DiskError::Device(Error::Unsupported));
        }
        let word = |transport: &T, at| transport.read_config_space::<u32>(at);
        let (low, high) = transport.read_consistent(|| Ok((word(&transport, 0)?, word(&transport, 4)?)))?;
        let queue = BufferQueue::new(&mut transport, 0)?;
        transport.finish_init();
        Ok(Self {
            transport,
            queue,
            features,
            sectors: u64::from(low) | u64::from(high) << 32,
            in_flight: 0,
        })
    }

    /// Sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether it takes no writes.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.features.contains(Features::READ_ONLY)
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.transport
    }

    fn check(&self, first: u64, bytes: usize) -> Result<(), DiskError> {
        let sectors = (bytes / SECTOR_BYTES) as u64;
        let fits = first.checked_add(sectors).is_some_and(|end| end <= self.sectors);
        let whole = bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES);
        if fits && whole {
            Ok(())
        } else {
            Err(DiskError::BadRequest)
        }
    }

    /// Begins a request. `None` for a flush of a disk that has no cache: nothing is to be done.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn submit(&mut self, request: Request<'_>) -> Result<Option<Token>, DiskError> {
        let (kind, first, out, bytes_in) = match request {
            Request::Read { first, sectors } => {
                let bytes = sectors.checked_mul(SECTOR_BYTES).ok_or(DiskError::BadRequest)?;
                self.check(first, bytes)?;
                (TYPE_IN, first, &[][..], bytes)
            }
            Request::Write { .. } if self.is_read_only() => return Err(DiskError::BadRequest),
            Request::Write { first, data } => {
                self.check(first, data.len())?;
                (TYPE_OUT, first, data, 0)
            }
            Request::Flush if !self.features.contains(Features::FLUSH) => return Ok(None),
            Request::Flush => (TYPE_FLUSH, 0, &[][..], 0),
        };
        if self.in_flight == REQUESTS_MAX {
            return Err(DiskError::Busy);
        }
        let mut readable = DmaBuffer::new(HEADER_BYTES + out.len()).map_err(|_| DiskError::Busy)?;
        readable[..4].copy_from_slice(&kind.to_le_bytes());
        readable[8..16].copy_from_slice(&first.to_le_bytes());
        readable[HEADER_BYTES..].copy_from_slice(out);
        let mut writable = DmaBuffer::new(bytes_in + 1).map_err(|_| DiskError::Busy)?;
        if let Some(status) = writable.last_mut() {
            *status = STATUS_NONE;
        }
        let buffers = Buffers {
            readable: Some(readable),
            writable: Some(writable),
        };
        let token = self.queue.submit(&mut self.transport, buffers)?;
        self.in_flight += 1;
        Ok(Some(Token(token)))
    }

    /// The next request that ended.
    ///
    /// # Errors
    /// `Device`: reset it.
    pub fn completed(&mut self) -> Result<Option<Completion>, DiskError> {
        let Some((token, buffers, _)) = self.queue.completed()? else {
            return Ok(None);
        };
        self.in_flight -= 1;
        let answer = buffers.writable.ok_or(DiskError::Device(Error::IoError))?;
        Ok(Some(Completion {
            token: Token(token),
            is_done: answer.last() == Some(&STATUS_OK),
            answer,
        }))
    }
}
