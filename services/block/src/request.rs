//! One request of virtio-blk (virtio 1.2, 5.2.6): from a chain to what is to be done.
//!
//! Key types: [`Request`], [`Step`], [`Status`]. Called by `attachment.rs`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ecusson_guestmem::GuestMemory;
use ecusson_virtqueue::{Chain, Cursor, Short};

use crate::attachment::Cache;
use crate::backend::{Data, Geometry, Operation, SECTOR_BYTES, Unmap};
use crate::volume::{Volume, VolumeAccess};

/// Most ranges of one request to discard or zero.
pub const RANGES_MAX: usize = 16;

const HEADER_BYTES: u64 = 16;
const RANGE_BYTES: u64 = 16;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;
const TYPE_DISCARD: u32 = 11;
const TYPE_WRITE_ZEROES: u32 = 13;

/// Flags of a range: the space may be freed.
const RANGE_UNMAP: u32 = 1;

/// The last byte of a request, for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Not done.
    IoError = 1,
    /// Not a request that this device knows.
    Unsupported = 2,
}

/// Sectors of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    sectors: u64,
    unmap: Unmap,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Read {
        first: u64,
    },
    Write {
        first: u64,
    },
    Flush,
    Discard(Vec<Range>),
    WriteZeroes(Vec<Range>),
    /// Answered without the disk.
    Answered(Status),
    /// The chain has no room for a status: it goes back as it is.
    Unanswerable,
}

/// A request in flight: its buffers and how far it got.
#[derive(Debug)]
pub(crate) struct Request {
    chain: Chain,
    kind: Kind,
    /// Operations done.
    done: usize,
    /// Whether writes are followed by a flush.
    cache: Cache,
}

/// What a request needs next.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// An operation of the disk.
    Submit(Operation<'a>),
    /// Its status and the bytes written to the guest, status included.
    Finish(Status, u32),
    /// Nothing can be said to the guest.
    GiveBack,
}

impl Request {
    /// Reads a chain. What is wrong with it becomes its status.
    pub(crate) fn parse(
        chain: Chain,
        memory: &Arc<GuestMemory>,
        volume: &Volume,
        geometry: &Geometry,
        cache: Cache,
    ) -> Self {
        let kind = if Cursor::new(chain.writable()).remaining() == 0 {
            Kind::Unanswerable
        } else {
            let parser = Parser {
                chain: &chain,
                memory,
                volume,
                geometry,
            };
            parser.kind().unwrap_or_else(Kind::Answered)
        };
        Self {
            chain,
            kind,
            done: 0,
            cache,
        }
    }

    /// Bytes of data, for the limits.
    pub(crate) fn bytes(&self) -> u64 {
        match self.kind {
            Kind::Read { .. } => Cursor::new(self.chain.writable()).remaining() - 1,
            Kind::Write { .. } => Cursor::new(self.chain.readable()).remaining() - HEADER_BYTES,
            _ => 0,
        }
    }

    /// Where its status goes: the last byte that the device may write.
    pub(crate) fn status_place(&self) -> Cursor<'_> {
        let mut place = Cursor::new(self.chain.writable());
        let before = place.remaining().saturating_sub(1);
        let _ = place.skip(before);
        place
    }

    /// What is to be done next.
    pub(crate) fn step<'a>(&'a self, memory: &'a Arc<GuestMemory>) -> Step<'a> {
        match &self.kind {
            Kind::Unanswerable => Step::GiveBack,
            Kind::Answered(status) => Step::Finish(*status, self.answered_bytes(*status)),
            Kind::Flush if self.done == 0 => Step::Submit(Operation::Flush),
            Kind::Read { first } if self.done == 0 => {
                let mut buffers = Cursor::new(self.chain.writable());
                let bytes = self.bytes();
                let buffers = buffers.take(bytes).unwrap_or(buffers);
                let data = Data { memory, buffers };
                Step::Submit(Operation::Read { first: *first, data })
            }
            Kind::Write { first } if self.done == 0 => {
                let mut buffers = Cursor::new(self.chain.readable());
                let _ = buffers.skip(HEADER_BYTES);
                let data = Data { memory, buffers };
                Step::Submit(Operation::Write { first: *first, data })
            }
            Kind::Discard(ranges) if self.done < ranges.len() => {
                let Range { first, sectors, .. } = ranges[self.done];
                Step::Submit(Operation::Discard { first, sectors })
            }
            Kind::WriteZeroes(ranges) if self.done < ranges.len() => {
                let Range { first, sectors, unmap } = ranges[self.done];
                Step::Submit(Operation::WriteZeroes { first, sectors, unmap })
            }
            _ if self.needs_flush() => Step::Submit(Operation::Flush),
            _ => Step::Finish(Status::Ok, self.answered_bytes(Status::Ok)),
        }
    }

    /// Without a cache in the guest's eyes, what was written goes to the medium before it is answered.
    fn needs_flush(&self) -> bool {
        let operations = match &self.kind {
            Kind::Write { .. } => 1,
            Kind::WriteZeroes(ranges) => ranges.len(),
            _ => return false,
        };
        self.cache == Cache::WriteThrough && self.done == operations
    }

    fn answered_bytes(&self, status: Status) -> u32 {
        let read = matches!(self.kind, Kind::Read { .. }) && status == Status::Ok;
        // A chain has less than 4 GiB. Without data only the status byte counts.
        if read { self.bytes() as u32 + 1 } else { 1 }
    }

    /// Its buffers' list, for another request.
    pub(crate) fn into_chain(self) -> Chain {
        self.chain
    }

    /// An operation ended well.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
    }

    /// An operation failed: so did the request.
    pub(crate) fn fail(&mut self) {
        self.kind = Kind::Answered(Status::IoError);
    }
}

struct Parser<'a> {
    chain: &'a Chain,
    memory: &'a Arc<GuestMemory>,
    volume: &'a Volume,
    geometry: &'a Geometry,
}

/// What can't be read or does not fit is the guest's fault, and an I/O error to it.
fn io_error(_: Short) -> Status {
    Status::IoError
}

impl Parser<'_> {
    fn kind(&self) -> Result<Kind, Status> {
        let mut reader = Cursor::new(self.chain.readable());
        let mut header = [0; HEADER_BYTES as usize];
        reader.read(self.memory, &mut header).map_err(io_error)?;
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            TYPE_IN => {
                let data = Cursor::new(self.chain.writable()).remaining() - 1;
                let first = self.data(sector, data, self.chain.writable().len())?;
                Ok(Kind::Read { first })
            }
            TYPE_OUT => {
                self.writable()?;
                let first = self.data(sector, reader.remaining(), self.chain.readable().len())?;
                Ok(Kind::Write { first })
            }
            TYPE_FLUSH if self.volume.access() == VolumeAccess::ReadOnly => Ok(Kind::Answered(Status::Ok)),
            TYPE_FLUSH => Ok(Kind::Flush),
            TYPE_GET_ID => self.get_id(),
            TYPE_DISCARD if self.geometry.discard => {
                self.writable()?;
                self.ranges(reader, 0).map(Kind::Discard)
            }
            TYPE_WRITE_ZEROES => {
                self.writable()?;
                self.ranges(reader, RANGE_UNMAP).map(Kind::WriteZeroes)
            }
            _ => Err(Status::Unsupported),
        }
    }

    fn writable(&self) -> Result<(), Status> {
        match self.volume.access() {
            VolumeAccess::ReadWrite => Ok(()),
            VolumeAccess::ReadOnly => Err(Status::IoError),
        }
    }

    /// Checks place and size of a transfer; its first sector on the disk. Header and status may share buffers with data or not.
    fn data(&self, sector: u64, bytes: u64, segments: usize) -> Result<u64, Status> {
        let whole = bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES);
        let fits = bytes <= u64::from(self.geometry.max_bytes)
            && segments.saturating_sub(1) <= self.geometry.max_segments as usize;
        if !whole || !fits {
            return Err(Status::IoError);
        }
        self.volume.on_disk(sector, bytes / SECTOR_BYTES).ok_or(Status::IoError)
    }

    fn get_id(&self) -> Result<Kind, Status> {
        let mut writer = Cursor::new(self.chain.writable());
        let id = self.volume.id();
        let room = (writer.remaining() - 1).min(id.len() as u64) as usize;
        writer.write(self.memory, &id[..room]).map_err(io_error)?;
        Ok(Kind::Answered(Status::Ok))
    }

    fn ranges(&self, mut reader: Cursor<'_>, flags_known: u32) -> Result<Vec<Range>, Status> {
        let bytes = reader.remaining();
        let count = (bytes / RANGE_BYTES) as usize;
        if !bytes.is_multiple_of(RANGE_BYTES) || !(1..=RANGES_MAX).contains(&count) {
            return Err(Status::IoError);
        }
        let mut ranges = Vec::with_capacity(count);
        for _ in 0..count {
            let mut bytes = [0; RANGE_BYTES as usize];
            reader.read(self.memory, &mut bytes).map_err(io_error)?;
            let [s @ .., n0, n1, n2, n3, f0, f1, f2, f3] = bytes;
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            let flags = u32::from_le_bytes([f0, f1, f2, f3]);
            if flags & !flags_known != 0 {
                return Err(Status::Unsupported);
            }
            if sectors > self.geometry.max_range_sectors() {
                return Err(Status::IoError);
            }
            let first = self.volume.on_disk(u64::from_le_bytes(s), u64::from(sectors));
            ranges.push(Range {
                first: first.ok_or(Status::IoError)?,
                sectors: u64::from(sectors),
                unmap: if flags & RANGE_UNMAP != 0 {
                    Unmap::Allowed
                } else {
                    Unmap::Keep
                },
            });
        }
        Ok(ranges)
    }
}
