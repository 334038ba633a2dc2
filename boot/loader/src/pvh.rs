//! The PVH start information (Xen, `xen/include/public/arch-x86/hvm/start_info.h`): how QEMU's `-kernel` and Xen
//! start us.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Lines, Memory};

    fn start_info(map: u64, entries: u32, command_line: u64) -> Vec<u8> {
        let mut info = vec![0; START_INFO_BYTES as usize];
        info[..4].copy_from_slice(&MAGIC.to_le_bytes());
        info[4] = 1;
        info[24..32].copy_from_slice(&command_line.to_le_bytes());
        info[32..40].copy_from_slice(&0xE_0010u64.to_le_bytes());
        info[40..48].copy_from_slice(&map.to_le_bytes());
        info[48..52].copy_from_slice(&entries.to_le_bytes());
        info
    }

    fn entry(base: u64, bytes: u64, kind: u32) -> Vec<u8> {
        [base.to_le_bytes(), bytes.to_le_bytes(), u64::from(kind).to_le_bytes()].concat()
    }

    fn read(memory: &Memory) -> (Result<(), Fault>, Box<Firmware>, Lines) {
        let (mut firmware, mut lines) = (Box::new(Firmware::empty()), Lines::default());
        let result = parse(memory, 0x1000, &mut firmware, &mut lines);
        (result, firmware, lines)
    }

    /// Catches a wrong offset in the structure or the table.
    #[test]
    fn reads_what_qemu_writes() {
        let table = [entry(0, 0x9_FC00, 1), entry(0xF_0000, 0x1_0000, 2)].concat();
        let memory = Memory::default()
            .with(0x1000, start_info(0x2000, 2, 0x2FF0))
            .with(0x2000, table)
            .with(0x2FF0, b"panic=halt x\0yyy".to_vec());
        let (result, firmware, lines) = read(&memory);
        assert_eq!(result, Ok(()));
        assert_eq!(
            firmware.regions()[1],
            Region {
                base: 0xF_0000,
                bytes: 0x1_0000,
                kind: 2
            }
        );
        assert_eq!((firmware.regions().len(), firmware.rsdp_phys), (2, 0xE_0010));
        assert_eq!(firmware.command_line(), b"panic=halt x");
        assert!(lines.0.is_empty());
    }

    /// Catches a missing check: wrong magic, version 0, a table that is not there.
    #[test]
    fn refuses_what_is_not_there() {
        assert_eq!(read(&Memory::default()).0, Err(WRONG));
        for (at, value) in [(0, 0), (4, 0)] {
            let mut info = start_info(0x2000, 1, 0);
            info[at] = value;
            assert_eq!(
                read(&Memory::default().with(0x1000, info).with(0x2000, entry(0, 1, 1))).0,
                Err(WRONG)
            );
        }
        let far = Memory::default().with(0x1000, start_info(u64::MAX, u32::MAX, 0));
        assert_eq!(read(&far).0, Err(WRONG));
        let unreadable = Memory::default()
            .with(0x1000, start_info(0x2000, 1, 0x9000))
            .with(0x2000, entry(0, 1, 1));
        let (result, firmware, lines) = read(&unreadable);
        assert_eq!((result, firmware.command_line().len(), lines.0.len()), (Ok(()), 0, 1));
    }

    /// Catches a list that overflows.
    #[test]
    fn leaves_out_what_has_no_room() {
        let table: Vec<u8> = (0..600u64).flat_map(|index| entry(index << 12, 1, 1)).collect();
        let long = Memory::default()
            .with(0x1000, start_info(0x2000, 600, 0x1_0000))
            .with(0x2000, table)
            .with(0x1_0000, vec![b'a'; COMMAND_LINE_MAX as usize + 1]);
        let (result, firmware, lines) = read(&long);
        assert_eq!((result, lines.0.len()), (Ok(()), 2));
        assert_eq!((firmware.regions().len(), firmware.command_line().len()), (512, 4096));
    }
}
