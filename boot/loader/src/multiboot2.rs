//! The multiboot2 information (Multiboot2 Specification 2.0, 3.6): how GRUB starts us on BIOS and UEFI machines.
//!
//! Called by the binary; fills a [`Firmware`]. Only the tags that are used are looked into; modules are ignored.

use ecusson_abi::boot::BootFramebuffer;

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::firmware::{Firmware, RSDP_BYTES, Region};
use crate::list::push;
use crate::physical::Physical;
use crate::report::{Fault, Report};

/// What a multiboot2 boot loader leaves in EAX.
pub const MAGIC: u32 = 0x36d7_6289;
/// Longest information that is read.
const INFORMATION_MAX: u64 = 1 << 20;

const TAG_END: u32 = 0;
const TAG_COMMAND_LINE: u32 = 1;
const TAG_MEMORY_MAP: u32 = 6;
const TAG_FRAMEBUFFER: u32 = 8;
const TAG_RSDP_OLD: u32 = 14;
const TAG_RSDP_NEW: u32 = 15;

const WRONG: Fault = Fault::new(
    "the multiboot2 information is damaged",
    "use a boot loader that follows multiboot2, such as GRUB 2",
);
const NO_MAP: Fault = Fault::new("the boot loader gave no memory map", "use GRUB 2.02 or newer");

/// Reads the information at `at`.
///
/// # Errors
/// It can't be read, a tag reaches beyond its end, or there is no memory map.
pub fn parse<P: Physical, R: Report>(
    memory: &P,
    at: u64,
    firmware: &mut Firmware,
    report: &mut R,
) -> Result<(), Fault> {
    let start = memory.read(at, 8).ok_or(WRONG)?;
    let total = u64::from(u32_at(start, 0).ok_or(WRONG)?);
    if total > INFORMATION_MAX {
        return Err(WRONG);
    }
    let information = memory.read(at, total).ok_or(WRONG)?;
    let mut rest = information.get(8..).ok_or(WRONG)?;
    // Every round takes at least 8 bytes off, so this ends.
    while !rest.is_empty() {
        let kind = u32_at(rest, 0).ok_or(WRONG)?;
        let length = u32_at(rest, 4).ok_or(WRONG)? as usize;
        if kind == TAG_END {
            break;
        }
        let tag = if length < 8 { None } else { rest.get(..length) }.ok_or(WRONG)?;
        take_tag(kind, tag, firmware, report);
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or(&[]);
    }
    if firmware.region_count == 0 {
        Err(NO_MAP)
    } else {
        Ok(())
    }
}

fn take_tag<R: Report>(kind: u32, tag: &[u8], firmware: &mut Firmware, report: &mut R) {
    match kind {
        TAG_COMMAND_LINE => firmware.set_command_line(tag.get(8..).unwrap_or(&[]), report),
        TAG_MEMORY_MAP => take_memory_map(tag, firmware, report),
        TAG_FRAMEBUFFER => {
            if let Some(framebuffer) = framebuffer(tag) {
                firmware.framebuffer = framebuffer;
            }
        }
        TAG_RSDP_OLD if firmware.rsdp.is_none() => firmware.rsdp = rsdp(tag, 20),
        TAG_RSDP_NEW => firmware.rsdp = rsdp(tag, RSDP_BYTES).or(firmware.rsdp),
        _ => {}
    }
}

fn take_memory_map<R: Report>(tag: &[u8], firmware: &mut Firmware, report: &mut R) {
    let entry_bytes = u32_at(tag, 8).unwrap_or(0) as usize;
    let Some(table) = tag.get(16..).filter(|_| entry_bytes >= 20) else {
        report.line(format_args!("memory map with entries of {entry_bytes} bytes; ignored"));
        return;
    };
    for entry in table.chunks_exact(entry_bytes) {
        let region = Region {
            base: u64_at(entry, 0).unwrap_or(0),
            bytes: u64_at(entry, 8).unwrap_or(0),
            kind: u32_at(entry, 16).unwrap_or(0),
        };
        if !push(&mut firmware.regions, &mut firmware.region_count, region) {
            report.line(format_args!("memory map is too long; its last entries are left out"));
            return;
        }
    }
}

/// The copy of the RSDP in a tag, filled up with zeros.
fn rsdp(tag: &[u8], bytes: usize) -> Option<[u8; RSDP_BYTES]> {
    let mut copy = [0; RSDP_BYTES];
    copy.get_mut(..bytes)?.copy_from_slice(tag.get(8..8 + bytes)?);
    Some(copy)
}

/// A screen with direct colours (type 1); text and palette screens are of no use here.
fn framebuffer(tag: &[u8]) -> Option<BootFramebuffer> {
    if u8_at(tag, 29)? != 1 {
        return None;
    }
    let colour = |at| Some([u8_at(tag, at)?, u8_at(tag, at + 1)?]);
    // Two reserved bytes follow the type: the colour fields begin at 32.
    let first = if u16_at(tag, 30).is_some() { 32 } else { return None };
    Some(BootFramebuffer {
        phys: u64_at(tag, 8)?,
        pitch: u32_at(tag, 16)?,
        width: u32_at(tag, 20)?,
        height: u32_at(tag, 24)?,
        bits: u32::from(u8_at(tag, 28)?),
        red: colour(first)?,
        green: colour(first + 2)?,
        blue: colour(first + 4)?,
        reserved: [0; 2],
    })
}
