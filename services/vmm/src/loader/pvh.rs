//! ELF kernels with a PVH note (Xen "pvh.pandoc", "hvm/start_info.h"; note 18 of vendor "Xen").

use elf::ElfBytes;
use elf::abi::{EM_X86_64, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::note::Note;
use elf::segment::ProgramHeader;

use super::memory_map::memory_map;
use super::tables::{self, EntryState, Mode};
use super::{Boot, LoadError, place, place_initrd, write_command_line};
use crate::bytes::{get_u32, get_u64, put};
use crate::layout::{HIGH_MEMORY, Stretch};
use crate::memory::GuestMemory;

type Elf<'a> = ElfBytes<'a, LittleEndian>;

/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const NOTE_ENTRY: u64 = 18;
const START_MAGIC: u32 = 0x336e_c578;
const START_INFO_BYTES: usize = 56;
/// With a memory map.
const START_VERSION: u32 = 1;
const MAP_ENTRY_BYTES: usize = 24;
/// Most program headers and notes that are looked at; kernels have fewer than ten.
const HEADERS_MAX: usize = 64;
/// Linux takes 2047 bytes and a zero byte on x86.
const COMMAND_LINE_MAX: u64 = 2047;
/// Zeroes are written in pieces of this many bytes.
const ZEROES: usize = 4096;

pub(super) fn load(memory: &impl GuestMemory, boot: &Boot<'_>) -> Result<EntryState, LoadError> {
    let file = parse(boot.kernel)?;
    let entry = entry(&file)?;
    let kernel_end = load_segments(memory, boot, &file)?;
    write_command_line(memory, boot.command_line, COMMAND_LINE_MAX)?;
    let initrd = place_initrd(memory, boot, kernel_end, u64::from(u32::MAX))?;
    write_start_info(memory, boot, initrd)?;
    let mut state = tables::write(memory, Mode::Protected, entry)?;
    state.rbx = place::START_INFO;
    Ok(state)
}

fn bad(what: &'static str) -> LoadError {
    LoadError::BadElf { what }
}

fn parse(bytes: &[u8]) -> Result<Elf<'_>, LoadError> {
    let file = Elf::minimal_parse(bytes).map_err(|_| bad("header"))?;
    if file.ehdr.class != Class::ELF64 || file.ehdr.e_machine != EM_X86_64 {
        return Err(bad("machine"));
    }
    if usize::from(file.ehdr.e_phnum) > HEADERS_MAX {
        return Err(bad("number of program headers"));
    }
    Ok(file)
}

fn segments<'a>(file: &Elf<'a>, kind: u32) -> Result<impl Iterator<Item = ProgramHeader> + use<'a>, LoadError> {
    let all = file.segments().ok_or(bad("program headers"))?;
    Ok(all.iter().filter(move |segment| segment.p_type == kind))
}

/// The entry point that the PVH note gives.
fn entry(file: &Elf<'_>) -> Result<u64, LoadError> {
    for segment in segments(file, PT_NOTE)? {
        let notes = file.segment_data_as_notes(&segment).map_err(|_| bad("notes"))?;
        for note in notes.take(HEADERS_MAX) {
            if let Note::Unknown(note) = note
                && note.n_type == NOTE_ENTRY
                && note.name.starts_with(b"Xen")
            {
                return match note.desc.len() {
                    4 => Ok(u64::from(get_u32(note.desc, 0))),
                    8 => Ok(get_u64(note.desc, 0)),
                    _ => Err(bad("PVH note")),
                };
            }
        }
    }
    Err(LoadError::NoPvhNote)
}

/// Copies what the file has of each segment, clears the rest; gives the address behind the last.
fn load_segments(memory: &impl GuestMemory, boot: &Boot<'_>, file: &Elf<'_>) -> Result<u64, LoadError> {
    let memory_end = boot.layout.below_4g().end();
    let mut kernel_end = 0;
    for segment in segments(file, PT_LOAD)? {
        let data = file
            .segment_data(&segment)
            .map_err(|_| LoadError::Truncated { what: "segments" })?;
        let start = segment.p_paddr;
        let end = start.checked_add(segment.p_memsz).ok_or(bad("segment addresses"))?;
        if segment.p_memsz < segment.p_filesz || start < HIGH_MEMORY {
            return Err(bad("segment addresses"));
        }
        if end > memory_end {
            return Err(LoadError::KernelDoesNotFit { start, end, memory_end });
        }
        memory.write(start, data)?;
        clear(memory, start + data.len() as u64, end)?;
        kernel_end = kernel_end.max(end);
    }
    if kernel_end == 0 {
        return Err(bad("list of segments to load"));
    }
    Ok(kernel_end)
}

/// Zeroes from `start` to `end`, which the caller has checked against the size of memory.
fn clear(memory: &impl GuestMemory, start: u64, end: u64) -> Result<(), LoadError> {
    let zeroes = [0; ZEROES];
    let mut at = start;
    while at < end {
        let length = (end - at).min(ZEROES as u64);
        memory.write(at, zeroes.get(..length as usize).unwrap_or_default())?;
        at += length;
    }
    Ok(())
}

/// `hvm_start_info` with its memory map and, for an initrd, one module.
fn write_start_info(memory: &impl GuestMemory, boot: &Boot<'_>, initrd: Option<Stretch>) -> Result<(), LoadError> {
    let map = memory_map(boot.layout);
    for (index, entry) in map.iter().enumerate() {
        let mut bytes = [0; MAP_ENTRY_BYTES];
        put(&mut bytes, 0, &entry.stretch.start.to_le_bytes());
        put(&mut bytes, 8, &entry.stretch.bytes.to_le_bytes());
        put(&mut bytes, 16, &entry.kind.to_le_bytes());
        memory.write(place::MEMORY_MAP + (index * MAP_ENTRY_BYTES) as u64, &bytes)?;
    }
    let mut info = [0; START_INFO_BYTES];
    put(&mut info, 0, &START_MAGIC.to_le_bytes());
    put(&mut info, 4, &START_VERSION.to_le_bytes());
    if let Some(initrd) = initrd {
        let mut module = [0; 32];
        put(&mut module, 0, &initrd.start.to_le_bytes());
        put(&mut module, 8, &initrd.bytes.to_le_bytes());
        memory.write(place::MODULES, &module)?;
        put(&mut info, 12, &1_u32.to_le_bytes());
        put(&mut info, 16, &place::MODULES.to_le_bytes());
    }
    put(&mut info, 24, &place::COMMAND_LINE.to_le_bytes());
    put(&mut info, 32, &boot.rsdp.to_le_bytes());
    put(&mut info, 40, &place::MEMORY_MAP.to_le_bytes());
    put(&mut info, 48, &(map.len() as u32).to_le_bytes());
    memory.write(place::START_INFO, &info)?;
    Ok(())
}
