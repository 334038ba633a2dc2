//! Processes that this one starts and stops: what the manifest's `controls` give. Root does it; here is the client's side.
//!
//! Key type: [`Controlled`], found by name with [`Controlled::find`].

use ecusson_manifest::Entry;
use ecusson_manifest::layout::slots;
use ecusson_proto::supervisor::{self, OK, Order, Report};

use crate::cap::kind::Portal;
use crate::cap::{Cap, Failure};

/// A process under this one's control.
#[derive(Clone, Copy, Debug)]
pub struct Controlled {
    number: u16,
    bit: u8,
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Root did not answer.
    Failure(Failure),
    /// Root answered with this code of `ecusson_proto::supervisor`.
    Code(u64),
}

impl Controlled {
    /// By its name, `section.N` for an instance.
    #[must_use]
    pub fn find(wanted: &str) -> Option<Self> {
        crate::environment()?.entries().find_map(|entry| match entry {
            Entry::Controlled { name, number, bit, .. } if name == wanted => Some(Self { number, bit }),
            _ => None,
        })
    }

    /// The signal by which root says that it ended and that its memory is free again.
    #[must_use]
    pub fn end_signal(&self) -> u64 {
        1 << self.bit
    }

    /// Has it made and started: it runs soon, or ends as not made.
    ///
    /// # Errors
    /// `WRONG_STATE` unless it is off.
    pub fn start(&self) -> Result<(), Refusal> {
        self.order(Order::Start).map(|_| ())
    }

    /// Has it ended, whatever it does.
    ///
    /// # Errors
    /// `WRONG_STATE` when it is off or ending.
    pub fn stop(&self) -> Result<(), Refusal> {
        self.order(Order::Stop).map(|_| ())
    }

    /// How it is.
    ///
    /// # Errors
    /// None from a root of the same source.
    pub fn report(&self) -> Result<Report, Refusal> {
        let words = self.order(Order::Report)?;
        Report::decode(&words).ok_or(Refusal::Code(words[0]))
    }

    fn order(&self, order: Order) -> Result<ecusson_abi::Words, Refusal> {
        let root = Cap::<Portal>::at(u64::from(slots::SUPERVISOR));
        let words = root.call(supervisor::control_message(self.number, order));
        match words.map_err(Refusal::Failure)? {
            words if words[0] == OK => Ok(words),
            words => Err(Refusal::Code(words[0])),
        }
    }
}
