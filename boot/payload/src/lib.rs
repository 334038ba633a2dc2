//! The payload: what `boot/image` puts behind the loader, as bytes.
//!
//! Key types: [`PayloadLocation`], [`PayloadHeader`], [`FlatImage`]. Written by `boot/image`, read by `boot/loader`.
//!
//! # The boot image file
//!
//! One ELF file: the loader's own ELF plus one `PT_LOAD` segment, the *payload*. `boot/image` makes it so:
//!
//! 1. Lay out the payload as below.
//! 2. Take the loader's ELF. Its program header table ends in one unused `PT_NULL` entry. Make it
//!    `PT_LOAD`, flags `R`, `p_paddr = p_vaddr` = the end of the loader's last segment in memory
//!    (`p_paddr + p_memsz`, bss included) rounded up to [`PAGE_BYTES`], or to 2 MiB if something in the bundle wants
//!    large pages, `p_filesz = p_memsz` = the payload's length,
//!    `p_align` = [`PAGE_BYTES`], `p_offset` a page-aligned place at the end of the file.
//! 3. Patch the [`PayloadLocation`] in the loader's section `.payload_location` (symbol `PAYLOAD_LOCATION`).
//! 4. Set `e_type` to `ET_EXEC` (2) if the linker wrote `ET_DYN`: the loader relocates itself.
//!
//! # The payload
//!
//! All numbers are little-endian, all offsets count bytes from the payload's first byte. Offset 0 holds a
//! [`PayloadHeader`]. Everything it names lies behind the header, inside `total_bytes`, and nothing overlaps.
//!
//! * The kernel and the root process are flattened when the image is built: a [`FlatImage`] is a list of page
//!   aligned segments, so nobody parses ELF while booting.
//! * `bundle` (data of all other processes, opaque here) and `composition` (the manifest, compiled, for root) begin
//!   at a multiple of [`PAGE_BYTES`]; the space behind each up to the next page is zero. They stay where they were
//!   loaded, and root receives them as whole pages.
//! * `total_bytes` is a multiple of [`PAGE_BYTES`].

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use core::mem::{offset_of, size_of};

use static_assertions::const_assert_eq;

#[cfg(test)]
mod tests;

use ecusson_abi::boot::{
    KERNEL_BASE, KERNEL_LIMIT, PAGE_BYTES, PhysRange, SEGMENT_EXECUTE, SEGMENT_MAX, SEGMENT_READ, SEGMENT_WRITE,
    USER_LIMIT, aligned, clamp,
};

/// First word of [`PayloadLocation`], before and after patching: "ECUWHERE" read as little-endian bytes.
pub const PAYLOAD_LOCATION_MAGIC: u64 = u64::from_le_bytes(*b"ECUWHERE");
/// First word of [`PayloadHeader`]: "ECUPAYLD" read as little-endian bytes.
pub const PAYLOAD_MAGIC: u64 = u64::from_le_bytes(*b"ECUPAYLD");
/// Version of the payload's layout that this source describes.
pub const PAYLOAD_VERSION: u32 = 1;

/// Where the payload lies, patched into the loader by `boot/image`. `phys` and `bytes` are 0 until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PayloadLocation {
    /// [`PAYLOAD_LOCATION_MAGIC`].
    pub magic: u64,
    /// Physical address at link time, page aligned (`p_paddr` of the payload segment).
    pub phys: u64,
    /// Length of the payload, a multiple of [`PAGE_BYTES`].
    pub bytes: u64,
}
const_assert_eq!(size_of::<PayloadLocation>(), 24);

/// A piece of the payload: `bytes` bytes from `offset`. Both 0 when absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// Bytes from the payload's first byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}
const_assert_eq!(size_of::<Extent>(), 16);

/// One page aligned segment of a [`FlatImage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlatSegment {
    /// Where its first `file_bytes` bytes lie in the payload. Any alignment.
    pub file_offset: u64,
    /// Virtual address, page aligned. A segment whose ELF address is not page aligned is lowered to the page's
    /// start and padded with zeros in the file; segments never share a page.
    pub vaddr: u64,
    /// Bytes to copy, at most `memory_bytes`; the rest is zero.
    pub file_bytes: u64,
    /// Bytes in memory, a positive multiple of [`PAGE_BYTES`].
    pub memory_bytes: u64,
    /// [`SEGMENT_READ`] and at most one of [`SEGMENT_WRITE`], [`SEGMENT_EXECUTE`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
const_assert_eq!(size_of::<FlatSegment>(), 40);

/// A program without its ELF: what to put where. Segments in ascending order of `vaddr`, not overlapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlatImage {
    /// Virtual address of the first instruction, inside an executable segment.
    pub entry: u64,
    /// How many of `segments` are in use; the rest is zero.
    pub segment_count: u32,
    /// Zero.
    pub reserved: u32,
    /// The segments.
    pub segments: [FlatSegment; SEGMENT_MAX],
}
const_assert_eq!(size_of::<FlatImage>(), 336);

/// The payload's first bytes. Its size is a multiple of 8 and it has no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PayloadHeader {
    /// [`PAYLOAD_MAGIC`].
    pub magic: u64,
    /// [`PAYLOAD_VERSION`].
    pub version: u32,
    /// `size_of::<PayloadHeader>()`.
    pub header_bytes: u32,
    /// The whole payload, a multiple of [`PAGE_BYTES`], the same as [`PayloadLocation::bytes`].
    pub total_bytes: u64,
    /// The kernel; `vaddr` from [`KERNEL_BASE`] to [`KERNEL_LIMIT`].
    pub kernel: FlatImage,
    /// The root process; `vaddr` from one page up to [`USER_LIMIT`].
    pub root: FlatImage,
    /// The data of all other processes. `offset` page aligned; the space up to the next page is zero.
    pub bundle: Extent,
    /// The compiled manifest. `offset` page aligned; the space up to the next page is zero.
    pub composition: Extent,
}
const_assert_eq!(size_of::<PayloadHeader>(), PAYLOAD_HEADER_BYTES);
const_assert_eq!(offset_of!(PayloadHeader, kernel), 24);
const_assert_eq!(offset_of!(PayloadHeader, root), 360);
const_assert_eq!(offset_of!(PayloadHeader, bundle), 696);
const_assert_eq!(offset_of!(PayloadHeader, composition), 712);

/// Bytes of a [`PayloadHeader`].
pub const PAYLOAD_HEADER_BYTES: usize = 728;

/// Writes the words of a structure one after the other, as `repr(C)` without padding lays them out.
struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, value: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.at..self.at + value.len()) {
            room.copy_from_slice(value);
        }
        self.at += value.len();
    }
    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
}

/// Reads what [`Writer`] wrote; beyond the end everything is zero.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut value = [0; N];
        if let Some(bytes) = self.bytes.get(self.at..self.at + N) {
            value.copy_from_slice(bytes);
        }
        self.at += N;
        value
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

impl FlatImage {
    /// The segments in use.
    #[must_use]
    pub fn used(&self) -> &[FlatSegment] {
        clamp(&self.segments, self.segment_count)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.u64(self.entry);
        to.u32(self.segment_count);
        to.u32(self.reserved);
        for segment in &self.segments {
            to.u64(segment.file_offset);
            to.u64(segment.vaddr);
            to.u64(segment.file_bytes);
            to.u64(segment.memory_bytes);
            to.u32(segment.flags);
            to.u32(segment.reserved);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let mut image = FlatImage {
            entry: from.u64(),
            segment_count: from.u32(),
            reserved: from.u32(),
            segments: [FlatSegment::default(); SEGMENT_MAX],
        };
        for segment in &mut image.segments {
            segment.file_offset = from.u64();
            segment.vaddr = from.u64();
            segment.file_bytes = from.u64();
            segment.memory_bytes = from.u64();
            segment.flags = from.u32();
            segment.reserved = from.u32();
        }
        image
    }

    /// Checks order, alignment, flags, entry, that virtual addresses lie in `room` and file bytes inside the payload.
    ///
    /// # Errors
    /// The first rule broken, naming `what` image it is.
    pub fn check(&self, room: PhysRange, payload_bytes: u64) -> Result<(), PayloadError> {
        let count = self.segment_count as usize;
        if count == 0 || count > SEGMENT_MAX {
            return Err(PayloadError::SegmentCount);
        }
        let mut lowest = room.base;
        let mut entry_found = false;
        for segment in self.used() {
            let end = segment.check(payload_bytes)?;
            if segment.vaddr < lowest || end > room.end() {
                return Err(PayloadError::SegmentAddress);
            }
            lowest = end;
            let inside = segment.vaddr <= self.entry && self.entry < end;
            entry_found |= inside && segment.flags & SEGMENT_EXECUTE != 0;
        }
        if entry_found { Ok(()) } else { Err(PayloadError::Entry) }
    }
}

impl FlatSegment {
    /// Checks everything that one segment shows alone; returns the first virtual address behind it.
    fn check(&self, payload_bytes: u64) -> Result<u64, PayloadError> {
        let known = SEGMENT_READ | SEGMENT_WRITE | SEGMENT_EXECUTE;
        let both = SEGMENT_WRITE | SEGMENT_EXECUTE;
        if self.flags & SEGMENT_READ == 0 || self.flags & !known != 0 || self.flags & both == both {
            return Err(PayloadError::SegmentFlags);
        }
        if self.memory_bytes == 0 || !aligned(self.vaddr | self.memory_bytes) {
            return Err(PayloadError::SegmentAddress);
        }
        let file_end = self.file_offset.checked_add(self.file_bytes);
        if self.file_bytes > self.memory_bytes || file_end.is_none_or(|end| end > payload_bytes) {
            return Err(PayloadError::SegmentFile);
        }
        self.vaddr
            .checked_add(self.memory_bytes)
            .ok_or(PayloadError::SegmentAddress)
    }
}

impl PayloadLocation {
    /// The bytes to patch into `.payload_location`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let mut to = Writer {
            bytes: &mut bytes,
            at: 0,
        };
        to.u64(self.magic);
        to.u64(self.phys);
        to.u64(self.bytes);
        bytes
    }
}

impl PayloadHeader {
    /// The header's bytes as they lie at the payload's start.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PAYLOAD_HEADER_BYTES] {
        let mut bytes = [0; PAYLOAD_HEADER_BYTES];
        let mut to = Writer {
            bytes: &mut bytes,
            at: 0,
        };
        to.u64(self.magic);
        to.u32(self.version);
        to.u32(self.header_bytes);
        to.u64(self.total_bytes);
        self.kernel.write(&mut to);
        self.root.write(&mut to);
        for extent in [self.bundle, self.composition] {
            to.u64(extent.offset);
            to.u64(extent.bytes);
        }
        bytes
    }

    /// Reads the header from the payload's first bytes, unchecked; missing bytes are zero.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut from = Reader { bytes, at: 0 };
        PayloadHeader {
            magic: from.u64(),
            version: from.u32(),
            header_bytes: from.u32(),
            total_bytes: from.u64(),
            kernel: FlatImage::read(&mut from),
            root: FlatImage::read(&mut from),
            bundle: Extent {
                offset: from.u64(),
                bytes: from.u64(),
            },
            composition: Extent {
                offset: from.u64(),
                bytes: from.u64(),
            },
        }
    }

    /// Checks the whole header against the payload's length. `boot/image` calls it on what it wrote, the loader on
    /// what it got.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, payload_bytes: u64) -> Result<(), PayloadError> {
        if self.magic != PAYLOAD_MAGIC {
            return Err(PayloadError::Magic);
        }
        if self.version != PAYLOAD_VERSION || self.header_bytes as usize != PAYLOAD_HEADER_BYTES {
            return Err(PayloadError::Version);
        }
        if self.total_bytes != payload_bytes || !aligned(payload_bytes) {
            return Err(PayloadError::Length);
        }
        let kernel_room = PhysRange {
            base: KERNEL_BASE,
            bytes: KERNEL_LIMIT - KERNEL_BASE,
        };
        let user_room = PhysRange {
            base: PAGE_BYTES,
            bytes: USER_LIMIT - 2 * PAGE_BYTES,
        };
        self.kernel.check(kernel_room, payload_bytes)?;
        self.root.check(user_room, payload_bytes)?;
        for extent in [self.bundle, self.composition] {
            let end = extent.offset.checked_add(extent.bytes);
            if !aligned(extent.offset) || end.is_none_or(|end| end > payload_bytes) {
                return Err(PayloadError::Extent);
            }
        }
        Ok(())
    }
}

/// Which rule of the payload is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// The magic number is another.
    Magic,
    /// The version or the header's size is another: loader and image tool were built from different sources.
    Version,
    /// `total_bytes` is not the length, or not whole pages.
    Length,
    /// No segment, or more than [`SEGMENT_MAX`].
    SegmentCount,
    /// A segment is not page aligned, outside its room, out of order or overlapping.
    SegmentAddress,
    /// A segment's bytes are not in the payload, or more than its memory.
    SegmentFile,
    /// A segment is not readable, has unknown flags, or is writable and executable.
    SegmentFlags,
    /// The entry point lies in no executable segment.
    Entry,
    /// Bundle or composition are not page aligned or not in the payload.
    Extent,
}

impl PayloadError {
    /// The rule in words, for a line on the console.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            PayloadError::Magic => "the payload's magic number is wrong",
            PayloadError::Version => "the payload's version is not the loader's",
            PayloadError::Length => "the payload's length is wrong",
            PayloadError::SegmentCount => "a program in the payload has no segment or too many",
            PayloadError::SegmentAddress => "a segment's address is outside its room, unaligned or out of order",
            PayloadError::SegmentFile => "a segment's bytes are not in the payload",
            PayloadError::SegmentFlags => "a segment's rights are unknown, or writable and executable",
            PayloadError::Entry => "an entry point lies in no executable segment",
            PayloadError::Extent => "bundle or composition lie outside the payload or are not page aligned",
        }
    }
}
