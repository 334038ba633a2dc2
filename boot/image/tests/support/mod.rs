//! Small ELF files made by hand, so that the composer is tested without building programs.

use ecusson_payload::{PAYLOAD_LOCATION_MAGIC, PayloadLocation};

/// A segment: address, bytes in the file, bytes in memory, ELF flags (1 execute, 2 write, 4 read).
pub(crate) struct Segment<'d>(pub(crate) u64, pub(crate) &'d [u8], pub(crate) u64, pub(crate) u32);

const EHDR: usize = 64;
const PHDR: usize = 56;

fn words(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend(value.to_le_bytes());
    }
}

fn header(out: &mut Vec<u8>, entry: u64, phnum: u16, shoff: u64, shnum: u16) {
    out.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    out.extend(2u16.to_le_bytes());
    out.extend(62u16.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    words(out, &[entry, EHDR as u64, shoff]);
    out.extend(0u32.to_le_bytes());
    for half in [EHDR as u16, PHDR as u16, phnum, 64, shnum, shnum.saturating_sub(1)] {
        out.extend(half.to_le_bytes());
    }
}

fn phdr(out: &mut Vec<u8>, kind: u32, flags: u32, values: &[u64; 6]) {
    out.extend(kind.to_le_bytes());
    out.extend(flags.to_le_bytes());
    words(out, values);
}

/// A program with these `PT_LOAD` segments and one more header of type `extra`, if not 0.
pub(crate) fn program(entry: u64, segments: &[Segment<'_>], extra: u32) -> Vec<u8> {
    let count = segments.len() + usize::from(extra != 0);
    let mut out = Vec::new();
    header(&mut out, entry, count as u16, 0, 0);
    let mut offset = (EHDR + PHDR * count) as u64;
    for Segment(address, data, memory, flags) in segments {
        phdr(
            &mut out,
            1,
            *flags,
            &[offset, *address, *address, data.len() as u64, *memory, 1],
        );
        offset += data.len() as u64;
    }
    if extra != 0 {
        phdr(&mut out, extra, 4, &[0; 6]);
    }
    for Segment(_, data, ..) in segments {
        out.extend_from_slice(data);
    }
    out
}

/// An ordinary program: code, constants and data at an odd place.
pub(crate) fn ordinary(base: u64) -> Vec<u8> {
    let code = [0x90u8; 100];
    let constants = [0x11u8; 5000];
    let data = [0x22u8; 24];
    program(
        base + 16,
        &[
            Segment(base, &code, 100, 5),
            Segment(base + 0x1000, &constants, 5000, 4),
            Segment(base + 0x3010, &data, 0x2000, 6),
        ],
        0,
    )
}

/// A loader as `boot/loader/loader.ld` links it: multiboot2 header, PVH note, payload location, spare program header.
pub(crate) fn loader() -> Vec<u8> {
    let mut code = 0xE852_50D6u32.to_le_bytes().to_vec();
    code.resize(32, 0);
    let mut note = Vec::new();
    for word in [4u32, 4, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x10_0000u32.to_le_bytes());
    let location = PayloadLocation {
        magic: PAYLOAD_LOCATION_MAGIC,
        phys: 0,
        bytes: 0,
    }
    .to_bytes();
    let names = b"\0.payload_location\0.shstrtab\0";

    let base = (EHDR + PHDR * 4) as u64;
    let note_at = base + code.len() as u64;
    let location_at = note_at + note.len() as u64;
    let names_at = location_at + location.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut out = Vec::new();
    header(&mut out, 0x10_0000, 4, sections_at, 3);
    phdr(&mut out, 1, 5, &[base, 0x10_0000, 0x10_0000, 32, 32, 0x1000]);
    let data_bytes = location.len() as u64;
    phdr(
        &mut out,
        1,
        6,
        &[location_at, 0x10_1000, 0x10_1000, data_bytes, 0x2345, 0x1000],
    );
    phdr(
        &mut out,
        4,
        4,
        &[note_at, 0x10_0800, 0x10_0800, note.len() as u64, note.len() as u64, 4],
    );
    phdr(&mut out, 0, 4, &[0; 6]);
    for part in [&code[..], &note, &location, names] {
        out.extend_from_slice(part);
    }
    out.resize(sections_at as usize, 0);
    out.extend([0; 64]);
    section(&mut out, 1, 1, &[3, 0x10_1000, location_at, data_bytes]);
    section(&mut out, 19, 3, &[0, 0, names_at, names.len() as u64]);
    out
}

fn section(out: &mut Vec<u8>, name: u32, kind: u32, values: &[u64; 4]) {
    out.extend(name.to_le_bytes());
    out.extend(kind.to_le_bytes());
    words(out, values);
    words(out, &[0, 1, 0]);
}
