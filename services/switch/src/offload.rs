//! What a receiver can't do is done on the way: checksums, and segmentation of TCP.
//!
//! Key functions: [`check`] (before a frame is passed on), [`deliver`] (as the receiver takes it). Called by `switch.rs`.

use crate::frame::{Body, ETHERNET_BYTES, Ethernet, Frame, Lost, TAG_BYTES};
use crate::header::{Checksum, Header, IpVersion, Offloads, Segmentation};

/// Ethernet with a tag, IPv4 with all options, TCP with all options.
const HEADERS_MAX: usize = ETHERNET_BYTES + TAG_BYTES + 60 + 60;
/// Sums are made over pieces of this size.
const CHUNK: usize = 512;

const TCP: u8 = 6;
const TCP_CHECKSUM_AT: u16 = 16;
const UDP_CHECKSUM_AT: u16 = 6;
const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

/// A ones' complement sum in the making (RFC 1071). Parts are added at even offsets.
#[derive(Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    fn add(self, bytes: &[u8]) -> Self {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
        Self(self.0 + sum + rest.first().map_or(0, |last| u64::from(*last) << 8))
    }

    fn add_number(self, number: u16) -> Self {
        Self(self.0 + u64::from(number))
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        sum as u16
    }
}

/// The sum of a body's bytes.
fn sum_of(body: &Body<'_>) -> Result<Sum, Lost> {
    let mut sum = Sum::default();
    let mut buffer = [0; CHUNK];
    let mut rest = *body;
    while rest.bytes() > 0 {
        let now = rest.bytes().min(CHUNK);
        rest.read(&mut buffer[..now])?;
        sum = sum.add(&buffer[..now]);
        rest = rest.part(now, rest.bytes() - now)?;
    }
    Ok(sum)
}

/// Where things are in a TCP frame, found by its own headers.
#[derive(Clone, Copy)]
struct Tcp {
    ip: usize,
    tcp: usize,
    payload: usize,
}

/// Finds the headers of TCP in `bytes`, the first ones of a frame. `None` if it is something else, or is cut short. IPv6 with
/// extension headers counts as something else.
fn find_tcp(bytes: &[u8], version: IpVersion, tagged: bool) -> Option<Tcp> {
    let ip = ETHERNET_BYTES + if tagged { TAG_BYTES } else { 0 };
    let kind: [u8; 2] = *bytes.get(ip - 2..)?.first_chunk()?;
    let first = *bytes.get(ip)?;
    let tcp = match (version, kind, first >> 4) {
        (IpVersion::V4, [0x08, 0x00], 4) if *bytes.get(ip + 9)? == TCP => ip + 4 * usize::from(first & 0x0F),
        (IpVersion::V6, [0x86, 0xDD], 6) if *bytes.get(ip + 6)? == TCP => ip + 40,
        _ => return None,
    };
    let header = 4 * usize::from(*bytes.get(tcp + 12)? >> 4);
    let payload = tcp + header;
    (tcp >= ip + 20 && header >= 20 && payload <= bytes.len()).then_some(Tcp { ip, tcp, payload })
}

/// Whether what is to be done to a frame fits the frame, so that every receiver can do it.
pub(crate) fn check(header: &Header, ethernet: Ethernet, body: &Body<'_>) -> Result<(), Lost> {
    let Some(Checksum { start, offset }) = header.checksum else {
        return Ok(());
    };
    let place = usize::from(start) + usize::from(offset);
    if place + 2 > body.bytes() || usize::from(start) < ETHERNET_BYTES {
        return Err(Lost);
    }
    let Some(cut) = header.segmentation else {
        return Ok(());
    };
    let mut buffer = [0; HEADERS_MAX];
    let bytes = &mut buffer[..body.bytes().min(HEADERS_MAX)];
    body.read(bytes)?;
    let found = find_tcp(bytes, cut.version, ethernet.tagged).ok_or(Lost)?;
    let fits = usize::from(start) == found.tcp && offset == TCP_CHECKSUM_AT && found.payload <= body.bytes();
    if fits { Ok(()) } else { Err(Lost) }
}

/// Hands a frame on as a receiver takes it: whole, with its checksum put in, or in pieces. Stops at the first one that `send`
/// refuses. The frame was checked by [`check`]; a guest may have changed it since, which spoils that frame only.
///
/// `E` is what `send` may answer.
pub(crate) fn deliver<E: From<Lost>>(
    frame: &Frame<'_>,
    ethernet: Ethernet,
    accepts: Offloads,
    send: &mut dyn FnMut(&Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut frame = *frame;
    // Only who leaves checksums undone is told that they are good.
    frame.header.valid &= accepts.checksum;
    match (frame.header.segmentation, frame.header.checksum) {
        (Some(cut), _) if !accepts.cover_segmentation(cut) || !accepts.checksum => {
            segment(&frame, cut, ethernet, accepts, send)
        }
        (None, Some(checksum)) if !accepts.checksum => with_checksum(&frame, checksum, send),
        _ => send(&frame),
    }
}

fn with_checksum<E: From<Lost>>(
    frame: &Frame<'_>,
    Checksum { start, offset }: Checksum,
    send: &mut dyn FnMut(&Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (start, place) = (usize::from(start), usize::from(start) + usize::from(offset));
    let total = frame.body.bytes();
    let summed = frame.body.part(start, total.checked_sub(start).ok_or(Lost)?)?;
    let mut sum = !sum_of(&summed)?.folded();
    // In UDP 0 means "no checksum" (RFC 768).
    if sum == 0 && offset == UDP_CHECKSUM_AT {
        sum = 0xFFFF;
    }
    let end = place + 2;
    let mut buffer = [0; HEADERS_MAX];
    // A checksum further in than any header reaches is no offload of TCP or UDP.
    let front = buffer.get_mut(..end).ok_or(Lost)?;
    frame.body.read(front)?;
    front[place..].copy_from_slice(&sum.to_be_bytes());
    send(&Frame {
        header: Header {
            checksum: None,
            ..frame.header
        },
        front,
        body: frame.body.part(end, total.checked_sub(end).ok_or(Lost)?)?,
    })
}

fn segment<E: From<Lost>>(
    frame: &Frame<'_>,
    cut: Segmentation,
    ethernet: Ethernet,
    accepts: Offloads,
    send: &mut dyn FnMut(&Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let total = frame.body.bytes();
    let mut buffer = [0; HEADERS_MAX];
    let bytes = &mut buffer[..total.min(HEADERS_MAX)];
    frame.body.read(bytes)?;
    let found = find_tcp(bytes, cut.version, ethernet.tagged).ok_or(Lost)?;
    let headers = &bytes[..found.payload];
    let payload = total - found.payload;
    let size = usize::from(cut.bytes).max(1);
    let mut done = 0;
    // At least one piece, also of a segment without payload.
    loop {
        let now = size.min(payload - done);
        let body = frame.body.part(found.payload + done, now)?;
        let mut own = [0; HEADERS_MAX];
        let front = &mut own[..headers.len()];
        front.copy_from_slice(headers);
        let piece = Piece {
            number: (done / size) as u16,
            offset: done as u32,
            bytes: now,
            last: done + now == payload,
        };
        piece.write(front, found, cut.version);
        let header = if accepts.checksum {
            frame.header.checksum
        } else {
            let sum = !sum_of(&body)?.add(&front[found.tcp..]).folded();
            let place = found.tcp + usize::from(TCP_CHECKSUM_AT);
            front[place..place + 2].copy_from_slice(&sum.to_be_bytes());
            None
        };
        send(&Frame {
            header: Header {
                checksum: header,
                segmentation: None,
                valid: frame.header.valid,
            },
            front,
            body,
        })?;
        done += now;
        if done >= payload {
            return Ok(());
        }
    }
}

/// One piece of a segment.
struct Piece {
    number: u16,
    /// Payload before it.
    offset: u32,
    bytes: usize,
    last: bool,
}

impl Piece {
    /// Makes the headers of the whole those of the piece; the TCP checksum becomes the sum of the pseudo-header.
    fn write(&self, front: &mut [u8], found: Tcp, version: IpVersion) {
        let Tcp { ip, tcp, payload } = found;
        let tcp_bytes = (payload - tcp + self.bytes) as u16;
        let addresses = match version {
            IpVersion::V4 => {
                put(front, ip + 2, (tcp - ip) as u16 + tcp_bytes);
                let identification = get(front, ip + 4).wrapping_add(self.number);
                put(front, ip + 4, identification);
                put(front, ip + 10, 0);
                let sum = !Sum::default().add(&front[ip..tcp]).folded();
                put(front, ip + 10, sum);
                ip + 12..ip + 20
            }
            IpVersion::V6 => {
                put(front, ip + 4, tcp_bytes);
                ip + 8..ip + 40
            }
        };
        let sequence = [front[tcp + 4], front[tcp + 5], front[tcp + 6], front[tcp + 7]];
        let sequence = u32::from_be_bytes(sequence).wrapping_add(self.offset);
        front[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        if !self.last {
            front[tcp + 13] &= !TCP_FIN_PSH;
        }
        if self.number > 0 {
            front[tcp + 13] &= !TCP_CWR;
        }
        let sum = Sum::default().add(&front[addresses]).add_number(u16::from(TCP));
        let sum = sum.add_number(tcp_bytes).folded();
        put(front, tcp + usize::from(TCP_CHECKSUM_AT), sum);
    }
}

fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
