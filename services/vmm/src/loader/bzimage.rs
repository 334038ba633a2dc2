//! Linux's 64-bit boot protocol: a bzImage (Linux "boot.rst", "The Linux/x86 Boot Protocol"; "zero-page.rst").

use super::memory_map::memory_map;
use super::tables::{self, EntryState, Mode};
use super::{Boot, LoadError, place, place_initrd, write_command_line};
use crate::bytes::{get_u8, get_u16, get_u32, get_u64, put};
use crate::layout::{HIGH_MEMORY, PAGE};
use crate::memory::GuestMemory;

/// Offsets in the file and in the zero page alike.
mod header {
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub(super) const JUMP_LENGTH: usize = 0x201;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    pub(super) const LOAD_FLAGS: usize = 0x211;
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    pub(super) const COMMAND_LINE: usize = 0x228;
    pub(super) const INITRD_ADDRESS_MAX: usize = 0x22c;
    pub(super) const ALIGNMENT: usize = 0x230;
    pub(super) const RELOCATABLE: usize = 0x234;
    pub(super) const EXTENDED_LOAD_FLAGS: usize = 0x236;
    pub(super) const COMMAND_LINE_SIZE: usize = 0x238;
    pub(super) const PREFERRED_ADDRESS: usize = 0x258;
    pub(super) const INIT_SIZE: usize = 0x260;
    /// The last byte of the longest header that is copied.
    pub(super) const END: usize = 0x290;
}

/// Offsets in the zero page alone.
mod zero_page {
    pub(super) const RSDP: usize = 0x70;
    pub(super) const RAMDISK_IMAGE_HIGH: usize = 0xc0;
    pub(super) const RAMDISK_SIZE_HIGH: usize = 0xc4;
    pub(super) const COMMAND_LINE_HIGH: usize = 0xc8;
    pub(super) const MAP_ENTRIES: usize = 0x1e8;
    pub(super) const MAP: usize = 0x2d0;
    pub(super) const MAP_ENTRY_BYTES: usize = 20;
}

const SECTOR: usize = 512;
const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: &[u8] = b"HdrS";
/// The first version with `xloadflags`.
const VERSION_MIN: u16 = 0x020c;
const LOADED_HIGH: u8 = 1;
const KERNEL_64: u16 = 1;
/// "A boot loader without a number of its own".
const UNREGISTERED_LOADER: u8 = 0xff;
/// The 64-bit entry lies this far into the protected-mode kernel.
const ENTRY_64: u64 = 0x200;
/// Where a kernel without a preference goes: it must be aligned, and the start of memory is not always.
const DEFAULT_ADDRESS: u64 = HIGH_MEMORY;

/// What the setup header says, checked.
struct Header<'a> {
    /// Setup header as in the file, from [`header::SETUP_SECTORS`] on.
    raw: &'a [u8],
    /// The protected-mode kernel.
    code: &'a [u8],
    /// Where it goes.
    address: u64,
    /// Bytes that it needs there to decompress itself.
    init_size: u64,
    command_line_max: u64,
    initrd_max: u64,
}

pub(super) fn load(memory: &impl GuestMemory, boot: &Boot<'_>) -> Result<EntryState, LoadError> {
    let header = check(boot.kernel)?;
    let end = header.address.saturating_add(header.init_size);
    let memory_end = boot.layout.below_4g().end();
    if end > memory_end {
        return Err(LoadError::KernelDoesNotFit {
            start: header.address,
            end,
            memory_end,
        });
    }
    memory.write(header.address, header.code)?;
    write_command_line(memory, boot.command_line, header.command_line_max)?;
    write_zero_page(memory, boot, &header, end)?;
    let mut state = tables::write(memory, Mode::Long, header.address + ENTRY_64)?;
    state.rsi = place::ZERO_PAGE;
    Ok(state)
}

/// Looks at everything in the header that matters for loading.
fn check(file: &[u8]) -> Result<Header<'_>, LoadError> {
    if file.get(header::MAGIC..header::MAGIC + 4) != Some(MAGIC) || get_u16(file, header::BOOT_FLAG) != BOOT_FLAG {
        return Err(LoadError::NotAKernel);
    }
    let version = get_u16(file, header::VERSION);
    if version < VERSION_MIN {
        return Err(LoadError::OldProtocol { version });
    }
    if get_u8(file, header::LOAD_FLAGS) & LOADED_HIGH == 0 {
        return Err(LoadError::NotLoadedHigh);
    }
    if get_u16(file, header::EXTENDED_LOAD_FLAGS) & KERNEL_64 == 0 {
        return Err(LoadError::Not64Bit);
    }
    let raw_end = (header::MAGIC + usize::from(get_u8(file, header::JUMP_LENGTH))).min(header::END);
    let raw = file
        .get(header::SETUP_SECTORS..raw_end)
        .ok_or(LoadError::Truncated { what: "setup header" })?;
    // Zero means four, for the sake of very old kernels.
    let sectors = match get_u8(file, header::SETUP_SECTORS) {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let code = file
        .get((sectors + 1) * SECTOR..)
        .filter(|code| code.len() as u64 > ENTRY_64)
        .ok_or(LoadError::Truncated {
            what: "protected-mode code",
        })?;
    let init_size = u64::from(get_u32(file, header::INIT_SIZE)).max(code.len() as u64);
    Ok(Header {
        raw,
        code,
        address: load_address(file)?,
        init_size,
        command_line_max: u64::from(get_u32(file, header::COMMAND_LINE_SIZE)),
        initrd_max: u64::from(get_u32(file, header::INITRD_ADDRESS_MAX)),
    })
}

/// The kernel's preferred address; one that is relocatable must have it aligned as it asks.
fn load_address(file: &[u8]) -> Result<u64, LoadError> {
    let preferred = match get_u64(file, header::PREFERRED_ADDRESS) {
        0 => DEFAULT_ADDRESS,
        address => address,
    };
    let alignment = u64::from(get_u32(file, header::ALIGNMENT)).max(PAGE);
    let relocatable = get_u8(file, header::RELOCATABLE) != 0;
    if !alignment.is_power_of_two() {
        return Err(LoadError::BadHeader {
            field: "kernel_alignment",
        });
    }
    let address = if relocatable {
        preferred.checked_next_multiple_of(alignment)
    } else {
        Some(preferred)
    };
    // 2^40 leaves room for every addition that follows.
    address
        .filter(|&address| (HIGH_MEMORY..1 << 40).contains(&address))
        .ok_or(LoadError::BadHeader { field: "pref_address" })
}

fn write_zero_page(
    memory: &impl GuestMemory,
    boot: &Boot<'_>,
    header: &Header<'_>,
    kernel_end: u64,
) -> Result<(), LoadError> {
    let mut page = [0; PAGE as usize];
    put(&mut page, header::SETUP_SECTORS, header.raw);
    page[header::TYPE_OF_LOADER] = UNREGISTERED_LOADER;
    put(&mut page, zero_page::RSDP, &boot.rsdp.to_le_bytes());
    put_split(
        &mut page,
        header::COMMAND_LINE,
        zero_page::COMMAND_LINE_HIGH,
        place::COMMAND_LINE,
    );
    if let Some(initrd) = place_initrd(memory, boot, kernel_end, header.initrd_max)? {
        put_split(
            &mut page,
            header::RAMDISK_IMAGE,
            zero_page::RAMDISK_IMAGE_HIGH,
            initrd.start,
        );
        put_split(
            &mut page,
            header::RAMDISK_SIZE,
            zero_page::RAMDISK_SIZE_HIGH,
            initrd.bytes,
        );
    }
    let map = memory_map(boot.layout);
    put(&mut page, zero_page::MAP_ENTRIES, &[map.len() as u8]);
    for (index, entry) in map.iter().enumerate() {
        let at = zero_page::MAP + index * zero_page::MAP_ENTRY_BYTES;
        put(&mut page, at, &entry.stretch.start.to_le_bytes());
        put(&mut page, at + 8, &entry.stretch.bytes.to_le_bytes());
        put(&mut page, at + 16, &entry.kind.to_le_bytes());
    }
    memory.write(place::ZERO_PAGE, &page)?;
    Ok(())
}

/// Writes a 64-bit value whose two halves lie apart.
fn put_split(page: &mut [u8], low: usize, high: usize, value: u64) {
    put(page, low, &(value as u32).to_le_bytes());
    put(page, high, &((value >> 32) as u32).to_le_bytes());
}
