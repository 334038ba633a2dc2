//! Ethernet addresses.
//!
//! Key type: [`Mac`].

use core::fmt;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ports.
    pub const BROADCAST: Self = Self([0xFF; 6]);

    /// An address for a card that the configuration gives none: 00:16:3e and 23 bits drawn from a seed, as for Xen's domains. Equal
    /// seeds give equal addresses; whoever draws checks that it is free.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        // The finaliser of splitmix64: every bit of the seed counts.
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [a, b, c, ..] = (mixed ^ (mixed >> 31)).to_le_bytes();
        Self([0x00, 0x16, 0x3E, a & 0x7F, b, c])
    }

    /// Reads six pairs of hexadecimal digits with colons between.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// For several stations, or all.
    #[must_use]
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Addresses that never pass a bridge (IEEE 802.1Q, 8.6.3): 01:80:c2:00:00:00 to 0f.
    #[must_use]
    pub fn is_link_local(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xC2, 0, 0, last] if last <= 0x0F)
    }

    /// One station's: not zero, not multicast.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let mac = Mac::parse("00:16:3E:0a:fF:01").unwrap();
        assert_eq!(mac, Mac([0, 0x16, 0x3E, 0x0A, 0xFF, 1]));
        assert_eq!(mac.to_string(), "00:16:3e:0a:ff:01");
        for wrong in [
            "",
            "00:16:3e:0a:ff",
            "00:16:3e:0a:ff:01:02",
            "0:16:3e:0a:ff:01",
            "+1:16:3e:0a:ff:01",
            "00-16-3e-0a-ff-01",
        ] {
            assert_eq!(Mac::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn random_addresses_are_xens_and_differ() {
        let drawn: std::collections::BTreeSet<Mac> = (0..1000).map(Mac::random).collect();
        assert!(drawn.len() > 995);
        assert!(
            drawn
                .iter()
                .all(|mac| mac.0[..3] == [0, 0x16, 0x3E] && mac.0[3] < 0x80 && mac.is_station())
        );
        assert_eq!(Mac::random(7), Mac::random(7));
    }

    #[test]
    fn kinds_of_addresses() {
        assert!(Mac::BROADCAST.is_multicast() && !Mac([0; 6]).is_station());
        assert!(Mac([1, 0x80, 0xC2, 0, 0, 0x0F]).is_link_local() && !Mac([1, 0x80, 0xC2, 0, 0, 0x10]).is_link_local());
    }
}
