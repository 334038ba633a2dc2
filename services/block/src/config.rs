//! What a guest reads of its disk: features and configuration space (virtio 1.2, 5.2.3 and 5.2.4).
//!
//! Key types: [`Features`], [`Config`]. For the VMM, which shows them to the guest.

use crate::backend::Geometry;
use crate::request::RANGES_MAX;
use crate::volume::{Volume, VolumeAccess};

/// Feature bits of virtio-blk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// VIRTIO_BLK_F_SEG_MAX.
    pub const SEGMENTS_MAX: Self = Self(1 << 2);
    /// VIRTIO_BLK_F_RO.
    pub const READ_ONLY: Self = Self(1 << 5);
    /// VIRTIO_BLK_F_BLK_SIZE.
    pub const BLOCK_SIZE: Self = Self(1 << 6);
    /// VIRTIO_BLK_F_FLUSH: without it, every write is flushed before it is answered.
    pub const FLUSH: Self = Self(1 << 9);
    /// VIRTIO_BLK_F_DISCARD.
    pub const DISCARD: Self = Self(1 << 13);
    /// VIRTIO_BLK_F_WRITE_ZEROES.
    pub const WRITE_ZEROES: Self = Self(1 << 14);

    /// What a volume offers.
    #[must_use]
    pub fn offered(geometry: &Geometry, volume: &Volume) -> Self {
        let always = Self::SEGMENTS_MAX.0 | Self::BLOCK_SIZE.0 | Self::FLUSH.0;
        if volume.access() == VolumeAccess::ReadOnly {
            return Self(always | Self::READ_ONLY.0);
        }
        let discard = if geometry.discard { Self::DISCARD.0 } else { 0 };
        Self(always | Self::WRITE_ZEROES.0 | discard)
    }

    /// Those among all that were negotiated.
    #[must_use]
    pub const fn of(negotiated: u64) -> Self {
        Self(negotiated)
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As bits of the device's features.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// The configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config(pub [u8; Config::BYTES]);

impl Config {
    /// Up to and with `write_zeroes_may_unmap` and its padding.
    pub const BYTES: usize = 60;

    /// The one of a volume.
    #[must_use]
    pub fn of(geometry: &Geometry, volume: &Volume) -> Self {
        let mut config = Self([0; Self::BYTES]);
        config.put(0, &volume.sectors().to_le_bytes());
        // Header and status byte come in buffers of their own.
        config.put(12, &geometry.max_segments.to_le_bytes());
        config.put(20, &512_u32.to_le_bytes());
        let most = geometry.max_range_sectors().to_le_bytes();
        let ranges = (RANGES_MAX as u32).to_le_bytes();
        if geometry.discard {
            config.put(36, &most);
            config.put(40, &ranges);
            config.put(44, &1_u32.to_le_bytes());
        }
        config.put(48, &most);
        config.put(52, &ranges);
        config.put(56, &[u8::from(geometry.discard)]);
        config
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

impl Geometry {
    /// Most sectors of a range to discard or zero.
    #[must_use]
    pub fn max_range_sectors(&self) -> u32 {
        // 1 GiB: the work of one range stays bounded.
        u32::try_from(self.sectors).map_or(1 << 21, |sectors| sectors.min(1 << 21))
    }
}
