//! One of the two areas: what a look at its sectors says about it.
//!
//! Key type: [`Scan`].

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Role, checksum};
use crate::{Error, SECTOR_BYTES, Sectors};

/// A record, as it is written (postcard). Golden bytes in the tests below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// This name has this value.
    Put(String, Vec<u8>),
    /// This name has none.
    Delete(String),
    /// The area counts from here on.
    Commit,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Encoding into memory that grows can't fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// What was found in an area.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    /// The highest generation of any frame; 0 if there is none.
    pub(crate) generation: u64,
    /// Whether it ever counted: some frame can only have been written after its commit frame was safe, or is that frame.
    pub(crate) committed: bool,
    /// Names and values after all records that could be read.
    pub(crate) values: BTreeMap<String, Vec<u8>>,
    /// Where the next frame goes, relative to the area.
    pub(crate) next_sector: u64,
    /// Its record's number.
    pub(crate) next_record: u32,
    /// The first sector that counted and is garbled, on the disk.
    pub(crate) damage: Option<u64>,
}

/// Reads a whole area.
pub(crate) fn scan(disk: &mut impl Sectors, area: Range<u64>) -> Result<Scan, Error> {
    let mut frames = Vec::new();
    for sector in area.clone() {
        let mut bytes = [0; SECTOR_BYTES];
        disk.read(sector, &mut bytes)?;
        frames.push(Frame::decode(&bytes).filter(|frame| frame.role != Role::Log && frame.generation > 0));
    }
    let generation = frames.iter().flatten().map(|frame| frame.generation).max().unwrap_or(0);
    // Frames of earlier generations are what was there before.
    let frames: Vec<Option<Frame>> = frames
        .into_iter()
        .map(|frame| frame.filter(|frame| frame.generation == generation))
        .collect();
    let committed = frames
        .iter()
        .flatten()
        .any(|frame| matches!(frame.role, Role::Commit | Role::Change));
    let mut scan = Scan {
        generation,
        committed,
        ..Scan::default()
    };
    scan.follow(&frames, area.start);
    Ok(scan)
}

impl Scan {
    /// Follows the records from the first on. Each was flushed before the next was begun; so the first that is not whole is
    /// the one a cut has torn, unless frames of later ones are there.
    fn follow(&mut self, frames: &[Option<Frame>], first_sector: u64) {
        let mut place = 0;
        let mut committed = false;
        while place < frames.len() {
            if let Some((record, role, parts)) = whole_record(&frames[place..], self.next_record) {
                committed |= role == Role::Commit;
                self.apply(record);
                place += parts;
                self.next_record = self.next_record.saturating_add(1);
                if self.damage.is_none() {
                    self.next_sector = place as u64;
                }
                continue;
            }
            // An area that never counted has no damage: it was being written when the cut came.
            let later = frames[place..]
                .iter()
                .flatten()
                .find(|frame| frame.record > self.next_record);
            let (Some(later), true) = (later, self.committed) else {
                break;
            };
            self.damage.get_or_insert(first_sector + place as u64);
            self.next_record = later.record;
            let begins = |frame: &Option<Frame>| frame.as_ref().is_some_and(|frame| frame.record == self.next_record);
            place += frames[place..].iter().position(begins).unwrap_or(frames.len());
        }
        if self.committed && !committed && self.damage.is_none() {
            self.damage = Some(first_sector + self.next_sector);
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Put(name, value) => {
                self.values.insert(name, value);
            }
            Record::Delete(name) => {
                self.values.remove(&name);
            }
            Record::Commit => {}
        }
    }
}

/// The record of this number, if all its parts begin here; and how many they are.
fn whole_record(frames: &[Option<Frame>], number: u32) -> Option<(Record, Role, usize)> {
    let first = frames.first()?.as_ref()?;
    let parts = usize::from(first.parts);
    let mut bytes = Vec::new();
    for (part, frame) in frames.get(..parts)?.iter().enumerate() {
        let frame = frame.as_ref()?;
        let fits = frame.record == number
            && usize::from(frame.part) == part
            && frame.parts == first.parts
            && frame.role == first.role
            && frame.record_checksum == first.record_checksum;
        if !fits {
            return None;
        }
        bytes.extend_from_slice(&frame.payload);
    }
    if checksum(&bytes) != first.record_checksum {
        return None;
    }
    Some((postcard::from_bytes(&bytes).ok()?, first.role, parts))
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn records_are_pinned() {
        let put = Record::Put("ab".into(), alloc::vec![1, 2, 3]);
        assert_eq!(put.encode(), [0, 2, b'a', b'b', 3, 1, 2, 3]);
        assert_eq!(Record::Delete("a".into()).encode(), [1, 1, b'a']);
        assert_eq!(Record::Commit.encode(), [2]);
    }
}
