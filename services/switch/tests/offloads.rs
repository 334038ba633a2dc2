//! Checksums and segmentation done on the way, against a plain reading of the frames.

mod support;

use ecusson_switch::{Checksum, Filter, Header, IpVersion, Offloads, PortId, Segmentation, Settings, Switch};
use proptest::prelude::*;
use support::*;

const ALL: Offloads = Offloads {
    checksum: true,
    tcp4: true,
    tcp6: true,
    ecn: true,
};

/// What comes out at a receiver that accepts so much.
fn pass(header: Header, bytes: Vec<u8>, accepts: Offloads) -> Vec<(Header, Vec<u8>)> {
    let mut switch = Switch::new(Settings::default());
    let sender = switch
        .add_port(settings(Filter::Only(mac(1))), VecLink::default(), 0)
        .unwrap();
    let receiver = VecLink {
        accepts,
        ..VecLink::default()
    };
    let receiver = switch.add_port(settings(Filter::Only(mac(2))), receiver, 0).unwrap();
    switch.link(sender).unwrap().out.push_back((header, bytes));
    switch.run(sender, 0, 1).unwrap();
    assert_eq!(sender, PortId(0));
    std::mem::take(&mut switch.link(receiver).unwrap().got)
}

fn whole(checksum: Checksum) -> Header {
    Header {
        checksum: Some(checksum),
        ..Header::default()
    }
}

fn cut(checksum: Checksum, six: bool, ecn: bool, bytes: u16) -> Header {
    let version = if six { IpVersion::V6 } else { IpVersion::V4 };
    let segmentation = Some(Segmentation { version, ecn, bytes });
    Header {
        checksum: Some(checksum),
        segmentation,
        valid: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The pieces carry the payload once, in order, with right lengths, numbers, flags and sums.
    #[test]
    fn pieces_make_up_the_whole(
        six: bool, tagged: bool, partial: bool, flags: u8,
        size in 48_u16..9000, payload in prop::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let (bytes, checksum) = tcp_frame(six, tagged, flags, &payload);
        let accepts = Offloads { checksum: partial, ..Offloads::default() };
        let pieces = pass(cut(checksum, six, true, size), bytes, accepts);
        prop_assert_eq!(pieces.len(), payload.len().div_ceil(usize::from(size)).max(1));
        let mut found = Vec::new();
        for (index, (header, bytes)) in pieces.iter().enumerate() {
            prop_assert_eq!(header.checksum.is_some(), partial);
            prop_assert_eq!(header.segmentation, None);
            let (identification, sequence, piece_flags, piece) = read_tcp(header, bytes);
            prop_assert_eq!(sequence, 0xFFFF_FF00_u32.wrapping_add(found.len() as u32));
            if !six { prop_assert_eq!(identification, 0xFFFE_u16.wrapping_add(index as u16)); }
            let last = if index + 1 == pieces.len() { 0x09 } else { 0 };
            let first = if index == 0 { 0x80 } else { 0 };
            prop_assert_eq!(piece_flags, flags & (!0x89 | last | first));
            prop_assert!(piece.len() <= usize::from(size));
            found.extend(piece);
        }
        prop_assert_eq!(found, payload);
    }

    #[test]
    fn checksums_are_put_in(six: bool, tagged: bool, payload in prop::collection::vec(any::<u8>(), 0..1400)) {
        let (bytes, checksum) = tcp_frame(six, tagged, 0x10, &payload);
        let out = pass(whole(checksum), bytes, Offloads::default());
        prop_assert_eq!(out.len(), 1);
        prop_assert_eq!(out[0].0, Header::default());
        prop_assert_eq!(&read_tcp(&out[0].0, &out[0].1).3, &payload);
    }

    /// Frames and headers of any kind, to receivers of any kind.
    #[test]
    fn anything_is_survived(
        six: bool, tagged: bool, kind in 0..4, start: u16, offset: u16, size in 48_u16..,
        damage in prop::collection::vec((12_usize..90, any::<u8>()), 0..12),
        length in 0_usize..70_000, accepts in 0_u8..16,
    ) {
        let (mut bytes, mut checksum) = tcp_frame(six, tagged, 0xFF, &[5; 3000]);
        bytes.resize(length, 7);
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
        }
        if kind & 1 == 1 { checksum = Checksum { start, offset: offset % 64 } }
        let header = if kind & 2 == 2 { cut(checksum, six, false, size) } else { whole(checksum) };
        let bit = |bit: u8| accepts >> bit & 1 == 1;
        let accepts = Offloads { checksum: bit(0), tcp4: bit(1), tcp6: bit(2), ecn: bit(3) };
        for (header, bytes) in pass(header, bytes, accepts) {
            prop_assert!(accepts.cover(&header));
            prop_assert!(bytes.len() <= 65535 + 18);
        }
    }
}

#[test]
fn what_both_sides_can_is_left_undone() {
    let (bytes, checksum) = tcp_frame(false, false, 0x18, &[3; 5000]);
    let header = cut(checksum, false, false, 1448);
    assert_eq!(pass(header, bytes.clone(), ALL), [(header, bytes.clone())]);
    // Only the other version, or no notified congestion.
    let other = Offloads { tcp4: false, ..ALL };
    assert_eq!(pass(header, bytes.clone(), other).len(), 4);
    let no_ecn = Offloads { ecn: false, ..ALL };
    assert_eq!(pass(cut(checksum, false, true, 1448), bytes.clone(), no_ecn).len(), 4);
    assert_eq!(pass(header, bytes, no_ecn).len(), 1);
}

#[test]
fn udp_knows_no_zero() {
    // One word of payload that makes the sum all ones, so that the checksum would be 0.
    let mut bytes = frame(mac(2), mac(1), &[0; 30]);
    bytes[14 + 8..14 + 10].copy_from_slice(&[0xFF, 0xFF]);
    let checksum = Checksum { start: 14, offset: 6 };
    let out = pass(whole(checksum), bytes.clone(), Offloads::default());
    assert_eq!(out[0].1[20..22], [0xFF, 0xFF]);
    let out = pass(whole(Checksum { start: 14, offset: 4 }), bytes, Offloads::default());
    assert_eq!(out[0].1[18..20], [0, 0]);
}

#[test]
fn what_does_not_fit_its_frame_is_dropped() {
    let (bytes, good) = tcp_frame(false, false, 0, &[1; 100]);
    let refused = |header: Header| pass(header, bytes.clone(), ALL).is_empty();
    let end = bytes.len() as u16;
    assert!(!refused(whole(Checksum {
        start: end - 2,
        offset: 0
    })));
    assert!(refused(whole(Checksum {
        start: end - 1,
        offset: 0
    })));
    assert!(refused(whole(Checksum {
        start: u16::MAX,
        offset: u16::MAX
    })));
    assert!(refused(whole(Checksum { start: 13, offset: 0 })));
    assert!(!refused(cut(good, false, false, 48)));
    assert!(refused(cut(good, true, false, 48)));
    assert!(refused(cut(
        Checksum {
            start: good.start + 1,
            ..good
        },
        false,
        false,
        48
    )));
    assert!(refused(cut(Checksum { offset: 15, ..good }, false, false, 48)));
}
