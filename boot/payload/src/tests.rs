//! The rules of the payload, one broken at a time.

use super::*;

fn segment(vaddr: u64, flags: u32) -> FlatSegment {
    FlatSegment {
        file_offset: 4096,
        vaddr,
        file_bytes: 4000,
        memory_bytes: 8192,
        flags,
        reserved: 0,
    }
}

fn image(base: u64) -> FlatImage {
    let mut image = FlatImage {
        entry: base + 8,
        segment_count: 2,
        ..FlatImage::default()
    };
    image.segments[0] = segment(base, SEGMENT_READ | SEGMENT_EXECUTE);
    image.segments[1] = segment(base + 8192, SEGMENT_READ | SEGMENT_WRITE);
    image
}

fn header() -> PayloadHeader {
    PayloadHeader {
        magic: PAYLOAD_MAGIC,
        version: PAYLOAD_VERSION,
        header_bytes: PAYLOAD_HEADER_BYTES as u32,
        total_bytes: 0x5000,
        kernel: image(KERNEL_BASE),
        root: image(0x40_0000),
        bundle: Extent {
            offset: 0x2000,
            bytes: 0x1001,
        },
        composition: Extent {
            offset: 0x4000,
            bytes: 5,
        },
    }
}

/// Catches a changed layout: these are the bytes that other tools read.
#[test]
fn payload_header_has_golden_bytes() {
    let bytes = header().to_bytes();
    assert_eq!(&bytes[..24], b"ECUPAYLD\x01\0\0\0\xD8\x02\0\0\0\x50\0\0\0\0\0\0");
    assert_eq!(&bytes[24..40], b"\x08\0\0\x80\xFF\xFF\xFF\xFF\x02\0\0\0\0\0\0\0");
    assert_eq!(&bytes[40..56], b"\0\x10\0\0\0\0\0\0\0\0\0\x80\xFF\xFF\xFF\xFF");
    assert_eq!(
        &bytes[56..80],
        b"\xA0\x0F\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"
    );
    assert_eq!(&bytes[696..704], b"\0\x20\0\0\0\0\0\0");
    assert_eq!(PayloadHeader::from_bytes(&bytes), header());
    let location = PayloadLocation {
        magic: PAYLOAD_LOCATION_MAGIC,
        phys: 0x12_3000,
        bytes: 0x4000,
    };
    assert_eq!(location.to_bytes(), *b"ECUWHERE\0\x30\x12\0\0\0\0\0\0\x40\0\0\0\0\0\0");
}

/// Something done to a header that is right.
type Change = fn(&mut PayloadHeader);

/// Changes of the header itself, and what its check says.
const HEADER_RULES: [(Change, Result<(), PayloadError>); 11] = [
    (|_| {}, Ok(())),
    (|header| header.bundle = Extent::default(), Ok(())),
    (|header| header.magic ^= 1, Err(PayloadError::Magic)),
    (|header| header.version += 1, Err(PayloadError::Version)),
    (|header| header.header_bytes += 8, Err(PayloadError::Version)),
    (|header| header.total_bytes += PAGE_BYTES, Err(PayloadError::Length)),
    (
        |header| header.kernel.segment_count = 0,
        Err(PayloadError::SegmentCount),
    ),
    (|header| header.root.segment_count = 9, Err(PayloadError::SegmentCount)),
    (|header| header.root.entry = 0x40_2000, Err(PayloadError::Entry)),
    (|header| header.bundle.offset += 8, Err(PayloadError::Extent)),
    (|header| header.composition.bytes = 0x1001, Err(PayloadError::Extent)),
];

/// Changes of its programs' segments.
const SEGMENT_RULES: [(Change, Result<(), PayloadError>); 11] = [
    (
        |header| header.kernel.segments[1].vaddr -= PAGE_BYTES,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.kernel.segments[1].vaddr = KERNEL_LIMIT - PAGE_BYTES,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.kernel.segments[1].memory_bytes = 1 << 63,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.kernel.segments[1].memory_bytes += 1,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.root.segments[0].vaddr = 0,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.root.segments[1].vaddr = USER_LIMIT - 2 * PAGE_BYTES,
        Err(PayloadError::SegmentAddress),
    ),
    (
        |header| header.root.segments[1].file_bytes = 8193,
        Err(PayloadError::SegmentFile),
    ),
    (
        |header| header.root.segments[1].file_offset = u64::MAX,
        Err(PayloadError::SegmentFile),
    ),
    (
        |header| header.root.segments[1].file_offset = 0x5000 - 3999,
        Err(PayloadError::SegmentFile),
    ),
    (
        |header| header.root.segments[1].flags = 7,
        Err(PayloadError::SegmentFlags),
    ),
    (
        |header| header.root.segments[1].flags = SEGMENT_WRITE,
        Err(PayloadError::SegmentFlags),
    ),
];

/// Catches a rule of the payload that is not checked.
#[test]
fn payload_rules_are_checked() {
    for (index, (change, expected)) in HEADER_RULES.iter().chain(&SEGMENT_RULES).enumerate() {
        let mut header = header();
        change(&mut header);
        assert_eq!(header.check(0x5000), *expected, "case {index}");
    }
}
