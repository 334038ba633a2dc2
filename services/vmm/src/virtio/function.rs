//! A virtio device as a PCI function (virtio 1.2, 4.1).
//!
//! Key types: [`VirtioFunction`], [`Change`].
//!
//! | register | offset | what |
//! |---|---|---|
//! | 0, memory | 0 | common configuration |
//! | | 0x400 | interrupt status |
//! | | 0x800 | the device's own configuration |
//! | | 0x1000 | MSI-X table |
//! | | 0x1800 | MSI-X pending bits |
//! | 2, I/O | 4 a queue | doorbells |

use alloc::vec::Vec;

use super::common::{QueueSetup, Transport};
use super::description::Description;
use crate::apic::Message;
use crate::bytes::{get_u64, put};
use crate::layout::PCI_PORTS;
use crate::pci::{Bar, ConfigSpace, Identity, MsiX, Space, Window};

const VENDOR: u16 = 0x1af4;
/// Device numbers of modern virtio begin here.
const DEVICE: u16 = 0x1040;
const REVISION: u8 = 1;

const MEMORY_BAR: usize = 0;
/// Bytes of the memory window.
pub(crate) const MEMORY_BYTES: u64 = 0x2000;
const IO_BAR: usize = 2;
/// Bytes a doorbell.
const DOORBELL: u64 = 4;

mod place {
    pub(super) const COMMON: u64 = 0;
    pub(super) const COMMON_END: u64 = 0x38;
    pub(super) const INTERRUPT_STATUS: u64 = 0x400;
    pub(super) const DEVICE: u64 = 0x800;
    pub(super) const DEVICE_END: u64 = 0xc00;
    pub(super) const TABLE: u64 = 0x1000;
    pub(super) const PENDING: u64 = 0x1800;
    pub(super) const END: u64 = 0x2000;
}

mod capability {
    pub(super) const VENDOR_SPECIFIC: u8 = 9;
    pub(super) const COMMON: u8 = 1;
    pub(super) const NOTIFY: u8 = 2;
    pub(super) const INTERRUPT_STATUS: u8 = 3;
    pub(super) const DEVICE: u8 = 4;
    pub(super) const CONFIG_ACCESS: u8 = 5;
    /// Of the access capability: register, offset, length and data, from its start.
    pub(super) const BAR: usize = 4;
    pub(super) const OFFSET: usize = 8;
    pub(super) const LENGTH: usize = 12;
    pub(super) const DATA: usize = 16;
}

const STATUS_QUEUE: u8 = 1;
const STATUS_CONFIG: u8 = 2;

/// Something that a backend, or the kernel, must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The driver resets the device: stop serving its queues, then say [`VirtioFunction::reset_done`].
    Reset,
    /// The doorbells moved: 4 ports a queue from here on, or nowhere.
    Doorbells(Option<u16>),
    /// The driver is ready: serve its queues.
    Ready {
        /// Features that were agreed on.
        features: u64,
        /// Queues that were enabled, by number.
        queues: Vec<(usize, QueueSetup)>,
    },
    /// A queue was enabled later.
    Queue(usize, QueueSetup),
    /// These queues' doorbells were rung where the kernel did not take it.
    Rung(u64),
    /// The driver wrote the device's own configuration.
    Config,
}

/// A virtio device.
#[derive(Clone, Debug)]
pub struct VirtioFunction {
    config: ConfigSpace,
    msix: MsiX,
    transport: Transport,
    device_config: Vec<u8>,
    interrupt_status: u8,
    /// Offset of the capability that reaches the windows by configuration space.
    access: usize,
    doorbells: Option<u16>,
    doorbells_moved: bool,
    rung: u64,
    config_written: bool,
}

impl VirtioFunction {
    /// Ports that a device's doorbells take, a power of two; queues beyond [`Description::QUEUES_MAX`] are left out.
    #[must_use]
    pub fn doorbell_ports(description: &Description) -> u16 {
        let queues = description.queues.len().clamp(1, Description::QUEUES_MAX);
        (queues as u16).next_power_of_two() * DOORBELL as u16
    }

    /// A device whose windows start out at these addresses. `None` only if the capabilities had no room, which they have.
    #[must_use]
    pub fn new(description: &Description, memory: u64, ports: u16) -> Option<Self> {
        let queues = description.queues.len().min(Description::QUEUES_MAX);
        let mut config = ConfigSpace::new(&Identity {
            vendor: VENDOR,
            device: DEVICE.wrapping_add(description.kind),
            class: description.class,
            revision: REVISION,
            subsystem_vendor: VENDOR,
            subsystem: DEVICE.wrapping_add(description.kind),
        });
        config.add_bar(
            MEMORY_BAR,
            Bar::Memory64 {
                bytes: MEMORY_BYTES,
                address: memory,
            },
        );
        let doorbells = u32::from(Self::doorbell_ports(description));
        config.add_bar(
            IO_BAR,
            Bar::Io {
                bytes: doorbells,
                address: ports,
            },
        );
        // One vector a queue, and one for the configuration.
        let vectors = queues + 1;
        let msix = MsiX::new(
            &mut config,
            vectors,
            MEMORY_BAR as u32,
            place::TABLE as u32,
            place::PENDING as u32,
        )?;
        let mut device_config = description.config.clone();
        device_config.truncate(Description::CONFIG_MAX);
        let access = add_capabilities(&mut config, device_config.len() as u32, doorbells)?;
        Some(Self {
            config,
            msix,
            transport: Transport::new(description, vectors as u16),
            device_config,
            interrupt_status: 0,
            access,
            doorbells: None,
            doorbells_moved: false,
            rung: 0,
            config_written: false,
        })
    }

    /// Status, features and queues.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The next thing to hear of, in the order in which it must be dealt with.
    pub fn next_change(&mut self) -> Option<Change> {
        if self.transport.take_reset() {
            self.rung = 0;
            return Some(Change::Reset);
        }
        if core::mem::take(&mut self.doorbells_moved) {
            return Some(Change::Doorbells(self.doorbells));
        }
        if self.transport.take_ready() {
            let count = self.transport.queue_count();
            let queues = (0..count).filter_map(|index| Some((index, self.transport.queue(index)?)));
            return Some(Change::Ready {
                features: self.transport.features(),
                queues: queues.collect(),
            });
        }
        if let Some(index) = self.transport.take_late_queue()
            && let Some(setup) = self.transport.queue(index)
        {
            return Some(Change::Queue(index, setup));
        }
        if core::mem::take(&mut self.config_written) {
            return Some(Change::Config);
        }
        let rung = core::mem::take(&mut self.rung);
        (rung != 0 && self.transport.is_ready()).then_some(Change::Rung(rung))
    }

    /// Nobody serves the queues any longer: completes the driver's reset.
    pub fn reset_done(&mut self) {
        self.transport.reset_done();
        self.interrupt_status = 0;
    }

    /// The device can't go on; gives the interrupt that tells its driver.
    pub fn fail(&mut self) -> Option<Message> {
        self.transport.fail();
        self.signal_config()
    }

    /// A queue's interrupt: the message to deliver, if it does not wait.
    pub fn signal_queue(&mut self, queue: usize) -> Option<Message> {
        if !self.transport.is_ready() {
            return None;
        }
        self.interrupt_status |= STATUS_QUEUE;
        let vector = self.transport.queue_vector(queue)?;
        self.msix.signal(&self.config, vector)
    }

    /// Changes the device's own configuration; gives the interrupt that tells its driver.
    pub fn set_config(&mut self, at: usize, bytes: &[u8]) -> Option<Message> {
        put(&mut self.device_config, at, bytes);
        self.transport.next_generation();
        self.signal_config()
    }

    /// The device's own configuration.
    #[must_use]
    pub fn device_config(&self) -> &[u8] {
        &self.device_config
    }

    fn signal_config(&mut self) -> Option<Message> {
        self.interrupt_status |= STATUS_CONFIG;
        let vector = self.transport.config_vector()?;
        self.msix.signal(&self.config, vector)
    }

    /// Reads configuration space.
    pub fn read_config(&mut self, offset: usize, bytes: u8) -> u32 {
        match self.access_target(offset) {
            Some((bar, at, bytes)) => self.read_bar(bar, at, bytes) as u32,
            None => self.config.read(offset, bytes),
        }
    }

    /// Writes configuration space; gives messages that waited for it.
    pub fn write_config(&mut self, offset: usize, bytes: u8, value: u32) -> Vec<Message> {
        if let Some((bar, at, bytes)) = self.access_target(offset) {
            return self.write_bar(bar, at, bytes, value.into());
        }
        self.config.write(offset, bytes, value);
        self.msix.released(&self.config)
    }

    /// Where the functions' windows are now.
    pub fn update_windows(&mut self) -> Vec<Window> {
        let windows = self.config.windows();
        // Elsewhere other devices have their ports, and no access would come here.
        let reachable = |window: &&Window| window.space == Space::Io && window.start >= u64::from(PCI_PORTS);
        let io = windows.iter().find(reachable);
        let doorbells = io.and_then(|window| u16::try_from(window.start).ok());
        if doorbells != self.doorbells {
            self.doorbells = doorbells;
            self.doorbells_moved = true;
        }
        windows
    }

    /// Reads a window.
    pub fn read_bar(&mut self, bar: usize, offset: u64, bytes: u8) -> u64 {
        match (bar, offset) {
            (MEMORY_BAR, place::COMMON..place::COMMON_END) => self.transport.read(offset - place::COMMON, bytes),
            (MEMORY_BAR, place::INTERRUPT_STATUS) => core::mem::take(&mut self.interrupt_status).into(),
            (MEMORY_BAR, place::DEVICE..place::DEVICE_END) => {
                let at = (offset - place::DEVICE) as usize;
                let kept = u64::MAX
                    .checked_shr(64 - 8 * u32::from(bytes.clamp(1, 8)))
                    .unwrap_or_default();
                get_u64(&self.device_config, at) & kept
            }
            (MEMORY_BAR, place::TABLE..place::PENDING) => self.msix.read_table((offset - place::TABLE) as usize, bytes),
            (MEMORY_BAR, place::PENDING..place::END) => {
                self.msix.read_pending((offset - place::PENDING) as usize, bytes)
            }
            _ => 0,
        }
    }

    /// Writes a window; gives messages that waited for it.
    pub fn write_bar(&mut self, bar: usize, offset: u64, bytes: u8, value: u64) -> Vec<Message> {
        match (bar, offset) {
            (IO_BAR, _) => self.ring((offset / DOORBELL) as usize),
            (MEMORY_BAR, place::COMMON..place::COMMON_END) => {
                self.transport.write(offset - place::COMMON, bytes, value);
            }
            (MEMORY_BAR, place::DEVICE..place::DEVICE_END) => {
                let at = (offset - place::DEVICE) as usize;
                let value = value.to_le_bytes();
                put(
                    &mut self.device_config,
                    at,
                    value.get(..usize::from(bytes)).unwrap_or_default(),
                );
                self.config_written = true;
            }
            (MEMORY_BAR, place::TABLE..place::PENDING) => {
                self.msix.write_table((offset - place::TABLE) as usize, bytes, value);
                return self.msix.released(&self.config);
            }
            _ => {}
        }
        Vec::new()
    }

    fn ring(&mut self, queue: usize) {
        if queue < self.transport.queue_count() {
            self.rung |= 1 << queue;
        }
    }

    /// What an access to the data of the access capability reaches: window, offset, length.
    fn access_target(&self, offset: usize) -> Option<(usize, u64, u8)> {
        let data = self.access + capability::DATA;
        if offset != data {
            return None;
        }
        let bar = self.config.read(self.access + capability::BAR, 1) as usize;
        let at = u64::from(self.config.read(self.access + capability::OFFSET, 4));
        let length = self.config.read(self.access + capability::LENGTH, 4);
        matches!(length, 1 | 2 | 4).then_some((bar, at, length as u8))
    }
}

/// The capabilities that say where everything is; gives the offset of the last.
fn add_capabilities(config: &mut ConfigSpace, device_bytes: u32, doorbell_bytes: u32) -> Option<usize> {
    let mut add = |kind: u8, bar: usize, offset: u64, length: u32, more: &[u8], writable: &[u8]| {
        let mut body = Vec::from([0; 14]);
        body.extend_from_slice(more);
        // Its own length counts the two bytes before the body.
        put(&mut body, 0, &[more.len() as u8 + 16, kind, bar as u8]);
        put(&mut body, 6, &(offset as u32).to_le_bytes());
        put(&mut body, 10, &length.to_le_bytes());
        config.add_capability(capability::VENDOR_SPECIFIC, &body, writable)
    };
    let common = (place::COMMON_END - place::COMMON) as u32;
    add(capability::COMMON, MEMORY_BAR, place::COMMON, common, &[], &[])?;
    let multiplier = (DOORBELL as u32).to_le_bytes();
    add(capability::NOTIFY, IO_BAR, 0, doorbell_bytes, &multiplier, &[])?;
    add(
        capability::INTERRUPT_STATUS,
        MEMORY_BAR,
        place::INTERRUPT_STATUS,
        1,
        &[],
        &[],
    )?;
    if device_bytes > 0 {
        add(capability::DEVICE, MEMORY_BAR, place::DEVICE, device_bytes, &[], &[])?;
    }
    // Window, offset, length and data can be written.
    let writable = [
        0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    add(capability::CONFIG_ACCESS, MEMORY_BAR, 0, 0, &[0; 4], &writable)
}
