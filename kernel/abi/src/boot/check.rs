//! The one check of [`BootInfo`], which the kernel makes once: afterwards it relies on every rule written there.
//!
//! Key type: [`BootInfoError`]. Called by `kernel/ecusson` at its start, and by the loader before it leaves.

use super::{
    BOOT_INFO_MAGIC, BOOT_INFO_VERSION, BootCpu, BootEcam, BootInfo, BootIoApic, BootIommu, BootLocalNmi,
    BootMemoryNode, BootOverride, BootReserved, BootSegment, COMMAND_LINE_MAX, DIRECT_MAP_BASE, DIRECT_MAP_LIMIT,
    FRAME_ENTRY_BYTES, KERNEL_BASE, KERNEL_LIMIT, PAGE_BYTES, PhysRange, SEGMENT_EXECUTE, SEGMENT_READ, SEGMENT_WRITE,
    USER_LIMIT, aligned, clamp,
};

/// Which rule of [`BootInfo`] is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// Magic number, version or size are another: loader and kernel were built from different sources.
    Version,
    /// A count is above the length of its array.
    Count,
    /// `ram` or `free` are empty, unaligned, out of order, touching, or beyond `top_frame`.
    Ranges,
    /// A free range is not RAM, or below 1 MiB.
    FreeNotRam,
    /// The frame table, page tables, kernel, boot information, payload or root lie outside RAM or overlap free
    /// memory or each other; or a device of the kernel's lies in RAM.
    Placement,
    /// A page table or the trampoline page is unaligned or out of its room.
    PageTables,
    /// No core, two cores with one id, or the booting core is not in the list.
    Cpus,
    /// Root has no segment, or one that is unaligned, overlapping, outside the user's half, or of wrong rights.
    Root,
}

impl BootInfoError {
    /// The rule in words, for a line on the console.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            BootInfoError::Version => "loader and kernel were built from different versions",
            BootInfoError::Count => "a count is above the room of its list",
            BootInfoError::Ranges => "the memory ranges are empty, unaligned, out of order or touching",
            BootInfoError::FreeNotRam => "a free range is not RAM or lies below 1 MiB",
            BootInfoError::Placement => "two users of memory overlap, or one lies outside RAM",
            BootInfoError::PageTables => "a page table or the trampoline page lies in a wrong place",
            BootInfoError::Cpus => "the list of processors is empty or contradicts itself",
            BootInfoError::Root => "the root process has a segment that cannot be mapped",
        }
    }
}

/// Turns a rule into a result, so that a check reads as a list of rules.
const fn rule(holds: bool, error: BootInfoError) -> Result<(), BootInfoError> {
    if holds { Ok(()) } else { Err(error) }
}

impl BootInfo {
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

    /// Checks every rule the kernel relies on. Bounded: at most 128 x 128 comparisons.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn validate(&self) -> Result<(), BootInfoError> {
        self.check_version()?;
        self.check_counts()?;
        self.check_ranges()?;
        self.check_tables()?;
        self.check_placement()?;
        self.check_cpus()?;
        self.check_root()
    }

    fn check_version(&self) -> Result<(), BootInfoError> {
        let known = self.magic == BOOT_INFO_MAGIC
            && self.version == BOOT_INFO_VERSION
            && self.struct_bytes as usize == size_of::<BootInfo>()
            && self.direct_map_base == DIRECT_MAP_BASE;
        rule(known, BootInfoError::Version)
    }

    fn check_counts(&self) -> Result<(), BootInfoError> {
        let pairs = [
            (self.cpu_count, self.cpus.len()),
            (self.ram_count, self.ram.len()),
            (self.free_count, self.free.len()),
            (self.reserved_count, self.reserved.len()),
            (self.io_apic_count, self.io_apics.len()),
            (self.override_count, self.overrides.len()),
            (self.local_nmi_count, self.local_nmis.len()),
            (self.ecam_count, self.ecam.len()),
            (self.memory_node_count, self.memory_nodes.len()),
            (self.iommu_count, self.iommus.len()),
            (self.root_segment_count, self.root_segments.len()),
        ];
        let fits = pairs.iter().all(|&(count, room)| count as usize <= room);
        rule(
            fits && self.command_line.bytes <= COMMAND_LINE_MAX,
            BootInfoError::Count,
        )
    }

    fn check_ranges(&self) -> Result<(), BootInfoError> {
        let top = self.top_frame.checked_mul(PAGE_BYTES).ok_or(BootInfoError::Ranges)?;
        rule(top <= DIRECT_MAP_LIMIT, BootInfoError::Ranges)?;
        for ranges in [self.ram(), self.free()] {
            rule(!ranges.is_empty(), BootInfoError::Ranges)?;
            // Behind each range one page must be missing, or the two should be one.
            let mut lowest = 0;
            for range in ranges {
                let whole = range.bytes != 0 && aligned(range.base | range.bytes);
                let end = range.base.checked_add(range.bytes).ok_or(BootInfoError::Ranges)?;
                rule(whole && range.base >= lowest && end <= top, BootInfoError::Ranges)?;
                lowest = end + PAGE_BYTES;
            }
        }
        let low = self.free().iter().any(|range| range.base < 0x10_0000);
        let inside = self.free().iter().all(|&range| self.is_ram(range));
        rule(!low && inside, BootInfoError::FreeNotRam)
    }

    fn check_tables(&self) -> Result<(), BootInfoError> {
        let roots = [self.kernel_cr3, self.ap_cr3];
        let placed = roots.iter().all(|&root| {
            let page = PhysRange {
                base: root,
                bytes: PAGE_BYTES,
            };
            aligned(root) && self.page_tables_phys.contains(page)
        });
        let low = self.ap_cr3 < 1 << 32;
        let trampoline = PhysRange {
            base: self.trampoline_phys,
            bytes: PAGE_BYTES,
        };
        let startable = aligned(trampoline.base) && trampoline.base != 0 && trampoline.end() <= 0xA_0000;
        rule(
            placed && low && startable && self.is_ram(trampoline),
            BootInfoError::PageTables,
        )
    }

    /// Every known user of memory lies in RAM, and no two of them, nor one and free memory, share a byte.
    fn check_placement(&self) -> Result<(), BootInfoError> {
        let table_bytes = self
            .top_frame
            .checked_mul(FRAME_ENTRY_BYTES)
            .ok_or(BootInfoError::Placement)?;
        rule(self.frame_table.bytes >= table_bytes, BootInfoError::Placement)?;
        rule(
            aligned(self.frame_table.base | self.bundle.base | self.bundle.bytes),
            BootInfoError::Placement,
        )?;
        rule(aligned(self.composition.base), BootInfoError::Placement)?;
        rule(
            self.boot_info_phys.contains(self.command_line),
            BootInfoError::Placement,
        )?;
        let kernel_end = self
            .kernel_virt
            .checked_add(self.kernel_phys.bytes)
            .ok_or(BootInfoError::Placement)?;
        let kernel_room = self.kernel_virt >= KERNEL_BASE && kernel_end <= KERNEL_LIMIT;
        rule(
            kernel_room && aligned(self.kernel_phys.base | self.kernel_virt),
            BootInfoError::Placement,
        )?;

        let hidden = |device: PhysRange| self.ram().iter().all(|ram| !ram.overlaps(device));
        rule(self.kernel_devices().all(hidden), BootInfoError::Placement)?;

        let fixed = [
            self.frame_table,
            self.kernel_phys,
            self.boot_info_phys,
            self.page_tables_phys,
            self.bundle,
            self.composition,
        ];
        for (index, &range) in fixed.iter().enumerate() {
            self.check_alone(range, fixed.get(index + 1..).unwrap_or(&[]))?;
        }
        for (index, segment) in self.root_segments().iter().enumerate() {
            let range = segment.frames().ok_or(BootInfoError::Placement)?;
            self.check_alone(range, &fixed)?;
            let others = self.root_segments().get(index + 1..).unwrap_or(&[]);
            let shared = others
                .iter()
                .filter_map(BootSegment::frames)
                .any(|other| other.overlaps(range));
            rule(!shared, BootInfoError::Placement)?;
        }
        Ok(())
    }

    /// `range` is RAM and overlaps neither free memory nor `others`.
    fn check_alone(&self, range: PhysRange, others: &[PhysRange]) -> Result<(), BootInfoError> {
        if range.bytes == 0 {
            return Ok(());
        }
        let taken = self.free().iter().chain(others).any(|other| other.overlaps(range));
        rule(self.is_ram(range) && !taken, BootInfoError::Placement)
    }

    /// Whether `range` lies inside one range of RAM.
    fn is_ram(&self, range: PhysRange) -> bool {
        let exact = range.base.checked_add(range.bytes).is_some();
        exact && self.ram().iter().any(|ram| ram.contains(range))
    }

    fn check_cpus(&self) -> Result<(), BootInfoError> {
        let cpus = self.cpus();
        rule(self.bsp_index < self.cpu_count, BootInfoError::Cpus)?;
        for (index, cpu) in cpus.iter().enumerate() {
            let others = cpus.get(index + 1..).unwrap_or(&[]);
            rule(
                others.iter().all(|other| other.apic_id != cpu.apic_id),
                BootInfoError::Cpus,
            )?;
        }
        Ok(())
    }

    fn check_root(&self) -> Result<(), BootInfoError> {
        let mut lowest = PAGE_BYTES;
        let mut entry_found = false;
        for segment in self.root_segments() {
            let frames = segment.frames().ok_or(BootInfoError::Root)?;
            let end = segment.vaddr.checked_add(frames.bytes).ok_or(BootInfoError::Root)?;
            let room = segment.vaddr >= lowest && end <= USER_LIMIT - PAGE_BYTES;
            rule(
                room && frames.bytes != 0 && aligned(frames.base | segment.vaddr),
                BootInfoError::Root,
            )?;
            let both = SEGMENT_WRITE | SEGMENT_EXECUTE;
            let rights = segment.flags & SEGMENT_READ != 0
                && segment.flags & !(both | SEGMENT_READ) == 0
                && segment.flags & both != both;
            rule(rights, BootInfoError::Root)?;
            let inside = segment.vaddr <= self.root_entry && self.root_entry < end;
            entry_found |= inside && segment.flags & SEGMENT_EXECUTE != 0;
            lowest = end;
        }
        rule(entry_found, BootInfoError::Root)
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
