//! Which memory a domain costs the host. All amounts in KiB.
//!
//! Key type: [`HostResources`].

use crate::config::DomainConfig;

/// What the host has for domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostResources {
    /// Processors.
    pub cpus: u32,
    /// Memory for domains, what is in use included.
    pub memory_kib: u64,
    /// What a domain costs beyond its memory: VMM, rings, tables of fixed size.
    pub overhead_kib: u64,
    /// What each of its processors costs.
    pub overhead_per_vcpu_kib: u64,
}

/// What a domain costs, all in all. Nested page tables are 8 bytes for each 4 KiB page, and the levels above.
#[must_use]
pub fn footprint_kib(config: &DomainConfig, host: &HostResources) -> u64 {
    let memory_kib = config.max_memory_mib.saturating_mul(1024);
    let tables_kib = memory_kib.div_ceil(512) + memory_kib.div_ceil(512 * 512) + 8;
    let vcpus_kib = u64::from(config.max_vcpus).saturating_mul(host.overhead_per_vcpu_kib);
    memory_kib
        .saturating_add(tables_kib)
        .saturating_add(host.overhead_kib)
        .saturating_add(vcpus_kib)
}
