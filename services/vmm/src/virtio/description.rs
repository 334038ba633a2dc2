//! What kind of device a function is: number, features, queues, and the device's own configuration (virtio 1.2, chapter 5).

use alloc::vec::Vec;

use crate::bytes::put;

/// Features by their bit.
pub mod features {
    /// Network: checksum offload to the device, and by it.
    pub const NET_CHECKSUM: u64 = 1 << 0 | 1 << 1;
    /// Network: the MTU is in the configuration.
    pub const NET_MTU: u64 = 1 << 3;
    /// Network: the MAC address is in the configuration.
    pub const NET_MAC: u64 = 1 << 5;
    /// Network: the guest takes large TCP segments, IPv4 and IPv6.
    pub const NET_GUEST_TSO: u64 = 1 << 7 | 1 << 8;
    /// Network: the device takes large TCP segments, IPv4 and IPv6.
    pub const NET_HOST_TSO: u64 = 1 << 11 | 1 << 12;
    /// Network: a frame may take several receive buffers.
    pub const NET_MERGEABLE: u64 = 1 << 15;
    /// Network: the link's state is in the configuration.
    pub const NET_STATUS: u64 = 1 << 16;
    /// Network: there is a control queue.
    pub const NET_CONTROL: u64 = 1 << 17;
    /// Network: several pairs of queues.
    pub const NET_MULTIQUEUE: u64 = 1 << 22;
    /// Disk: the most segments of a request are in the configuration.
    pub const BLOCK_SEGMENTS: u64 = 1 << 2;
    /// Disk: it can't be written.
    pub const BLOCK_READ_ONLY: u64 = 1 << 5;
    /// Disk: the block size is in the configuration.
    pub const BLOCK_SIZE: u64 = 1 << 6;
    /// Disk: there is a flush request.
    pub const BLOCK_FLUSH: u64 = 1 << 9;
    /// Disk: several queues.
    pub const BLOCK_MULTIQUEUE: u64 = 1 << 12;
    /// Disk: there is a discard request.
    pub const BLOCK_DISCARD: u64 = 1 << 13;
    /// Disk: there is a request to write zeroes.
    pub const BLOCK_WRITE_ZEROES: u64 = 1 << 14;
    /// Rings: descriptors may be elsewhere.
    pub const RING_INDIRECT: u64 = 1 << 28;
    /// Rings: each side says from where on it wants to be notified.
    pub const RING_EVENT_INDEX: u64 = 1 << 29;
    /// Not a legacy device. Always offered, and asked for.
    pub const VERSION_1: u64 = 1 << 32;
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Number of its kind.
    pub kind: u16,
    /// PCI class.
    pub class: u32,
    /// What is offered; [`features::VERSION_1`] is added.
    pub features: u64,
    /// The most entries of each queue, powers of two.
    pub queues: Vec<u16>,
    /// The device's own configuration.
    pub config: Vec<u8>,
}

impl Description {
    /// Most queues: so many doorbells fit into the largest I/O window.
    pub const QUEUES_MAX: usize = 64;
    /// Most bytes of a device's own configuration.
    pub const CONFIG_MAX: usize = 1024;

    /// A network card with so many pairs of queues, and a control queue if [`features::NET_CONTROL`] is offered.
    #[must_use]
    pub fn net(mac: [u8; 6], mtu: u16, pairs: u16, queue_size: u16, features: u64) -> Self {
        let mut config = alloc::vec![0; 12];
        put(&mut config, 0, &mac);
        // The link is up.
        put(&mut config, 6, &1_u16.to_le_bytes());
        put(&mut config, 8, &pairs.to_le_bytes());
        put(&mut config, 10, &mtu.to_le_bytes());
        let control = usize::from(features & features::NET_CONTROL != 0);
        Self {
            kind: 1,
            class: 0x02_0000,
            features,
            queues: alloc::vec![queue_size; 2 * usize::from(pairs) + control],
            config,
        }
    }

    /// A disk of so many sectors of 512 bytes.
    #[must_use]
    pub fn block(sectors: u64, queues: u16, queue_size: u16, features: u64) -> Self {
        const BLOCK_BYTES: u32 = 512;
        /// A request's header and status take a descriptor each.
        const OVERHEAD: u16 = 2;
        /// Longest discard: 2 GiB.
        const DISCARD_SECTORS: u32 = 1 << 22;
        let mut config = alloc::vec![0; 60];
        put(&mut config, 0, &sectors.to_le_bytes());
        let segments = u32::from(queue_size.saturating_sub(OVERHEAD).max(1));
        put(&mut config, 12, &segments.to_le_bytes());
        put(&mut config, 20, &BLOCK_BYTES.to_le_bytes());
        put(&mut config, 34, &queues.to_le_bytes());
        for (sectors_at, segments_at) in [(36, 40), (48, 52)] {
            put(&mut config, sectors_at, &DISCARD_SECTORS.to_le_bytes());
            put(&mut config, segments_at, &1_u32.to_le_bytes());
        }
        // Discards align to 4 KiB.
        put(&mut config, 44, &8_u32.to_le_bytes());
        put(&mut config, 56, &[1]);
        Self {
            kind: 2,
            class: 0x01_8000,
            features,
            queues: alloc::vec![queue_size; queues.into()],
            config,
        }
    }

    /// A console with one port.
    #[must_use]
    pub fn console(queue_size: u16) -> Self {
        Self {
            kind: 3,
            class: 0x07_8000,
            features: features::RING_INDIRECT | features::RING_EVENT_INDEX,
            queues: alloc::vec![queue_size; 2],
            config: alloc::vec![0; 12],
        }
    }

    /// A source of random numbers.
    #[must_use]
    pub fn entropy(queue_size: u16) -> Self {
        Self {
            kind: 4,
            class: 0x00_ff00,
            features: features::RING_INDIRECT | features::RING_EVENT_INDEX,
            queues: alloc::vec![queue_size],
            config: Vec::new(),
        }
    }
}
