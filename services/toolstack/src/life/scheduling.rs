//! A domain's weight and cap, as time for each of its processors; and which core each runs on.
//!
//! Key types: [`VcpuTime`], [`Loads`].

use alloc::vec::Vec;

use crate::config::{DomainConfig, MAX_CPUS};

/// Caps are held in periods of this length.
pub const PERIOD_US: u32 = 10_000;
/// The shortest budget: less would be spent on switching.
const MIN_BUDGET_US: u32 = 100;

/// Time for one virtual processor, as a scheduling context takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuTime {
    /// The core it runs on.
    pub core: u32,
    /// Its share, 1 to 65535.
    pub weight: u16,
    /// Time in each period of [`PERIOD_US`]; equal to it for no limit.
    pub budget_us: u32,
}

/// What is placed on each core: weights, in all.
#[derive(Clone, Debug)]
pub(super) struct Loads {
    weights: Vec<u64>,
}

impl Loads {
    pub(super) fn new(cpus: u32) -> Self {
        Self {
            weights: alloc::vec![0; cpus.clamp(1, MAX_CPUS) as usize],
        }
    }

    /// Gives the processors of a domain their time, each on the core that carries least of those it may run on. A core
    /// that carries no more than the best is kept. `before` is what they had.
    pub(super) fn place(&mut self, config: &DomainConfig, before: &[VcpuTime]) -> Vec<VcpuTime> {
        let weight = (u32::from(config.weight) / config.vcpus.max(1)).max(1) as u16;
        let budget_us = budget_us(config.cap_percent, config.vcpus);
        let mut placed = Vec::new();
        for vcpu in 0..config.vcpus {
            let had = before.get(vcpu as usize).map(|time| time.core);
            let core = self.best(config, vcpu, had);
            if let Some(load) = self.weights.get_mut(core as usize) {
                *load += u64::from(weight);
            }
            placed.push(VcpuTime {
                core,
                weight,
                budget_us,
            });
        }
        placed
    }

    fn best(&self, config: &DomainConfig, vcpu: u32, had: Option<u32>) -> u32 {
        let hard = config.cpus.of(vcpu);
        let both = hard.and(config.cpus_soft.of(vcpu));
        let host = crate::config::CpuSet::first(self.weights.len() as u32);
        let sets = [both, hard, host].map(|set| set.and(host));
        let choice = sets.into_iter().find(|set| !set.is_empty()).unwrap_or(host);
        let key = |core: &u32| (self.weights.get(*core as usize).copied(), Some(*core) != had, *core);
        choice.iter().min_by_key(key).unwrap_or(0)
    }
}

/// A cap in percent of one core, over so many processors.
fn budget_us(cap_percent: u32, vcpus: u32) -> u32 {
    if cap_percent == 0 {
        return PERIOD_US;
    }
    let budget = u64::from(PERIOD_US) * u64::from(cap_percent) / (100 * u64::from(vcpus.max(1)));
    // The clamp keeps it within 32 bits.
    budget.clamp(u64::from(MIN_BUDGET_US), u64::from(PERIOD_US)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Affinity, CpuSet, DomainName};

    fn config(vcpus: u32) -> DomainConfig {
        let mut config = DomainConfig::new(DomainName::new("a").unwrap());
        config.vcpus = vcpus;
        config
    }

    #[test]
    fn weights_and_caps_are_split_over_processors() {
        let mut four = config(4);
        four.weight = 1024;
        four.cap_percent = 200;
        let times = Loads::new(4).place(&four, &[]);
        assert_eq!(times.iter().map(|time| time.core).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(
            times
                .iter()
                .all(|time| time.weight == 256 && time.budget_us == PERIOD_US / 2)
        );
        four.cap_percent = 500;
        assert_eq!(Loads::new(4).place(&four, &[])[0].budget_us, PERIOD_US);
        four.cap_percent = 1;
        four.weight = 1;
        let least = Loads::new(4).place(&four, &[])[0];
        assert_eq!((least.budget_us, least.weight), (MIN_BUDGET_US, 1));
    }

    #[test]
    fn processors_go_where_least_is_and_where_they_may() {
        let mut loads = Loads::new(2);
        loads.place(&config(1), &[]);
        assert_eq!(loads.place(&config(1), &[])[0].core, 1);
        let mut pinned = config(2);
        pinned.cpus = Affinity::Same(CpuSet::from_bits(1));
        assert!(loads.place(&pinned, &[]).iter().all(|time| time.core == 0));
        let mut preferring = config(1);
        preferring.cpus_soft = Affinity::Same(CpuSet::from_bits(1));
        assert_eq!(loads.place(&preferring, &[])[0].core, 0);
    }

    #[test]
    fn a_processor_stays_where_it_is_if_nothing_is_better() {
        let had = [VcpuTime {
            core: 1,
            weight: 256,
            budget_us: PERIOD_US,
        }];
        assert_eq!(Loads::new(2).place(&config(1), &had)[0].core, 1);
    }
}
