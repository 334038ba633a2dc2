//! A guest's virtio-net queues as a link (virtio 1.2, 5.1.6).
//!
//! Key type: [`GuestLink`]. Neither queue has a record: a frame is taken and given back within one turn, and a frame that a restart
//! of the switch lets travel twice or never is what networks do.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ecusson_guestmem::GuestMemory;
use ecusson_virtqueue::{Chain, Cursor, Queue, QueueError};

use crate::frame::Frame;
use crate::header::{Features, HEADER_BYTES, Offloads};
use crate::link::{Link, LinkError, Received};

/// Most buffers that one frame may fill.
const BUFFERS_MAX: usize = 64;

/// A guest's pair of queues.
#[derive(Debug)]
pub struct GuestLink {
    memory: Arc<GuestMemory>,
    features: Features,
    /// Buffers for frames to the guest.
    to_guest: Queue<'static>,
    /// Frames from the guest.
    from_guest: Queue<'static>,
    /// Chains that were used, to be filled again.
    spare: Vec<Chain>,
}

/// Which interrupts the guest wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// That of the queue by which it receives.
    pub received: bool,
    /// That of the queue by which it sends.
    pub sent: bool,
}

impl GuestLink {
    /// The link to a guest; its driver negotiated these features.
    #[must_use]
    pub fn new(
        memory: Arc<GuestMemory>,
        features: Features,
        to_guest: Queue<'static>,
        from_guest: Queue<'static>,
    ) -> Self {
        Self {
            memory,
            features,
            to_guest,
            from_guest,
            spare: Vec::new(),
        }
    }

    /// Shows the guest what it received and what was sent for it. Call it after each turn of the switch.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn publish(&mut self) -> Result<Signals, QueueError> {
        Ok(Signals {
            received: self.to_guest.publish(&self.memory)?,
            sent: self.from_guest.publish(&self.memory)?,
        })
    }

    /// Takes buffers with room for so many bytes, one or as many as it takes. What was taken for nothing goes back.
    fn buffers(&mut self, bytes: u64) -> Result<Vec<Chain>, LinkError> {
        let most = if self.features.has(Features::MERGEABLE) {
            BUFFERS_MAX
        } else {
            1
        };
        let mut chains: Vec<Chain> = Vec::new();
        let mut room = 0;
        while room < bytes && chains.len() < most {
            let mut chain = self.spare.pop().unwrap_or_default();
            if !self.to_guest.take(&self.memory, &mut chain)? {
                self.spare.push(chain);
                break;
            }
            room += Cursor::new(chain.writable()).remaining();
            chains.push(chain);
        }
        let first = chains
            .first()
            .map_or(0, |chain| Cursor::new(chain.writable()).remaining());
        if room >= bytes && first >= HEADER_BYTES as u64 {
            return Ok(chains);
        }
        self.put_back(chains);
        Err(LinkError::Full)
    }

    fn put_back(&mut self, chains: Vec<Chain>) {
        // At most `BUFFERS_MAX`.
        self.to_guest.untake(chains.len() as u16);
        self.spare.extend(chains);
    }

    /// Header and frame into the buffers; the bytes written to each.
    fn fill(&self, chains: &[Chain], frame: &Frame<'_>) -> Result<Vec<u32>, LinkError> {
        let mut frame = *frame;
        let header = frame.header.encode(chains.len() as u16);
        let mut written = Vec::with_capacity(chains.len());
        for (index, chain) in chains.iter().enumerate() {
            let mut to = Cursor::new(chain.writable());
            let room = to.remaining();
            if index == 0 {
                to.write(&self.memory, &header).map_err(|_| LinkError::Lost)?;
            }
            let now = frame.bytes().min(usize::try_from(to.remaining()).unwrap_or(usize::MAX));
            frame.move_to(&mut to, &self.memory, now)?;
            // A chain has less than 4 GiB.
            written.push((room - to.remaining()) as u32);
        }
        Ok(written)
    }
}

impl Link for GuestLink {
    fn accepts(&self) -> Offloads {
        self.features.received()
    }

    fn send(&mut self, frame: &Frame<'_>) -> Result<(), LinkError> {
        let chains = self.buffers(HEADER_BYTES as u64 + frame.bytes() as u64)?;
        let written = match self.fill(&chains, frame) {
            Ok(written) => written,
            Err(error) => {
                self.put_back(chains);
                return Err(error);
            }
        };
        for (chain, written) in chains.iter().zip(written) {
            self.to_guest.give_back(&self.memory, chain.head(), written)?;
        }
        self.spare.extend(chains);
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Received>, LinkError> {
        let mut chain = self.spare.pop().unwrap_or_default();
        let mut taken = self.from_guest.take(&self.memory, &mut chain)?;
        if !taken && self.from_guest.ask_for_kick(&self.memory)? {
            taken = self.from_guest.take(&self.memory, &mut chain)?;
        }
        if !taken {
            self.spare.push(chain);
            return Ok(None);
        }
        Ok(Some(Received::Guest {
            memory: self.memory.clone(),
            chain,
            allowed: self.features.sent(),
        }))
    }

    fn release(&mut self, received: Received) -> Result<(), LinkError> {
        if let Received::Guest { chain, .. } = received {
            self.from_guest.give_back(&self.memory, chain.head(), 0)?;
            self.spare.push(chain);
        }
        Ok(())
    }
}
