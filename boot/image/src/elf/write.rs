//! Puts the payload into the loader's file: the image that QEMU and GRUB load. The steps are those of `ecusson_abi::boot::payload`.
//!
//! Key function: [`attach_payload`]. Called by `compose`. The loader's bytes stay where they are, so its PVH note and its
//! multiboot2 header do; sections and symbols behind its last segment are left out.

use std::fmt;

use ecusson_abi::boot::PAGE_BYTES;
use ecusson_payload::{PAYLOAD_LOCATION_MAGIC, PayloadLocation};
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// First word of a multiboot2 header (Multiboot2 specification, 3.1.1).
const MULTIBOOT2_MAGIC: u32 = 0xE852_50D6;
/// The header lies within this many bytes of the file's start, 8-byte aligned (Multiboot2 specification, 3.1).
const MULTIBOOT2_SEARCH: usize = 32_768;
/// Offsets in the ELF header (System V ABI, ELF-64): type, section header offset, count and string index.
const E_TYPE: usize = 16;
const E_SHOFF: usize = 40;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;
/// The PVH note's type (Xen, `XEN_ELFNOTE_PHYS32_ENTRY`).
const PVH_NOTE_TYPE: elf::NoteType = elf::NoteType(18);
/// Where a payload must end: it is loaded below 4 GiB, with room left for the machine's own windows.
const LOAD_LIMIT: u64 = 0xC000_0000;

/// Why the loader's file cannot take a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// It is no 64-bit ELF file, or a damaged one.
    Malformed(String),
    /// It has no unused program header for the payload.
    NoSpareHeader,
    /// It has no place to say where the payload is.
    NoLocation,
    /// It has no multiboot2 header where loaders look for one.
    NoMultiboot,
    /// It has no PVH note.
    NoPvhNote,
    /// Loader and payload would reach above what a boot loader can load.
    TooLarge(u64),
}

impl fmt::Display for AttachError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(to, "the loader is no 64-bit ELF file: {why}"),
            Self::NoSpareHeader => to.write_str("the loader's last program header is not an unused PT_NULL"),
            Self::NoLocation => {
                to.write_str("the loader has no section `.payload_location` that starts with its magic")
            }
            Self::NoMultiboot => to.write_str("the loader has no multiboot2 header in its first 32 KiB"),
            Self::NoPvhNote => to.write_str("the loader has no PVH note"),
            Self::TooLarge(end) => write!(to, "the image would end at {end:#x}, above {LOAD_LIMIT:#x}"),
        }
    }
}

/// What [`attach_payload`] needs to know of the loader's file.
struct Layout {
    /// Offset of the spare program header.
    spare: usize,
    /// Offset of the payload location.
    location: usize,
    /// End of the bytes that segments use.
    file_end: usize,
    /// End of the segments in memory.
    memory_end: u64,
}

/// The loader's file with the payload in it, at an address of this alignment, a multiple of the page size.
///
/// # Errors
/// [`AttachError`], when the loader was not linked as it must be or the payload is too large.
pub fn attach_payload(loader: &[u8], payload: &[u8], alignment: u64) -> Result<Vec<u8>, AttachError> {
    let layout = inspect(loader)?;
    let phys = layout.memory_end.next_multiple_of(alignment);
    let end = phys + payload.len() as u64;
    if end > LOAD_LIMIT {
        return Err(AttachError::TooLarge(end));
    }
    let mut image = loader.get(..layout.file_end).unwrap_or(loader).to_vec();
    image.resize(image.len().next_multiple_of(PAGE_BYTES as usize), 0);
    let offset = image.len() as u64;
    image.extend_from_slice(payload);
    let bytes = payload.len() as u64;

    patch(&mut image, layout.spare, &spare_header(offset, phys, bytes))?;
    let location = PayloadLocation {
        magic: PAYLOAD_LOCATION_MAGIC,
        phys,
        bytes,
    };
    patch(&mut image, layout.location, &location.to_bytes())?;
    patch(&mut image, E_TYPE, &elf::ET_EXEC.0.to_le_bytes())?;
    patch(&mut image, E_SHOFF, &0u64.to_le_bytes())?;
    patch(&mut image, E_SHNUM, &0u16.to_le_bytes())?;
    patch(&mut image, E_SHSTRNDX, &0u16.to_le_bytes())?;
    Ok(image)
}

fn malformed(why: impl fmt::Display) -> AttachError {
    AttachError::Malformed(why.to_string())
}

fn patch(image: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), AttachError> {
    let place = image
        .get_mut(at..at + bytes.len())
        .ok_or_else(|| malformed("a header lies outside the file"))?;
    place.copy_from_slice(bytes);
    Ok(())
}

/// A `PT_LOAD` program header (System V ABI, ELF-64): readable, at its physical address.
fn spare_header(offset: u64, phys: u64, bytes: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(56);
    header.extend(elf::PT_LOAD.0.to_le_bytes());
    header.extend(elf::PF_R.0.to_le_bytes());
    for word in [offset, phys, phys, bytes, bytes, PAGE_BYTES] {
        header.extend(word.to_le_bytes());
    }
    header
}

fn inspect(loader: &[u8]) -> Result<Layout, AttachError> {
    let header = FileHeader64::<Endianness>::parse(loader).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let segments = header.program_headers(endian, loader).map_err(malformed)?;
    if segments.last().is_none_or(|last| last.p_type(endian) != elf::PT_NULL) {
        return Err(AttachError::NoSpareHeader);
    }
    let table = usize::try_from(header.e_phoff(endian)).map_err(malformed)?;
    let table_end = table + size_of_val(segments);
    let used = segments.iter().filter(|segment| segment.p_type(endian) != elf::PT_NULL);
    let file_end = used
        .map(|segment| segment.p_offset(endian) + segment.p_filesz(endian))
        .max()
        .unwrap_or(0);
    let loaded = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let memory_end = loaded
        .map(|segment| segment.p_paddr(endian) + segment.p_memsz(endian))
        .max();
    let file_end = usize::try_from(file_end).map_err(malformed)?.max(table_end);
    check_entries(loader, segments, endian)?;
    Ok(Layout {
        spare: table_end - size_of::<ProgramHeader64<Endianness>>(),
        location: location(loader)?,
        file_end,
        memory_end: memory_end.ok_or_else(|| malformed("it has nothing to load"))?,
    })
}

/// Both ways in must be there: multiboot2 for GRUB, PVH for QEMU.
fn check_entries(
    loader: &[u8],
    segments: &[ProgramHeader64<Endianness>],
    endian: Endianness,
) -> Result<(), AttachError> {
    let search = loader.get(..MULTIBOOT2_SEARCH).unwrap_or(loader);
    if !search
        .chunks_exact(8)
        .any(|chunk| chunk.starts_with(&MULTIBOOT2_MAGIC.to_le_bytes()))
    {
        return Err(AttachError::NoMultiboot);
    }
    for segment in segments {
        let Some(mut notes) = segment.notes(endian, loader).map_err(malformed)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(malformed)? {
            if note.name() == b"Xen" && note.n_type(endian) == PVH_NOTE_TYPE {
                return Ok(());
            }
        }
    }
    Err(AttachError::NoPvhNote)
}

fn location(loader: &[u8]) -> Result<usize, AttachError> {
    let file = object::File::parse(loader).map_err(malformed)?;
    let section = file
        .section_by_name(".payload_location")
        .ok_or(AttachError::NoLocation)?;
    let (offset, _) = section.file_range().ok_or(AttachError::NoLocation)?;
    let at = usize::try_from(offset).map_err(malformed)?;
    let magic = loader.get(at..at + 8).ok_or(AttachError::NoLocation)?;
    if magic == PAYLOAD_LOCATION_MAGIC.to_le_bytes() {
        Ok(at)
    } else {
        Err(AttachError::NoLocation)
    }
}
