//! Sets of the host's processors, and which virtual processor may run on which.
//!
//! Key types: [`CpuSet`], [`Affinity`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Processors that a set can name: as many as the kernel runs on.
pub const MAX_CPUS: u32 = 64;

/// A set of processors 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CpuSet(u64);

/// Why a text is no set of processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuSetError {
    /// This part is no range.
    Range(String),
    /// `^all`.
    NotAll,
    /// Nothing is left.
    Empty,
}

impl fmt::Display for CpuSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(part) => write!(f, "Invalid pcpu range: {part}."),
            Self::NotAll => f.write_str("Can't combine \"^\" and \"all\"."),
            Self::Empty => f.write_str("Invalid pcpu range: no processor is left."),
        }
    }
}

impl CpuSet {
    /// Every processor, whatever the host has.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Processors 0 to `count - 1`.
    #[must_use]
    pub fn first(count: u32) -> Self {
        Self(if count >= MAX_CPUS { u64::MAX } else { (1 << count) - 1 })
    }

    /// The set with these bits: bit n is processor n.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit n is processor n.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether a processor is in it.
    #[must_use]
    pub fn contains(self, cpu: u32) -> bool {
        cpu < MAX_CPUS && self.0 & (1 << cpu) != 0
    }

    /// How many are in it.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Each processor in it, in order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..MAX_CPUS).filter(move |&cpu| self.contains(cpu))
    }

    /// `"all"`, `"0-3,5,^1"`, `"nodes:0,^node:1"`: parts add processors, or with `^` take them away. There is one node, 0.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CpuSetError> {
        let mut set = Self::NONE;
        for part in text.split(',').map(str::trim) {
            let (part, removes) = match part.strip_prefix('^') {
                Some(rest) => (rest, true),
                None => (part, false),
            };
            let nodes = part.strip_prefix("nodes:").or_else(|| part.strip_prefix("node:"));
            let change = if nodes.unwrap_or(part) == "all" {
                if removes {
                    return Err(CpuSetError::NotAll);
                }
                Self::ALL
            } else {
                let (range, bound) = nodes.map_or((part, MAX_CPUS), |range| (range, 1));
                let range = parse_range(range, bound).ok_or_else(|| CpuSetError::Range(part.to_string()))?;
                if nodes.is_some() { Self::ALL } else { range }
            };
            set.0 = if removes { set.0 & !change.0 } else { set.0 | change.0 };
        }
        if set.is_empty() {
            Err(CpuSetError::Empty)
        } else {
            Ok(set)
        }
    }

    /// As `xl` prints it for a host with so many processors: `all`, `none`, or ranges.
    #[must_use]
    pub fn show(self, host_cpus: u32) -> String {
        let host = Self::first(host_cpus);
        match self.and(host) {
            here if here == host => "all".to_string(),
            here if here.is_empty() => "none".to_string(),
            here => here.ranges(),
        }
    }

    /// `0-3,5`.
    fn ranges(self) -> String {
        let mut text = String::new();
        let mut cpu = 0;
        while cpu < MAX_CPUS {
            if !self.contains(cpu) {
                cpu += 1;
                continue;
            }
            let first = cpu;
            while self.contains(cpu + 1) {
                cpu += 1;
            }
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&first.to_string());
            if cpu > first {
                text.push('-');
                text.push_str(&cpu.to_string());
            }
            cpu += 1;
        }
        text
    }
}

impl fmt::Display for CpuSet {
    /// `all` or ranges, as in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(MAX_CPUS))
    }
}

/// `3` or `0-3`, below `bound`.
fn parse_range(text: &str, bound: u32) -> Option<CpuSet> {
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse().ok().filter(|&number| digits && number < bound)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| CpuSet(CpuSet::first(last + 1).0 & !CpuSet::first(first).0))
}

/// Where the virtual processors of a domain may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// All of them here.
    Same(CpuSet),
    /// One after the other; those beyond the list anywhere.
    Each(Vec<CpuSet>),
}

impl Default for Affinity {
    fn default() -> Self {
        Self::Same(CpuSet::ALL)
    }
}

impl Affinity {
    /// Where one virtual processor may run.
    #[must_use]
    pub fn of(&self, vcpu: u32) -> CpuSet {
        match self {
            Self::Same(set) => *set,
            Self::Each(sets) => sets.get(vcpu as usize).copied().unwrap_or(CpuSet::ALL),
        }
    }

    /// Changes one virtual processor of `vcpus`.
    pub fn set(&mut self, vcpu: u32, vcpus: u32, set: CpuSet) {
        let mut sets: Vec<CpuSet> = (0..vcpus).map(|one| self.of(one)).collect();
        if let Some(place) = sets.get_mut(vcpu as usize) {
            *place = set;
        }
        *self = match sets.split_first() {
            Some((first, rest)) if rest.iter().all(|one| one == first) => Self::Same(*first),
            _ => Self::Each(sets),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_and_take_away_from_left_to_right() {
        assert_eq!(CpuSet::parse("0-3,5,^1").unwrap().bits(), 0b10_1101);
        assert_eq!(CpuSet::parse("all,^0").unwrap().bits(), u64::MAX - 1);
        assert_eq!(CpuSet::parse(" 2 , 3 ").unwrap().bits(), 0b1100);
        assert_eq!(CpuSet::parse("nodes:0").unwrap(), CpuSet::ALL);
        assert_eq!(CpuSet::parse("node:all,^63").unwrap().len(), 63);
    }

    #[test]
    fn wrong_sets_say_which_part() {
        let range = |part: &str| Err(CpuSetError::Range(part.to_string()));
        assert_eq!(CpuSet::parse("0,x"), range("x"));
        assert_eq!(CpuSet::parse("3-1"), range("3-1"));
        assert_eq!(CpuSet::parse("64"), range("64"));
        assert_eq!(CpuSet::parse(""), range(""));
        assert_eq!(CpuSet::parse("node:1"), range("node:1"));
        assert_eq!(CpuSet::parse("+1"), range("+1"));
        assert_eq!(CpuSet::parse("^all"), Err(CpuSetError::NotAll));
        assert_eq!(CpuSet::parse("1,^1"), Err(CpuSetError::Empty));
    }

    #[test]
    fn sets_are_shown_for_the_host_at_hand() {
        assert_eq!(CpuSet::ALL.show(2), "all");
        assert_eq!(CpuSet::parse("0-1,3").unwrap().show(8), "0-1,3");
        assert_eq!(CpuSet::parse("0-1").unwrap().show(2), "all");
        assert_eq!(CpuSet::parse("7").unwrap().show(2), "none");
    }

    #[test]
    fn one_processor_of_many_can_be_moved() {
        let mut affinity = Affinity::default();
        affinity.set(1, 3, CpuSet::from_bits(1));
        assert_eq!(
            affinity,
            Affinity::Each(alloc::vec![CpuSet::ALL, CpuSet::from_bits(1), CpuSet::ALL])
        );
        affinity.set(1, 3, CpuSet::ALL);
        assert_eq!(affinity, Affinity::default());
    }
}
