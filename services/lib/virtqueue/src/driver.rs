//! The driver's side of a queue, as a guest has it: for tests of devices and backends. Behind the feature `driver`.
//!
//! Key types: [`Driver`], [`Style`]. It keeps the rules of virtio 1.2, 2.7; tests that break them write to the guest's memory
//! themselves.

use alloc::vec::Vec;

use ecusson_guestmem::{Fault, Gpa, GuestMemory};

use crate::chain::{INDIRECT, NEXT, WRITE};
use crate::layout::{Features, Layout};

/// How a chain is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In the queue's table.
    Direct,
    /// In a table of its own at this address.
    Indirect(Gpa),
    /// The first buffer in the queue's table, the others in a table at this address.
    Mixed(Gpa),
}

/// A buffer: address and length in bytes.
pub type Buffer = (Gpa, u32);

/// The driver side of one queue.
#[derive(Clone, Debug)]
pub struct Driver {
    layout: Layout,
    features: Features,
    free: Vec<u16>,
    /// The descriptors of each chain in flight, by head.
    chains: Vec<Vec<u16>>,
    /// Chains put into the ring, and those of them that the device can see.
    added: u16,
    published: u16,
    /// Chains that came back.
    seen: u16,
}

impl Driver {
    /// Lays a queue out from `base`, which is a multiple of 16, over memory that reads as zero.
    #[must_use]
    pub fn new(base: Gpa, size: u16, features: Features) -> Self {
        let available = base.0 + Layout::descriptor_bytes(size);
        let used = (available + Layout::available_bytes(size)).next_multiple_of(4);
        Self {
            layout: Layout {
                size,
                descriptors: base,
                available: Gpa(available),
                used: Gpa(used),
            },
            features,
            free: (0..size).rev().collect(),
            chains: (0..size).map(|_| Vec::new()).collect(),
            added: 0,
            published: 0,
            seen: 0,
        }
    }

    /// Bytes from the base that the queue takes, rounded up to 16.
    #[must_use]
    pub fn bytes(size: u16) -> u64 {
        let rings = Layout::available_bytes(size).next_multiple_of(4) + Layout::used_bytes(size);
        (Layout::descriptor_bytes(size) + rings).next_multiple_of(16)
    }

    /// What the device is told.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Descriptors not in flight.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Puts a chain into the ring; the device sees it at the next [`Driver::publish`]. Its head, or `None` without descriptors.
    ///
    /// # Errors
    /// [`Fault`] for addresses that the guest has not.
    pub fn add(
        &mut self,
        memory: &GuestMemory,
        readable: &[Buffer],
        writable: &[Buffer],
        style: Style,
    ) -> Result<Option<u16>, Fault> {
        let to_read = readable.iter().map(|buffer| (*buffer, 0));
        let buffers: Vec<(Buffer, u16)> = to_read.chain(writable.iter().map(|buffer| (*buffer, WRITE))).collect();
        let (own, table) = match style {
            Style::Direct => (buffers, None),
            Style::Indirect(at) => (Vec::new(), Some((at, buffers))),
            Style::Mixed(at) => {
                let mut first = buffers;
                let rest = first.split_off(1.min(first.len()));
                (first, Some((at, rest)))
            }
        };
        let mut own: Vec<(Buffer, u16)> = own;
        if let Some((at, rest)) = &table {
            for (index, (buffer, flags)) in (0..).zip(rest) {
                let last = usize::from(index) + 1 == rest.len();
                let next = if last { 0 } else { NEXT };
                write_descriptor(memory, *at, index, *buffer, flags | next, index + 1)?;
            }
            own.push(((*at, 16 * rest.len() as u32), INDIRECT));
        }
        if own.is_empty() || own.len() > self.free.len() {
            return Ok(None);
        }
        let indexes = self.free.split_off(self.free.len() - own.len());
        for (position, (buffer, flags)) in own.iter().enumerate() {
            let next = indexes.get(position + 1);
            let flags = flags | if next.is_some() { NEXT } else { 0 };
            let next = next.copied().unwrap_or(0);
            write_descriptor(memory, self.layout.descriptors, indexes[position], *buffer, flags, next)?;
        }
        let head = indexes[0];
        self.chains[usize::from(head)] = indexes;
        memory.store_u16(self.layout.available_entry(self.added), head)?;
        self.added = self.added.wrapping_add(1);
        Ok(Some(head))
    }

    /// Shows the device what was added. Whether it wants a kick.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn publish(&mut self, memory: &GuestMemory) -> Result<bool, Fault> {
        memory.store_u16(self.layout.available_index(), self.added)?;
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        let before = core::mem::replace(&mut self.published, self.added);
        if !self.features.has(Features::EVENT_INDEX) {
            return Ok(before != self.added && memory.load_u16(self.layout.used_flags())? & 1 == 0);
        }
        let event = memory.load_u16(self.layout.available_event())?;
        Ok(self.added.wrapping_sub(event).wrapping_sub(1) < self.added.wrapping_sub(before))
    }

    /// Takes the next chain that came back: its head and the bytes the device says it wrote.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn take_back(&mut self, memory: &GuestMemory) -> Result<Option<(u16, u32)>, Fault> {
        if memory.load_u16(self.layout.used_index())? == self.seen {
            return Ok(None);
        }
        let entry = self.layout.used_entry(self.seen);
        let (head, written) = (memory.load_u32(entry)? as u16, memory.load_u32(Gpa(entry.0 + 4))?);
        self.seen = self.seen.wrapping_add(1);
        let chain = core::mem::take(&mut self.chains[usize::from(head)]);
        assert!(!chain.is_empty(), "the device gave back chain {head}, which it had not");
        self.free.extend(chain);
        Ok(Some((head, written)))
    }

    /// Asks for an interrupt with the next chain that comes back; `true` when some came back already.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn ask_for_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, Fault> {
        if self.features.has(Features::EVENT_INDEX) {
            memory.store_u16(self.layout.used_event(), self.seen)?;
        } else {
            memory.store_u16(self.layout.available_flags(), 0)?;
        }
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        Ok(memory.load_u16(self.layout.used_index())? != self.seen)
    }

    /// Says that interrupts are of no use for now.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn refuse_interrupts(&mut self, memory: &GuestMemory) -> Result<(), Fault> {
        if self.features.has(Features::EVENT_INDEX) {
            return Ok(());
        }
        memory.store_u16(self.layout.available_flags(), 1)
    }
}

fn write_descriptor(
    memory: &GuestMemory,
    table: Gpa,
    index: u16,
    (address, bytes): Buffer,
    flags: u16,
    next: u16,
) -> Result<(), Fault> {
    let at = table.0 + 16 * u64::from(index);
    memory.store_u64(Gpa(at), address.0)?;
    memory.store_u32(Gpa(at + 8), bytes)?;
    memory.store_u16(Gpa(at + 12), flags)?;
    memory.store_u16(Gpa(at + 14), next)
}
