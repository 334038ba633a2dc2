//! The log ring: sectors of text, written one after the other, round and round. Each counts for itself; a torn one loses the
//! lines it was to hold and those it held.
//!
//! Key type: [`Ring`].

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::frame::{Frame, PAYLOAD_BYTES, Role};
use crate::{Error, SECTOR_BYTES, Sectors};

#[derive(Clone, Debug)]
pub(crate) struct Ring {
    sectors: Range<u64>,
    /// Texts by number; as many as there are sectors.
    texts: BTreeMap<u32, Vec<u8>>,
    next: u32,
    /// Lines that are not written yet, less than a sector.
    waiting: Vec<u8>,
}

impl Ring {
    /// Reads the ring.
    pub(crate) fn open(disk: &mut impl Sectors, sectors: Range<u64>) -> Result<Self, Error> {
        let mut texts = BTreeMap::new();
        for sector in sectors.clone() {
            let mut bytes = [0; SECTOR_BYTES];
            disk.read(sector, &mut bytes)?;
            if let Some(frame) = Frame::decode(&bytes).filter(|frame| frame.role == Role::Log) {
                texts.insert(frame.record, frame.payload);
            }
        }
        let next = texts.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let mut ring = Self {
            sectors,
            texts,
            next,
            waiting: Vec::new(),
        };
        ring.forget();
        Ok(ring)
    }

    fn length(&self) -> u64 {
        self.sectors.end - self.sectors.start
    }

    /// Forgets what the ring no longer holds.
    fn forget(&mut self) {
        let oldest = u64::from(self.next).saturating_sub(self.length());
        self.texts.retain(|number, _| u64::from(*number) >= oldest);
    }

    /// Adds a line. Full sectors are written, the rest waits for `sync`. A long line takes several sectors.
    pub(crate) fn push(&mut self, disk: &mut impl Sectors, line: &str) -> Result<(), Error> {
        for piece in [line.as_bytes(), b"\n"] {
            let mut rest = piece;
            while !rest.is_empty() {
                if self.waiting.len() == PAYLOAD_BYTES {
                    self.write(disk)?;
                }
                let room = PAYLOAD_BYTES - self.waiting.len();
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.waiting.extend_from_slice(now);
                rest = later;
            }
        }
        Ok(())
    }

    /// Writes what waits and makes it safe.
    pub(crate) fn sync(&mut self, disk: &mut impl Sectors) -> Result<(), Error> {
        if !self.waiting.is_empty() {
            self.write(disk)?;
        }
        Ok(disk.flush()?)
    }

    fn write(&mut self, disk: &mut impl Sectors) -> Result<(), Error> {
        for frame in Frame::split(0, self.next, Role::Log, &self.waiting) {
            disk.write(
                self.sectors.start + u64::from(self.next) % self.length(),
                &frame.encode(),
            )?;
        }
        self.texts.insert(self.next, core::mem::take(&mut self.waiting));
        self.next = self.next.saturating_add(1);
        self.forget();
        Ok(())
    }

    /// All lines, the oldest first. The first may have lost its beginning.
    pub(crate) fn text(&self) -> String {
        let mut bytes: Vec<u8> = self.texts.values().flatten().copied().collect();
        bytes.extend_from_slice(&self.waiting);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
