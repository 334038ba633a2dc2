//! The PVH start information (Xen, `xen/include/public/arch-x86/hvm/start_info.h`): how QEMU's `-kernel` and Xen start us.
//!
//! Called by the binary; fills a [`Firmware`].

use ecusson_abi::boot::COMMAND_LINE_MAX;

use crate::bytes::{u32_at, u64_at};
use crate::firmware::{Firmware, Region};
use crate::list::push;
use crate::physical::Physical;
use crate::report::{Fault, Report};

/// `hvm_start_info.magic`.
pub const MAGIC: u32 = 0x336e_c578;
/// Bytes of `hvm_start_info`, version 1.
const START_INFO_BYTES: u64 = 56;
/// Bytes of one `hvm_memmap_table_entry`.
const ENTRY_BYTES: u64 = 24;

const WRONG: Fault = Fault::new(
    "the PVH start information is missing or has no memory map",
    "start it with QEMU 4.0 or newer, or by multiboot2",
);

/// Reads the start information at `at`.
///
/// # Errors
/// It is not there, is of version 0 (without a memory map), or its memory map can't be read.
pub fn parse<P: Physical, R: Report>(
    memory: &P,
    at: u64,
    firmware: &mut Firmware,
    report: &mut R,
) -> Result<(), Fault> {
    let info = memory.read(at, START_INFO_BYTES).ok_or(WRONG)?;
    let version = u32_at(info, 4).ok_or(WRONG)?;
    if u32_at(info, 0) != Some(MAGIC) || version == 0 {
        return Err(WRONG);
    }
    let command_line = u64_at(info, 24).unwrap_or(0);
    firmware.rsdp_phys = u64_at(info, 32).unwrap_or(0);
    let map = u64_at(info, 40).ok_or(WRONG)?;
    let entries = u32_at(info, 48).ok_or(WRONG)?;

    let table = memory.read(map, u64::from(entries) * ENTRY_BYTES).ok_or(WRONG)?;
    for entry in table.chunks_exact(ENTRY_BYTES as usize) {
        let region = Region {
            base: u64_at(entry, 0).unwrap_or(0),
            bytes: u64_at(entry, 8).unwrap_or(0),
            kind: u32_at(entry, 16).unwrap_or(0),
        };
        if !push(&mut firmware.regions, &mut firmware.region_count, region) {
            report.line(format_args!(
                "memory map has {entries} entries; the last ones are left out"
            ));
            break;
        }
    }
    if command_line != 0 {
        if let Some(text) = readable_text(memory, command_line) {
            firmware.set_command_line(text, report);
        } else {
            report.line(format_args!("command line at {command_line:#x} can't be read; ignored"));
        }
    }
    Ok(())
}

/// The bytes from `at`, one more than the longest command line, or as far as memory reaches up to a page's end.
fn readable_text<P: Physical>(memory: &P, at: u64) -> Option<&[u8]> {
    let to_page_end = 4096 - at % 4096;
    memory
        .read(at, COMMAND_LINE_MAX + 1)
        .or_else(|| memory.read(at, to_page_end))
}
