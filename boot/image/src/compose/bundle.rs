//! The bundle: the pages of all processes' programs and boot tables, each binary once, then the data files.
//!
//! Key function: [`build`]. Called by `compose`; fills the places of programs, boot tables and files into the composition.

use ecusson_abi::boot::{PAGE_BYTES, SEGMENT_WRITE};
use ecusson_manifest::Composition;
use ecusson_manifest::composition::{Extent, Segment};
use ecusson_manifest::layout::REGION_ALIGN_BYTES;

use std::collections::BTreeMap;

use super::Programs;
use crate::elf::flatten::{Flat, FlatPiece};

/// Lays out the bundle and says in the composition where everything is. It will begin `base` bytes behind an address that
/// is aligned for [`alignment`]; `files` has the bytes of each data file.
pub(super) fn build(
    programs: &Programs,
    boot_tables: &[Vec<u8>],
    files: &BTreeMap<String, Vec<u8>>,
    base: usize,
    composition: &mut Composition,
) -> Vec<u8> {
    let mut bundle = Vec::new();
    for (binary, flat) in &programs.binaries {
        let segments = append_program(&mut bundle, flat);
        for process in composition
            .processes
            .iter_mut()
            .filter(|process| process.program.binary == *binary)
        {
            process.program.entry = flat.entry;
            process.program.segments.clone_from(&segments);
        }
    }
    for (process, table) in composition.processes.iter_mut().zip(boot_tables) {
        process.boot_table = Extent {
            offset: bundle.len() as u64,
            bytes: table.len() as u64,
        };
        bundle.extend_from_slice(table);
        pad(&mut bundle);
    }
    for file in &mut composition.files {
        if is_large(file.content.bytes) {
            let place = (base + bundle.len()).next_multiple_of(REGION_ALIGN_BYTES as usize);
            bundle.resize(place - base, 0);
        }
        file.content.offset = bundle.len() as u64;
        let end = bundle.len() as u64 + file.pages() * PAGE_BYTES;
        bundle.extend_from_slice(files.get(&file.name).map_or(&[], Vec::as_slice));
        bundle.resize(usize::try_from(end).unwrap_or(usize::MAX), 0);
    }
    bundle
}

/// Whether a file has at least one large page, so that it is worth aligning for them.
fn is_large(bytes: u64) -> bool {
    bytes >= REGION_ALIGN_BYTES
}

/// Alignment that the payload needs in memory, so that large files can be mapped by large pages.
pub(super) fn alignment(composition: &Composition) -> u64 {
    if composition.files.iter().any(|file| is_large(file.content.bytes)) {
        REGION_ALIGN_BYTES
    } else {
        PAGE_BYTES
    }
}

fn append_program(bundle: &mut Vec<u8>, flat: &Flat) -> Vec<Segment> {
    flat.pieces.iter().map(|piece| append_piece(bundle, piece)).collect()
}

fn append_piece(bundle: &mut Vec<u8>, piece: &FlatPiece) -> Segment {
    let offset = bundle.len();
    bundle.extend_from_slice(&piece.data);
    pad(bundle);
    // What nobody writes is mapped straight from the bundle, so all of its pages must be there.
    if piece.flags & SEGMENT_WRITE == 0 {
        bundle.resize(offset + usize::try_from(piece.memory_bytes).unwrap_or(usize::MAX), 0);
    }
    Segment {
        offset: offset as u64,
        address: piece.address,
        file_bytes: (bundle.len() - offset) as u64,
        memory_bytes: piece.memory_bytes,
        // The three flags have the same bits as the rights READ, WRITE and EXECUTE.
        rights: (piece.flags & 7) as u8,
    }
}

/// Zeros up to the next page.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES as usize), 0);
}
