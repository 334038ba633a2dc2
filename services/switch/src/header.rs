//! The header of virtio-net before each frame (virtio 1.2, 5.1.6), and what the two sides agreed on.
//!
//! Key types: [`Header`], [`Offloads`], [`Features`].

/// Bytes of the header, with `num_buffers`.
pub const HEADER_BYTES: usize = 12;

const FLAG_NEEDS_CHECKSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_ECN: u8 = 0x80;

/// Below this, a frame would fall into more pieces than is sensible: Linux goes no lower.
const SEGMENT_MIN: u16 = 48;

/// A checksum that is still to be put in: over all from `start` on, at `offset` behind it, where the sum of the pseudo-header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Bytes of the frame before what is summed.
    pub start: u16,
    /// Bytes from there to the place of the checksum.
    pub offset: u16,
}

/// A TCP segment that is still to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Over which IP.
    pub version: IpVersion,
    /// Whether congestion was notified in it, which only the first piece may repeat.
    pub ecn: bool,
    /// Most bytes of TCP payload in a piece.
    pub bytes: u16,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// 4.
    V4,
    /// 6.
    V6,
}

/// What is still to be done to a frame, and what is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The checksum is to be put in.
    pub checksum: Option<Checksum>,
    /// It is to be cut. Only with `checksum`.
    pub segmentation: Option<Segmentation>,
    /// The sender vouches for its checksums.
    pub valid: bool,
}

impl Header {
    /// Reads a driver's header. `None` for what virtio forbids or the driver did not negotiate.
    #[must_use]
    pub fn decode(bytes: [u8; HEADER_BYTES], allowed: Offloads) -> Option<Self> {
        let [flags, gso, _, _, g0, g1, s0, s1, o0, o1, _, _] = bytes;
        let checksum = (flags & FLAG_NEEDS_CHECKSUM != 0).then_some(Checksum {
            start: u16::from_le_bytes([s0, s1]),
            offset: u16::from_le_bytes([o0, o1]),
        });
        let version = match gso & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCP4 => Some(IpVersion::V4),
            GSO_TCP6 => Some(IpVersion::V6),
            _ => return None,
        };
        let segmentation = version.map(|version| Segmentation {
            version,
            ecn: gso & GSO_ECN != 0,
            bytes: u16::from_le_bytes([g0, g1]),
        });
        let header = Self {
            checksum,
            segmentation,
            // Only a card may vouch for a frame, never a guest.
            valid: false,
        };
        let sensible = segmentation.is_none_or(|cut| checksum.is_some() && cut.bytes >= SEGMENT_MIN);
        (sensible && allowed.cover(&header)).then_some(header)
    }

    /// The bytes for a receiver; the frame fills so many buffers.
    #[must_use]
    pub fn encode(&self, buffers: u16) -> [u8; HEADER_BYTES] {
        let needs = if self.checksum.is_some() {
            FLAG_NEEDS_CHECKSUM
        } else {
            0
        };
        let valid = if self.valid { FLAG_DATA_VALID } else { 0 };
        let (mut gso, mut size) = (GSO_NONE, 0);
        if let Some(cut) = self.segmentation {
            gso = match cut.version {
                IpVersion::V4 => GSO_TCP4,
                IpVersion::V6 => GSO_TCP6,
            };
            gso |= if cut.ecn { GSO_ECN } else { 0 };
            size = cut.bytes;
        }
        let Checksum { start, offset } = self.checksum.unwrap_or(Checksum { start: 0, offset: 0 });
        // `hdr_len` is a hint, which receivers must not trust: 0.
        let [g0, g1] = size.to_le_bytes();
        let [s0, s1] = start.to_le_bytes();
        let [o0, o1] = offset.to_le_bytes();
        let [b0, b1] = buffers.to_le_bytes();
        [needs | valid, gso, 0, 0, g0, g1, s0, s1, o0, o1, b0, b1]
    }
}

/// What may be left undone in frames that travel one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums.
    pub checksum: bool,
    /// Segmentation of TCP over IPv4.
    pub tcp4: bool,
    /// Segmentation of TCP over IPv6.
    pub tcp6: bool,
    /// Segmentation of TCP with congestion notified.
    pub ecn: bool,
}

impl Offloads {
    /// Whether segmentation may be left undone.
    #[must_use]
    pub fn cover_segmentation(self, cut: Segmentation) -> bool {
        let version = match cut.version {
            IpVersion::V4 => self.tcp4,
            IpVersion::V6 => self.tcp6,
        };
        version && (self.ecn || !cut.ecn)
    }

    /// Whether a frame with this header may be sent.
    #[must_use]
    pub fn cover(self, header: &Header) -> bool {
        (self.checksum || header.checksum.is_none())
            && header.segmentation.is_none_or(|cut| self.cover_segmentation(cut))
    }
}

/// Feature bits of virtio-net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// VIRTIO_NET_F_MAC.
    pub const MAC: u64 = 1 << 5;
    /// VIRTIO_NET_F_MRG_RXBUF: a frame may fill several buffers.
    pub const MERGEABLE: u64 = 1 << 15;
    const CHECKSUM: u64 = 1 << 0;
    const GUEST_CHECKSUM: u64 = 1 << 1;
    const GUEST_TSO4: u64 = 1 << 7;
    const GUEST_TSO6: u64 = 1 << 8;
    const GUEST_ECN: u64 = 1 << 9;
    const HOST_TSO4: u64 = 1 << 11;
    const HOST_TSO6: u64 = 1 << 12;
    const HOST_ECN: u64 = 1 << 13;

    /// What a guest's port offers.
    #[must_use]
    pub const fn offered() -> Self {
        let sent = Self::CHECKSUM | Self::HOST_TSO4 | Self::HOST_TSO6 | Self::HOST_ECN;
        let received = Self::GUEST_CHECKSUM | Self::GUEST_TSO4 | Self::GUEST_TSO6 | Self::GUEST_ECN;
        Self(sent | received | Self::MAC | Self::MERGEABLE)
    }

    /// Those among all that were negotiated.
    #[must_use]
    pub const fn of(negotiated: u64) -> Self {
        Self(negotiated & Self::offered().0)
    }

    /// As bits of the device's features.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether a bit is among them.
    #[must_use]
    pub const fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    /// What the guest may leave undone in what it sends.
    #[must_use]
    pub const fn sent(self) -> Offloads {
        Offloads {
            checksum: self.has(Self::CHECKSUM),
            tcp4: self.has(Self::HOST_TSO4),
            tcp6: self.has(Self::HOST_TSO6),
            ecn: self.has(Self::HOST_ECN),
        }
    }

    /// What may be left undone in what it receives.
    #[must_use]
    pub const fn received(self) -> Offloads {
        Offloads {
            checksum: self.has(Self::GUEST_CHECKSUM),
            tcp4: self.has(Self::GUEST_TSO4),
            tcp6: self.has(Self::GUEST_TSO6),
            ecn: self.has(Self::GUEST_ECN),
        }
    }
}
