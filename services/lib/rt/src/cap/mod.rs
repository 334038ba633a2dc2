//! Capabilities with their kind in the type, and the operations of each kind.
//!
//! Key types: [`Cap`], [`Failure`], [`Progress`]. A `Cap` is a slot number that only moves: whoever holds it is the one that
//! operates on it. Dropping it says nothing to the kernel; the slot stays filled until it is emptied or the object ends.
//! The kernel checks kind, right and liveness on every use, so a wrong slot is an error and no more. Calls [`crate::sys`].

mod device;
pub mod kind;
mod memory;
mod process;
mod region;
mod vcpu;

use core::fmt;
use core::marker::PhantomData;

use ecusson_abi::{Error, Event, Rights, Transfer, Words, ops};

pub use memory::MemoryInfo;
pub use process::{Share, Start};
pub use region::RegionInfo;
pub use vcpu::{Left, StatePage, run};

use crate::sys::{self, Answer};

/// Why the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error.
    pub error: Error,
    /// Index of the argument at fault, or a quantity where the operation says so (`NoMemory`: missing pages).
    pub argument: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Error::NoMemory => write!(to, "NoMemory, {} pages missing", self.argument),
            error => write!(to, "{error:?}, argument {}", self.argument),
        }
    }
}

impl core::error::Error for Failure {}

/// How far a bounded step of an operation got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It is done.
    Done,
    /// Repeat it; at most so many pages or steps remain, 0 if that is not known.
    More(u64),
}

/// A capability of a kind in a slot of this process's table.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Cap<K> {
    slot: u64,
    kind: PhantomData<fn() -> K>,
}

impl<K> Cap<K> {
    /// The capability that is, or is said to be, in a slot.
    #[must_use]
    pub const fn at(slot: u64) -> Self {
        Self {
            slot,
            kind: PhantomData,
        }
    }

    /// Its slot.
    #[must_use]
    pub const fn slot(&self) -> u64 {
        self.slot
    }

    /// One operation: answer or failure.
    fn operate(&self, words: Words) -> Result<Answer, Failure> {
        checked(sys::invoke(self.slot, words))
    }

    /// An operation that does bounded work, once.
    fn step(&self, words: Words) -> Result<Progress, Failure> {
        let answer = self.operate(words)?;
        Ok(if answer.is_progress() {
            Progress::More(answer.second)
        } else {
            Progress::Done
        })
    }

    /// An operation that does bounded work, until it is done.
    fn until_done(&self, words: Words) -> Result<Answer, Failure> {
        loop {
            let answer = self.operate(words)?;
            if !answer.is_progress() {
                return Ok(answer);
            }
        }
    }

    /// Rights of the capability.
    ///
    /// # Errors
    /// `BadCap` for an empty slot, `Dead` for an object that ended.
    pub fn rights(&self) -> Result<Rights, Failure> {
        let (status, second) = sys::invoke_one(self.slot, ops::IDENTIFY);
        match status.failure() {
            Some(error) => Err(Failure {
                error,
                argument: second,
            }),
            None => Ok(Rights((second >> 8) as u8)),
        }
    }
}

/// Kinds whose objects can be ended one by one.
pub trait Destroy {}

impl<K: Destroy> Cap<K> {
    /// Ends the object, one bounded step. The first step kills every capability to it.
    ///
    /// # Errors
    /// `Dead` once it has ended; `NoRight` without MANAGE.
    pub fn destroy_step(&self) -> Result<Progress, Failure> {
        self.step([ops::DESTROY, 0, 0, 0, 0, 0])
    }

    /// Ends the object.
    ///
    /// # Errors
    /// As [`Cap::destroy_step`].
    pub fn destroy(&self) -> Result<(), Failure> {
        self.until_done([ops::DESTROY, 0, 0, 0, 0, 0]).map(|_| ())
    }
}

fn checked(answer: Answer) -> Result<Answer, Failure> {
    match answer.failure() {
        Some(error) => Err(Failure {
            error,
            argument: answer.second,
        }),
        None => Ok(answer),
    }
}

impl Cap<kind::Portal> {
    /// Calls it.
    ///
    /// # Errors
    /// `Dead` when the server ended, before or during the call; `TooDeep` for a chain of calls.
    #[inline]
    pub fn call(&self, words: Words) -> Result<Words, Failure> {
        let answer = sys::call(self.slot, words);
        match answer.failure() {
            Some(error) => Err(Failure {
                error,
                argument: answer.second,
            }),
            None => Ok(answer.words),
        }
    }

    /// Calls it with one word.
    ///
    /// # Errors
    /// As [`Cap::call`].
    #[inline]
    pub fn call_one(&self, word: u64) -> Result<u64, Failure> {
        let (status, reply) = sys::call_one(self.slot, word);
        match status.failure() {
            Some(error) => Err(Failure { error, argument: 0 }),
            None => Ok(reply),
        }
    }

    /// Calls it; a capability goes or comes along. Also answers whether one came.
    ///
    /// # Errors
    /// As [`Cap::call`]; `BadCap` or `NoRight`, argument 1, for the capability to send.
    pub fn call_transfer(&self, transfer: Transfer, words: Words) -> Result<(Words, bool), Failure> {
        let answer = checked(sys::call_transfer(self.slot, transfer, words))?;
        Ok((answer.words, answer.status.has_capability()))
    }

    /// Changes its label; answers the old one.
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn set_label(&self, label: u64) -> Result<u64, Failure> {
        Ok(self.operate([ops::portal::LABEL, label, 0, 0, 0, 0])?.second)
    }
}

impl Cap<kind::Notification> {
    /// Signals it.
    ///
    /// # Errors
    /// `Dead` when its owner ended; `NoRight` without SIGNAL.
    pub fn signal(&self, bits: u64) -> Result<(), Failure> {
        checked(sys::signal(self.slot, bits)).map(|_| ())
    }
}

/// Waits for signals of the thread's bound notification; `None` when the deadline (absolute ticks) passed first.
#[must_use]
pub fn wait(deadline: u64) -> Option<u64> {
    let answer = sys::wait(deadline);
    let is_signal = answer.failure().is_none() && answer.status.event_code() == Event::Signal as u8;
    is_signal.then_some(answer.second)
}
