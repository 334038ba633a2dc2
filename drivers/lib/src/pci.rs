//! PCI: finding a device, its windows, its interrupts by message.
//!
//! Key types: [`Bus`], [`Device`], [`Message`]. PCI 3.0, 3.2.2.3.2 (configuration by ports) and 6.8.2 (MSI-X).

use core::fmt;

use ecusson_rt::sys;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, HeaderType, PciError, PciRoot,
};
use virtio_drivers::transport::pci::{PciTransport, VirtioPciError, virtio_device_type};

use crate::hal::MachineHal;
use crate::process::{Process, SetupError};
use crate::registers::Registers;
use crate::transport::MessageTransport;

const ADDRESS_PORT: u16 = 0xCF8;
const DATA_PORT: u16 = 0xCFC;
const CAPABILITY_MSIX: u8 = 0x11;
const CAPABILITY_VENDOR: u8 = 0x09;
const VIRTIO_COMMON: u8 = 1;
const COMMON_BYTES: u64 = 56;
const MSIX_ENTRY_BYTES: u64 = 16;
const MSIX_ENABLE: u32 = 1 << 31;
const MSIX_MASK_ALL: u32 = 1 << 30;

/// Configuration space by the two I/O ports that the process was given: 0xcf8 and 0xcfc, four bytes each.
#[derive(Debug)]
struct PortAccess;

impl PortAccess {
    fn select(function: DeviceFunction, offset: u8) {
        let DeviceFunction { bus, device, function } = function;
        let place = u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
        sys::out_long(ADDRESS_PORT, 1 << 31 | place | u32::from(offset & !3));
    }
}

impl ConfigurationAccess for PortAccess {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        Self::select(function, offset);
        sys::in_long(DATA_PORT)
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        Self::select(function, offset);
        sys::out_long(DATA_PORT, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// What a device writes where to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The address.
    pub address: u64,
    /// The data.
    pub data: u32,
}

/// A device that can't be used.
#[derive(Debug)]
pub enum PciFault {
    /// A capability or window that it should have is missing or makes no sense. Which.
    Missing(&'static str),
    /// A BAR could not be read.
    Bar(PciError),
    /// Its virtio registers are not as they must be.
    Virtio(VirtioPciError),
    /// The kernel refused.
    Setup(SetupError),
}

impl fmt::Display for PciFault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(to, "the device has no {what}"),
            Self::Bar(error) => write!(to, "a window of the device: {error}"),
            Self::Virtio(error) => write!(to, "the device's registers: {error}"),
            Self::Setup(error) => write!(to, "{error}"),
        }
    }
}

impl From<SetupError> for PciFault {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

/// The machine's PCI.
#[derive(Debug)]
pub struct Bus {
    root: PciRoot<PortAccess>,
    process: &'static Process,
}

/// One function of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device(DeviceFunction);

impl fmt::Display for Device {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl Bus {
    /// The bus. One driver at a time may look at it: the two ports have one owner.
    #[must_use]
    pub fn new(process: &'static Process) -> Self {
        MachineHal::use_process(process);
        Self {
            root: PciRoot::new(PortAccess),
            process,
        }
    }

    /// The first virtio device of a type, in the order of the buses.
    #[must_use]
    pub fn find_virtio(&self, wanted: DeviceType) -> Option<Device> {
        let all = (0..=u8::MAX).flat_map(|bus| self.root.enumerate_bus(bus));
        let mut fitting = all
            .filter(|(_, info)| info.header_type == HeaderType::Standard && virtio_device_type(info) == Some(wanted));
        fitting.next().map(|(function, _)| Device(function))
    }

    /// Takes a virtio device up: its memory answers, it may reach memory, and all its queues interrupt by one message.
    ///
    /// # Errors
    /// [`PciFault`].
    pub fn take_virtio(&mut self, device: Device, message: Message) -> Result<MessageTransport, PciFault> {
        let Device(function) = device;
        let (_, command) = self.root.get_status_command(function);
        let on = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        self.root.set_command(function, command | on);
        self.set_message(function, message)?;
        let common = self.virtio_common(function)?;
        let transport = PciTransport::new::<MachineHal, _>(&mut self.root, function).map_err(PciFault::Virtio)?;
        Ok(MessageTransport::new(transport, common))
    }

    /// Programs the first entry of the MSI-X table and lets the device use it.
    fn set_message(&mut self, function: DeviceFunction, message: Message) -> Result<(), PciFault> {
        let found = self
            .root
            .capabilities(function)
            .find(|found| found.id == CAPABILITY_MSIX);
        let at = found.ok_or(PciFault::Missing("MSI-X"))?.offset;
        let access = self.access();
        let table = access.read_word(function, at + 4);
        let (bar, offset) = ((table & 7) as u8, u64::from(table & !7));
        let entry = self.window(function, bar, offset, MSIX_ENTRY_BYTES)?;
        let mut access = self.access();
        let control = access.read_word(function, at) & !MSIX_MASK_ALL;
        // Masked as a whole while the entry is written.
        access.write_word(function, at, control | MSIX_ENABLE | MSIX_MASK_ALL);
        entry.write_u32(0, message.address as u32);
        entry.write_u32(4, (message.address >> 32) as u32);
        entry.write_u32(8, message.data);
        entry.write_u32(12, 0);
        access.write_word(function, at, control | MSIX_ENABLE);
        Ok(())
    }

    /// The common configuration of a virtio device (virtio 1.2, 4.1.4.3).
    fn virtio_common(&mut self, function: DeviceFunction) -> Result<Registers, PciFault> {
        let mut vendor = self
            .root
            .capabilities(function)
            .filter(|found| found.id == CAPABILITY_VENDOR);
        let common = vendor.find(|found| (found.private_header >> 8) as u8 == VIRTIO_COMMON);
        let at = common.ok_or(PciFault::Missing("common configuration"))?.offset;
        let access = self.access();
        let bar = access.read_word(function, at + 4) as u8;
        let offset = u64::from(access.read_word(function, at + 8));
        self.window(function, bar, offset, COMMON_BYTES)
    }

    fn access(&self) -> PortAccess {
        PortAccess
    }

    /// Maps a part of a BAR.
    fn window(&mut self, function: DeviceFunction, bar: u8, offset: u64, bytes: u64) -> Result<Registers, PciFault> {
        if bar > 5 {
            return Err(PciFault::Missing("such a window"));
        }
        let info = self.root.bar_info(function, bar).map_err(PciFault::Bar)?;
        let Some(BarInfo::Memory { address, size, .. }) = info else {
            return Err(PciFault::Missing("window in memory"));
        };
        let end = offset.checked_add(bytes);
        if address == 0 || end.is_none_or(|end| end > size) {
            return Err(PciFault::Missing("room in its window"));
        }
        Ok(self.process.map(address + offset, bytes)?)
    }
}
