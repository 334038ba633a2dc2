//! MSI-X: a table of messages, each with a mask, and the bits of those that wait (PCI Local Bus 3.0, 6.8.2).
//!
//! Key type: [`MsiX`].

use alloc::vec::Vec;

use super::config::ConfigSpace;
use crate::apic::Message;
use crate::bytes::{get_u32, get_u64, put};

const CAPABILITY: u8 = 0x11;
const ENABLED: u16 = 1 << 15;
const MASKED: u16 = 1 << 14;
/// Bytes of an entry: address, data, control.
const ENTRY: usize = 16;
const CONTROL: usize = 12;
const ENTRY_MASKED: u32 = 1;

/// The table and the pending bits of a function.
#[derive(Clone, Debug)]
pub struct MsiX {
    /// Offset of the capability.
    capability: usize,
    table: Vec<u8>,
    pending: u128,
}

impl MsiX {
    /// Most entries.
    pub const VECTORS_MAX: usize = 128;

    /// A table of `vectors` entries at `table`, and pending bits at `pending`, both offsets in base address register `bar`; adds the
    /// capability. `None` if that has no room left.
    #[must_use]
    pub fn new(config: &mut ConfigSpace, vectors: usize, bar: u32, table: u32, pending: u32) -> Option<Self> {
        let vectors = vectors.clamp(1, Self::VECTORS_MAX);
        let mut body = [0; 10];
        put(&mut body, 0, &(vectors as u16 - 1).to_le_bytes());
        put(&mut body, 2, &(table & !7 | bar).to_le_bytes());
        put(&mut body, 6, &(pending & !7 | bar).to_le_bytes());
        let capability = config.add_capability(CAPABILITY, &body, &(ENABLED | MASKED).to_le_bytes())?;
        let mut table = alloc::vec![0; vectors * ENTRY];
        for entry in table.chunks_exact_mut(ENTRY) {
            put(entry, CONTROL, &ENTRY_MASKED.to_le_bytes());
        }
        Some(Self {
            capability,
            table,
            pending: 0,
        })
    }

    /// How many entries there are.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.table.len() / ENTRY
    }

    /// Whether the guest has switched it on.
    #[must_use]
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        self.control(config) & ENABLED != 0
    }

    /// An interrupt with this entry: the message, unless it must wait or there is none.
    pub fn signal(&mut self, config: &ConfigSpace, vector: usize) -> Option<Message> {
        if vector >= self.vectors() || !self.is_enabled(config) {
            return None;
        }
        if self.is_masked(config, vector) {
            self.pending |= 1 << vector;
            return None;
        }
        self.message(vector)
    }

    /// The messages that waited and need not any longer; after any write to the table or the capability.
    pub fn released(&mut self, config: &ConfigSpace) -> Vec<Message> {
        if self.pending == 0 || !self.is_enabled(config) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        for vector in 0..self.vectors() {
            if self.pending >> vector & 1 != 0 && !self.is_masked(config, vector) {
                self.pending &= !(1 << vector);
                messages.extend(self.message(vector));
            }
        }
        messages
    }

    /// Reads the table, 4 or 8 bytes at their multiple.
    #[must_use]
    pub fn read_table(&self, offset: usize, bytes: u8) -> u64 {
        match bytes {
            4 => get_u32(&self.table, offset & !3).into(),
            8 => get_u64(&self.table, offset & !7),
            _ => 0,
        }
    }

    /// Writes the table, 4 or 8 bytes at their multiple; other lengths do nothing.
    pub fn write_table(&mut self, offset: usize, bytes: u8, value: u64) {
        let length = match bytes {
            4 | 8 => usize::from(bytes),
            _ => return,
        };
        let at = offset & !(length - 1);
        put(
            &mut self.table,
            at,
            value.to_le_bytes().get(..length).unwrap_or_default(),
        );
    }

    /// Reads the pending bits.
    #[must_use]
    pub fn read_pending(&self, offset: usize, bytes: u8) -> u64 {
        let all = self.pending.to_le_bytes();
        match bytes {
            4 => get_u32(&all, offset & !3).into(),
            8 => get_u64(&all, offset & !7),
            _ => 0,
        }
    }

    fn control(&self, config: &ConfigSpace) -> u16 {
        config.read(self.capability + 2, 2) as u16
    }

    fn is_masked(&self, config: &ConfigSpace, vector: usize) -> bool {
        self.control(config) & MASKED != 0 || get_u32(&self.table, vector * ENTRY + CONTROL) & ENTRY_MASKED != 0
    }

    /// What the entry says; nothing if its address is not one of interrupts.
    fn message(&self, vector: usize) -> Option<Message> {
        let at = vector * ENTRY;
        Message::of_msi(get_u64(&self.table, at), get_u32(&self.table, at + 8))
    }
}
