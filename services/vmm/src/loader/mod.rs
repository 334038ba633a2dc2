//! Puts a Linux kernel, its initrd and its command line into a guest's memory.
//!
//! Key types: [`Boot`] in, [`EntryState`] out, [`LoadError`] when the files are not what they should be. [`load`] looks at the
//! first bytes and goes to [`bzimage`] (64-bit boot protocol) or [`pvh`] (ELF with a PVH note). The caller writes the ACPI
//! tables and sets the first vCPU's registers as the entry state says.

mod bzimage;
mod error;
mod memory_map;
mod pvh;
mod tables;

pub use error::LoadError;
pub use tables::{EntryState, Mode};

use crate::layout::{self, Layout, PAGE, Stretch};
use crate::memory::GuestMemory;

/// What is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The kernel's file, whole: a bzImage or an ELF file for x86-64.
    pub kernel: &'a [u8],
    /// The initial RAM disk's file, whole.
    pub initrd: Option<&'a [u8]>,
    /// The kernel's command line, without a zero byte.
    pub command_line: &'a str,
    /// Guest-physical address of the RSDP.
    pub rsdp: u64,
    /// The guest's memory.
    pub layout: Layout,
}

/// Where the loader puts its own things. All below 192 KiB, which Linux leaves alone until it has read them.
mod place {
    /// Global descriptor table.
    pub(super) const GDT: u64 = 0x500;
    /// Task state segment for the 32-bit entry.
    pub(super) const TSS: u64 = 0x600;
    /// PVH: start information.
    pub(super) const START_INFO: u64 = 0x6000;
    /// PVH: list of modules.
    pub(super) const MODULES: u64 = 0x6100;
    /// PVH: memory map.
    pub(super) const MEMORY_MAP: u64 = 0x6200;
    /// Linux: boot parameters, the "zero page".
    pub(super) const ZERO_PAGE: u64 = 0x7000;
    /// Page tables: one of level 4, one of level 3, four of level 2.
    pub(super) const PAGE_TABLES: u64 = 0x9000;
    /// The command line.
    pub(super) const COMMAND_LINE: u64 = 0x2_0000;
    /// Bytes for the command line, its zero byte included.
    pub(super) const COMMAND_LINE_BYTES: u64 = 0x1_0000;
}

/// Where a processor begins after a reset, as real mode sees it. A PC's firmware is there, and a kernel that finds no better way to
/// reset the machine jumps there; Linux does with hardware-reduced ACPI and no EFI.
const RESET_VECTOR: u64 = 0xf_fff0;
/// `mov dx, 0xcf9; mov al, 6; out dx, al; hlt; jmp` to the halt: resets by the chipset's register.
const RESET: [u8; 9] = [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd];

const ELF_MAGIC: &[u8] = b"\x7fELF";

/// Loads the kernel and everything that it is told about, and says how the first vCPU starts.
///
/// # Errors
/// [`LoadError`], which names the file at fault and what is wrong with it. Memory may have been written.
pub fn load(memory: &impl GuestMemory, boot: &Boot<'_>) -> Result<EntryState, LoadError> {
    memory.write(RESET_VECTOR, &RESET)?;
    if boot.kernel.starts_with(ELF_MAGIC) {
        pvh::load(memory, boot)
    } else {
        bzimage::load(memory, boot)
    }
}

/// Writes the command line with its zero byte, at most `limit` bytes without it.
fn write_command_line(memory: &impl GuestMemory, text: &str, limit: u64) -> Result<(), LoadError> {
    let limit = limit.min(place::COMMAND_LINE_BYTES - 1);
    if text.len() as u64 > limit {
        return Err(LoadError::CommandLineTooLong {
            bytes: text.len() as u64,
            limit,
        });
    }
    if text.as_bytes().contains(&0) {
        return Err(LoadError::CommandLineZero);
    }
    memory.write(place::COMMAND_LINE, text.as_bytes())?;
    memory.write(place::COMMAND_LINE + text.len() as u64, &[0])?;
    Ok(())
}

/// Puts the initrd as high as `highest` (inclusive) and the memory below 4 GiB allow, above `kernel_end`.
fn place_initrd(
    memory: &impl GuestMemory,
    boot: &Boot<'_>,
    kernel_end: u64,
    highest: u64,
) -> Result<Option<Stretch>, LoadError> {
    let Some(initrd) = boot.initrd.filter(|bytes| !bytes.is_empty()) else {
        return Ok(None);
    };
    let bytes = initrd.len() as u64;
    let end = boot.layout.below_4g().end().min(highest.saturating_add(1));
    let start = end.checked_sub(bytes).map(|start| start & !(PAGE - 1));
    let Some(start) = start.filter(|&start| start >= kernel_end.max(layout::HIGH_MEMORY)) else {
        return Err(LoadError::InitrdDoesNotFit { bytes, kernel_end, end });
    };
    memory.write(start, initrd)?;
    Ok(Some(Stretch { start, bytes }))
}
