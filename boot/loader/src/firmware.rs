//! What the boot protocol left: the common result of the multiboot2 and the PVH parser.
//!
//! Key type: [`Firmware`]. Filled by [`crate::multiboot2`] or [`crate::pvh`], read by the binary,
//! [`crate::memory_map`] and [`crate::acpi`]. Everything is copied, because the memory it came from may be used
//! afterwards.

use ecusson_abi::boot::{BootFramebuffer, COMMAND_LINE_MAX};

use crate::report::Report;

/// Most entries of the firmware's memory map that are looked at.
pub const REGION_MAX: usize = 512;

/// One entry of the memory map as the firmware gave it: any alignment, any order, perhaps overlapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First physical address.
    pub base: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// ACPI address range type (ACPI 6.5, 15): 1 is RAM.
    pub kind: u32,
}

/// Bytes of the RSDP that are kept: the whole structure of revision 2.
pub const RSDP_BYTES: usize = 36;

/// Everything from the boot protocol.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The memory map.
    pub regions: [Region; REGION_MAX],
    /// How many of `regions`.
    pub region_count: u32,
    /// Where the RSDP lies, when the protocol names an address.
    pub rsdp_phys: u64,
    /// A copy of the RSDP, when the protocol gives one.
    pub rsdp: Option<[u8; RSDP_BYTES]>,
    /// The command line.
    pub command_line: [u8; COMMAND_LINE_MAX as usize],
    /// Bytes of the command line.
    pub command_line_bytes: usize,
    /// The screen.
    pub framebuffer: BootFramebuffer,
}

impl Firmware {
    /// Nothing known yet.
    #[must_use]
    pub const fn empty() -> Self {
        Firmware {
            regions: [Region {
                base: 0,
                bytes: 0,
                kind: 0,
            }; REGION_MAX],
            region_count: 0,
            rsdp_phys: 0,
            rsdp: None,
            command_line: [0; COMMAND_LINE_MAX as usize],
            command_line_bytes: 0,
            framebuffer: BootFramebuffer {
                phys: 0,
                pitch: 0,
                width: 0,
                height: 0,
                bits: 0,
                red: [0; 2],
                green: [0; 2],
                blue: [0; 2],
                reserved: [0; 2],
            },
        }
    }

    /// The memory map's entries.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        self.regions.get(..self.region_count as usize).unwrap_or(&[])
    }

    /// The command line.
    #[must_use]
    pub fn command_line(&self) -> &[u8] {
        self.command_line.get(..self.command_line_bytes).unwrap_or(&[])
    }

    /// Takes the command line up to its zero, or as much as there is room for.
    pub fn set_command_line<R: Report>(&mut self, text: &[u8], report: &mut R) {
        let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let kept = length.min(self.command_line.len());
        if kept < length {
            report.line(format_args!("command line cut at {kept} bytes; make it shorter"));
        }
        if let (Some(room), Some(text)) = (self.command_line.get_mut(..kept), text.get(..kept)) {
            room.copy_from_slice(text);
            self.command_line_bytes = kept;
        }
    }
}
