//! What a port is connected to: a guest, a network card, another service.
//!
//! Key types: [`Link`], [`Received`].

use alloc::boxed::Box;
use alloc::sync::Arc;

use ecusson_guestmem::GuestMemory;
use ecusson_virtqueue::{Chain, Cursor, QueueError};

use crate::frame::{Body, Frame, Lost};
use crate::header::{HEADER_BYTES, Header, Offloads};

/// Why a frame did not go, or none came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// No room at the other end: the frame is dropped.
    Full,
    /// The frame could not be read any more: it is dropped.
    Lost,
    /// The other end broke its queue, or is gone.
    Broken(QueueError),
}

impl From<Lost> for LinkError {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

impl From<QueueError> for LinkError {
    fn from(error: QueueError) -> Self {
        Self::Broken(error)
    }
}

/// A frame that came in by a link and is held until [`Link::release`].
#[derive(Debug)]
pub enum Received {
    /// It lies in a guest, behind a virtio-net header.
    Guest {
        /// The guest's memory.
        memory: Arc<GuestMemory>,
        /// Its buffers.
        chain: Chain,
        /// What the guest may leave undone.
        allowed: Offloads,
    },
    /// It lies here.
    Bytes {
        /// What is still to be done to it.
        header: Header,
        /// From the Ethernet header on.
        bytes: Box<[u8]>,
    },
}

impl Received {
    /// The frame. What was received is the sender's, and may be no frame.
    ///
    /// # Errors
    /// [`Lost`] for a chain that is too short or whose header is wrong.
    pub fn frame(&self) -> Result<Frame<'_>, Lost> {
        match self {
            Self::Bytes { header, bytes } => Ok(Frame::new(*header, Body::Bytes(bytes))),
            Self::Guest { memory, chain, allowed } => {
                let mut buffers = Cursor::new(chain.readable());
                let mut header = [0; HEADER_BYTES];
                buffers.read(memory, &mut header)?;
                let header = Header::decode(header, *allowed).ok_or(Lost)?;
                Ok(Frame::new(header, Body::Guest { memory, buffers }))
            }
        }
    }
}

/// What a port is connected to.
pub trait Link {
    /// What may be left undone in frames for it.
    fn accepts(&self) -> Offloads;

    /// Hands it a frame.
    ///
    /// # Errors
    /// [`LinkError`].
    fn send(&mut self, frame: &Frame<'_>) -> Result<(), LinkError>;

    /// The next frame from it. After `None`, it says when there is one.
    ///
    /// # Errors
    /// `Broken`.
    fn receive(&mut self) -> Result<Option<Received>, LinkError>;

    /// Gives back what `receive` gave.
    ///
    /// # Errors
    /// `Broken`.
    fn release(&mut self, received: Received) -> Result<(), LinkError>;
}
