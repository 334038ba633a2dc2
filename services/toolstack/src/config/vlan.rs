//! VLAN memberships of a network card's port: `10`, `10p/20`, `10p/100+10x4`.
//!
//! Key type: [`Vlan`]. Entries are separated by `/`: a VLAN with suffixes `p` (frames without a tag belong to it) and `u`
//! (its frames leave without a tag), a range `FIRST-LAST`, or `FIRST+STEPxCOUNT`. A single VLAN without suffix is an access
//! port: both `p` and `u`.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

/// VLAN numbers are 1 to 4094 (IEEE 802.1Q, 9.6).
const LAST_VLAN: u16 = 4094;

/// Entries, at most.
const MAX_ENTRIES: usize = 64;

/// Which VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanIds {
    /// This one.
    One(u16),
    /// From the first to the last.
    Range(u16, u16),
    /// `count` of them, `step` apart.
    Steps {
        /// The first.
        first: u16,
        /// From each to the next.
        step: u16,
        /// How many.
        count: u16,
    },
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanEntry {
    /// Which VLANs.
    pub ids: VlanIds,
    /// Frames without a tag belong here (`p`).
    pub port_vlan: bool,
    /// Frames leave without a tag (`u`).
    pub untagged: bool,
}

/// Memberships that were checked: at least one, at most one port VLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    entries: Vec<VlanEntry>,
}

impl Vlan {
    /// Parses and checks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let entries: Vec<VlanEntry> = text
            .split('/')
            .take(MAX_ENTRIES + 1)
            .map(parse_entry)
            .collect::<Option<_>>()?;
        Self::from_entries(entries)
    }

    /// Checks.
    #[must_use]
    pub fn from_entries(entries: Vec<VlanEntry>) -> Option<Self> {
        let port_vlans = entries.iter().filter(|entry| entry.port_vlan).count();
        let fits = |entry: &VlanEntry| match entry.ids {
            VlanIds::One(id) => (1..=LAST_VLAN).contains(&id),
            VlanIds::Range(first, last) => first >= 1 && first < last && last <= LAST_VLAN && !entry.port_vlan,
            VlanIds::Steps { first, step, count } => {
                let last = u32::from(first) + u32::from(step) * u32::from(count.saturating_sub(1));
                first >= 1 && step >= 1 && count >= 1 && last <= u32::from(LAST_VLAN) && !entry.port_vlan
            }
        };
        let good = !entries.is_empty() && entries.len() <= MAX_ENTRIES && port_vlans <= 1 && entries.iter().all(fits);
        good.then_some(Self { entries })
    }

    /// Open vSwitch's spellings behind a bridge's name: `.10` (access) and `:42:43` (trunk).
    pub(super) fn of_bridge(suffix: &str) -> Option<Self> {
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
        };
        let tagged = |text| number(text).map(|id| entry(VlanIds::One(id)));
        if let Some(id) = suffix.strip_prefix('.') {
            let ids = VlanIds::One(number(id)?);
            return Self::from_entries(alloc::vec![VlanEntry {
                ids,
                port_vlan: true,
                untagged: true
            }]);
        }
        let trunk = suffix.strip_prefix(':')?;
        Self::from_entries(
            trunk
                .split(':')
                .take(MAX_ENTRIES + 1)
                .map(tagged)
                .collect::<Option<_>>()?,
        )
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[VlanEntry] {
        &self.entries
    }
}

fn entry(ids: VlanIds) -> VlanEntry {
    VlanEntry {
        ids,
        port_vlan: false,
        untagged: false,
    }
}

fn parse_entry(text: &str) -> Option<VlanEntry> {
    let numbers = text.trim_end_matches(['p', 'u']);
    let suffixes = &text[numbers.len()..];
    if suffixes.matches('p').count() > 1 || suffixes.matches('u').count() > 1 {
        return None;
    }
    let number = |text: &str| -> Option<u16> {
        let digits = text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let ids = if let Some((first, last)) = numbers.split_once('-') {
        VlanIds::Range(number(first)?, number(last)?)
    } else if let Some((first, steps)) = numbers.split_once('+') {
        let (step, count) = steps.split_once('x')?;
        VlanIds::Steps {
            first: number(first)?,
            step: number(step)?,
            count: number(count)?,
        }
    } else {
        VlanIds::One(number(numbers)?)
    };
    Some(VlanEntry {
        ids,
        port_vlan: suffixes.contains('p'),
        untagged: suffixes.contains('u'),
    })
}

impl Vlan {
    /// Whether this is one VLAN whose frames have no tag at the port.
    #[must_use]
    pub fn access(&self) -> Option<u16> {
        match self.entries.as_slice() {
            [
                VlanEntry {
                    ids: VlanIds::One(id),
                    port_vlan,
                    untagged,
                },
            ] if port_vlan == untagged => Some(*id),
            _ => None,
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            let ids = match entry.ids {
                VlanIds::One(id) => id.to_string(),
                VlanIds::Range(first, last) => format!("{first}-{last}"),
                VlanIds::Steps { first, step, count } => format!("{first}+{step}x{count}"),
            };
            let separator = if index > 0 { "/" } else { "" };
            let port_vlan = if entry.port_vlan { "p" } else { "" };
            let untagged = if entry.untagged { "u" } else { "" };
            write!(f, "{separator}{ids}{port_vlan}{untagged}")?;
        }
        Ok(())
    }
}
