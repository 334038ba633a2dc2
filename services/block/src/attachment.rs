//! One guest's disk: its queue, its volume, what is in flight.
//!
//! Key types: [`Attachment`], [`Setup`], [`Turn`]. Called by the process: `run` after a kick, `complete` for each operation that
//! ended, then `publish`. Calls `request.rs`, the queue and the backend.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ecusson_guestmem::GuestMemory;
use ecusson_rate::Limiter;
use ecusson_virtqueue::{Chain, Queue, QueueError, Resumed};

use crate::backend::{Backend, Geometry, Outcome, Token};
use crate::config::Features;
use crate::request::{Request, Step};
use crate::volume::Volume;

/// Who brings writes to the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// The guest, by flushes.
    WriteBack,
    /// This side, after each write: the guest knows no flush.
    WriteThrough,
}

impl Cache {
    /// As the features say that the guest negotiated (virtio 1.2, 5.2.6.2).
    #[must_use]
    pub fn negotiated(features: Features) -> Self {
        if features.has(Features::FLUSH) {
            Self::WriteBack
        } else {
            Self::WriteThrough
        }
    }
}

/// What an attachment is made of.
#[derive(Debug)]
pub struct Setup {
    /// Its number, unique among those of its backend.
    pub number: u32,
    /// The guest's memory.
    pub memory: Arc<GuestMemory>,
    /// What it gets.
    pub volume: Volume,
    /// What its backend is like.
    pub geometry: Geometry,
    /// Who flushes.
    pub cache: Cache,
    /// How fast it may go.
    pub limiter: Limiter,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits; the guest was asked for a kick.
    Idle,
    /// More waits: run it again after the others.
    More,
    /// More waits, but not before this time in nanoseconds.
    Until(u64),
    /// More waits for an operation in flight to end.
    AfterCompletion,
}

/// One guest's disk.
#[derive(Debug)]
pub struct Attachment<'r> {
    setup: Setup,
    queue: Queue<'r>,
    /// Requests in flight, by head.
    requests: Vec<Option<Request>>,
    /// Heads whose next operation found the backend busy.
    stalled: VecDeque<u16>,
    /// Heads from before a restart, to be repeated in this order, one after the other.
    repeat: VecDeque<u16>,
    /// The one that is being repeated.
    repeating: Option<u16>,
    /// Chains that were used, to be filled again.
    spare: Vec<Chain>,
}

impl<'r> Attachment<'r> {
    /// An attachment to a queue that was just set up. Give the queue a record (`InFlight`), so that it can be resumed.
    #[must_use]
    pub fn new(setup: Setup, queue: Queue<'r>) -> Self {
        Self::resume(
            setup,
            Resumed {
                queue,
                repeat: Vec::new(),
            },
        )
    }

    /// An attachment to a queue that was in use when this service ended. Interrupt the guest once.
    #[must_use]
    pub fn resume(setup: Setup, resumed: Resumed<'r>) -> Self {
        let size = usize::from(resumed.queue.layout().size);
        Self {
            setup,
            queue: resumed.queue,
            requests: (0..size).map(|_| None).collect(),
            stalled: VecDeque::new(),
            repeat: resumed.repeat.into(),
            repeating: None,
            spare: Vec::new(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.setup.number
    }

    /// Requests taken and not answered.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.queue.in_flight()
    }

    /// Begins at most `budget` requests.
    ///
    /// # Errors
    /// [`QueueError`]: the guest broke its queue or ends. Operations in flight must still be completed.
    pub fn run(&mut self, backend: &mut dyn Backend, now_ns: u64, budget: u16) -> Result<Turn, QueueError> {
        while let Some(head) = self.stalled.pop_front() {
            if !self.advance(head, backend)? {
                return Ok(Turn::AfterCompletion);
            }
        }
        if !self.repeat_next(backend)? {
            return Ok(Turn::AfterCompletion);
        }
        for _ in 0..budget {
            if let Err(until) = self.setup.limiter.ready(now_ns) {
                return Ok(Turn::Until(until));
            }
            let mut chain = self.spare.pop().unwrap_or_default();
            if !self.queue.take(&self.setup.memory, &mut chain)? {
                self.spare.push(chain);
                let more = self.queue.ask_for_kick(&self.setup.memory)?;
                return Ok(if more { Turn::More } else { Turn::Idle });
            }
            if !self.begin(chain, backend)? {
                return Ok(Turn::AfterCompletion);
            }
        }
        Ok(Turn::More)
    }

    /// Repeats what an ended service had in flight, until an operation must be waited for. Whether all is done.
    fn repeat_next(&mut self, backend: &mut dyn Backend) -> Result<bool, QueueError> {
        while self.repeating.is_none() {
            let Some(head) = self.repeat.pop_front() else {
                return Ok(true);
            };
            let mut chain = self.spare.pop().unwrap_or_default();
            self.queue.chain(&self.setup.memory, head, &mut chain)?;
            self.repeating = Some(head);
            self.begin(chain, backend)?;
        }
        Ok(false)
    }

    /// Begins a request; `false` if the backend is busy.
    fn begin(&mut self, chain: Chain, backend: &mut dyn Backend) -> Result<bool, QueueError> {
        let head = chain.head();
        let Setup {
            memory,
            volume,
            geometry,
            cache,
            limiter,
            ..
        } = &mut self.setup;
        let request = Request::parse(chain, memory, volume, geometry, *cache);
        limiter.charge(request.bytes());
        // The queue answers only for heads below its size.
        let place = &mut self.requests[usize::from(head)];
        if place.replace(request).is_some() {
            return Err(QueueError::HeadInFlight(head));
        }
        self.advance(head, backend)
    }

    /// Does the next step of a request; `false` if the backend is busy, which puts it off.
    fn advance(&mut self, head: u16, backend: &mut dyn Backend) -> Result<bool, QueueError> {
        let Some(request) = &self.requests[usize::from(head)] else {
            return Ok(true);
        };
        let memory = &self.setup.memory;
        let written = match request.step(memory) {
            Step::Submit(operation) => {
                let token = Token {
                    attachment: self.setup.number,
                    head,
                };
                let submitted = backend.submit(token, operation).is_ok();
                if !submitted {
                    self.stalled.push_back(head);
                }
                return Ok(submitted);
            }
            Step::Finish(status, written) => {
                // A place that was writable when the chain was taken: only the guest's end takes it away.
                let _ = request.status_place().write(memory, &[status as u8]);
                written
            }
            Step::GiveBack => 0,
        };
        self.queue.give_back(memory, head, written)?;
        self.repeating = self.repeating.filter(|repeating| *repeating != head);
        if let Some(request) = self.requests[usize::from(head)].take() {
            self.spare.push(request.into_chain());
        }
        Ok(true)
    }

    /// An operation of this attachment ended: answers the request or goes on with it. Run the attachment again afterwards if its
    /// last turn ended with `AfterCompletion`.
    ///
    /// # Errors
    /// [`QueueError`]. A token that is not in flight is ignored.
    pub fn complete(&mut self, token: Token, outcome: Outcome, backend: &mut dyn Backend) -> Result<(), QueueError> {
        let place = self.requests.get_mut(usize::from(token.head));
        let Some(request) = place.and_then(Option::as_mut) else {
            return Ok(());
        };
        match outcome {
            Outcome::Done => request.advance(),
            Outcome::Failed => request.fail(),
        }
        self.advance(token.head, backend).map(|_| ())
    }

    /// Shows the guest what was answered. Whether it wants an interrupt.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn publish(&mut self) -> Result<bool, QueueError> {
        self.queue.publish(&self.setup.memory)
    }
}
