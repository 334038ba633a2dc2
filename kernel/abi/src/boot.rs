//! The [`BootInfo`] that the loader hands to the kernel. Types and sizes, no logic.
//!
//! Written by `boot/loader`, which checks every rule stated here (`ecusson_loader::check`), read by the kernel, which relies on them.

use static_assertions::const_assert_eq;

use core::mem::{offset_of, size_of};

mod lists;

/// Bytes of the page every address and length here is aligned to.
pub const PAGE_BYTES: u64 = crate::PAGE_BYTES;

/// Virtual address where physical address 0 appears. Mapped: every page of [`BootInfo::ram`] except the kernel's own
/// pages (`kernel_phys`), writable, never executable.
pub const DIRECT_MAP_BASE: u64 = 0xFFFF_8000_0000_0000;
/// Physical addresses at or above this limit do not appear in the direct map and are not used as RAM.
pub const DIRECT_MAP_LIMIT: u64 = 1 << 46;
/// Lowest virtual address of the kernel's segments.
pub const KERNEL_BASE: u64 = 0xFFFF_FFFF_8000_0000;
/// First virtual address behind the room of the kernel's segments.
pub const KERNEL_LIMIT: u64 = 0xFFFF_FFFF_C000_0000;
/// Where the kernel stacks of core 0 begin; see [`stack_top`].
pub const STACKS_BASE: u64 = 0xFFFF_FFFF_C000_0000;
/// Distance between the stack areas of two cores.
pub const STACKS_STRIDE: u64 = 0x4_0000;
/// Room of one stack with its guard: the stack fills the upper end, everything below it is unmapped.
pub const STACK_SLOT_BYTES: u64 = 0x8000;
/// Virtual address of the local APIC page, mapped uncached, when the processor has xAPIC.
pub const LOCAL_APIC_VIRT: u64 = 0xFFFF_FFFF_E000_0000;
/// Virtual address of the HPET page, mapped uncached, when [`BootInfo::hpet_phys`] is not 0.
pub const HPET_VIRT: u64 = 0xFFFF_FFFF_E000_1000;
/// Virtual address of the page of I/O APIC 0, mapped uncached; I/O APIC `n` (index in [`BootInfo::io_apics`]) is `n`
/// pages on.
pub const IO_APIC_VIRT: u64 = 0xFFFF_FFFF_E001_0000;
/// First address that user mode can not have.
pub const USER_LIMIT: u64 = 0x0000_8000_0000_0000;

/// Most segments of one [`FlatImage`].
pub const SEGMENT_MAX: usize = 8;
/// A segment may be read. Always set.
pub const SEGMENT_READ: u32 = 1;
/// A segment may be written. Never together with [`SEGMENT_EXECUTE`].
pub const SEGMENT_WRITE: u32 = 2;
/// A segment may be executed.
pub const SEGMENT_EXECUTE: u32 = 4;

/// The stacks that every core gets, in the order of their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StackKind {
    /// System calls, interrupts, exceptions.
    Main = 0,
    /// Non-maskable interrupts.
    NonMaskable = 1,
    /// Double faults.
    DoubleFault = 2,
    /// Machine checks.
    MachineCheck = 3,
    /// Debug exceptions.
    Debug = 4,
}

impl StackKind {
    /// All of them, in slot order.
    pub const ALL: [StackKind; 5] = [
        StackKind::Main,
        StackKind::NonMaskable,
        StackKind::DoubleFault,
        StackKind::MachineCheck,
        StackKind::Debug,
    ];

    /// Mapped bytes of a stack of this kind.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            StackKind::Main => 0x4000,
            _ => 0x2000,
        }
    }
}

/// The first address above the stack `kind` of the core with index `core` in [`BootInfo::cpus`] (page aligned: an
/// initial stack pointer). Mapped below it are `kind.bytes()` bytes, then at least one unmapped page.
#[must_use]
pub const fn stack_top(core: u32, kind: StackKind) -> u64 {
    STACKS_BASE + core as u64 * STACKS_STRIDE + (kind as u64 + 1) * STACK_SLOT_BYTES
}

/// First word of [`BootInfo`]: "ECUBOOTI" read as little-endian bytes.
pub const BOOT_INFO_MAGIC: u64 = u64::from_le_bytes(*b"ECUBOOTI");
/// Version of [`BootInfo`] that this source describes.
pub const BOOT_INFO_VERSION: u32 = 1;
/// Bytes of one entry of the frame table.
pub const FRAME_ENTRY_BYTES: u64 = 16;
/// Most cores.
pub const CPU_MAX: usize = 64;
/// Most ranges in each of `ram`, `free` and `reserved`.
pub const RANGE_MAX: usize = 128;
/// Most I/O APICs.
pub const IO_APIC_MAX: usize = 16;
/// Most interrupt source overrides.
pub const OVERRIDE_MAX: usize = 32;
/// Most PCI configuration windows.
pub const ECAM_MAX: usize = 8;
/// Most memory affinity ranges.
pub const MEMORY_NODE_MAX: usize = 64;
/// Most IOMMUs.
pub const IOMMU_MAX: usize = 16;
/// Most bytes of the command line.
pub const COMMAND_LINE_MAX: u64 = 4096;

/// [`BootInfo::flags`]: after a panic halt for good (`panic=halt`) instead of resetting the machine.
pub const BOOT_PANIC_HALT: u64 = 1;
/// [`BootInfo::flags`]: a test run (`test`): a panic and power-off end the emulator through its exit port.
pub const BOOT_DEBUG_EXIT: u64 = 2;
/// [`BootInfo::flags`]: no processor mitigations, and start on processors that would need some (`mitigations=off`).
pub const BOOT_MITIGATIONS_OFF: u64 = 4;
/// [`BootInfo::flags`]: every mitigation the processor offers, needed or not (`mitigations=on`). Neither bit: as the
/// processor needs (`mitigations=auto`).
pub const BOOT_MITIGATIONS_ON: u64 = 8;

/// A range of physical addresses (in a segment's check: of virtual ones).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PhysRange {
    /// First address.
    pub base: u64,
    /// Length in bytes. `base + bytes` does not overflow in a checked structure.
    pub bytes: u64,
}
const_assert_eq!(size_of::<PhysRange>(), 16);

impl PhysRange {
    /// First address behind the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.bytes)
    }

    /// Whether the two have a byte in common.
    #[must_use]
    pub const fn overlaps(self, other: PhysRange) -> bool {
        self.base < other.end() && other.base < self.end()
    }

    /// Whether `other` lies inside, entirely.
    #[must_use]
    pub const fn contains(self, other: PhysRange) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }
}

/// A processor that the firmware reports as usable, [`BootCpu::flags`].
pub const CPU_ENABLED: u32 = 1;
/// Not enabled at boot, but can be switched on later (ACPI 6.5, 5.2.12.2, "online capable"); the kernel does not
/// start it.
pub const CPU_ONLINE_CAPABLE: u32 = 2;

/// One logical processor. Index 0 is not necessarily the one that booted: see [`BootInfo::bsp_index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootCpu {
    /// Local APIC id; above 254 only usable with x2APIC.
    pub apic_id: u32,
    /// ACPI processor UID, as the local APIC NMI entries use it.
    pub acpi_id: u32,
    /// Proximity domain by SRAT, 0 without SRAT.
    pub node: u32,
    /// [`CPU_ENABLED`] or [`CPU_ONLINE_CAPABLE`].
    pub flags: u32,
}
const_assert_eq!(size_of::<BootCpu>(), 16);

/// One I/O APIC (ACPI 6.5, 5.2.12.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootIoApic {
    /// Physical address of its registers, page aligned in practice; mapped at [`IO_APIC_VIRT`] with the same offset
    /// in the page.
    pub phys: u64,
    /// Its id.
    pub id: u32,
    /// The global system interrupt of its input 0.
    pub gsi_base: u32,
}
const_assert_eq!(size_of::<BootIoApic>(), 16);

/// An ISA interrupt that arrives elsewhere (ACPI 6.5, 5.2.12.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootOverride {
    /// ISA interrupt number.
    pub source: u32,
    /// Global system interrupt it arrives at.
    pub gsi: u32,
    /// MPS INTI flags: bits 0-1 polarity, bits 2-3 trigger mode, 0 = conforms to the bus.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<BootOverride>(), 16);

/// Which local APIC pin is wired to NMI (ACPI 6.5, 5.2.12.7), all cores with one entry when `acpi_id` is `u32::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootLocalNmi {
    /// ACPI processor UID, `u32::MAX` for all.
    pub acpi_id: u32,
    /// LINT pin, 0 or 1.
    pub lint: u32,
    /// MPS INTI flags.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<BootLocalNmi>(), 16);

/// One PCI memory mapped configuration window (PCI Firmware 3.3, 4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootEcam {
    /// Physical address of bus 0 of the segment (also when `start_bus` is not 0).
    pub base: u64,
    /// PCI segment group.
    pub segment: u16,
    /// First bus.
    pub start_bus: u8,
    /// Last bus.
    pub end_bus: u8,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<BootEcam>(), 16);

impl BootEcam {
    /// Where the window's buses are: 1 MiB each.
    #[must_use]
    pub const fn window(self) -> PhysRange {
        let buses = (self.end_bus as u64 + 1).saturating_sub(self.start_bus as u64);
        PhysRange {
            base: self.base.saturating_add((self.start_bus as u64) << 20),
            bytes: buses << 20,
        }
    }
}

/// Memory that is near to one proximity domain (ACPI 6.5, 5.2.16.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootMemoryNode {
    /// The memory.
    pub range: PhysRange,
    /// Proximity domain.
    pub node: u32,
    /// SRAT flags: bit 1 hot-pluggable, bit 2 non-volatile.
    pub flags: u32,
}
const_assert_eq!(size_of::<BootMemoryNode>(), 24);

/// [`BootIommu::kind`]: an Intel remapping unit (DMAR, DRHD).
pub const IOMMU_INTEL: u32 = 1;
/// [`BootIommu::kind`]: an AMD IOMMU (IVRS, IVHD).
pub const IOMMU_AMD: u32 = 2;

/// One IOMMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootIommu {
    /// Physical address of its registers.
    pub phys: u64,
    /// [`IOMMU_INTEL`] or [`IOMMU_AMD`].
    pub kind: u32,
    /// PCI segment group.
    pub segment: u16,
    /// Intel: flags of the DRHD (bit 0: all devices of the segment), in the upper byte the size of the registers: 4 KiB
    /// times 2 to the power of bits 8 to 11. AMD: its own bus:device.function.
    pub detail: u16,
}
const_assert_eq!(size_of::<BootIommu>(), 16);

impl BootIommu {
    /// Where its registers are. AMD: 16 KiB, or 512 KiB, aligned so, where it counts events (AMD I/O Virtualization 3.08, 3.4).
    #[must_use]
    pub const fn registers(self) -> PhysRange {
        let bytes = match self.kind {
            IOMMU_INTEL => PAGE_BYTES << (self.detail >> 8 & 0xF),
            _ if self.phys.is_multiple_of(0x8_0000) => 0x8_0000,
            _ => 0x4000,
        };
        PhysRange { base: self.phys, bytes }
    }
}

/// What a physical range that is not RAM holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ReservedKind {
    /// Reserved by the firmware, no more is known.
    Firmware = 2,
    /// ACPI tables.
    AcpiTables = 3,
    /// ACPI non-volatile storage.
    AcpiNvs = 4,
    /// Faulty memory: never map it.
    Defective = 5,
    /// Persistent memory.
    Persistent = 7,
}

/// A range of the firmware's memory map that is not RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootReserved {
    /// The range, as the firmware said: not necessarily page aligned.
    pub range: PhysRange,
    /// A [`ReservedKind`]; unknown numbers mean [`ReservedKind::Firmware`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<BootReserved>(), 24);

/// Address space of an ACPI register: memory. (ACPI 6.5, 5.2.3.2)
pub const REGISTER_MEMORY: u32 = 0;
/// Address space of an ACPI register: I/O ports.
pub const REGISTER_PORT: u32 = 1;

/// A register as ACPI names it; absent when `address` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootRegister {
    /// Port number or physical address.
    pub address: u64,
    /// [`REGISTER_MEMORY`] or [`REGISTER_PORT`].
    pub space: u32,
    /// Width in bits.
    pub bits: u32,
}
const_assert_eq!(size_of::<BootRegister>(), 16);

/// [`BootFadt::flags`]: the FADT is there and its checksum is right.
pub const FADT_PRESENT: u32 = 1;
/// [`BootFadt::flags`]: `reset` and `reset_value` may be used.
pub const FADT_RESET: u32 = 2;
/// [`BootFadt::flags`]: the PM timer counts 32 bits, else 24.
pub const FADT_TIMER_32_BITS: u32 = 4;
/// [`BootFadt::flags`]: the platform is hardware-reduced: there are no PM1 and PM timer registers.
pub const FADT_HARDWARE_REDUCED: u32 = 8;
/// [`BootFadt::flags`]: `sleep_type_a` and `sleep_type_b` were found: writing them to PM1 control switches the
/// machine off.
pub const FADT_SOFT_OFF: u32 = 16;

/// What is needed of the FADT (ACPI 6.5, 5.2.9) and of `\_S5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootFadt {
    /// `FADT_*`.
    pub flags: u32,
    /// IAPC_BOOT_ARCH: bit 0 legacy devices, bit 1 8042, bit 2 no VGA, bit 3 no MSI, bit 5 no CMOS clock.
    pub boot_architecture: u16,
    /// Interrupt of the system control interrupt (global system interrupt number).
    pub sci: u16,
    /// CMOS index of the century, 0 when there is none.
    pub century: u8,
    /// Value to write to `reset`.
    pub reset_value: u8,
    /// SLP_TYP for PM1a in the state S5.
    pub sleep_type_a: u8,
    /// SLP_TYP for PM1b in the state S5.
    pub sleep_type_b: u8,
    /// Zero.
    pub reserved: u32,
    /// Reset register.
    pub reset: BootRegister,
    /// PM1a control.
    pub pm1a_control: BootRegister,
    /// PM1b control.
    pub pm1b_control: BootRegister,
    /// PM timer, 3,579,545 Hz.
    pub pm_timer: BootRegister,
}
const_assert_eq!(size_of::<BootFadt>(), 80);

/// A screen that the boot loader set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootFramebuffer {
    /// Physical address, 0 when there is none.
    pub phys: u64,
    /// Bytes from one line to the next.
    pub pitch: u32,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits of a pixel.
    pub bits: u32,
    /// Bit position and bit count of red, green and blue in a pixel.
    pub red: [u8; 2],
    /// See `red`.
    pub green: [u8; 2],
    /// See `red`.
    pub blue: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
}
const_assert_eq!(size_of::<BootFramebuffer>(), 32);

/// A segment of the root process, already in page-aligned frames of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootSegment {
    /// Physical address of its first page; the pages are contiguous.
    pub phys: u64,
    /// Virtual address of its first page.
    pub vaddr: u64,
    /// How many pages.
    pub pages: u64,
    /// `SEGMENT_*`.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<BootSegment>(), 32);

/// Everything that the kernel learns about the machine. It lies in pages of its own (not in `free`), and the kernel
/// gets its address in the direct map.
///
/// # The state at the kernel's entry point
/// `rdi` = virtual address of this structure; `rsp` = [`stack_top`]`(bsp_index, Main) - 8`, holding a zero return
/// address; long mode, interrupts off, direction flag clear; CR0 = PE, MP, ET, NE, WP, PG; CR4 = PAE, PGE, OSFXSR,
/// OSXMMEXCPT; EFER = LME, LMA, NXE (and no more); CR3 = `ap_cr3`, which the kernel replaces by `kernel_cr3` first of
/// all. Segment registers hold flat descriptors of a table that is no longer mapped, and there is no interrupt table:
/// the kernel loads its own before anything can fault.
///
/// # Page tables
/// All used entries of the kernel half (256 to 511 of the top level) exist and never change afterwards; a new address
/// space copies all 256. Kernel mappings are global. The direct map uses the largest pages that fit.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// [`BOOT_INFO_MAGIC`].
    pub magic: u64,
    /// [`BOOT_INFO_VERSION`].
    pub version: u32,
    /// `size_of::<BootInfo>()`.
    pub struct_bytes: u32,
    /// [`DIRECT_MAP_BASE`].
    pub direct_map_base: u64,
    /// First frame number behind the last RAM; the frame table has that many entries.
    pub top_frame: u64,
    /// The frame table: `top_frame` entries of [`FRAME_ENTRY_BYTES`], zeroed, rounded up to whole pages.
    pub frame_table: PhysRange,
    /// Page table of the kernel, no user half.
    pub kernel_cr3: u64,
    /// The same with the trampoline page mapped at its physical address, executable; below 4 GiB.
    pub ap_cr3: u64,
    /// One free page below 640 KiB for the start of other cores.
    pub trampoline_phys: u64,
    /// The kernel's frames: its image, then the stacks. Not in the direct map.
    pub kernel_phys: PhysRange,
    /// Virtual address that `kernel_phys.base` is mapped at: the first kernel segment.
    pub kernel_virt: u64,
    /// This structure and the command line.
    pub boot_info_phys: PhysRange,
    /// All page tables the loader made.
    pub page_tables_phys: PhysRange,
    /// Command line without its final zero; `bytes` at most [`COMMAND_LINE_MAX`].
    pub command_line: PhysRange,
    /// The bundle's pages, whole pages; both 0 when empty.
    pub bundle: PhysRange,
    /// The composition; `base` page aligned, `bytes` exact, the rest of its last page is zero.
    pub composition: PhysRange,
    /// Physical address of a copy of the RSDP (36 bytes, inside `boot_info_phys`), 0 when none was found.
    pub rsdp_phys: u64,
    /// Physical address of the local APIC's registers.
    pub local_apic_phys: u64,
    /// Physical address of the HPET, 0 when there is none.
    pub hpet_phys: u64,
    /// Physical address of the DMAR table, 0 when there is none.
    pub dmar_phys: u64,
    /// Physical address of the IVRS table, 0 when there is none.
    pub ivrs_phys: u64,
    /// Entry point of root.
    pub root_entry: u64,
    /// What the command line asks of the kernel, `BOOT_*`: the loader parses, the kernel does not.
    pub flags: u64,
    /// Index of the booting core in `cpus`.
    pub bsp_index: u32,
    /// How many of `cpus`; at least 1.
    pub cpu_count: u32,
    /// How many of `ram`.
    pub ram_count: u32,
    /// How many of `free`.
    pub free_count: u32,
    /// How many of `reserved`.
    pub reserved_count: u32,
    /// How many of `io_apics`.
    pub io_apic_count: u32,
    /// How many of `overrides`.
    pub override_count: u32,
    /// How many of `local_nmis`.
    pub local_nmi_count: u32,
    /// How many of `ecam`.
    pub ecam_count: u32,
    /// How many of `memory_nodes`.
    pub memory_node_count: u32,
    /// How many of `iommus`.
    pub iommu_count: u32,
    /// How many of `root_segments`.
    pub root_segment_count: u32,
    /// From the FADT.
    pub fadt: BootFadt,
    /// The screen.
    pub framebuffer: BootFramebuffer,
    /// The cores; index = the kernel's core number. Those with [`CPU_ENABLED`] come first, and only they have stacks.
    pub cpus: [BootCpu; CPU_MAX],
    /// All RAM, whole pages, ascending, not touching each other.
    pub ram: [PhysRange; RANGE_MAX],
    /// The part of `ram` that nobody uses: whole pages, ascending, not touching, from 1 MiB up.
    pub free: [PhysRange; RANGE_MAX],
    /// What the firmware's memory map lists besides RAM, ascending.
    pub reserved: [BootReserved; RANGE_MAX],
    /// I/O APICs.
    pub io_apics: [BootIoApic; IO_APIC_MAX],
    /// Interrupt source overrides.
    pub overrides: [BootOverride; OVERRIDE_MAX],
    /// NMI wiring.
    pub local_nmis: [BootLocalNmi; OVERRIDE_MAX],
    /// PCI configuration windows.
    pub ecam: [BootEcam; ECAM_MAX],
    /// Which memory is near to whom.
    pub memory_nodes: [BootMemoryNode; MEMORY_NODE_MAX],
    /// IOMMUs.
    pub iommus: [BootIommu; IOMMU_MAX],
    /// The root process.
    pub root_segments: [BootSegment; SEGMENT_MAX],
    /// Wall clock, nanoseconds since 1970 UTC, 0 when there is none: read by the loader, to the second, a moment before the
    /// kernel begins.
    pub wall_clock_ns: u64,
}
const_assert_eq!(offset_of!(BootInfo, kernel_cr3), 48);
const_assert_eq!(offset_of!(BootInfo, ap_cr3), 56);
const_assert_eq!(offset_of!(BootInfo, trampoline_phys), 64);
const_assert_eq!(offset_of!(BootInfo, kernel_phys), 72);
const_assert_eq!(offset_of!(BootInfo, bsp_index), 232);
const_assert_eq!(offset_of!(BootInfo, fadt), 280);
const_assert_eq!(offset_of!(BootInfo, cpus), 392);
const_assert_eq!(offset_of!(BootInfo, root_segments), 11784);
const_assert_eq!(offset_of!(BootInfo, wall_clock_ns), 12040);
const_assert_eq!(size_of::<BootInfo>(), 12048);

/// The used part of an array with a count; a count that lies gives the whole array, which a check refuses before.
#[must_use]
pub fn clamp<T>(items: &[T], count: u32) -> &[T] {
    items.get(..count as usize).unwrap_or(items)
}

/// Whether `value` is a multiple of the page size.
#[must_use]
pub const fn aligned(value: u64) -> bool {
    value.is_multiple_of(PAGE_BYTES)
}
