//! The bus: configuration accesses by both mechanisms, and the way from an address to a function.
//!
//! Key type: [`Bus`]. Called by the board. Functions are virtio's; slot 0 is the host bridge.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::config::{ConfigSpace, Identity, Space, Window};
use crate::apic::Message;
use crate::layout;
use crate::virtio::{Change, VirtioFunction};

/// Devices that a bus has room for.
const SLOTS: usize = 32;
/// Red Hat's generic host bridge, which no driver has special ideas about.
const HOST_BRIDGE: Identity = Identity {
    vendor: 0x1b36,
    device: 0x0008,
    class: 0x06_0000,
    revision: 0,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
};
/// Mechanism #1: the address register's bit that makes the data register one of configuration.
const ADDRESS_ENABLED: u32 = 1 << 31;

/// What an access led to beside its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusEffect {
    /// Interrupts to deliver.
    pub messages: Vec<Message>,
}

/// A slot that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// It is the host bridge's, or beyond the bus.
    NoSuchSlot(usize),
    /// Something is in it.
    Taken(usize),
}

impl fmt::Display for SlotError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSlot(slot) => write!(to, "PCI slot {slot}: devices go into slots 1 to 31"),
            Self::Taken(slot) => write!(to, "PCI slot {slot}: taken"),
        }
    }
}

/// PCI bus 0.
#[derive(Debug)]
pub struct Bus {
    /// The address register of mechanism #1.
    address: u32,
    host_bridge: ConfigSpace,
    slots: [Option<Box<VirtioFunction>>; SLOTS],
    /// Where functions can be reached, with their slots.
    windows: Vec<(usize, Window)>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            address: 0,
            host_bridge: ConfigSpace::new(&HOST_BRIDGE),
            slots: [const { None }; SLOTS],
            windows: Vec::new(),
        }
    }
}

/// Which register of which function.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: usize,
    offset: usize,
}

impl Place {
    fn of_mechanism_1(address: u32, byte: u16) -> Option<Self> {
        let function = address >> 8 & 7;
        let bus = address >> 16 & 0xff;
        let enabled = address & ADDRESS_ENABLED != 0;
        (enabled && bus == 0 && function == 0).then_some(Self {
            slot: (address >> 11 & 31) as usize,
            offset: (address & 0xfc) as usize + usize::from(byte),
        })
    }

    fn of_ecam(offset: u64) -> Option<Self> {
        (offset >> 12 & 7 == 0).then_some(Self {
            slot: (offset >> 15 & 31) as usize,
            offset: (offset & 0xfff) as usize,
        })
    }
}

impl Bus {
    /// Puts a function into a slot, 1 to 31.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn insert(&mut self, slot: usize, function: VirtioFunction) -> Result<(), SlotError> {
        match self.slots.get_mut(slot) {
            Some(place) if slot != 0 => {
                if place.is_some() {
                    return Err(SlotError::Taken(slot));
                }
                *place = Some(Box::new(function));
            }
            _ => return Err(SlotError::NoSuchSlot(slot)),
        }
        self.update_windows(slot);
        Ok(())
    }

    /// The function in a slot.
    #[must_use]
    pub fn function(&self, slot: usize) -> Option<&VirtioFunction> {
        self.slots.get(slot)?.as_deref()
    }

    /// The function in a slot, to be changed.
    pub fn function_mut(&mut self, slot: usize) -> Option<&mut VirtioFunction> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// What a guest did that backends and the kernel must hear of: the next such thing, with its slot. `None` when all has been
    /// fetched.
    pub fn next_change(&mut self) -> Option<(usize, Change)> {
        let mut functions = self.slots.iter_mut().enumerate();
        functions.find_map(|(slot, function)| Some((slot, function.as_mut()?.next_change()?)))
    }

    /// Whether a port access is one of mechanism #1.
    #[must_use]
    pub fn is_config_port(port: u16, bytes: u8) -> bool {
        let offset = port.wrapping_sub(layout::PCI_CONFIG);
        offset == 0 && bytes == 4 || (4..8).contains(&offset)
    }

    /// Reads ports of mechanism #1.
    pub fn read_config_port(&mut self, port: u16, bytes: u8) -> u32 {
        match port.wrapping_sub(layout::PCI_CONFIG) {
            0 => self.address,
            offset => {
                Place::of_mechanism_1(self.address, offset & 3).map_or(u32::MAX, |place| self.read_config(place, bytes))
            }
        }
    }

    /// Writes ports of mechanism #1.
    pub fn write_config_port(&mut self, port: u16, bytes: u8, value: u32) -> BusEffect {
        match port.wrapping_sub(layout::PCI_CONFIG) {
            0 => {
                self.address = value & !3;
                BusEffect::default()
            }
            offset => Place::of_mechanism_1(self.address, offset & 3)
                .map_or_else(BusEffect::default, |place| self.write_config(place, bytes, value)),
        }
    }

    /// Reads memory: ECAM or a function. `None` if nothing is there.
    pub fn read_memory(&mut self, address: u64, bytes: u8) -> Option<u64> {
        if let Some(offset) = ecam_offset(address) {
            let value = Place::of_ecam(offset).map_or(u32::MAX, |place| self.read_config(place, bytes.min(4)));
            return Some(value.into());
        }
        let (slot, bar, offset) = self.find(Space::Memory, address, bytes)?;
        Some(self.function_mut(slot)?.read_bar(bar, offset, bytes))
    }

    /// Writes memory: ECAM or a function.
    pub fn write_memory(&mut self, address: u64, bytes: u8, value: u64) -> BusEffect {
        if let Some(offset) = ecam_offset(address) {
            return Place::of_ecam(offset).map_or_else(BusEffect::default, |place| {
                self.write_config(place, bytes.min(4), value as u32)
            });
        }
        self.write_window(Space::Memory, address, bytes, value)
    }

    /// Reads ports of functions. `None` if nothing is there.
    pub fn read_port(&mut self, port: u16, bytes: u8) -> Option<u32> {
        let (slot, bar, offset) = self.find(Space::Io, port.into(), bytes)?;
        Some(self.function_mut(slot)?.read_bar(bar, offset, bytes) as u32)
    }

    /// Writes ports of functions.
    pub fn write_port(&mut self, port: u16, bytes: u8, value: u32) -> BusEffect {
        self.write_window(Space::Io, port.into(), bytes, value.into())
    }

    fn write_window(&mut self, space: Space, address: u64, bytes: u8, value: u64) -> BusEffect {
        let messages = self.find(space, address, bytes).and_then(|(slot, bar, offset)| {
            let function = self.function_mut(slot)?;
            Some(function.write_bar(bar, offset, bytes, value))
        });
        BusEffect {
            messages: messages.unwrap_or_default(),
        }
    }

    /// The function that an access reaches: slot, base address register, offset.
    fn find(&self, space: Space, address: u64, bytes: u8) -> Option<(usize, usize, u64)> {
        self.windows.iter().find_map(|(slot, window)| {
            let offset = window.offset(space, address, bytes.into())?;
            Some((*slot, window.bar, offset))
        })
    }

    fn read_config(&mut self, place: Place, bytes: u8) -> u32 {
        if place.slot == 0 {
            return self.host_bridge.read(place.offset, bytes);
        }
        match self.function_mut(place.slot) {
            Some(function) => function.read_config(place.offset, bytes),
            None => u32::MAX,
        }
    }

    fn write_config(&mut self, place: Place, bytes: u8, value: u32) -> BusEffect {
        if place.slot == 0 {
            self.host_bridge.write(place.offset, bytes, value);
            return BusEffect::default();
        }
        let Some(function) = self.function_mut(place.slot) else {
            return BusEffect::default();
        };
        let messages = function.write_config(place.offset, bytes, value);
        self.update_windows(place.slot);
        BusEffect { messages }
    }

    /// Finds out anew where a function can be reached.
    fn update_windows(&mut self, slot: usize) {
        self.windows.retain(|(other, _)| *other != slot);
        if let Some(function) = self.slots.get_mut(slot).and_then(Option::as_deref_mut) {
            let windows = function.update_windows();
            self.windows.extend(windows.into_iter().map(|window| (slot, window)));
        }
    }
}

fn ecam_offset(address: u64) -> Option<u64> {
    let offset = address.checked_sub(layout::ECAM)?;
    (offset < layout::ECAM_BYTES).then_some(offset)
}
