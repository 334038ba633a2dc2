//! Frames where they lie, and the Ethernet header.
//!
//! Key types: [`Frame`], [`Body`], [`Ethernet`].

use ecusson_guestmem::GuestMemory;
use ecusson_virtqueue::{Cursor, Short};

use crate::header::Header;
use crate::mac::Mac;

/// Bytes before the payload, without a tag.
pub(crate) const ETHERNET_BYTES: usize = 14;
/// Bytes of an 802.1Q tag.
pub(crate) const TAG_BYTES: usize = 4;

/// A VLAN. All ports are in `DEFAULT` today; the table of stations is kept by VLAN already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// Of frames without a tag.
    pub const DEFAULT: Self = Self(0);
}

/// The bytes could not be read, or there are fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl From<Short> for Lost {
    fn from(_: Short) -> Self {
        Self
    }
}

/// Bytes of a frame where they lie.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// In this process.
    Bytes(&'a [u8]),
    /// In a guest, which may change them at any time.
    Guest {
        /// Its memory.
        memory: &'a GuestMemory,
        /// The buffers.
        buffers: Cursor<'a>,
    },
}

impl<'a> Body<'a> {
    /// How many.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            // A chain has less than 4 GiB.
            Self::Guest { buffers, .. } => buffers.remaining() as usize,
        }
    }

    /// So many from an offset.
    ///
    /// # Errors
    /// [`Lost`] if there are fewer.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self, Lost> {
        match *self {
            Self::Bytes(all) => {
                let rest = all.get(offset..).ok_or(Lost)?;
                Ok(Self::Bytes(rest.get(..bytes).ok_or(Lost)?))
            }
            Self::Guest { memory, mut buffers } => {
                buffers.skip(offset as u64)?;
                let buffers = buffers.take(bytes as u64)?;
                Ok(Self::Guest { memory, buffers })
            }
        }
    }

    /// Copies the first bytes out, as many as `to` has.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn read(&self, to: &mut [u8]) -> Result<(), Lost> {
        match *self {
            Self::Bytes(bytes) => {
                to.copy_from_slice(bytes.get(..to.len()).ok_or(Lost)?);
                Ok(())
            }
            Self::Guest { memory, mut buffers } => Ok(buffers.read(memory, to)?),
        }
    }

    /// Copies the first `bytes` to a guest's buffers and drops them here.
    fn move_to(&mut self, to: &mut Cursor<'_>, to_memory: &GuestMemory, bytes: usize) -> Result<(), Lost> {
        match self {
            Self::Bytes(all) => {
                let (now, later) = all.split_at_checked(bytes).ok_or(Lost)?;
                to.write(to_memory, now)?;
                *all = later;
            }
            Self::Guest { memory, buffers } => to.copy(to_memory, buffers, memory, bytes as u64)?,
        }
        Ok(())
    }
}

/// A frame on its way: bytes of this process's own, then the rest where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What is still to be done to it.
    pub header: Header,
    /// Its first bytes, if they were changed on the way.
    pub front: &'a [u8],
    /// All bytes behind.
    pub body: Body<'a>,
}

impl<'a> Frame<'a> {
    /// A frame as it was received.
    #[must_use]
    pub fn new(header: Header, body: Body<'a>) -> Self {
        Self {
            header,
            front: &[],
            body,
        }
    }

    /// Its length, from the Ethernet header on.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.front.len() + self.body.bytes()
    }

    /// Copies it out; `to` has its length.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn read(&self, to: &mut [u8]) -> Result<(), Lost> {
        let (front, rest) = to.split_at_mut_checked(self.front.len()).ok_or(Lost)?;
        front.copy_from_slice(self.front);
        self.body.read(rest)
    }

    /// Copies its first `bytes` to a guest's buffers and drops them here.
    pub(crate) fn move_to(&mut self, to: &mut Cursor<'_>, memory: &GuestMemory, bytes: usize) -> Result<(), Lost> {
        let (now, later) = self.front.split_at(bytes.min(self.front.len()));
        to.write(memory, now)?;
        self.front = later;
        self.body.move_to(to, memory, bytes - now.len())
    }
}

/// What the switch reads of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ethernet {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    /// Tagged with a VLAN: four bytes more before the type.
    pub(crate) tagged: bool,
}

impl Ethernet {
    pub(crate) fn read(body: &Body<'_>) -> Result<Self, Lost> {
        let mut bytes = [0; ETHERNET_BYTES];
        body.read(&mut bytes)?;
        let [t0, t1, t2, t3, t4, t5, f0, f1, f2, f3, f4, f5, k0, k1] = bytes;
        Ok(Self {
            to: Mac([t0, t1, t2, t3, t4, t5]),
            from: Mac([f0, f1, f2, f3, f4, f5]),
            tagged: [k0, k1] == [0x81, 0x00],
        })
    }
}
