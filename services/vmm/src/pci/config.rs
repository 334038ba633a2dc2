//! The configuration space of a function: bytes, and which of their bits the guest can write.
//!
//! Key types: [`ConfigSpace`], [`Bar`], [`Window`]. Sizing a base address register needs nothing of its own: its low bits can't be
//! written, so that writing all ones shows them.

use alloc::vec::Vec;

use crate::bytes::{get_u8, get_u16, get_u32, get_u64, put};

/// Bytes of a function's space that hold anything; what lies beyond, up to 4096, is zero: no extended capabilities.
const BYTES: usize = 256;

mod register {
    pub(super) const COMMAND: usize = 0x04;
    pub(super) const STATUS: usize = 0x06;
    pub(super) const REVISION: usize = 0x08;
    pub(super) const BARS: usize = 0x10;
    pub(super) const SUBSYSTEM: usize = 0x2c;
    pub(super) const CAPABILITIES: usize = 0x34;
    pub(super) const INTERRUPT_LINE: usize = 0x3c;
    pub(super) const FIRST_CAPABILITY: usize = 0x40;
}

const COMMAND_IO: u16 = 1;
const COMMAND_MEMORY: u16 = 2;
const COMMAND_MASTER: u16 = 4;
const COMMAND_NO_LINE: u16 = 1 << 10;
const STATUS_CAPABILITIES: u8 = 1 << 4;
const BARS: usize = 6;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class, subclass and programming interface, as three bytes from the top.
    pub class: u32,
    /// Revision.
    pub revision: u8,
    /// Vendor of the subsystem.
    pub subsystem_vendor: u16,
    /// Number of the subsystem.
    pub subsystem: u16,
}

/// A base address register. Lengths are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Ports.
    Io {
        /// At least 4, at most 256.
        bytes: u32,
        /// Where it starts out.
        address: u16,
    },
    /// Memory anywhere; takes this register and the next.
    Memory64 {
        /// At least 16.
        bytes: u64,
        /// Where it starts out.
        address: u64,
    },
}

/// Ports or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Memory.
    Memory,
}

/// Where a base address register lets a function be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Of what.
    pub space: Space,
    /// First port or address.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Number of the base address register.
    pub bar: usize,
}

impl Window {
    /// The offset of an access that lies in it wholly.
    #[must_use]
    pub fn offset(&self, space: Space, address: u64, bytes: u64) -> Option<u64> {
        let offset = address.checked_sub(self.start)?;
        let inside = space == self.space && offset.checked_add(bytes)? <= self.bytes;
        inside.then_some(offset)
    }
}

/// A function's configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; BYTES],
    writable: [u8; BYTES],
    bars: [Option<Bar>; BARS],
    /// Where the next capability goes, and where the pointer to it is.
    next: usize,
    link: usize,
}

impl ConfigSpace {
    /// A function without base address registers and capabilities.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let mut space = Self {
            bytes: [0; BYTES],
            writable: [0; BYTES],
            bars: [None; BARS],
            next: register::FIRST_CAPABILITY,
            link: register::CAPABILITIES,
        };
        put(&mut space.bytes, 0, &identity.vendor.to_le_bytes());
        put(&mut space.bytes, 2, &identity.device.to_le_bytes());
        let class = identity.class << 8 | u32::from(identity.revision);
        put(&mut space.bytes, register::REVISION, &class.to_le_bytes());
        put(
            &mut space.bytes,
            register::SUBSYSTEM,
            &identity.subsystem_vendor.to_le_bytes(),
        );
        put(
            &mut space.bytes,
            register::SUBSYSTEM + 2,
            &identity.subsystem.to_le_bytes(),
        );
        let command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_LINE;
        put(&mut space.writable, register::COMMAND, &command.to_le_bytes());
        // Firmware keeps a number here that nothing reads.
        put(&mut space.writable, register::INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Adds a base address register; `index` is 0 to 5, or 0 to 4 for a memory one. The function decodes it from the start.
    pub fn add_bar(&mut self, index: usize, bar: Bar) {
        let at = register::BARS + 4 * index;
        let mut command = get_u16(&self.bytes, register::COMMAND);
        match bar {
            Bar::Io { bytes, address } => {
                let mask = !(bytes.max(4).next_power_of_two() - 1) & 0xffff;
                put(&mut self.writable, at, &mask.to_le_bytes());
                put(&mut self.bytes, at, &(u32::from(address) & mask | 1).to_le_bytes());
                command |= COMMAND_IO;
            }
            Bar::Memory64 { bytes, address } => {
                let mask = !(bytes.max(16).next_power_of_two() - 1);
                put(&mut self.writable, at, &mask.to_le_bytes());
                // Memory of 64 bits, without side effects or not: not prefetchable.
                put(&mut self.bytes, at, &(address & mask | 4).to_le_bytes());
                command |= COMMAND_MEMORY;
            }
        }
        put(&mut self.bytes, register::COMMAND, &command.to_le_bytes());
        if let Some(place) = self.bars.get_mut(index) {
            *place = Some(bar);
        }
    }

    /// Adds a capability: its number, what follows the link byte, and which of those bits can be written. Gives its offset;
    /// `None` if there is no room left.
    pub fn add_capability(&mut self, number: u8, body: &[u8], writable: &[u8]) -> Option<usize> {
        let at = self.next;
        let end = at.checked_add(2)?.checked_add(body.len())?;
        if end > BYTES {
            return None;
        }
        put(&mut self.bytes, at, &[number, 0]);
        put(&mut self.bytes, at + 2, body);
        put(&mut self.writable, at + 2, writable);
        let link = self.link;
        put(&mut self.bytes, link, &[at as u8]);
        put(&mut self.bytes, register::STATUS, &[STATUS_CAPABILITIES]);
        self.link = at + 1;
        self.next = end.next_multiple_of(4);
        Some(at)
    }

    /// Reads 1, 2 or 4 bytes; zero beyond the end.
    #[must_use]
    pub fn read(&self, offset: usize, bytes: u8) -> u32 {
        match bytes {
            1 => get_u8(&self.bytes, offset).into(),
            2 => get_u16(&self.bytes, offset).into(),
            _ => get_u32(&self.bytes, offset),
        }
    }

    /// Writes 1, 2 or 4 bytes, as far as they can be written.
    pub fn write(&mut self, offset: usize, bytes: u8, value: u32) {
        for (index, value) in value.to_le_bytes().into_iter().take(bytes.into()).enumerate() {
            let at = offset.saturating_add(index);
            if let (Some(byte), Some(writable)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !writable | value & writable;
            }
        }
    }

    /// Whether the guest lets the function reach its memory.
    #[must_use]
    pub fn is_master(&self) -> bool {
        get_u16(&self.bytes, register::COMMAND) & COMMAND_MASTER != 0
    }

    /// Where the function can be reached now.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        let command = get_u16(&self.bytes, register::COMMAND);
        let bars = self.bars.iter().enumerate();
        bars.filter_map(|(bar, kind)| {
            let at = register::BARS + 4 * bar;
            let (space, enabled, start, bytes) = match (*kind)? {
                Bar::Io { bytes, .. } => {
                    let start = u64::from(get_u32(&self.bytes, at) & !3);
                    let bytes = u64::from(bytes.max(4).next_power_of_two());
                    (Space::Io, COMMAND_IO, start, bytes)
                }
                Bar::Memory64 { bytes, .. } => {
                    let start = get_u64(&self.bytes, at) & !15;
                    (Space::Memory, COMMAND_MEMORY, start, bytes.max(16).next_power_of_two())
                }
            };
            // Address zero means that the register was not set.
            let decodes = command & enabled != 0 && start != 0 && start.checked_add(bytes).is_some();
            decodes.then_some(Window {
                space,
                start,
                bytes,
                bar,
            })
        })
        .collect()
    }
}
