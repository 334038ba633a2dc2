//! The volume: records by name, and the log.
//!
//! Key type: [`Volume`].

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::area::{self, Record, Scan};
use crate::frame::{Frame, Role};
use crate::log::Ring;
use crate::{Error, Sectors};

/// Bytes of a name, at most.
pub const MAX_NAME_BYTES: usize = 128;
/// Bytes of a value, at most.
pub const MAX_VALUE_BYTES: usize = 128 * 1024;
/// Sectors of the smallest volume.
pub const MIN_SECTORS: u64 = 16;
/// Commit frames of an area.
const COMMIT_SECTORS: u64 = 2;
/// Sectors of the log, at most.
const MAX_LOG_SECTORS: u64 = 256;

/// Where everything is.
#[derive(Clone, Debug)]
struct Layout {
    areas: [Range<u64>; 2],
    log: Range<u64>,
}

impl Layout {
    fn of(sectors: u64) -> Result<Self, Error> {
        if sectors < MIN_SECTORS {
            return Err(Error::TooSmall { needed: MIN_SECTORS });
        }
        let log = (sectors / 4).min(MAX_LOG_SECTORS);
        let area = (sectors - log) / 2;
        Ok(Self {
            areas: [0..area, area..2 * area],
            log: 2 * area..sectors,
        })
    }
}

/// What was lost and what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The first garbled sector.
    pub sector: u64,
    /// Records that are there; some may be older than they should, or missing.
    pub records: usize,
}

/// An open volume. All values are in memory, so that reading never fails.
#[derive(Debug)]
pub struct Volume<D> {
    disk: D,
    layout: Layout,
    values: BTreeMap<String, Vec<u8>>,
    log: Ring,
    /// Which area counts.
    active: usize,
    generation: u64,
    /// The highest generation that was ever begun.
    last_generation: u64,
    next_sector: u64,
    next_record: u32,
    /// A write failed: what is on the disk is only known after opening again.
    unclear: bool,
}

impl<D: Sectors> Volume<D> {
    /// Makes an empty volume, whatever was there. The old log stays.
    ///
    /// # Errors
    /// The disk failed or is too small.
    pub fn format(mut disk: D) -> Result<Self, Error> {
        let layout = Layout::of(disk.count())?;
        let scans = [
            area::scan(&mut disk, layout.areas[0].clone())?,
            area::scan(&mut disk, layout.areas[1].clone())?,
        ];
        // The area that does not count is written, as always: a cut leaves the old volume or the new one.
        let active = usize::from(scans[1].generation > scans[0].generation);
        let empty = Scan::default();
        let mut volume = Self::with(disk, layout, active, empty, &scans)?;
        volume.move_to_other_area()?;
        Ok(volume)
    }

    /// Opens a volume.
    ///
    /// # Errors
    /// The disk failed or is too small, there never was a volume, or sectors that counted are garbled.
    pub fn open(disk: D) -> Result<Self, Error> {
        let (volume, damage) = Self::open_any(disk)?;
        match damage {
            None => Ok(volume),
            Some(sector) => Err(Error::Corrupt { sector }),
        }
    }

    /// Opens a volume whose sectors are garbled, with what is left, and writes that to the other area.
    ///
    /// # Errors
    /// The disk failed or is too small, or there never was a volume.
    pub fn salvage(disk: D) -> Result<(Self, Option<Salvaged>), Error> {
        let (mut volume, damage) = Self::open_any(disk)?;
        let Some(sector) = damage else {
            return Ok((volume, None));
        };
        volume.move_to_other_area()?;
        let records = volume.values.len();
        Ok((volume, Some(Salvaged { sector, records })))
    }

    fn open_any(mut disk: D) -> Result<(Self, Option<u64>), Error> {
        let layout = Layout::of(disk.count())?;
        let scans = [
            area::scan(&mut disk, layout.areas[0].clone())?,
            area::scan(&mut disk, layout.areas[1].clone())?,
        ];
        let rank = |scan: &Scan| if scan.committed { scan.generation } else { 0 };
        let active = usize::from(rank(&scans[1]) > rank(&scans[0]));
        if !scans[active].committed {
            return Err(Error::NotFormatted);
        }
        let damage = scans[active].damage;
        let volume = Self::with(disk, layout, active, scans[active].clone(), &scans)?;
        Ok((volume, damage))
    }

    fn with(mut disk: D, layout: Layout, active: usize, scan: Scan, all: &[Scan; 2]) -> Result<Self, Error> {
        let log = Ring::open(&mut disk, layout.log.clone())?;
        Ok(Self {
            disk,
            layout,
            values: scan.values,
            log,
            active,
            generation: scan.generation,
            last_generation: all[0].generation.max(all[1].generation),
            next_sector: scan.next_sector,
            next_record: scan.next_record,
            unclear: false,
        })
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// Names that begin so, in order.
    pub fn names<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        self.values
            .keys()
            .map(String::as_str)
            .filter(move |name| name.starts_with(beginning))
    }

    /// Sets a value. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// The disk failed (then the old or the new value will be there), no room, or too long.
    pub fn put(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
            return Err(Error::Length);
        }
        if self.get(name) == Some(value) && !self.unclear {
            return Ok(());
        }
        let record = Record::Put(name.to_string(), value.to_vec());
        let needed = self.sectors_without(name) + Frame::parts_of(record.encode().len());
        self.change(&record, needed)?;
        self.values.insert(name.to_string(), value.to_vec());
        Ok(())
    }

    /// Takes a value away; nothing if there is none.
    ///
    /// # Errors
    /// The disk failed (then it will be there or not).
    pub fn delete(&mut self, name: &str) -> Result<(), Error> {
        if !self.values.contains_key(name) && !self.unclear {
            return Ok(());
        }
        let needed = self.sectors_without(name);
        self.change(&Record::Delete(name.to_string()), needed)?;
        self.values.remove(name);
        Ok(())
    }

    /// Sectors of all values but one, and of the commit frames.
    fn sectors_without(&self, name: &str) -> u64 {
        let others = self.values.iter().filter(|(other, _)| *other != name);
        let sectors = |(name, value): (&String, &Vec<u8>)| {
            Frame::parts_of(Record::Put(name.clone(), value.clone()).encode().len())
        };
        others.map(sectors).sum::<u64>() + COMMIT_SECTORS
    }

    /// Appends a change; makes room for it before, if need be. `needed` is what everything takes after it.
    fn change(&mut self, record: &Record, needed: u64) -> Result<(), Error> {
        if self.unclear {
            return Err(Error::Unclear);
        }
        let capacity = self.capacity();
        // One sector stays free, so that a full volume can still delete.
        if needed + 1 > capacity && matches!(record, Record::Put(..)) {
            return Err(Error::Full {
                needed: needed + 1,
                capacity,
            });
        }
        let bytes = record.encode();
        if self.next_sector + Frame::parts_of(bytes.len()) > capacity {
            // What the change replaces may be all there is: the other area is written with the change in it.
            return self.move_with(record);
        }
        self.append(Role::Change, &bytes)?;
        self.flush()
    }

    fn capacity(&self) -> u64 {
        let area = &self.layout.areas[self.active];
        area.end - area.start
    }

    /// Writes all values, with a change, to the other area.
    fn move_with(&mut self, record: &Record) -> Result<(), Error> {
        let before = self.values.clone();
        match record {
            Record::Put(name, value) => {
                self.values.insert(name.clone(), value.clone());
            }
            Record::Delete(name) => {
                self.values.remove(name);
            }
            Record::Commit => {}
        }
        self.move_to_other_area().inspect_err(|_| self.values = before)
    }

    /// Writes all values to the other area, which counts from its commit frame on.
    fn move_to_other_area(&mut self) -> Result<(), Error> {
        self.active = 1 - self.active;
        // A generation that a cut broke off is never used again: its frames may be there.
        self.last_generation += 1;
        self.generation = self.last_generation;
        (self.next_sector, self.next_record) = (0, 0);
        for (name, value) in self.values.clone() {
            self.append(Role::Base, &Record::Put(name, value).encode())?;
        }
        // Everything is safe before the frame that says so. A second one, written when the first is safe, tells a first one
        // that the disk garbled from one that a cut has torn.
        for _ in 0..COMMIT_SECTORS {
            self.flush()?;
            self.append(Role::Commit, &Record::Commit.encode())?;
        }
        self.flush()
    }

    fn append(&mut self, role: Role, record: &[u8]) -> Result<(), Error> {
        let area = self.layout.areas[self.active].clone();
        for frame in Frame::split(self.generation, self.next_record, role, record) {
            let sector = area.start + self.next_sector;
            if !area.contains(&sector) {
                self.unclear = true;
                return Err(Error::Full {
                    needed: self.next_sector + 1,
                    capacity: area.end - area.start,
                });
            }
            self.disk
                .write(sector, &frame.encode())
                .inspect_err(|_| self.unclear = true)?;
            self.next_sector += 1;
        }
        self.next_record += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(self.disk.flush().inspect_err(|_| self.unclear = true)?)
    }

    /// Adds a line to the log. It is safe after `sync_log`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn log(&mut self, line: &str) -> Result<(), Error> {
        self.log.push(&mut self.disk, line)
    }

    /// Makes the log safe. Costs a sector of the ring.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync_log(&mut self) -> Result<(), Error> {
        self.log.sync(&mut self.disk)
    }

    /// The log, the oldest line first; the first may have lost its beginning.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// The disk below, to look at.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk below; the volume is closed.
    pub fn into_disk(self) -> D {
        self.disk
    }
}
