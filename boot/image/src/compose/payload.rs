//! The payload: header, kernel, root, bundle, composition, as `ecusson_abi::boot::payload` describes it.
//!
//! Key type: [`Payload`]. Called by `compose`; read by `boot/loader`.

use ecusson_abi::boot::SEGMENT_MAX;
use ecusson_payload::{
    Extent, FlatImage, FlatSegment, PAYLOAD_HEADER_BYTES, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadError, PayloadHeader,
};

use super::bundle::pad;
use crate::elf::flatten::Flat;

/// Alignment of the kernel's and root's segments in the payload.
const ALIGN: usize = 16;

/// A payload that is being laid out: kernel and root are in it.
pub(super) struct Payload {
    bytes: Vec<u8>,
    kernel: FlatImage,
    root: FlatImage,
}

impl Payload {
    /// Room for the header, then kernel and root.
    pub(super) fn new(kernel: &Flat, root: &Flat) -> Self {
        let mut bytes = vec![0; PAYLOAD_HEADER_BYTES];
        let kernel = append_flat(&mut bytes, kernel);
        let root = append_flat(&mut bytes, root);
        pad(&mut bytes);
        Self { bytes, kernel, root }
    }

    /// Where the bundle will begin.
    pub(super) fn bundle_offset(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the rest into it and checks its header with the loader's own check.
    pub(super) fn finish(self, bundle: &[u8], composition: &[u8]) -> Result<Vec<u8>, PayloadError> {
        let Self {
            mut bytes,
            kernel,
            root,
        } = self;
        let bundle = append_pages(&mut bytes, bundle);
        let composition = append_pages(&mut bytes, composition);
        let total_bytes = bytes.len() as u64;
        let header = PayloadHeader {
            magic: PAYLOAD_MAGIC,
            version: PAYLOAD_VERSION,
            header_bytes: PAYLOAD_HEADER_BYTES as u32,
            total_bytes,
            kernel,
            root,
            bundle,
            composition,
        };
        header.check(total_bytes)?;
        bytes[..PAYLOAD_HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(bytes)
    }
}

fn append_flat(bytes: &mut Vec<u8>, flat: &Flat) -> FlatImage {
    let mut image = FlatImage {
        entry: flat.entry,
        ..FlatImage::default()
    };
    for (piece, segment) in flat.pieces.iter().zip(image.segments.iter_mut()) {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        *segment = FlatSegment {
            file_offset: bytes.len() as u64,
            vaddr: piece.address,
            file_bytes: piece.data.len() as u64,
            memory_bytes: piece.memory_bytes,
            flags: piece.flags,
            reserved: 0,
        };
        bytes.extend_from_slice(&piece.data);
    }
    image.segment_count = flat.pieces.len().min(SEGMENT_MAX) as u32;
    image
}

fn append_pages(bytes: &mut Vec<u8>, content: &[u8]) -> Extent {
    pad(bytes);
    let extent = Extent {
        offset: bytes.len() as u64,
        bytes: content.len() as u64,
    };
    bytes.extend_from_slice(content);
    pad(bytes);
    extent
}
