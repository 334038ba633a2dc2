//! Links made of vectors, frames, and checks of them that share no code with the switch.
#![allow(dead_code)]

use std::collections::VecDeque;

use ecusson_rate::Limits;
use ecusson_switch::{Checksum, Filter, Frame, Header, Link, LinkError, Mac, Offloads, PortSettings, Received};

/// A link whose frames are in vectors.
#[derive(Debug, Default)]
pub(crate) struct VecLink {
    pub(crate) accepts: Offloads,
    pub(crate) room: Option<usize>,
    pub(crate) out: VecDeque<(Header, Vec<u8>)>,
    pub(crate) got: Vec<(Header, Vec<u8>)>,
    pub(crate) held: usize,
}

impl VecLink {
    pub(crate) fn queue(&mut self, bytes: Vec<u8>) {
        self.out.push_back((Header::default(), bytes));
    }
}

impl Link for VecLink {
    fn accepts(&self) -> Offloads {
        self.accepts
    }

    fn send(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        if self.room.is_some_and(|room| self.got.len() >= room) {
            return Err(LinkError::Full);
        }
        let mut bytes = vec![0; frame.bytes()];
        frame.read(&mut bytes)?;
        self.got.push((frame.header, bytes));
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Received>, LinkError> {
        let next = self.out.pop_front();
        self.held += usize::from(next.is_some());
        Ok(next.map(|(header, bytes)| Received::Bytes {
            header,
            bytes: bytes.into(),
        }))
    }

    fn release(&mut self, _: Received) -> Result<(), LinkError> {
        self.held -= 1;
        Ok(())
    }
}

pub(crate) fn mac(last: u8) -> Mac {
    Mac([0, 0x16, 0x3E, 0, 0, last])
}

pub(crate) fn settings(filter: Filter) -> PortSettings {
    PortSettings {
        filter,
        limits: Limits::default(),
        mtu: 1500,
    }
}

/// A frame without meaning.
pub(crate) fn frame(to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x88, 0xB5], payload].concat()
}

/// A TCP frame with a payload; its TCP checksum is the sum of the pseudo-header, as for a card that does the rest.
pub(crate) fn tcp_frame(six: bool, tagged: bool, flags: u8, payload: &[u8]) -> (Vec<u8>, Checksum) {
    let tag: &[u8] = if tagged { &[0x81, 0, 0, 5] } else { &[] };
    let mut tcp = vec![
        0x12, 0x34, 0, 80, 0xFF, 0xFF, 0xFF, 0x00, 0, 0, 0, 9, 0x60, flags, 1, 2, 0, 0, 0, 0, 1, 1, 1, 1,
    ];
    let length = tcp.len() + payload.len();
    let ip = if six {
        let mut ip = vec![0x60, 0, 0, 0, (length >> 8) as u8, length as u8, 6, 64];
        ip.extend([0xFD; 16]);
        ip.extend([0xFE; 16]);
        ip
    } else {
        let total = length + 20;
        let mut ip = vec![
            0x45,
            0,
            (total >> 8) as u8,
            total as u8,
            0xFF,
            0xFE,
            0x40,
            0,
            64,
            6,
            0,
            0,
            10,
            0,
            0,
            1,
            10,
            0,
            0,
            2,
        ];
        let sum = !ones_sum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip
    };
    let sum = pseudo_sum(&ip, length);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let kind: [u8; 2] = if six { [0x86, 0xDD] } else { [8, 0] };
    let start = 12 + tag.len() + 2 + ip.len();
    let bytes = [&mac(2).0[..], &mac(1).0, tag, &kind, &ip, &tcp, payload].concat();
    let start = start as u16;
    (bytes, Checksum { start, offset: 16 })
}

/// The plain ones' complement sum.
pub(crate) fn ones_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

fn pseudo_sum(ip: &[u8], length: usize) -> u16 {
    let addresses = if ip[0] >> 4 == 4 { &ip[12..20] } else { &ip[8..40] };
    let mut bytes = addresses.to_vec();
    bytes.extend([0, 6, (length >> 8) as u8, length as u8]);
    ones_sum(&bytes)
}

/// A TCP frame taken apart: IP identification, sequence number, flags, payload. Checks lengths and checksums; of one that is still
/// to be put in, the pseudo-header's part.
pub(crate) fn read_tcp(header: &Header, bytes: &[u8]) -> (u16, u32, u8, Vec<u8>) {
    let at = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
    let ip = &bytes[at..];
    let (ip_bytes, length) = if ip[0] >> 4 == 4 {
        assert_eq!(ones_sum(&ip[..20]), 0xFFFF, "IP checksum");
        let total = usize::from(ip[2]) << 8 | usize::from(ip[3]);
        (20, total - 20)
    } else {
        (40, usize::from(ip[4]) << 8 | usize::from(ip[5]))
    };
    let tcp = &ip[ip_bytes..];
    assert_eq!(tcp.len(), length, "IP length");
    let pseudo = pseudo_sum(ip, length);
    if header.checksum.is_some() {
        assert_eq!(
            u16::from_be_bytes([tcp[16], tcp[17]]),
            pseudo,
            "sum of the pseudo-header"
        );
    } else {
        let both = [&pseudo.to_be_bytes()[..], tcp].concat();
        assert_eq!(ones_sum(&both), 0xFFFF, "TCP checksum");
    }
    let identification = u16::from_be_bytes([ip[4], ip[5]]);
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    (identification, sequence, tcp[13], tcp[24..].to_vec())
}
