//! A port of the switch: who may speak there, and what passed.
//!
//! Key types: [`PortSettings`], [`Counters`].

use ecusson_rate::{Limiter, Limits};

use crate::mac::Mac;

/// The number of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

/// Whose frames a port may send, and which it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// One station's. It receives what is for this address, and what is for several; nobody else's. No other port may use the
    /// address.
    Only(Mac),
    /// Anyone's, as on an uplink or to a guest that bridges. Stations behind it are learned, and frames for unknown ones go there.
    Any,
}

/// How a port is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Whose frames.
    pub filter: Filter,
    /// How fast the other end may send; frames above that wait there.
    pub limits: Limits,
    /// Most bytes behind the Ethernet header of a frame that is not to be segmented.
    pub mtu: u16,
}

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Frames that were dropped: no room, no sense or not allowed.
    pub dropped: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// What passed a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the other end into the switch.
    pub sent: Traffic,
    /// From the switch to the other end.
    pub received: Traffic,
    /// Of the frames dropped on the way in: those with an address that is not the sender's.
    pub forged: u64,
}

/// A port without its link.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) settings: PortSettings,
    pub(crate) limiter: Limiter,
    pub(crate) counters: Counters,
}
