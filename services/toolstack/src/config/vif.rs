//! Network card specifications: `mac=...,bridge=...,rate=10Mb/s@20ms`.
//!
//! Key types: [`Vif`], [`MacAddress`], [`Rate`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::disk::Trust;
use super::vlan::Vlan;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Six pairs of hexadecimal digits with colons, of one station (not a group).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next()?;
            let digits = (1..=2).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| digits)?;
        }
        let station = bytes[0] & 1 == 0 && bytes != [0; 6];
        (parts.next().is_none() && station).then_some(Self(bytes))
    }

    /// One of Xen's range, 00:16:3e, whose last three bytes are random.
    #[must_use]
    pub fn from_random(random: [u8; 3]) -> Self {
        let [a, b, c] = random;
        Self([0x00, 0x16, 0x3e, a & 0x7f, b, c])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Bits or bytes, with a factor of 1000 for each letter K, M, G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateUnit {
    /// 0 none, 1 K, 2 M, 3 G.
    pub thousands: u8,
    /// Bytes and not bits.
    pub bytes: bool,
}

/// What the guest may send, at most: `NUMBER[GMK](B|b)/s[@INTERVAL]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    number: u32,
    unit: RateUnit,
    interval_us: u32,
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateError {
    /// Nothing there.
    Missing,
    /// Not of the form.
    Invalid,
    /// More than 32 bits.
    Overflow,
    /// The interval is not of the form, or zero.
    Interval,
    /// The interval has more than 32 bits of microseconds.
    IntervalOverflow,
}

impl RateError {
    /// As `xl` says it.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "no rate specified",
            Self::Invalid => "invalid rate",
            Self::Overflow => "rate overflow",
            Self::Interval => "invalid replenishment interval",
            Self::IntervalOverflow => "replenishment interval overflow",
        }
    }
}

const DEFAULT_INTERVAL_US: u32 = 50_000;

impl Rate {
    /// Parses and checks.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        if text.is_empty() {
            return Err(RateError::Missing);
        }
        let (rate, interval) = match text.split_once('@') {
            Some((rate, interval)) => (rate, Some(interval)),
            None => (text, None),
        };
        let digits = rate.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &rate[..rate.len() - digits.len()];
        let unit = unit_of(digits).ok_or(RateError::Invalid)?;
        if number.is_empty() {
            return Err(RateError::Invalid);
        }
        let number = number.parse().map_err(|_| RateError::Overflow)?;
        let interval_us = interval.map_or(Ok(DEFAULT_INTERVAL_US), parse_interval)?;
        Self::new(number, unit, interval_us)
    }

    /// Checks.
    ///
    /// # Errors
    /// Zero, or more than 32 bits in an interval.
    pub fn new(number: u32, unit: RateUnit, interval_us: u32) -> Result<Self, RateError> {
        if number == 0 || unit.thousands > 3 {
            return Err(RateError::Invalid);
        }
        if interval_us == 0 {
            return Err(RateError::Interval);
        }
        let rate = Self {
            number,
            unit,
            interval_us,
        };
        let bytes = rate.bytes_per_second().checked_mul(u64::from(interval_us));
        if bytes.is_some_and(|bytes| bytes / 1_000_000 <= u64::from(u32::MAX)) {
            Ok(rate)
        } else {
            Err(RateError::Overflow)
        }
    }

    /// Bytes in a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let number = u64::from(self.number) * 1000_u64.pow(u32::from(self.unit.thousands));
        if self.unit.bytes { number } else { number / 8 }
    }

    /// Bytes in an interval; fits 32 bits.
    #[must_use]
    pub fn bytes_per_interval(&self) -> u32 {
        // `new` has held the product against 32 bits.
        (self.bytes_per_second() * u64::from(self.interval_us) / 1_000_000) as u32
    }

    /// How often the credit comes.
    #[must_use]
    pub fn interval_us(&self) -> u32 {
        self.interval_us
    }
}

fn unit_of(text: &str) -> Option<RateUnit> {
    let unit = text.strip_suffix("/s")?;
    let thousands = match unit.len() {
        1 => 0,
        2 => match unit.as_bytes()[0] {
            b'K' => 1,
            b'M' => 2,
            b'G' => 3,
            _ => return None,
        },
        _ => return None,
    };
    let bytes = match unit.as_bytes().last()? {
        b'B' => true,
        b'b' => false,
        _ => return None,
    };
    Some(RateUnit { thousands, bytes })
}

/// `20ms`, `20m`, `50us`, `1s`, `1`: a number alone is seconds.
fn parse_interval(text: &str) -> Result<u32, RateError> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &text[..text.len() - unit.len()];
    let factor = match unit {
        "" | "s" => 1_000_000,
        "m" | "ms" => 1_000,
        "u" | "us" => 1,
        _ => return Err(RateError::Interval),
    };
    if number.is_empty() {
        return Err(RateError::Interval);
    }
    let number: u32 = number.parse().map_err(|_| RateError::IntervalOverflow)?;
    number.checked_mul(factor).ok_or(RateError::IntervalOverflow)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousands = ["", "K", "M", "G"].get(usize::from(self.unit.thousands)).unwrap_or(&"");
        let what = if self.unit.bytes { "B" } else { "b" };
        write!(f, "{}{thousands}{what}/s@{}us", self.number, self.interval_us)
    }
}

/// How the card appears in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VifKind {
    /// Emulated and paravirtual.
    Ioemu,
    /// Paravirtual.
    Vif,
}

/// A network card that was checked. What is `None` was not given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Vif {
    /// Address of the card; random if not given.
    pub mac: Option<MacAddress>,
    /// Where it is plugged in.
    pub bridge: Option<String>,
    /// For routing: the device outside.
    pub gatewaydev: Option<String>,
    /// See [`VifKind`].
    pub kind: Option<VifKind>,
    /// Emulated model.
    pub model: Option<String>,
    /// Name of the port.
    pub vifname: Option<String>,
    /// How the port is attached: vif-bridge, vif-route, vif-nat, vif-openvswitch.
    pub script: Option<String>,
    /// Addresses that the guest may use.
    pub ip: Vec<IpAddr>,
    /// Name of the domain that serves it.
    pub backend: Option<String>,
    /// What it may send.
    pub rate: Option<Rate>,
    /// Its number; its place in the list if not given.
    pub devid: Option<u32>,
    /// Longest payload of a frame, in bytes.
    pub mtu: Option<u16>,
    /// VLANs.
    pub vlan: Option<Vlan>,
    /// See [`Trust`].
    pub trust: Option<Trust>,
}

/// What is wrong with a network card specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VifError {
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// The bridge of cards that name none.
const DEFAULT_BRIDGE: &str = "xenbr0";

impl Vif {
    /// The bridge it is plugged in.
    #[must_use]
    pub fn bridge_or_default(&self) -> &str {
        self.bridge.as_deref().unwrap_or(DEFAULT_BRIDGE)
    }

    /// Parses one entry of `vif`. `file` is what messages call the text.
    pub(super) fn parse(file: &str, spec: &str) -> Result<Self, VifError> {
        let mut vif = Self::default();
        if spec.trim().is_empty() {
            return Ok(vif);
        }
        for part in spec.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((key, value)) => vif.key(file, key.trim(), value.trim())?,
                None => vif.flag(part)?,
            }
        }
        Ok(vif)
    }

    fn flag(&mut self, part: &str) -> Result<(), VifError> {
        self.trust = Some(match part {
            "trusted" => Trust::Trusted,
            "untrusted" => Trust::Untrusted,
            _ => return Err(unrecognized(part)),
        });
        Ok(())
    }

    fn key(&mut self, file: &str, key: &str, value: &str) -> Result<(), VifError> {
        let invalid = |remedy| VifError {
            message: format!("Invalid parameter `{key}'."),
            remedy,
        };
        let text = || Some(value.to_string());
        match key {
            "mac" => {
                let remedy = "a MAC address of one station is six pairs like 00:16:3e:01:02:03, the first one even";
                self.mac = Some(MacAddress::parse(value).ok_or_else(|| invalid(remedy))?);
            }
            "bridge" => self
                .set_bridge(value)
                .ok_or_else(|| invalid("use NAME, NAME.VLAN or NAME:VLAN:VLAN"))?,
            "gatewaydev" | "netdev" => self.gatewaydev = text(),
            "type" => {
                self.kind = Some(match value {
                    "ioemu" => VifKind::Ioemu,
                    "vif" => VifKind::Vif,
                    _ => return Err(invalid("type is vif or ioemu")),
                });
            }
            "model" => self.model = text(),
            "vifname" => self.vifname = text(),
            "script" => self.script = text(),
            "ip" => {
                let addresses = value.split_whitespace().map(str::parse).collect::<Result<_, _>>();
                self.ip = addresses.map_err(|_| invalid("ip is IPv4 or IPv6 addresses with blanks between them"))?;
            }
            "backend" => self.backend = text(),
            "rate" => self.rate = Some(Rate::parse(value).map_err(|error| rate_error(file, value, error))?),
            "devid" => self.devid = Some(number(value, 255).ok_or_else(|| invalid("devid is 0 to 255"))?),
            "mtu" => {
                let mtu = number(value, 65535).filter(|&mtu| mtu >= 68);
                self.mtu = Some(mtu.ok_or_else(|| invalid("mtu is 68 to 65535"))? as u16);
            }
            "vlan" => {
                let remedy = "vlan is entries like 10, 10p, 20u, 30-40 or 100+10x4 with / between them, of 1 to 4094";
                self.vlan = Some(Vlan::parse(value).ok_or_else(|| invalid(remedy))?);
            }
            _ => return Err(unrecognized(key)),
        }
        Ok(())
    }

    fn set_bridge(&mut self, value: &str) -> Option<()> {
        let end = value.find(['.', ':']).unwrap_or(value.len());
        let (name, suffix) = value.split_at(end);
        if name.is_empty() {
            return None;
        }
        if !suffix.is_empty() {
            self.vlan = Some(Vlan::of_bridge(suffix)?);
        }
        self.bridge = Some(name.to_string());
        Some(())
    }
}

fn number(text: &str, most: u32) -> Option<u32> {
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number <= most)
}

fn unrecognized(what: &str) -> VifError {
    VifError {
        message: format!("unrecognized argument `{what}'"),
        remedy: "known are mac, bridge, gatewaydev, type, model, vifname, script, ip, backend, rate, devid, mtu, vlan, \
                 trusted, untrusted",
    }
}

fn rate_error(file: &str, value: &str, error: RateError) -> VifError {
    VifError {
        message: format!("{file}: config parsing error in vif: {} in `{value}'", error.message()),
        remedy: "a rate is like 10Mb/s (bits) or 500KB/s@20ms (bytes, credit every 20 ms)",
    }
}

impl fmt::Display for Vif {
    /// As a configuration has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map(|kind| match kind {
            VifKind::Ioemu => "ioemu",
            VifKind::Vif => "vif",
        });
        let addresses: Vec<String> = self.ip.iter().map(ToString::to_string).collect();
        let addresses = (!addresses.is_empty()).then(|| addresses.join(" "));
        let values = [
            ("mac", self.mac.as_ref().map(ToString::to_string)),
            ("bridge", self.bridge.clone()),
            ("gatewaydev", self.gatewaydev.clone()),
            ("type", kind.map(ToString::to_string)),
            ("model", self.model.clone()),
            ("vifname", self.vifname.clone()),
            ("script", self.script.clone()),
            ("ip", addresses),
            ("backend", self.backend.clone()),
            ("rate", self.rate.as_ref().map(ToString::to_string)),
            ("devid", self.devid.as_ref().map(ToString::to_string)),
            ("mtu", self.mtu.as_ref().map(ToString::to_string)),
            ("vlan", self.vlan.as_ref().map(ToString::to_string)),
        ];
        let mut separator = "";
        for (key, value) in values.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
        }
        match self.trust {
            None => Ok(()),
            Some(Trust::Trusted) => write!(f, "{separator}trusted"),
            Some(Trust::Untrusted) => write!(f, "{separator}untrusted"),
        }
    }
}
