//! A place in a list of buffers, for reading and writing them as if they were one.
//!
//! Key type: [`Cursor`].

use ecusson_guestmem::{Fault, Gpa, GuestMemory};

use crate::chain::Segment;

/// An access to buffers that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The buffers end before.
    End,
    /// The guest's memory is not there any more.
    Memory(Fault),
}

impl From<Fault> for Short {
    fn from(fault: Fault) -> Self {
        Self::Memory(fault)
    }
}

/// A place in a list of buffers. Copies of it move on their own.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    segments: &'a [Segment],
    /// Bytes of the first segment that are behind.
    offset: u32,
    remaining: u64,
}

impl<'a> Cursor<'a> {
    /// The beginning of buffers.
    #[must_use]
    pub fn new(segments: &'a [Segment]) -> Self {
        Self {
            segments,
            offset: 0,
            remaining: segments.iter().map(|segment| u64::from(segment.bytes)).sum(),
        }
    }

    /// Bytes ahead.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece that lies in one buffer, of at most `most` bytes; goes behind it. `None` at the end, or for `most` 0.
    pub fn next_piece(&mut self, most: u64) -> Option<Segment> {
        let most = most.min(self.remaining);
        if most == 0 {
            return None;
        }
        let segment = self.segments.first()?;
        let left = segment.bytes - self.offset;
        // At most `left`, which has 32 bits.
        let bytes = u64::from(left).min(most) as u32;
        let piece = Segment {
            address: Gpa(segment.address.0 + u64::from(self.offset)),
            bytes,
        };
        self.remaining -= u64::from(bytes);
        self.offset += bytes;
        if bytes == left {
            self.segments = &self.segments[1..];
            self.offset = 0;
        }
        Some(piece)
    }

    /// Goes `bytes` on.
    ///
    /// # Errors
    /// `End`; the cursor does not move then.
    pub fn skip(&mut self, bytes: u64) -> Result<(), Short> {
        self.enough(bytes)?;
        let mut left = bytes;
        while let Some(piece) = self.next_piece(left) {
            left -= u64::from(piece.bytes);
        }
        Ok(())
    }

    /// The next `bytes` as a cursor of their own; goes behind them.
    ///
    /// # Errors
    /// `End`; the cursor does not move then.
    pub fn take(&mut self, bytes: u64) -> Result<Self, Short> {
        let mut taken = *self;
        self.skip(bytes)?;
        taken.remaining = bytes;
        Ok(taken)
    }

    fn enough(&self, bytes: u64) -> Result<(), Short> {
        if bytes > self.remaining {
            Err(Short::End)
        } else {
            Ok(())
        }
    }

    /// Copies out of the guest.
    ///
    /// # Errors
    /// [`Short`]. At `End` nothing was read.
    pub fn read(&mut self, memory: &GuestMemory, to: &mut [u8]) -> Result<(), Short> {
        self.enough(to.len() as u64)?;
        let mut rest = to;
        while let Some(piece) = self.next_piece(rest.len() as u64) {
            let (part, behind) = rest.split_at_mut(piece.bytes as usize);
            memory.read(piece.address, part)?;
            rest = behind;
        }
        Ok(())
    }

    /// Copies into the guest.
    ///
    /// # Errors
    /// [`Short`]. At `End` nothing was written.
    pub fn write(&mut self, memory: &GuestMemory, from: &[u8]) -> Result<(), Short> {
        self.enough(from.len() as u64)?;
        let mut rest = from;
        while let Some(piece) = self.next_piece(rest.len() as u64) {
            let (part, behind) = rest.split_at(piece.bytes as usize);
            memory.write(piece.address, part)?;
            rest = behind;
        }
        Ok(())
    }

    /// Copies from the buffers of another guest (or the same) into these, without a stop in between.
    ///
    /// # Errors
    /// [`Short`]. At `End`, of either, nothing was copied.
    pub fn copy(
        &mut self,
        memory: &GuestMemory,
        from: &mut Cursor<'_>,
        from_memory: &GuestMemory,
        bytes: u64,
    ) -> Result<(), Short> {
        self.enough(bytes)?;
        from.enough(bytes)?;
        let mut left = bytes;
        while let Some(source) = from.next_piece(left) {
            left -= u64::from(source.bytes);
            let mut done = 0;
            while let Some(target) = self.next_piece(u64::from(source.bytes) - done) {
                let start = Gpa(source.address.0 + done);
                memory.copy(target.address, from_memory, start, target.bytes as usize)?;
                done += u64::from(target.bytes);
            }
        }
        Ok(())
    }
}
