//! The bundle: the pages of all processes' programs and boot tables, each binary once.
//!
//! Key function: [`build`]. Called by `compose`; fills the programs and boot tables into the composition.

use ecusson_abi::boot::{PAGE_BYTES, SEGMENT_WRITE};
use ecusson_manifest::Composition;
use ecusson_manifest::composition::{Extent, Segment};

use super::Programs;
use crate::elf::flatten::{Flat, FlatPiece};

/// Lays out the bundle and says in the composition where everything is.
pub(super) fn build(programs: &Programs, boot_tables: &[Vec<u8>], composition: &mut Composition) -> Vec<u8> {
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
    bundle
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
