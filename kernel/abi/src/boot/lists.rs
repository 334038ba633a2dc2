//! [`BootInfo`] as it is read: its lists without the unused rest, and what follows from them.

use super::{
    BOOT_INFO_MAGIC, BOOT_INFO_VERSION, BootCpu, BootEcam, BootInfo, BootIoApic, BootIommu, BootLocalNmi,
    BootMemoryNode, BootOverride, BootReserved, BootSegment, DIRECT_MAP_BASE, PAGE_BYTES, PhysRange, clamp,
};

impl BootInfo {
    /// Whether loader and kernel were built from the same description.
    #[must_use]
    pub fn is_of_this_version(&self) -> bool {
        self.magic == BOOT_INFO_MAGIC
            && self.version == BOOT_INFO_VERSION
            && self.struct_bytes as usize == size_of::<BootInfo>()
            && self.direct_map_base == DIRECT_MAP_BASE
    }
    /// All RAM.
    #[must_use]
    pub fn ram(&self) -> &[PhysRange] {
        clamp(&self.ram, self.ram_count)
    }
    /// Memory that nobody uses.
    #[must_use]
    pub fn free(&self) -> &[PhysRange] {
        clamp(&self.free, self.free_count)
    }
    /// What the firmware's map lists besides RAM.
    #[must_use]
    pub fn reserved(&self) -> &[BootReserved] {
        clamp(&self.reserved, self.reserved_count)
    }
    /// The cores.
    #[must_use]
    pub fn cpus(&self) -> &[BootCpu] {
        clamp(&self.cpus, self.cpu_count)
    }
    /// The I/O APICs.
    #[must_use]
    pub fn io_apics(&self) -> &[BootIoApic] {
        clamp(&self.io_apics, self.io_apic_count)
    }
    /// The interrupt source overrides.
    #[must_use]
    pub fn overrides(&self) -> &[BootOverride] {
        clamp(&self.overrides, self.override_count)
    }
    /// The NMI wiring.
    #[must_use]
    pub fn local_nmis(&self) -> &[BootLocalNmi] {
        clamp(&self.local_nmis, self.local_nmi_count)
    }
    /// The PCI configuration windows.
    #[must_use]
    pub fn ecam(&self) -> &[BootEcam] {
        clamp(&self.ecam, self.ecam_count)
    }
    /// Memory affinity.
    #[must_use]
    pub fn memory_nodes(&self) -> &[BootMemoryNode] {
        clamp(&self.memory_nodes, self.memory_node_count)
    }
    /// The IOMMUs.
    #[must_use]
    pub fn iommus(&self) -> &[BootIommu] {
        clamp(&self.iommus, self.iommu_count)
    }
    /// Registers of the devices that are the kernel's own: local APIC, HPET, I/O APICs, IOMMUs.
    pub fn kernel_devices(&self) -> impl Iterator<Item = PhysRange> + '_ {
        let page = |base| PhysRange {
            base,
            bytes: PAGE_BYTES,
        };
        let single = [self.local_apic_phys, self.hpet_phys].into_iter();
        let pages = single.chain(self.io_apics().iter().map(|apic| apic.phys));
        let iommus = self.iommus().iter().map(|unit| unit.registers());
        pages.filter(|&phys| phys != 0).map(page).chain(iommus)
    }
    /// The root process.
    #[must_use]
    pub fn root_segments(&self) -> &[BootSegment] {
        clamp(&self.root_segments, self.root_segment_count)
    }
}

impl BootSegment {
    /// The frames it lies in; `None` when the length overflows.
    #[must_use]
    pub fn frames(&self) -> Option<PhysRange> {
        let bytes = self.pages.checked_mul(PAGE_BYTES)?;
        self.phys.checked_add(bytes)?;
        Some(PhysRange { base: self.phys, bytes })
    }
}
