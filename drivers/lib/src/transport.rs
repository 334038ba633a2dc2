//! A virtio device on PCI that interrupts by message.
//!
//! Key type: [`MessageTransport`]: `PciTransport` of `virtio-drivers`, which knows nothing of messages, with each queue bound to the
//! first entry of the MSI-X table before it is enabled.

use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::registers::Registers;

/// Offsets in the common configuration (virtio 1.2, 4.1.4.3).
const QUEUE_SELECT: usize = 22;
const QUEUE_MESSAGE: usize = 26;
/// The entry that all queues use.
const ENTRY: u16 = 0;

/// The transport.
#[derive(Debug)]
pub struct MessageTransport {
    inner: PciTransport,
    common: Registers,
    /// Whether the device took the entry for every queue.
    bound: bool,
}

impl MessageTransport {
    pub(crate) fn new(inner: PciTransport, common: Registers) -> Self {
        Self {
            inner,
            common,
            bound: true,
        }
    }

    /// Whether every queue that was set up interrupts. A device without resources for a message refuses the entry.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        self.bound
    }
}

impl Transport for MessageTransport {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        self.inner.set_guest_page_size(bytes);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        self.common.write_u16(QUEUE_SELECT, queue);
        self.common.write_u16(QUEUE_MESSAGE, ENTRY);
        self.bound &= self.common.read_u16(QUEUE_MESSAGE) == ENTRY;
        self.inner.queue_set(queue, size, descriptors, driver, device);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
