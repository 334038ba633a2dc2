//! A small volume that keeps records by name and the latest lines of a log, and survives a power cut at any write.
//!
//! Key types: [`Volume`] (what services use), [`Sectors`] (the disk below). The toolstack keeps domain configurations, the
//! autostart list, host settings and its log in one.
//!
//! The volume has two areas and a log ring. One area is active: changes are appended to it, each in sectors of its own, and
//! flushed before the call returns. When it is full, what is still valid is written to the other area, which becomes active
//! by its commit frames. No sector that counts is ever written over, so that a cut loses nothing that was acknowledged, and a
//! change is there whole or not at all. Every sector carries checksums ([`frame`]): what the disk garbles is found and said, but
//! for the very last change, whose loss looks like a cut.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod area;
pub mod frame;
mod log;
mod volume;

use core::fmt;

/// Bytes of a sector, the unit of reading and writing.
pub const SECTOR_BYTES: usize = 512;

/// One sector.
pub type Sector = [u8; SECTOR_BYTES];

/// The disk below. A write may be torn or lost by a power cut until a flush after it has returned.
pub trait Sectors {
    /// How many sectors there are.
    fn count(&self) -> u64;
    /// Reads one.
    ///
    /// # Errors
    /// The disk failed.
    fn read(&mut self, sector: u64, into: &mut Sector) -> Result<(), DeviceError>;
    /// Writes one.
    ///
    /// # Errors
    /// The disk failed.
    fn write(&mut self, sector: u64, from: &Sector) -> Result<(), DeviceError>;
    /// Returns when everything that was written will survive a power cut.
    ///
    /// # Errors
    /// The disk failed.
    fn flush(&mut self) -> Result<(), DeviceError>;
}

/// The disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError;

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The disk failed.
    Device,
    /// No volume was ever made here.
    NotFormatted,
    /// The disk has too few sectors for a volume.
    TooSmall {
        /// Sectors that are needed at least.
        needed: u64,
    },
    /// There is no room for this change, even after cleaning up. Nothing has changed.
    Full {
        /// Sectors that everything would need.
        needed: u64,
        /// Sectors of an area.
        capacity: u64,
    },
    /// A name is empty or too long, or a value too long.
    Length,
    /// Sectors that counted are garbled.
    Corrupt {
        /// The first of them.
        sector: u64,
    },
    /// An earlier failure left it unclear what is on the disk: open it again.
    Unclear,
}

impl From<DeviceError> for Error {
    fn from(_: DeviceError) -> Self {
        Self::Device
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("the disk failed"),
            Self::NotFormatted => f.write_str("there is no volume of records here: make one"),
            Self::TooSmall { needed } => write!(f, "the disk is too small: {needed} sectors are needed"),
            Self::Full { needed, capacity } => {
                write!(
                    f,
                    "the volume is full: {needed} sectors would be needed, there are {capacity}: delete records"
                )
            }
            Self::Length => f.write_str("a name has 1 to 128 bytes, a value at most 128 KiB"),
            Self::Corrupt { sector } => write!(f, "the volume is damaged at sector {sector}: salvage it"),
            Self::Unclear => f.write_str("an earlier write failed: open the volume again"),
        }
    }
}

pub use volume::{MAX_NAME_BYTES, MAX_VALUE_BYTES, MIN_SECTORS, Salvaged, Volume};
