//! From a statically linked ELF file to page-aligned segments, so that nobody parses ELF while booting.
//!
//! Key function: [`flatten`]; key types: [`Flat`], [`FlatPiece`]. Called by `compose`.

use std::fmt;
use std::ops::Range;

use ecusson_abi::boot::{PAGE_BYTES, SEGMENT_EXECUTE, SEGMENT_MAX, SEGMENT_READ, SEGMENT_WRITE};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

/// A program without its ELF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat {
    /// Address of the first instruction.
    pub entry: u64,
    /// Ascending, not overlapping.
    pub pieces: Vec<FlatPiece>,
}

/// A page-aligned segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatPiece {
    /// Virtual address, page aligned.
    pub address: u64,
    /// What the file gives, from `address` on.
    pub data: Vec<u8>,
    /// Bytes in memory, a multiple of the page size; zero behind `data`.
    pub memory_bytes: u64,
    /// `SEGMENT_*` of the ABI.
    pub flags: u32,
}

/// Why a program cannot be flattened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlattenError {
    /// It is no 64-bit little-endian ELF file, or a damaged one.
    Malformed(String),
    /// It is for another processor.
    Machine,
    /// It wants to be relocated or interpreted when it is loaded.
    Dynamic,
    /// It has thread-local storage.
    ThreadLocal,
    /// A segment is writable and executable.
    WriteExecute {
        /// Its address.
        address: u64,
    },
    /// Two segments share a page.
    SharedPage {
        /// The page's address.
        address: u64,
    },
    /// A segment lies outside the window for programs.
    Outside {
        /// Its address.
        address: u64,
        /// The window.
        window: Range<u64>,
    },
    /// There are no segments or too many.
    SegmentCount(usize),
    /// The entry point is in no executable segment.
    Entry(u64),
}

impl FlattenError {
    /// How to mend it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Malformed(_) | Self::Machine => "build it with `--target x86_64-unknown-none`".to_owned(),
            Self::Dynamic => "link it with `-Crelocation-model=static`, as .cargo/config.toml does".to_owned(),
            Self::ThreadLocal => "do without `#[thread_local]`: processes have no TLS".to_owned(),
            Self::WriteExecute { .. } => {
                "look in its linker script for a segment that mixes code and data; no page is both W and X".to_owned()
            }
            Self::SharedPage { .. } => "link it with `-zmax-page-size=4096` and `-zseparate-code`".to_owned(),
            Self::Outside { window, .. } => {
                format!("link it between {:#x} and {:#x}", window.start, window.end)
            }
            Self::SegmentCount(_) => format!("a program has 1 to {SEGMENT_MAX} loadable segments"),
            Self::Entry(_) => "name the entry point with `ENTRY(_start)` or `-e _start`".to_owned(),
        }
    }
}

impl fmt::Display for FlattenError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(to, "is no 64-bit ELF file: {why}"),
            Self::Machine => to.write_str("is not for x86-64"),
            Self::Dynamic => to.write_str("wants a dynamic loader"),
            Self::ThreadLocal => to.write_str("has thread-local storage"),
            Self::WriteExecute { address } => {
                write!(to, "has a segment at {address:#x} that is writable and executable")
            }
            Self::SharedPage { address } => write!(to, "has two segments in the page at {address:#x}"),
            Self::Outside { address, window } => write!(
                to,
                "has a segment at {address:#x}, outside its window {:#x} to {:#x}",
                window.start, window.end
            ),
            Self::SegmentCount(count) => write!(to, "has {count} loadable segments"),
            Self::Entry(entry) => write!(to, "has its entry point {entry:#x} in no executable segment"),
        }
    }
}

fn malformed(why: object::Error) -> FlattenError {
    FlattenError::Malformed(why.to_string())
}

/// Flattens a program whose segments must lie in `window`.
///
/// # Errors
/// [`FlattenError`], for a program that cannot be loaded as it is.
pub fn flatten(bytes: &[u8], window: &Range<u64>) -> Result<Flat, FlattenError> {
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    if !header.is_little_endian() || header.e_machine(endian) != elf::EM_X86_64 {
        return Err(FlattenError::Machine);
    }
    let mut pieces = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(malformed)? {
        match segment.p_type(endian) {
            elf::PT_INTERP | elf::PT_DYNAMIC => return Err(FlattenError::Dynamic),
            elf::PT_TLS => return Err(FlattenError::ThreadLocal),
            elf::PT_LOAD if segment.p_memsz(endian) > 0 => pieces.push(piece(segment, endian, bytes, window)?),
            _ => {}
        }
    }
    pieces.sort_by_key(|piece| piece.address);
    if pieces.is_empty() || pieces.len() > SEGMENT_MAX {
        return Err(FlattenError::SegmentCount(pieces.len()));
    }
    for pair in pieces.windows(2) {
        if pair[0].address + pair[0].memory_bytes > pair[1].address {
            return Err(FlattenError::SharedPage {
                address: pair[1].address,
            });
        }
    }
    let entry = header.e_entry(endian);
    let starts = |piece: &FlatPiece| {
        piece.flags & SEGMENT_EXECUTE != 0 && (piece.address..piece.address + piece.memory_bytes).contains(&entry)
    };
    if pieces.iter().any(starts) {
        Ok(Flat { entry, pieces })
    } else {
        Err(FlattenError::Entry(entry))
    }
}

fn piece(
    segment: &elf::ProgramHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
    window: &Range<u64>,
) -> Result<FlatPiece, FlattenError> {
    let start = segment.p_vaddr(endian);
    let flags = flags(segment.p_flags(endian).0);
    if flags & (SEGMENT_WRITE | SEGMENT_EXECUTE) == SEGMENT_WRITE | SEGMENT_EXECUTE {
        return Err(FlattenError::WriteExecute { address: start });
    }
    let outside = FlattenError::Outside {
        address: start,
        window: window.clone(),
    };
    let end = start.checked_add(segment.p_memsz(endian)).ok_or(outside.clone())?;
    if start < window.start || end > window.end {
        return Err(outside);
    }
    let content = segment
        .data(endian, bytes)
        .map_err(|()| FlattenError::Malformed(format!("the segment at {start:#x} is cut short")))?;
    if content.len() as u64 > end - start {
        return Err(FlattenError::Malformed(format!(
            "the segment at {start:#x} has more file than memory"
        )));
    }
    let lead = start % PAGE_BYTES;
    let mut data = vec![0; lead as usize];
    data.extend_from_slice(content);
    // Zeros at the end need no room in the file: memory begins as zeros.
    let used = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data.truncate(used);
    let address = start - lead;
    Ok(FlatPiece {
        address,
        data,
        memory_bytes: (end - address).next_multiple_of(PAGE_BYTES),
        flags,
    })
}

fn flags(elf_flags: u32) -> u32 {
    let write = if elf_flags & elf::PF_W.0 != 0 { SEGMENT_WRITE } else { 0 };
    let execute = if elf_flags & elf::PF_X.0 != 0 {
        SEGMENT_EXECUTE
    } else {
        0
    };
    SEGMENT_READ | write | execute
}
