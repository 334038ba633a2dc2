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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Lines, Memory};

    fn tag(kind: u32, content: &[u8]) -> Vec<u8> {
        let mut tag = [kind.to_le_bytes(), (content.len() as u32 + 8).to_le_bytes()].concat();
        tag.extend(content);
        tag.resize(tag.len().next_multiple_of(8), 0);
        tag
    }

    fn map(entry_bytes: u32, entries: &[(u64, u64, u32)]) -> Vec<u8> {
        let mut content = [entry_bytes.to_le_bytes(), 0u32.to_le_bytes()].concat();
        for (base, bytes, kind) in entries {
            let mut entry = [base.to_le_bytes(), bytes.to_le_bytes(), u64::from(*kind).to_le_bytes()].concat();
            entry.resize(entry_bytes as usize, 0);
            content.extend(entry);
        }
        tag(TAG_MEMORY_MAP, &content)
    }

    fn information(tags: &[Vec<u8>]) -> Vec<u8> {
        let body = [tags.concat(), tag(TAG_END, &[])].concat();
        [(body.len() as u32 + 8).to_le_bytes().to_vec(), vec![0; 4], body].concat()
    }

    fn read(information: Vec<u8>) -> (Result<(), Fault>, Box<Firmware>, Lines) {
        let (mut firmware, mut lines) = (Box::new(Firmware::empty()), Lines::default());
        let memory = Memory::default().with(0x8000, information);
        let result = parse(&memory, 0x8000, &mut firmware, &mut lines);
        (result, firmware, lines)
    }

    fn typical() -> Vec<u8> {
        let mut screen = vec![0; 30];
        screen[..8].copy_from_slice(&0xFD00_0000u64.to_le_bytes());
        screen[20] = 32;
        screen[21] = 1;
        screen[24..30].copy_from_slice(&[16, 8, 8, 8, 0, 8]);
        let mut old = b"RSD PTR ".to_vec();
        old.resize(20, 7);
        let new = [old.clone(), vec![9; 16]].concat();
        information(&[
            tag(TAG_COMMAND_LINE, b"test\0"),
            tag(77, b"unknown"),
            map(24, &[(0, 0x9_F000, 1), (0x10_0000, 0x100_0000, 1)]),
            tag(TAG_RSDP_NEW, &new),
            tag(TAG_RSDP_OLD, &old),
            tag(TAG_FRAMEBUFFER, &screen),
        ])
    }

    /// Catches a wrong offset, a tag that is not skipped by its padded length, and an old RSDP that replaces a new
    /// one.
    #[test]
    fn reads_what_grub_writes() {
        let (result, firmware, lines) = read(typical());
        assert_eq!((result, lines.0.len()), (Ok(()), 0));
        assert_eq!(firmware.command_line(), b"test");
        assert_eq!(
            firmware.regions()[1],
            Region {
                base: 0x10_0000,
                bytes: 0x100_0000,
                kind: 1
            }
        );
        assert_eq!(firmware.rsdp.map(|rsdp| (rsdp[8], rsdp[35])), Some((7, 9)));
        let screen = firmware.framebuffer;
        assert_eq!(
            (screen.phys, screen.bits, screen.red, screen.blue),
            (0xFD00_0000, 32, [16, 8], [0, 8])
        );
    }

    /// Catches an endless loop or a read beyond the end: every truncation and every changed byte ends, one way or the
    /// other.
    #[test]
    fn survives_every_damage() {
        let good = typical();
        for length in 0..good.len() {
            let _ = read(good[..length].to_vec());
        }
        for at in 0..good.len() {
            for value in [0, 1, 7, 0x7F, 0x80, 0xFF] {
                let mut damaged = good.clone();
                damaged[at] = value;
                let _ = read(damaged);
            }
        }
    }

    /// Catches a missing check of lengths.
    #[test]
    fn refuses_lies() {
        assert_eq!(read(information(&[])).0, Err(NO_MAP));
        assert_eq!(read(information(&[map(16, &[(0, 1, 1)])])).0, Err(NO_MAP));
        let mut short = information(&[map(24, &[(0, 1, 1)])]);
        short[12] = 3;
        assert_eq!(read(short.clone()).0, Err(WRONG));
        short[12] = 0xF8;
        assert_eq!(read(short.clone()).0, Err(WRONG));
        short[2] = 0xFF;
        assert_eq!(read(short).0, Err(WRONG));
        let many: Vec<_> = (0..600).map(|index| (index << 12, 1, 1)).collect();
        let (result, firmware, lines) = read(information(&[map(40, &many)]));
        assert_eq!((result, firmware.region_count, lines.0.len()), (Ok(()), 512, 1));
    }
}
