//! When an image's first instruction runs: firmware's share of the instructions since power-on.
//!
//! [`with_clock_at_entry`] makes a copy of an image, of the same size, whose entry point says the time-stamp counter on the
//! console and ends the run; [`read`] reads it. Under `-icount` firmware executes the same instructions for both.
//! Called by [`super::measure`].

use anyhow::Context as _;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};

/// Type of the note that names the entry point of PVH (Xen `public/elfnote.h`, XEN_ELFNOTE_PHYS32_ENTRY).
const PHYS32_ENTRY: u32 = 18;

/// What runs at the entry point, in 32-bit code without a stack: the counter as 16 letters `A` to `P`, a line feed, the end.
const CLOCK: &[u8] = &[
    0x0F, 0x31, // rdtsc
    0x89, 0xC3, // mov ebx, eax
    0x89, 0xD0, // mov eax, edx
    0x66, 0xBA, 0xF8, 0x03, // mov dx, 0x3f8: the first serial port
    0xB9, 0x08, 0x00, 0x00, 0x00, // mov ecx, 8
    0xC1, 0xC0, 0x04, // 1: rol eax, 4
    0x89, 0xC7, // mov edi, eax
    0x24, 0x0F, // and al, 15
    0x04, b'A', // add al, 'A'
    0xEE, // out dx, al
    0x89, 0xF8, // mov eax, edi
    0xE2, 0xF2, // loop 1b
    0x89, 0xD8, // mov eax, ebx
    0xB9, 0x08, 0x00, 0x00, 0x00, // mov ecx, 8
    0xC1, 0xC0, 0x04, // 2: rol eax, 4
    0x89, 0xC7, // mov edi, eax
    0x24, 0x0F, // and al, 15
    0x04, b'A', // add al, 'A'
    0xEE, // out dx, al
    0x89, 0xF8, // mov eax, edi
    0xE2, 0xF2, // loop 2b
    0xB0, 0x0A, // mov al, '\n'
    0xEE, // out dx, al
    0xB0, 0x10, // mov al, 0x10
    0xE6, 0xF4, // out 0xf4, al: ends QEMU
    0xEB, 0xFE, // jmp .
];

/// The image with [`CLOCK`] at its PVH entry point.
pub(super) fn with_clock_at_entry(image: &[u8]) -> anyhow::Result<Vec<u8>> {
    let offset = entry_offset(image)?;
    let mut copy = image.to_vec();
    let place = copy.get_mut(offset..offset + CLOCK.len());
    place
        .context("the image ends behind its entry point")?
        .copy_from_slice(CLOCK);
    Ok(copy)
}

/// Where in the file the code of the PVH entry point lies.
fn entry_offset(image: &[u8]) -> anyhow::Result<usize> {
    let header = elf::FileHeader64::<Endianness>::parse(image)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, image)?;
    let mut entry = None;
    for segment in segments {
        let Some(mut notes) = segment.notes(endian, image)? else {
            continue;
        };
        while let Some(note) = notes.next()? {
            if note.n_type(endian).0 == PHYS32_ENTRY && note.name() == b"Xen" {
                entry = note.desc().first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
            }
        }
    }
    let entry = u64::from(entry.context("the image has no PVH entry point")?);
    let loaded = segments.iter().find_map(|segment| {
        let offset = entry.checked_sub(segment.p_paddr(endian))?;
        let is_here = segment.p_type(endian) == elf::PT_LOAD && offset < segment.p_filesz(endian);
        is_here.then(|| segment.p_offset(endian) + offset)
    });
    Ok(usize::try_from(
        loaded.context("the image's entry point is in no segment")?,
    )?)
}

/// The counter that a run of such a copy said on its console: instructions since power-on.
pub(super) fn read(console: &str) -> anyhow::Result<u64> {
    let is_digit = |byte: u8| (b'A'..=b'P').contains(&byte);
    let found = console
        .lines()
        .map(|line| line.trim().as_bytes())
        .find(|line| line.len() == 16 && line.iter().all(|&byte| is_digit(byte)));
    let digits = found.with_context(|| format!("no time of the entry point in {console:?}"))?;
    Ok(digits.iter().fold(0, |sum, &digit| sum << 4 | u64::from(digit - b'A')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_digits_of_sixteen() {
        assert_eq!(read("SeaBIOS\r\nAAAAAAAAAAAAABCP\r\n").expect("reads"), 0x12F);
        assert!(read("AAAAAAAAAAAAABCQ\n").is_err() && read("").is_err());
    }

    #[test]
    fn loops_jump_back_to_their_first_instruction() {
        for (at, _) in CLOCK.windows(2).enumerate().filter(|(_, two)| two[0] == 0xE2) {
            let target = at + 2 - usize::from(CLOCK[at + 1].wrapping_neg());
            assert_eq!(&CLOCK[target..target + 3], [0xC1, 0xC0, 0x04]);
        }
    }
}
