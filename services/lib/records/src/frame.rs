//! One sector of an area or of the log: a header that says which part of which record it is, and the part.
//!
//! Key type: [`Frame`]. All numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `EcRf` |
//! | 4 | 4 | CRC-32 (ISO-HDLC) of all that follows in the sector |
//! | 8 | 8 | generation of the area; 0 in the log |
//! | 16 | 4 | number of the record in its area; in the log, of the sector's lines |
//! | 20 | 2 | which part of the record |
//! | 22 | 2 | how many parts it has, at least 1 |
//! | 24 | 2 | bytes of the payload that count |
//! | 26 | 1 | [`Role`] |
//! | 27 | 1 | version, 1 |
//! | 28 | 4 | CRC-32 of the whole record, all parts together |
//! | 32 | 480 | payload |
//!
//! The record's own checksum is in each part, so that parts of two records that were written to the same place at different
//! times are never taken for one.

use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::{SECTOR_BYTES, Sector};

/// Bytes of a record that fit a sector.
pub const PAYLOAD_BYTES: usize = SECTOR_BYTES - HEADER_BYTES;

const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 4] = *b"EcRf";
const VERSION: u8 = 1;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A record that was valid when the area was begun.
    Base,
    /// The area counts from here on.
    Commit,
    /// A change made after that.
    Change,
    /// Lines of the log.
    Log,
}

/// A frame that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Generation of the area.
    pub generation: u64,
    /// Number of the record.
    pub record: u32,
    /// Which part.
    pub part: u16,
    /// Of how many.
    pub parts: u16,
    /// What for.
    pub role: Role,
    /// Checksum of all parts together.
    pub record_checksum: u32,
    /// The part, at most [`PAYLOAD_BYTES`].
    pub payload: Vec<u8>,
}

/// The checksum of a record.
#[must_use]
pub fn checksum(record: &[u8]) -> u32 {
    CRC.checksum(record)
}

impl Frame {
    /// Parts that a record of so many bytes has.
    #[must_use]
    pub fn parts_of(bytes: usize) -> u64 {
        bytes.div_ceil(PAYLOAD_BYTES).max(1) as u64
    }

    /// The frames of a record; none if it has more than 65535 parts.
    #[must_use]
    pub fn split(generation: u64, number: u32, role: Role, record: &[u8]) -> Vec<Self> {
        let record_checksum = checksum(record);
        let Ok(parts) = u16::try_from(Self::parts_of(record.len())) else {
            return Vec::new();
        };
        let of_part = |part: u16| {
            let from = usize::from(part) * PAYLOAD_BYTES;
            let to = (from + PAYLOAD_BYTES).min(record.len());
            let payload = record.get(from..to).unwrap_or_default().to_vec();
            Self {
                generation,
                record: number,
                part,
                parts,
                role,
                record_checksum,
                payload,
            }
        };
        (0..parts).map(of_part).collect()
    }

    /// As it is written.
    #[must_use]
    pub fn encode(&self) -> Sector {
        let mut sector = [0; SECTOR_BYTES];
        let length = self.payload.len().min(PAYLOAD_BYTES);
        sector[0..4].copy_from_slice(&MAGIC);
        sector[8..16].copy_from_slice(&self.generation.to_le_bytes());
        sector[16..20].copy_from_slice(&self.record.to_le_bytes());
        sector[20..22].copy_from_slice(&self.part.to_le_bytes());
        sector[22..24].copy_from_slice(&self.parts.to_le_bytes());
        sector[24..26].copy_from_slice(&(length as u16).to_le_bytes());
        sector[26] = match self.role {
            Role::Base => 1,
            Role::Commit => 2,
            Role::Change => 3,
            Role::Log => 4,
        };
        sector[27] = VERSION;
        sector[28..32].copy_from_slice(&self.record_checksum.to_le_bytes());
        sector[HEADER_BYTES..HEADER_BYTES + length].copy_from_slice(&self.payload[..length]);
        let checksum = CRC.checksum(&sector[8..]);
        sector[4..8].copy_from_slice(&checksum.to_le_bytes());
        sector
    }

    /// What a sector holds; `None` for anything that is not a frame, whole and sound.
    #[must_use]
    pub fn decode(sector: &Sector) -> Option<Self> {
        let length = usize::from(u16::from_le_bytes(field(sector, 24)));
        let role = match sector[26] {
            1 => Role::Base,
            2 => Role::Commit,
            3 => Role::Change,
            4 => Role::Log,
            _ => return None,
        };
        let sound = sector[0..4] == MAGIC
            && u32::from_le_bytes(field(sector, 4)) == CRC.checksum(&sector[8..])
            && sector[27] == VERSION
            && length <= PAYLOAD_BYTES;
        let frame = Self {
            generation: u64::from_le_bytes(field(sector, 8)),
            record: u32::from_le_bytes(field(sector, 16)),
            part: u16::from_le_bytes(field(sector, 20)),
            parts: u16::from_le_bytes(field(sector, 22)),
            role,
            record_checksum: u32::from_le_bytes(field(sector, 28)),
            payload: sector.get(HEADER_BYTES..HEADER_BYTES + length)?.to_vec(),
        };
        (sound && frame.part < frame.parts).then_some(frame)
    }
}

/// The bytes at a fixed offset.
fn field<const N: usize>(sector: &Sector, offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&sector[offset..offset + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_pinned() {
        let frame = Frame::split(0x0102_0304_0506_0708, 9, Role::Change, b"record").remove(0);
        let sector = frame.encode();
        assert_eq!(&sector[..4], b"EcRf");
        assert_eq!(sector[4..8], crc32_bitwise(&sector[8..]).to_le_bytes());
        assert_eq!(
            sector[8..28],
            [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 0, 0, 1, 0, 6, 0, 3, 1],
            "generation, record, part, parts, length, role, version"
        );
        assert_eq!(sector[28..32], crc32_bitwise(b"record").to_le_bytes());
        assert_eq!(&sector[32..38], b"record");
        assert_eq!(Frame::decode(&sector), Some(frame));
    }

    /// The same checksum by its definition (polynomial 0xedb88320, reflected).
    fn crc32_bitwise(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    }

    #[test]
    fn a_changed_bit_is_seen() {
        let sector = Frame::split(1, 2, Role::Base, b"some record").remove(0).encode();
        for bit in 0..SECTOR_BYTES * 8 {
            let mut garbled = sector;
            garbled[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&garbled), None, "bit {bit}");
        }
    }
}
