//! The boot information of a machine that nothing is known about: where the loader begins.

use ecusson_abi::boot::{
    BOOT_INFO_MAGIC, BOOT_INFO_VERSION, BootCpu, BootEcam, BootFadt, BootFramebuffer, BootInfo, BootIoApic, BootIommu,
    BootLocalNmi, BootMemoryNode, BootOverride, BootReserved, BootSegment, CPU_MAX, DIRECT_MAP_BASE, ECAM_MAX,
    IO_APIC_MAX, IOMMU_MAX, MEMORY_NODE_MAX, OVERRIDE_MAX, PhysRange, RANGE_MAX, SEGMENT_MAX,
};

/// Version numbers set, everything else zero. Not valid yet: [`crate::check::check`] refuses it.
#[must_use]
pub fn boot_info() -> BootInfo {
    let nowhere = PhysRange::default();
    BootInfo {
        magic: BOOT_INFO_MAGIC,
        version: BOOT_INFO_VERSION,
        struct_bytes: size_of::<BootInfo>() as u32,
        direct_map_base: DIRECT_MAP_BASE,
        top_frame: 0,
        frame_table: nowhere,
        kernel_cr3: 0,
        ap_cr3: 0,
        trampoline_phys: 0,
        kernel_phys: nowhere,
        kernel_virt: 0,
        boot_info_phys: nowhere,
        page_tables_phys: nowhere,
        command_line: nowhere,
        bundle: nowhere,
        composition: nowhere,
        rsdp_phys: 0,
        local_apic_phys: 0,
        hpet_phys: 0,
        dmar_phys: 0,
        ivrs_phys: 0,
        root_entry: 0,
        flags: 0,
        bsp_index: 0,
        cpu_count: 0,
        ram_count: 0,
        free_count: 0,
        reserved_count: 0,
        io_apic_count: 0,
        override_count: 0,
        local_nmi_count: 0,
        ecam_count: 0,
        memory_node_count: 0,
        iommu_count: 0,
        root_segment_count: 0,
        fadt: BootFadt::default(),
        framebuffer: BootFramebuffer::default(),
        cpus: [BootCpu::default(); CPU_MAX],
        ram: [nowhere; RANGE_MAX],
        free: [nowhere; RANGE_MAX],
        reserved: [BootReserved::default(); RANGE_MAX],
        io_apics: [BootIoApic::default(); IO_APIC_MAX],
        overrides: [BootOverride::default(); OVERRIDE_MAX],
        local_nmis: [BootLocalNmi::default(); OVERRIDE_MAX],
        ecam: [BootEcam::default(); ECAM_MAX],
        memory_nodes: [BootMemoryNode::default(); MEMORY_NODE_MAX],
        iommus: [BootIommu::default(); IOMMU_MAX],
        root_segments: [BootSegment::default(); SEGMENT_MAX],
        wall_clock_ns: 0,
    }
}
