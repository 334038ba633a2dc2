//! The compiled manifest: what `boot/image` writes when an image is built, and who reads it on the machine.
//!
//! Key types: [`Composition`] (feature `composition`, needs a heap) tells `services/root` every process, object and
//! capability to make; [`BootTable`] (no heap) tells one process the slots and addresses that it got, by name.
//! Written by `ecusson-image`; the composition is read by `ecusson-root`, the boot table by `rt`. [`layout`] holds the
//! addresses and fixed slots that all three agree on. What the manifest means is said in `specs/manifest.md`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "composition")]
extern crate alloc;

pub mod boot_table;
#[cfg(feature = "composition")]
pub mod composition;
pub mod layout;

pub use boot_table::{BootTable, Entry};
#[cfg(feature = "composition")]
pub use composition::Composition;

use core::fmt;

/// Why bytes are no compiled manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first four bytes are not those of this format: these are not the bytes that `boot/image` wrote.
    BadMagic,
    /// Another version of the format; rebuild the image with the tools of the same source.
    BadVersion {
        /// The version that was found.
        found: u16,
    },
    /// The bytes end early or hold a value that the format does not know.
    Malformed,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic => to.write_str("not a compiled manifest: wrong magic; was the image made by boot/image?"),
            Self::BadVersion { found } => write!(
                to,
                "compiled manifest of version {found}, but version {VERSION} is needed; rebuild the image"
            ),
            Self::Malformed => to.write_str("compiled manifest is cut short or damaged; rebuild the image"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Version of both formats; raised with every change of a type in this crate.
pub const VERSION: u16 = 4;

/// Checks magic and version, and returns what follows them.
fn strip_header<'a>(bytes: &'a [u8], magic: &[u8; 4]) -> Result<&'a [u8], DecodeError> {
    let rest = bytes.strip_prefix(magic).ok_or(DecodeError::BadMagic)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(DecodeError::Malformed)?;
    match u16::from_le_bytes(*version) {
        VERSION => Ok(rest),
        found => Err(DecodeError::BadVersion { found }),
    }
}
