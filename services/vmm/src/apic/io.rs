//! The I/O APIC: 24 lines that become messages (Intel 82093AA data sheet).
//!
//! Key type: [`IoApic`]. Devices set lines; what comes out are messages for the fabric. An edge that comes while its line is masked
//! is kept and sent when the mask goes, which spares a guest that sets its handler up late a lost interrupt.

use super::message::{Delivery, Destination, Message, Trigger};

/// Lines.
pub const PINS: usize = 24;

mod register {
    pub(super) const ID: u32 = 0;
    pub(super) const VERSION: u32 = 1;
    pub(super) const ARBITRATION: u32 = 2;
    /// Two registers a line from here on.
    pub(super) const REDIRECTION: u32 = 0x10;
}

/// Offsets in the page.
const SELECT: u64 = 0;
const WINDOW: u64 = 0x10;
/// Version 0x11, which has no end-of-interrupt register: local APICs tell.
const VERSION: u32 = (PINS as u32 - 1) << 16 | 0x11;

/// Redirection entries.
mod entry {
    pub(super) const LOGICAL: u64 = 1 << 11;
    pub(super) const REMOTE_REQUEST: u64 = 1 << 14;
    pub(super) const LEVEL: u64 = 1 << 15;
    pub(super) const MASKED: u64 = 1 << 16;
    /// All but delivery status and remote request. The polarity is kept and means nothing: devices say "asserted".
    pub(super) const WRITABLE: u64 = 0xff00_0000_0001_afff;
}

/// The I/O APIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    select: u8,
    id: u32,
    entries: [u64; PINS],
    /// Lines that devices assert, one bit each.
    asserted: u32,
    /// Edges that came while their line was masked.
    edges: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self {
            select: 0,
            id: 0,
            entries: [entry::MASKED; PINS],
            asserted: 0,
            edges: 0,
        }
    }
}

impl IoApic {
    /// Sets a line as its device has it; gives the message that this makes. Lines that there are not do nothing.
    pub fn set_line(&mut self, pin: usize, asserted: bool) -> Option<Message> {
        if pin >= PINS {
            return None;
        }
        let bit = 1 << pin;
        let was = self.asserted & bit != 0;
        self.asserted = if asserted {
            self.asserted | bit
        } else {
            self.asserted & !bit
        };
        if asserted && !was {
            self.edges |= bit;
        }
        self.service(pin)
    }

    /// Interrupts with this vector ended: lines that are still asserted ask again.
    pub fn end_of_interrupt(&mut self, vector: u8) -> impl Iterator<Item = Message> + use<'_> {
        (0..PINS).filter_map(move |pin| {
            let entry = self.entries.get_mut(pin)?;
            let ended = *entry as u8 == vector && *entry & entry::LEVEL != 0;
            if !ended || *entry & entry::REMOTE_REQUEST == 0 {
                return None;
            }
            *entry &= !entry::REMOTE_REQUEST;
            self.service(pin)
        })
    }

    /// Reads a register of the page.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            SELECT => self.select.into(),
            WINDOW => self.read_register(self.select.into()),
            _ => 0,
        }
    }

    /// Writes a register of the page; gives the message that this makes.
    pub fn write(&mut self, offset: u64, value: u32) -> Option<Message> {
        match offset {
            SELECT => {
                self.select = value as u8;
                None
            }
            WINDOW => self.write_register(self.select.into(), value),
            _ => None,
        }
    }

    fn read_register(&self, number: u32) -> u32 {
        match number {
            register::ID | register::ARBITRATION => self.id,
            register::VERSION => VERSION,
            _ => {
                let Some((pin, high)) = place(number) else { return 0 };
                let entry = self.entries.get(pin).copied().unwrap_or_default();
                if high { (entry >> 32) as u32 } else { entry as u32 }
            }
        }
    }

    fn write_register(&mut self, number: u32, value: u32) -> Option<Message> {
        if number == register::ID {
            self.id = value & 0x0f00_0000;
            return None;
        }
        let (pin, high) = place(number)?;
        let entry = self.entries.get_mut(pin)?;
        let written = if high {
            *entry & 0xffff_ffff | u64::from(value) << 32
        } else {
            *entry & !0xffff_ffff | u64::from(value)
        };
        *entry = *entry & !entry::WRITABLE | written & entry::WRITABLE;
        if *entry & entry::LEVEL == 0 {
            // Linux ends a stuck level interrupt by making it an edge for a moment.
            *entry &= !entry::REMOTE_REQUEST;
        }
        self.service(pin)
    }

    /// The message that a line's state makes now, if any.
    fn service(&mut self, pin: usize) -> Option<Message> {
        let bit = 1 << pin;
        let entry = self.entries.get_mut(pin)?;
        if *entry & entry::MASKED != 0 {
            return None;
        }
        if *entry & entry::LEVEL != 0 {
            self.edges &= !bit;
            if self.asserted & bit == 0 || *entry & entry::REMOTE_REQUEST != 0 {
                return None;
            }
            *entry |= entry::REMOTE_REQUEST;
        } else {
            if self.edges & bit == 0 {
                return None;
            }
            self.edges &= !bit;
        }
        Some(message(*entry))
    }
}

/// The line and the half that a redirection register is about.
fn place(number: u32) -> Option<(usize, bool)> {
    let at = number.checked_sub(register::REDIRECTION)? as usize;
    (at / 2 < PINS).then_some((at / 2, at % 2 == 1))
}

fn message(entry: u64) -> Message {
    let id = (entry >> 56) as u32;
    let destination = match (id, entry & entry::LOGICAL != 0) {
        (0xff, false) => Destination::Physical(u32::MAX),
        (id, false) => Destination::Physical(id),
        (id, true) => Destination::Logical(id),
    };
    Message {
        destination,
        delivery: Delivery::of_bits((entry >> 8) as u32),
        vector: entry as u8,
        trigger: if entry & entry::LEVEL == 0 {
            Trigger::Edge
        } else {
            Trigger::Level
        },
    }
}
