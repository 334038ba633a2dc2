//! Where everything lies in a guest: guest-physical addresses, I/O ports, interrupt lines. Decided here and nowhere else.
//!
//! Key type: [`Layout`], which depends on how much memory a guest has. Used by every part of the library, and by the process
//! to attach memory.
//!
//! | guest-physical | what |
//! |---|---|
//! | 0 to 0x9fc00 | memory; the loader's tables lie in its first 192 KiB |
//! | 0xe0000 to 0x100000 | ACPI tables, read by the guest as reserved memory |
//! | 1 MiB to at most 3 GiB | memory |
//! | 0xc0000000 | 32-bit window of PCI |
//! | 0xe0000000 | ECAM of one bus |
//! | 0xfec00000, 0xfee00000 | I/O APIC, local APIC and messages |
//! | 4 GiB on | the rest of the memory |
//! | 64 GiB or above memory | 64-bit window of PCI |

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// End of the memory that a PC has below the area of the firmware.
pub const LOW_MEMORY_END: u64 = 0x9_fc00;
/// ACPI tables: the RSDP comes first, where a guest that is told nothing looks for it.
pub const ACPI_TABLES: u64 = 0xe_0000;
/// Bytes that the ACPI tables may take.
pub const ACPI_TABLES_BYTES: u64 = 0x2_0000;
/// Memory beyond the firmware's area.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// Memory below 4 GiB ends here at the latest.
pub const MEMORY_BELOW_4G_END: u64 = 0xc000_0000;
/// Memory goes on here.
pub const MEMORY_ABOVE_4G: u64 = 0x1_0000_0000;

/// 32-bit window of PCI memory.
pub const PCI_WINDOW_32: u64 = 0xc000_0000;
/// Its length in bytes.
pub const PCI_WINDOW_32_BYTES: u64 = 0x2000_0000;
/// Enhanced configuration access of bus 0.
pub const ECAM: u64 = 0xe000_0000;
/// 32 devices of 8 functions with 4 KiB each.
pub const ECAM_BYTES: u64 = 0x10_0000;
/// The I/O APIC's page.
pub const IO_APIC: u64 = 0xfec0_0000;
/// The local APIC's page, where the guest does not move it; messages of devices go to the same megabyte.
pub const LOCAL_APIC: u64 = 0xfee0_0000;
/// Length of the 64-bit window of PCI memory in bytes.
pub const PCI_WINDOW_64_BYTES: u64 = 0x4_0000_0000;
/// Least start of that window.
const PCI_WINDOW_64_MIN: u64 = 0x10_0000_0000;

/// First serial port.
pub const COM1: u16 = 0x3f8;
/// Ports of a 16550.
pub const COM1_PORTS: u16 = 8;
/// Interrupt line of the first serial port.
pub const COM1_LINE: u8 = 4;
/// Address port of the clock and its memory; the data port follows.
pub const RTC: u16 = 0x70;
/// Sleep control, sleep status, reset, events: the power registers.
pub const POWER: u16 = 0x600;
/// Ports of the power registers.
pub const POWER_PORTS: u16 = 4;
/// Interrupt line of the generic event device: the power button.
pub const EVENT_LINE: u8 = 9;
/// Configuration mechanism #1: the address port; the data port is 4 further on.
pub const PCI_CONFIG: u16 = 0xcf8;
/// First port of PCI's I/O window; it reaches to the last port.
pub const PCI_PORTS: u16 = 0xc000;

/// Most vCPUs of a guest.
pub const VCPUS_MAX: usize = 8;

/// A stretch of guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl Stretch {
    /// The first address behind it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

/// How much memory a guest has, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    memory_bytes: u64,
}

impl Layout {
    /// Least memory of a guest in bytes.
    pub const MEMORY_MIN: u64 = 16 << 20;
    /// Most memory of a guest in bytes: what a processor with 40 address bits leaves beside PCI.
    pub const MEMORY_MAX: u64 = 512 << 30;

    /// A guest with so many bytes of memory, rounded down to whole pages. `None` for less than 16 MiB or more than 512 GiB.
    #[must_use]
    pub fn new(memory_bytes: u64) -> Option<Self> {
        (Self::MEMORY_MIN..=Self::MEMORY_MAX)
            .contains(&memory_bytes)
            .then_some(Self {
                memory_bytes: memory_bytes & !(PAGE - 1),
            })
    }

    /// Memory below 4 GiB; begins at 0.
    #[must_use]
    pub fn below_4g(self) -> Stretch {
        Stretch {
            start: 0,
            bytes: self.memory_bytes.min(MEMORY_BELOW_4G_END),
        }
    }

    /// Memory above 4 GiB, if there is any.
    #[must_use]
    pub fn above_4g(self) -> Option<Stretch> {
        let bytes = self.memory_bytes.checked_sub(MEMORY_BELOW_4G_END)?;
        (bytes > 0).then_some(Stretch {
            start: MEMORY_ABOVE_4G,
            bytes,
        })
    }

    /// 64-bit window of PCI memory: above all memory, aligned to its length.
    #[must_use]
    pub fn pci_window_64(self) -> Stretch {
        let memory_end = self.above_4g().map_or(0, Stretch::end);
        let start = memory_end.next_multiple_of(PCI_WINDOW_64_BYTES).max(PCI_WINDOW_64_MIN);
        Stretch {
            start,
            bytes: PCI_WINDOW_64_BYTES,
        }
    }
}
