//! The common configuration of a virtio device: status, features, queues (virtio 1.2, 2.1, 2.2, 3.1, 4.1.4.3).
//!
//! Key types: [`Transport`], [`QueueSetup`]. A pure state machine: what a backend must hear is collected in flags until it is fetched.

use alloc::vec::Vec;

use super::description::{Description, features};
use crate::bytes::{get_u64, put};

/// Registers by their offset.
mod register {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(super) const DEVICE_FEATURE: u64 = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(super) const DRIVER_FEATURE: u64 = 0x0c;
    pub(super) const CONFIG_VECTOR: u64 = 0x10;
    pub(super) const QUEUES: u64 = 0x12;
    pub(super) const STATUS: u64 = 0x14;
    pub(super) const GENERATION: u64 = 0x15;
    pub(super) const QUEUE_SELECT: u64 = 0x16;
    pub(super) const QUEUE_SIZE: u64 = 0x18;
    pub(super) const QUEUE_VECTOR: u64 = 0x1a;
    pub(super) const QUEUE_ENABLE: u64 = 0x1c;
    pub(super) const QUEUE_NOTIFY_OFFSET: u64 = 0x1e;
    pub(super) const QUEUE_DESCRIPTORS: u64 = 0x20;
    pub(super) const QUEUE_DRIVER: u64 = 0x28;
    pub(super) const QUEUE_DEVICE: u64 = 0x30;
    pub(super) const END: u64 = 0x38;
}

mod status {
    pub(super) const FEATURES_OK: u8 = 8;
    pub(super) const DRIVER_OK: u8 = 4;
    pub(super) const NEEDS_RESET: u8 = 64;
    pub(super) const FAILED: u8 = 128;
    /// What a driver may set: acknowledged, driver found, and the above.
    pub(super) const WRITABLE: u8 = 1 | 2 | DRIVER_OK | FEATURES_OK | FAILED;
}

/// No interrupt.
const NO_VECTOR: u16 = 0xffff;

/// Where a queue is, as the driver says; nothing of it has been checked against the guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSetup {
    /// Number of entries, a power of two.
    pub size: u16,
    /// Guest-physical address of the descriptors, a multiple of 16.
    pub descriptors: u64,
    /// Guest-physical address of the available ring, a multiple of 2.
    pub driver: u64,
    /// Guest-physical address of the used ring, a multiple of 4.
    pub device: u64,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    size_max: u16,
    setup: QueueSetup,
    vector: u16,
    enabled: bool,
}

impl Queue {
    fn new(size_max: u16) -> Self {
        Self {
            size_max,
            setup: QueueSetup {
                size: size_max,
                ..QueueSetup::default()
            },
            vector: NO_VECTOR,
            enabled: false,
        }
    }

    fn is_valid(&self) -> bool {
        self.setup.descriptors.is_multiple_of(16)
            && self.setup.driver.is_multiple_of(2)
            && self.setup.device.is_multiple_of(4)
    }
}

/// The state of a device as its driver has set it up.
#[derive(Clone, Debug)]
pub struct Transport {
    offered: u64,
    accepted: u64,
    device_select: u32,
    driver_select: u32,
    status: u8,
    generation: u8,
    config_vector: u16,
    queue_select: u16,
    queues: Vec<Queue>,
    vectors: u16,
    resetting: bool,
    /// The driver is ready, and nobody has heard.
    became_ready: bool,
    /// A reset has begun, and nobody has heard.
    began_reset: bool,
    /// Queues that were enabled after the driver was ready.
    late_queues: u64,
}

impl Transport {
    /// A device as after reset, with so many MSI-X vectors.
    #[must_use]
    pub fn new(description: &Description, vectors: u16) -> Self {
        let sizes = description.queues.iter().take(Description::QUEUES_MAX);
        Self {
            offered: description.features | features::VERSION_1,
            accepted: 0,
            device_select: 0,
            driver_select: 0,
            status: 0,
            generation: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            queues: sizes.map(|&size| Queue::new(floor_power_of_two(size))).collect(),
            vectors,
            resetting: false,
            became_ready: false,
            began_reset: false,
            late_queues: 0,
        }
    }

    /// Features that driver and device agreed on.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.accepted
    }

    /// Whether the driver is ready and no reset is under way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status & status::DRIVER_OK != 0 && !self.resetting
    }

    /// How many queues there are.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Where a queue is, if the driver has enabled it.
    #[must_use]
    pub fn queue(&self, index: usize) -> Option<QueueSetup> {
        self.queues
            .get(index)
            .filter(|queue| queue.enabled)
            .map(|queue| queue.setup)
    }

    /// The MSI-X entry of a queue's interrupts.
    #[must_use]
    pub fn queue_vector(&self, index: usize) -> Option<usize> {
        let vector = self.queues.get(index)?.vector;
        (vector != NO_VECTOR).then_some(vector.into())
    }

    /// The MSI-X entry of changes of the device's configuration.
    #[must_use]
    pub fn config_vector(&self) -> Option<usize> {
        (self.config_vector != NO_VECTOR).then_some(self.config_vector.into())
    }

    /// The device's configuration changed.
    pub fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The device can't go on until the driver resets it.
    pub fn fail(&mut self) {
        if self.status & status::DRIVER_OK != 0 {
            self.status |= status::NEEDS_RESET;
        }
    }

    /// Whoever serves the queues has let go of them: the reset that the driver waits for is complete.
    pub fn reset_done(&mut self) {
        if core::mem::take(&mut self.resetting) {
            self.status = 0;
        }
    }

    /// Whether a reset began since the last look.
    pub(super) fn take_reset(&mut self) -> bool {
        core::mem::take(&mut self.began_reset)
    }

    /// Whether the driver became ready since the last look.
    pub(super) fn take_ready(&mut self) -> bool {
        core::mem::take(&mut self.became_ready)
    }

    /// A queue that was enabled late, since the last look.
    pub(super) fn take_late_queue(&mut self) -> Option<usize> {
        let queue = self.late_queues.trailing_zeros();
        if queue == u64::BITS {
            return None;
        }
        self.late_queues &= !(1 << queue);
        Some(queue as usize)
    }

    /// Reads 1, 2, 4 or 8 bytes.
    #[must_use]
    pub fn read(&self, offset: u64, bytes: u8) -> u64 {
        let mut image = [0; register::END as usize + 8];
        let mut put = |at: u64, value: &[u8]| put(&mut image, at as usize, value);
        let half = |features: u64, select: u32| match select {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        put(register::DEVICE_FEATURE_SELECT, &self.device_select.to_le_bytes());
        put(
            register::DEVICE_FEATURE,
            &half(self.offered, self.device_select).to_le_bytes(),
        );
        put(register::DRIVER_FEATURE_SELECT, &self.driver_select.to_le_bytes());
        put(
            register::DRIVER_FEATURE,
            &half(self.accepted, self.driver_select).to_le_bytes(),
        );
        put(register::CONFIG_VECTOR, &self.config_vector.to_le_bytes());
        put(register::QUEUES, &(self.queues.len() as u16).to_le_bytes());
        put(register::STATUS, &[self.status, self.generation]);
        put(register::QUEUE_SELECT, &self.queue_select.to_le_bytes());
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(register::QUEUE_SIZE, &queue.setup.size.to_le_bytes());
            put(register::QUEUE_VECTOR, &queue.vector.to_le_bytes());
            put(register::QUEUE_ENABLE, &u16::from(queue.enabled).to_le_bytes());
            put(register::QUEUE_NOTIFY_OFFSET, &self.queue_select.to_le_bytes());
            put(register::QUEUE_DESCRIPTORS, &queue.setup.descriptors.to_le_bytes());
            put(register::QUEUE_DRIVER, &queue.setup.driver.to_le_bytes());
            put(register::QUEUE_DEVICE, &queue.setup.device.to_le_bytes());
        }
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let kept = u64::MAX
            .checked_shr(64 - 8 * u32::from(bytes.clamp(1, 8)))
            .unwrap_or_default();
        get_u64(&image, at) & kept
    }

    /// Writes a register, as drivers do: whole, with its own length; 64-bit ones also by halves.
    pub fn write(&mut self, offset: u64, bytes: u8, value: u64) {
        // While a reset is under way nothing can be set.
        if self.resetting {
            return;
        }
        match (offset, bytes) {
            (register::DEVICE_FEATURE_SELECT, 4) => self.device_select = value as u32,
            (register::DRIVER_FEATURE_SELECT, 4) => self.driver_select = value as u32,
            (register::DRIVER_FEATURE, 4) => self.accept(value as u32),
            (register::CONFIG_VECTOR, 2) => self.config_vector = self.checked_vector(value as u16),
            (register::STATUS, 1) => self.set_status(value as u8),
            (register::QUEUE_SELECT, 2) => self.queue_select = value as u16,
            (register::QUEUE_VECTOR, 2) => {
                let vector = self.checked_vector(value as u16);
                if let Some(queue) = self.selected() {
                    queue.vector = vector;
                }
            }
            (register::QUEUE_ENABLE, 2) if value == 1 => self.enable_queue(),
            (register::QUEUE_SIZE, 2) | (register::QUEUE_DESCRIPTORS..register::END, 4 | 8) => {
                self.set_queue(offset, bytes, value);
            }
            // Read-only, or not written as the standard has it.
            (register::GENERATION, _) => {}
            _ => {}
        }
    }

    fn selected(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(self.queue_select))
    }

    /// A vector that there is, or none.
    fn checked_vector(&self, vector: u16) -> u16 {
        if vector < self.vectors { vector } else { NO_VECTOR }
    }

    /// Half of what the driver accepts; fixed once the features are agreed.
    fn accept(&mut self, value: u32) {
        if self.status & status::FEATURES_OK != 0 {
            return;
        }
        match self.driver_select {
            0 => self.accepted = self.accepted & !0xffff_ffff | u64::from(value),
            1 => self.accepted = self.accepted & 0xffff_ffff | u64::from(value) << 32,
            _ => {}
        }
    }

    fn set_queue(&mut self, offset: u64, bytes: u8, value: u64) {
        let Some(queue) = self.selected().filter(|queue| !queue.enabled) else {
            return;
        };
        let setup = &mut queue.setup;
        let field = match offset & !7 {
            register::QUEUE_DESCRIPTORS => &mut setup.descriptors,
            register::QUEUE_DRIVER => &mut setup.driver,
            register::QUEUE_DEVICE => &mut setup.device,
            _ => {
                let size = value as u16;
                if size.is_power_of_two() && size <= queue.size_max {
                    setup.size = size;
                }
                return;
            }
        };
        *field = match (offset & 7, bytes) {
            (0, 8) => value,
            (0, _) => *field & !0xffff_ffff | value & 0xffff_ffff,
            (4, 4) => *field & 0xffff_ffff | value << 32,
            _ => *field,
        };
    }

    fn enable_queue(&mut self) {
        let index = usize::from(self.queue_select);
        let running = self.status & status::DRIVER_OK != 0;
        let Some(queue) = self.selected().filter(|queue| !queue.enabled) else {
            return;
        };
        if !queue.is_valid() || queue.size_max == 0 {
            self.status |= status::NEEDS_RESET;
            return;
        }
        queue.enabled = true;
        if running {
            self.late_queues |= 1 << index;
        }
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.begin_reset();
            return;
        }
        // Bits are set one after the other, and only a reset takes them back.
        let mut value = self.status | value & status::WRITABLE;
        let newly = value & !self.status;
        if newly & status::FEATURES_OK != 0 && !self.features_agree() {
            value &= !status::FEATURES_OK;
        }
        if newly & status::DRIVER_OK != 0 {
            if value & status::FEATURES_OK == 0 {
                value &= !status::DRIVER_OK;
            } else {
                self.became_ready = true;
            }
        }
        self.status = value;
    }

    fn features_agree(&self) -> bool {
        self.accepted & !self.offered == 0 && self.accepted & features::VERSION_1 != 0
    }

    /// Forgets what the driver set. If it was ready, somebody may still serve its queues: the status stays until they don't.
    fn begin_reset(&mut self) {
        let served = self.status & status::DRIVER_OK != 0;
        self.accepted = 0;
        self.device_select = 0;
        self.driver_select = 0;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.late_queues = 0;
        for queue in &mut self.queues {
            *queue = Queue::new(queue.size_max);
        }
        if core::mem::take(&mut self.became_ready) || !served {
            // Nobody has heard of these queues.
            self.status = 0;
        } else {
            self.resetting = true;
            self.began_reset = true;
        }
    }
}

/// The power of two at or below a size; 0 for 0. At most 32768.
fn floor_power_of_two(size: u16) -> u16 {
    size.checked_ilog2().map_or(0, |bits| 1 << bits)
}
