//! A disk that lies in memory: an image that the boot image carries, for reading only or with changes kept in memory.
//!
//! Key type: [`Image`]. Changes are lost when the service ends; only what is written takes memory.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};

use crate::backend::{Backend, Busy, Data, Geometry, Operation, Outcome, SECTOR_BYTES, Token};
use crate::volume::VolumeAccess;

const CHUNK: usize = 4096;
/// Completions that wait to be fetched.
const COMPLETED_MAX: usize = 256;

type Chunk = Box<[u8; CHUNK]>;

/// A disk in memory.
#[derive(Debug)]
pub struct Image {
    base: &'static [u8],
    access: VolumeAccess,
    /// What was written since, by chunk; `None`: zeroes.
    changes: BTreeMap<u64, Option<Chunk>>,
    completed: VecDeque<(Token, Outcome)>,
}

/// What can't be done with an image: written where it is read-only, or the guest's memory went away.
struct Failed;

/// A piece of an image in one chunk.
struct Piece {
    chunk: u64,
    /// Bytes of the chunk before it.
    offset: usize,
    bytes: usize,
}

/// The pieces of some bytes of the image.
fn pieces(first_byte: u64, bytes: u64) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = first_byte + done;
        let offset = (at % CHUNK as u64) as usize;
        let bytes = (bytes - done).min((CHUNK - offset) as u64) as usize;
        done += bytes as u64;
        (bytes > 0).then_some(Piece {
            chunk: at / CHUNK as u64,
            offset,
            bytes,
        })
    })
}

impl Image {
    /// A disk with this content, filled up to a whole sector with zeroes.
    #[must_use]
    pub fn new(base: &'static [u8], access: VolumeAccess) -> Self {
        Self {
            base,
            access,
            changes: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    fn bytes(&self) -> u64 {
        (self.base.len() as u64).next_multiple_of(SECTOR_BYTES)
    }

    /// A chunk as it is now.
    fn chunk(&self, chunk: u64) -> [u8; CHUNK] {
        match self.changes.get(&chunk) {
            Some(Some(changed)) => **changed,
            Some(None) => [0; CHUNK],
            None => {
                let mut bytes = [0; CHUNK];
                let base = usize::try_from(chunk)
                    .ok()
                    .and_then(|chunk| self.base.get(chunk * CHUNK..));
                for (to, from) in bytes.iter_mut().zip(base.unwrap_or_default()) {
                    *to = *from;
                }
                bytes
            }
        }
    }

    /// A chunk to be changed.
    fn chunk_mut(&mut self, chunk: u64) -> &mut [u8; CHUNK] {
        let now = match self.changes.get(&chunk) {
            Some(Some(_)) => None,
            _ => Some(self.chunk(chunk)),
        };
        let place = self.changes.entry(chunk).or_default();
        if let Some(now) = now {
            *place = Some(Box::new(now));
        }
        place.get_or_insert_with(|| Box::new([0; CHUNK]))
    }

    fn read(&self, first: u64, mut data: Data<'_>) -> Result<(), Failed> {
        for piece in pieces(first * SECTOR_BYTES, data.buffers.remaining()) {
            let chunk = self.chunk(piece.chunk);
            let bytes = &chunk[piece.offset..piece.offset + piece.bytes];
            data.buffers.write(data.memory, bytes).map_err(|_| Failed)?;
        }
        Ok(())
    }

    fn write(&mut self, first: u64, mut data: Data<'_>) -> Result<(), Failed> {
        for piece in pieces(first * SECTOR_BYTES, data.buffers.remaining()) {
            let chunk = self.chunk_mut(piece.chunk);
            let bytes = &mut chunk[piece.offset..piece.offset + piece.bytes];
            data.buffers.read(data.memory, bytes).map_err(|_| Failed)?;
        }
        Ok(())
    }

    fn zero(&mut self, first: u64, sectors: u64) {
        for piece in pieces(first * SECTOR_BYTES, sectors * SECTOR_BYTES) {
            if piece.bytes == CHUNK {
                self.changes.insert(piece.chunk, None);
            } else {
                self.chunk_mut(piece.chunk)[piece.offset..piece.offset + piece.bytes].fill(0);
            }
        }
    }

    fn operate(&mut self, operation: Operation<'_>) -> Result<(), Failed> {
        match operation {
            Operation::Read { first, data } => self.read(first, data),
            Operation::Flush => Ok(()),
            _ if self.access == VolumeAccess::ReadOnly => Err(Failed),
            Operation::Write { first, data } => self.write(first, data),
            Operation::Discard { first, sectors } | Operation::WriteZeroes { first, sectors, .. } => {
                self.zero(first, sectors);
                Ok(())
            }
        }
    }
}

impl Backend for Image {
    fn geometry(&self) -> Geometry {
        Geometry {
            sectors: self.bytes() / SECTOR_BYTES,
            read_only: self.access == VolumeAccess::ReadOnly,
            discard: self.access == VolumeAccess::ReadWrite,
            max_segments: 254,
            max_bytes: 4 << 20,
        }
    }

    fn submit(&mut self, token: Token, operation: Operation<'_>) -> Result<(), Busy> {
        if self.completed.len() == COMPLETED_MAX {
            return Err(Busy);
        }
        let outcome = match self.operate(operation) {
            Ok(()) => Outcome::Done,
            Err(Failed) => Outcome::Failed,
        };
        self.completed.push_back((token, outcome));
        Ok(())
    }

    fn completed(&mut self) -> Option<(Token, Outcome)> {
        self.completed.pop_front()
    }
}
