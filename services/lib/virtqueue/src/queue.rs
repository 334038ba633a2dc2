//! The queue itself: chains out of the available ring, and back by the used ring; who tells whom when.
//!
//! Key types: [`Queue`], [`Resumed`]. Calls `chain.rs` and `inflight.rs`.

use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use ecusson_guestmem::{Gpa, GuestMemory};

use crate::chain::Chain;
use crate::error::QueueError;
use crate::inflight::InFlight;
use crate::layout::{Features, Layout, SetupError};

/// Available ring, flags: the driver wants no interrupts. Used ring, flags: the device wants no kicks.
const NOT_NOW: u16 = 1;

/// The device side of one queue. `'r`: its record, where it keeps one.
#[derive(Debug)]
pub struct Queue<'r> {
    layout: Layout,
    features: Features,
    /// Chains taken, and used entries written, since the queue was set up.
    taken: u16,
    used: u16,
    /// Used entries that the driver can see.
    published: u16,
    /// With a record: the heads given back since.
    unpublished: Vec<u16>,
    /// The used index at the last decision about an interrupt; `None` before the first.
    decided: Option<u16>,
    record: Option<InFlight<'r>>,
    /// What broke it.
    broken: Option<QueueError>,
}

/// A queue taken up again after its backend was restarted.
#[derive(Debug)]
pub struct Resumed<'r> {
    /// The queue.
    pub queue: Queue<'r>,
    /// Heads that were in flight, in the order they were taken: repeat them ([`Queue::chain`]) and give them back.
    pub repeat: Vec<u16>,
}

impl<'r> Queue<'r> {
    /// A queue that was just set up by its driver: all counters are 0.
    ///
    /// With a record, heads in flight are written there before `take` returns; the record must have enough words.
    ///
    /// # Errors
    /// [`SetupError`]; a record that is too short shows as a broken queue at the first use.
    pub fn start(
        memory: &GuestMemory,
        layout: Layout,
        features: Features,
        record: Option<InFlight<'r>>,
    ) -> Result<Self, SetupError> {
        layout.check(memory)?;
        let mut queue = Self {
            layout,
            features,
            taken: 0,
            used: 0,
            published: 0,
            unpublished: Vec::new(),
            decided: None,
            record,
            broken: None,
        };
        queue.begin_record();
        Ok(queue)
    }

    fn begin_record(&mut self) {
        if let Some(record) = &mut self.record {
            self.broken = record.begin(self.layout.size, self.used).err();
        }
    }

    /// A queue in use, taken up where a backend left it: one that ended (its record tells what was in flight), or one that had
    /// nothing in flight (no record needed, as after a migration).
    ///
    /// Interrupt the guest once afterwards: the last backend may have ended between publishing and interrupting.
    ///
    /// # Errors
    /// [`SetupError`]; what does not fit the record shows as a broken queue at the first use.
    pub fn resume(
        memory: &GuestMemory,
        layout: Layout,
        features: Features,
        record: Option<InFlight<'r>>,
    ) -> Result<Resumed<'r>, SetupError> {
        let mut queue = Self::start_at_used(memory, layout, features, record)?;
        let noted = queue.record.as_ref().and_then(|record| record.used(layout.size));
        let repeat = match noted {
            None => {
                queue.begin_record();
                Vec::new()
            }
            Some(noted) => match queue.repair(memory, noted) {
                Ok(repeat) => repeat,
                Err(error) => {
                    queue.broken = Some(error);
                    Vec::new()
                }
            },
        };
        Ok(Resumed { queue, repeat })
    }

    fn start_at_used(
        memory: &GuestMemory,
        layout: Layout,
        features: Features,
        record: Option<InFlight<'r>>,
    ) -> Result<Self, SetupError> {
        layout.check(memory)?;
        let used = memory.load_u16(layout.used_index())?;
        Ok(Self {
            layout,
            features,
            taken: used,
            used,
            published: used,
            unpublished: Vec::new(),
            decided: None,
            record,
            broken: None,
        })
    }

    /// Brings the record in step with the used ring; answers what is left in it.
    fn repair(&mut self, memory: &GuestMemory, noted: u16) -> Result<Vec<u16>, QueueError> {
        let size = self.layout.size;
        let behind = self.used.wrapping_sub(noted);
        if behind > size {
            return Err(QueueError::UsedIndex(self.used));
        }
        let record = self.record.as_mut().ok_or(QueueError::BadRecord)?;
        for step in 0..behind {
            let entry = self.layout.used_entry(noted.wrapping_add(step));
            let head = memory.load_u32(entry)?;
            // The guest can write there: a head that never was only spoils this guest's own requests.
            let head = u16::try_from(head).ok().filter(|head| *head < size);
            record.clear(head.ok_or(QueueError::UsedIndex(self.used))?);
        }
        record.note_used(self.used);
        let repeat = record.heads(size);
        // At most `size` heads, which has 16 bits.
        self.taken = self.used.wrapping_add(repeat.len() as u16);
        Ok(repeat)
    }

    /// Its addresses and size.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Chains taken and not given back.
    #[must_use]
    pub fn in_flight(&self) -> u16 {
        self.taken.wrapping_sub(self.used)
    }

    /// What broke the queue, if anything did.
    #[must_use]
    pub fn broken(&self) -> Option<QueueError> {
        self.broken
    }

    /// Does a step, unless the queue is broken, and remembers if that broke it.
    fn unbroken<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, QueueError>) -> Result<T, QueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let result = step(self);
        self.broken = result.as_ref().err().copied();
        result
    }

    /// Chains that wait to be taken, at most as many as the queue has descriptors.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn waiting(&mut self, memory: &GuestMemory) -> Result<u16, QueueError> {
        self.unbroken(|queue| queue.look(memory))
    }

    fn look(&self, memory: &GuestMemory) -> Result<u16, QueueError> {
        let available = memory.load_u16(self.layout.available_index())?;
        let outstanding = available.wrapping_sub(self.used);
        let in_flight = self.in_flight();
        // More than fit, or fewer than were taken: the index jumped, forward or back.
        if outstanding > self.layout.size || outstanding < in_flight {
            return Err(QueueError::IndexJump {
                available,
                taken: self.taken,
            });
        }
        Ok(outstanding - in_flight)
    }

    /// Takes the next chain; `false` when none waits.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn take(&mut self, memory: &GuestMemory, chain: &mut Chain) -> Result<bool, QueueError> {
        self.unbroken(|queue| {
            if queue.look(memory)? == 0 {
                return Ok(false);
            }
            let head = memory.load_u16(queue.layout.available_entry(queue.taken))?;
            queue.follow(memory, head, chain)?;
            if let Some(record) = &mut queue.record {
                if record.holds(head) {
                    return Err(QueueError::HeadInFlight(head));
                }
                record.take(head);
            }
            queue.taken = queue.taken.wrapping_add(1);
            Ok(true)
        })
    }

    fn follow(&self, memory: &GuestMemory, head: u16, chain: &mut Chain) -> Result<(), QueueError> {
        if head >= self.layout.size {
            return Err(QueueError::NoSuchDescriptor(head));
        }
        chain.fill(memory, &self.layout, self.features, head)
    }

    /// Reads the chain of a head in flight once more, to repeat it.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn chain(&mut self, memory: &GuestMemory, head: u16, chain: &mut Chain) -> Result<(), QueueError> {
        self.unbroken(|queue| queue.follow(memory, head, chain))
    }

    /// Puts the `count` chains taken last back, as if they had not been taken. Only for a queue without a record, and for chains
    /// of which none was given back.
    pub fn untake(&mut self, count: u16) {
        debug_assert!(self.record.is_none() && count <= self.in_flight());
        self.taken = self.taken.wrapping_sub(count.min(self.in_flight()));
    }

    /// Puts a chain into the used ring, with the bytes written to it. The driver sees it at the next [`Queue::publish`]; call
    /// that before so many have gathered as the queue has descriptors.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn give_back(&mut self, memory: &GuestMemory, head: u16, written: u32) -> Result<(), QueueError> {
        self.unbroken(|queue| {
            if queue.in_flight() == 0 {
                return Err(QueueError::NoSuchDescriptor(head));
            }
            let entry = queue.layout.used_entry(queue.used);
            memory.store_u32(entry, u32::from(head))?;
            memory.store_u32(Gpa(entry.0 + 4), written)?;
            queue.used = queue.used.wrapping_add(1);
            if queue.record.is_some() {
                queue.unpublished.push(head);
            }
            Ok(())
        })
    }

    /// Shows the driver what was given back. Whether it wants an interrupt for that.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn publish(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        self.unbroken(|queue| {
            if queue.used == queue.published {
                return Ok(false);
            }
            memory.store_u16(queue.layout.used_index(), queue.used)?;
            queue.clear_record();
            queue.published = queue.used;
            queue.wants_interrupt(memory)
        })
    }

    /// Takes the heads just published out of the record.
    fn clear_record(&mut self) {
        if let Some(record) = &self.record {
            for head in self.unpublished.drain(..) {
                record.clear(head);
            }
            record.note_used(self.used);
        }
    }

    /// virtio 1.2, 2.7.7: whether what was published since the last decision passes the driver's event index.
    fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        // The driver writes its wish, then looks at the index; this side the other way round: one of both sees the other.
        fence(Ordering::SeqCst);
        let before = self.decided.replace(self.published);
        if !self.features.has(Features::EVENT_INDEX) {
            return Ok(memory.load_u16(self.layout.available_flags())? & NOT_NOW == 0);
        }
        let event = memory.load_u16(self.layout.used_event())?;
        Ok(before.is_none_or(|before| passes(event, before, self.published)))
    }

    /// Tells the driver that kicks are of no use for now: this side looks by itself.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn refuse_kicks(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        self.unbroken(|queue| {
            // With event indexes a driver kicks once, at the index asked for last: not asking again is enough.
            if !queue.features.has(Features::EVENT_INDEX) {
                memory.store_u16(queue.layout.used_flags(), NOT_NOW)?;
            }
            Ok(())
        })
    }

    /// Asks the driver for a kick with its next chain. `true` when chains wait already: then none may come for those.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is broken then.
    pub fn ask_for_kick(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        self.unbroken(|queue| {
            if queue.features.has(Features::EVENT_INDEX) {
                memory.store_u16(queue.layout.available_event(), queue.taken)?;
            } else {
                memory.store_u16(queue.layout.used_flags(), 0)?;
            }
            // As in `wants_interrupt`.
            fence(Ordering::SeqCst);
            Ok(queue.look(memory)? > 0)
        })
    }
}

/// Whether an index that went from `before` to `now` passed `event` (virtio 1.2, 2.7.7.2).
fn passes(event: u16, before: u16, now: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}
