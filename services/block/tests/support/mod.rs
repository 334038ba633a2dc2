//! A guest with one disk, and a disk that loses what was not flushed.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ecusson_block::{
    Attachment, Backend, Busy, Cache, Geometry, Operation, Outcome, Selector, Setup, Token, Volume, VolumeAccess,
};
use ecusson_guestmem::{Gpa, GuestMemory, Mapping};
use ecusson_rate::{Limiter, Limits};
use ecusson_virtqueue::driver::{Buffer, Driver, Style};
use ecusson_virtqueue::{Features, InFlight, Queue};

pub(crate) const QUEUE: u16 = 64;
const QUEUE_AT: Gpa = Gpa(0x1000);
/// Requests of the guest get this much memory each: header, status, data.
const SLOT_BYTES: u64 = 0x2000;
const SLOTS_AT: u64 = 0x1_0000;
const SLOTS: u64 = 64;

type Sector = [u8; 512];

/// An operation that was submitted, with its data.
enum Pending {
    Read(u64, Vec<u8>, Vec<(Gpa, u32)>, Arc<GuestMemory>),
    Write(u64, Vec<u8>),
    Flush,
    Zero(u64, u64),
    Discard,
}

/// A disk with a volatile cache, which does operations in whatever order it is told to.
pub(crate) struct ModelDisk {
    pub(crate) medium: Vec<Sector>,
    cache: BTreeMap<u64, Sector>,
    pending: VecDeque<(Token, Pending)>,
    completed: VecDeque<(Token, Outcome)>,
    pub(crate) capacity: usize,
    pub(crate) read_only: bool,
    pub(crate) fail: bool,
}

impl ModelDisk {
    pub(crate) fn new(sectors: u64) -> Self {
        Self {
            medium: vec![[0; 512]; sectors as usize],
            cache: BTreeMap::new(),
            pending: VecDeque::new(),
            completed: VecDeque::new(),
            capacity: 16,
            read_only: false,
            fail: false,
        }
    }

    fn sector(&self, sector: u64) -> Sector {
        self.cache.get(&sector).copied().unwrap_or(self.medium[sector as usize])
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Does one of the operations that wait.
    pub(crate) fn do_one(&mut self, which: usize) {
        if self.pending.is_empty() {
            return;
        }
        let (token, pending) = self.pending.remove(which % self.pending.len()).unwrap();
        if self.fail {
            self.completed.push_back((token, Outcome::Failed));
            return;
        }
        match pending {
            Pending::Read(first, mut data, buffers, memory) => {
                for (sector, bytes) in (first..).zip(data.chunks_mut(512)) {
                    bytes.copy_from_slice(&self.sector(sector));
                }
                let mut rest = &data[..];
                for (address, bytes) in buffers {
                    let (part, behind) = rest.split_at(bytes as usize);
                    memory.write(address, part).unwrap();
                    rest = behind;
                }
            }
            Pending::Write(first, data) => {
                for (sector, bytes) in (first..).zip(data.chunks(512)) {
                    self.cache.insert(sector, bytes.try_into().unwrap());
                }
            }
            Pending::Flush => self.flush(),
            Pending::Zero(first, sectors) => self
                .cache
                .extend((first..first + sectors).map(|sector| (sector, [0; 512]))),
            Pending::Discard => {}
        }
        self.completed.push_back((token, Outcome::Done));
    }

    fn flush(&mut self) {
        for (sector, bytes) in std::mem::take(&mut self.cache) {
            self.medium[sector as usize] = bytes;
        }
    }

    /// The power goes: of the cache, and of writes in flight, some sectors reach the medium and others do not.
    pub(crate) fn lose_power(&mut self, mut reaches: impl FnMut() -> bool) {
        let pending = std::mem::take(&mut self.pending);
        for (_, pending) in pending {
            if let Pending::Write(first, data) = pending {
                for (sector, bytes) in (first..).zip(data.chunks(512)) {
                    if reaches() {
                        self.medium[sector as usize] = bytes.try_into().unwrap();
                    }
                }
            }
        }
        for (sector, bytes) in std::mem::take(&mut self.cache) {
            if reaches() {
                self.medium[sector as usize] = bytes;
            }
        }
        self.completed.clear();
    }

    /// The service before this disk ends: nothing in flight is answered any more, but some of it is done.
    pub(crate) fn forget_owner(&mut self, mut is_done: impl FnMut() -> bool) {
        while !self.pending.is_empty() {
            if is_done() {
                self.do_one(0);
            } else {
                self.pending.pop_front();
            }
        }
        self.completed.clear();
    }
}

impl Backend for ModelDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            sectors: self.medium.len() as u64,
            read_only: self.read_only,
            discard: true,
            max_segments: 8,
            max_bytes: 16 << 10,
        }
    }

    fn submit(&mut self, token: Token, operation: Operation<'_>) -> Result<(), Busy> {
        if self.pending.len() >= self.capacity {
            return Err(Busy);
        }
        assert!(
            self.pending.iter().all(|(other, _)| *other != token),
            "{token:?} is in flight already"
        );
        let pending = match operation {
            Operation::Read { first, mut data } => {
                let bytes = vec![0; data.buffers.remaining() as usize];
                let buffers = std::iter::from_fn(|| data.buffers.next_piece(u64::MAX));
                let buffers = buffers.map(|piece| (piece.address, piece.bytes)).collect();
                Pending::Read(first, bytes, buffers, data.memory.clone())
            }
            Operation::Write { first, mut data } => {
                let mut bytes = vec![0; data.buffers.remaining() as usize];
                data.buffers.read(data.memory, &mut bytes).unwrap();
                Pending::Write(first, bytes)
            }
            Operation::Flush => Pending::Flush,
            Operation::Discard { .. } => Pending::Discard,
            Operation::WriteZeroes { first, sectors, .. } => Pending::Zero(first, sectors),
        };
        self.pending.push_back((token, pending));
        Ok(())
    }

    fn completed(&mut self) -> Option<(Token, Outcome)> {
        self.completed.pop_front()
    }
}

/// A guest's driver: slots of memory for requests.
pub(crate) struct Guest {
    pub(crate) memory: Arc<GuestMemory>,
    pub(crate) driver: Driver,
    free: Vec<u64>,
    /// The slot and the bytes to read of each head in flight.
    in_flight: BTreeMap<u16, (u64, u32)>,
}

/// An answered request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) head: u16,
    pub(crate) status: u8,
    pub(crate) written: u32,
    pub(crate) data: Vec<u8>,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let bytes = SLOTS_AT + SLOTS * SLOT_BYTES;
        let memory = GuestMemory::new(vec![Mapping::own(Gpa(0), bytes as usize)]).unwrap();
        Self {
            memory: Arc::new(memory),
            driver: Driver::new(QUEUE_AT, QUEUE, Features::EVENT_INDEX),
            free: (0..SLOTS).collect(),
            in_flight: BTreeMap::new(),
        }
    }

    /// Makes a request available: header fields, what the device reads behind, how much it writes before the status.
    pub(crate) fn request(&mut self, kind: u32, sector: u64, out: &[u8], bytes_in: u32) -> Option<u16> {
        let slot = *self.free.last()?;
        let at = SLOTS_AT + slot * SLOT_BYTES;
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        self.memory.write(Gpa(at), &header).unwrap();
        self.memory.write(Gpa(at + 16), &[0xFF]).unwrap();
        self.memory.write(Gpa(at + 0x100), out).unwrap();
        let (status, data): (Buffer, Gpa) = ((Gpa(at + 16), 1), Gpa(at + 0x100));
        let readable = [(Gpa(at), 16), (data, out.len() as u32)];
        let writable = [
            (data, bytes_in / 3),
            (Gpa(data.0 + u64::from(bytes_in / 3)), bytes_in - bytes_in / 3),
            status,
        ];
        let head = self.raw(&readable, &writable)?;
        self.free.pop();
        self.in_flight.insert(head, (slot, bytes_in));
        Some(head)
    }

    /// A chain of any shape.
    pub(crate) fn raw(&mut self, readable: &[Buffer], writable: &[Buffer]) -> Option<u16> {
        let full = |buffers: &[Buffer]| {
            buffers
                .iter()
                .copied()
                .filter(|buffer| buffer.1 > 0)
                .collect::<Vec<_>>()
        };
        let head = self
            .driver
            .add(&self.memory, &full(readable), &full(writable), Style::Direct)
            .unwrap();
        self.driver.publish(&self.memory).unwrap();
        head
    }

    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let (head, written) = self.driver.take_back(&self.memory).unwrap()?;
        let Some((slot, bytes)) = self.in_flight.remove(&head) else {
            return Some(Answer {
                head,
                status: 0xEE,
                written,
                data: Vec::new(),
            });
        };
        self.free.push(slot);
        let at = SLOTS_AT + slot * SLOT_BYTES;
        let (mut status, mut data) = ([0], vec![0; bytes as usize]);
        self.memory.read(Gpa(at + 16), &mut status).unwrap();
        self.memory.read(Gpa(at + 0x100), &mut data).unwrap();
        Some(Answer {
            head,
            status: status[0],
            written,
            data,
        })
    }
}

pub(crate) fn words() -> Vec<AtomicU64> {
    (0..InFlight::words(QUEUE)).map(|_| AtomicU64::new(0)).collect()
}

pub(crate) fn setup(guest: &Guest, disk: &dyn Backend, access: VolumeAccess, cache: Cache, limits: Limits) -> Setup {
    let geometry = disk.geometry();
    Setup {
        number: 3,
        memory: guest.memory.clone(),
        volume: Volume::select(&geometry, None, &Selector::Disk, access).unwrap(),
        geometry,
        cache,
        limiter: Limiter::new(limits, 0),
    }
}

pub(crate) fn queue<'r>(guest: &Guest, words: &'r [AtomicU64]) -> Queue<'r> {
    Queue::start(
        &guest.memory,
        guest.driver.layout(),
        Features::EVENT_INDEX,
        Some(InFlight::new(words)),
    )
    .unwrap()
}

/// Hands the attachment what the disk completed.
pub(crate) fn complete(attachment: &mut Attachment<'_>, disk: &mut dyn Backend) {
    while let Some((token, outcome)) = disk.completed() {
        attachment.complete(token, outcome, disk).unwrap();
    }
}
