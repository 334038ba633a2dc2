//! A disk in memory, one that notes what is done to it, and all that a power cut may make of it.

#![allow(dead_code, reason = "each test program uses its own part")]

use ecusson_records::{DeviceError, SECTOR_BYTES, Sector, Sectors};

/// Small, so that areas fill up: 8 sectors of log, areas of 12.
pub(crate) const SECTORS: u64 = 32;

/// A disk that does what it is told.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) sectors: Vec<Sector>,
}

impl Memory {
    pub(crate) fn new(count: u64) -> Self {
        Self {
            sectors: vec![[0; SECTOR_BYTES]; count as usize],
        }
    }
}

impl Sectors for Memory {
    fn count(&self) -> u64 {
        self.sectors.len() as u64
    }

    fn read(&mut self, sector: u64, into: &mut Sector) -> Result<(), DeviceError> {
        *into = *self.sectors.get(sector as usize).ok_or(DeviceError)?;
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &Sector) -> Result<(), DeviceError> {
        *self.sectors.get_mut(sector as usize).ok_or(DeviceError)? = *from;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// What was done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(u64, Box<Sector>),
    Flush,
}

/// A disk that notes it. From operation `fails_at` on, everything fails.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    disk: Memory,
    pub(crate) operations: Vec<Operation>,
    pub(crate) fails_at: usize,
}

impl Journal {
    pub(crate) fn on(disk: Memory) -> Self {
        Self {
            disk,
            operations: Vec::new(),
            fails_at: usize::MAX,
        }
    }

    pub(crate) fn now(self) -> Memory {
        self.disk
    }

    fn note(&mut self, operation: Operation) -> Result<(), DeviceError> {
        if self.operations.len() >= self.fails_at {
            return Err(DeviceError);
        }
        self.operations.push(operation);
        Ok(())
    }
}

impl Sectors for Journal {
    fn count(&self) -> u64 {
        self.disk.count()
    }

    fn read(&mut self, sector: u64, into: &mut Sector) -> Result<(), DeviceError> {
        self.disk.read(sector, into)
    }

    fn write(&mut self, sector: u64, from: &Sector) -> Result<(), DeviceError> {
        self.note(Operation::Write(sector, Box::new(*from)))?;
        self.disk.write(sector, from)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.note(Operation::Flush)
    }
}

/// Up to so many writes since the last flush, every subset of them is tried.
const EXHAUSTIVE: usize = 6;

/// All disks that a cut behind these operations may leave: each write since the last flush may be there or not, in any
/// combination (of many writes: beginnings, ends, and all but one), and any one of them may be torn.
pub(crate) fn after_cut(disk: &Memory, operations: &[Operation]) -> Vec<Memory> {
    let flushed = operations
        .iter()
        .rposition(|operation| matches!(operation, Operation::Flush));
    let (safe, loose) = operations.split_at(flushed.map_or(0, |at| at + 1));
    let mut base = disk.clone();
    for operation in safe {
        if let Operation::Write(sector, bytes) = operation {
            base.sectors[*sector as usize] = **bytes;
        }
    }
    let mut found = Vec::new();
    for choice in choices(loose.len()) {
        found.push(with(&base, loose, choice, None));
    }
    for torn in 0..loose.len() {
        for kind in 0..3 {
            found.push(with(&base, loose, u64::MAX, Some((torn, kind))));
            found.push(with(&base, loose, (1 << torn) - 1, Some((torn, kind))));
        }
    }
    found
}

fn choices(count: usize) -> Vec<u64> {
    if count <= EXHAUSTIVE {
        return (0..1 << count).collect();
    }
    let all = (1_u64 << count) - 1;
    let beginnings = (0..=count).map(|length| (1 << length) - 1);
    let ends = (1..=count).map(|length| all & !((1 << length) - 1));
    let holes = (0..count).map(|hole| all & !(1 << hole));
    beginnings.chain(ends).chain(holes).collect()
}

/// The disk with the writes whose bits are set; one may be torn: its first half, its last half, or garbage.
fn with(base: &Memory, loose: &[Operation], choice: u64, torn: Option<(usize, u8)>) -> Memory {
    let mut disk = base.clone();
    for (index, operation) in loose.iter().enumerate() {
        let Operation::Write(sector, bytes) = operation else {
            continue;
        };
        let place = &mut disk.sectors[*sector as usize];
        match torn {
            Some((one, 0)) if one == index => place[..256].copy_from_slice(&bytes[..256]),
            Some((one, 1)) if one == index => place[256..].copy_from_slice(&bytes[256..]),
            Some((one, _)) if one == index => place.fill(0xa5),
            _ if choice & 1 << index != 0 => *place = **bytes,
            _ => {}
        }
    }
    disk
}
