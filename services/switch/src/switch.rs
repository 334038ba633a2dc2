//! From one port to the others.
//!
//! Key types: [`Switch`], [`Settings`], [`Turn`]. Called by the process around it. Calls `stations.rs`, `offload.rs` and the links.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ecusson_rate::Limiter;
use ecusson_virtqueue::QueueError;

use crate::frame::{ETHERNET_BYTES, Ethernet, Frame, Lost, TAG_BYTES, VlanId};
use crate::link::{Link, LinkError, Received};
use crate::mac::Mac;
use crate::offload;
use crate::port::{Counters, Filter, Port, PortId, PortSettings};
use crate::stations::Stations;

/// Most bytes behind the Ethernet header of a frame that is to be segmented: IP's own limit.
const SEGMENTED_MAX: usize = 65535;
/// Most ports.
const PORTS_MAX: usize = 4096;

/// How a switch is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most stations that are learned from one port.
    pub stations_per_port: usize,
    /// After so much silence a station is forgotten, in nanoseconds.
    pub age_ns: u64,
}

impl Default for Settings {
    /// 1,024 stations, five minutes (IEEE 802.1Q, 8.8.3).
    fn default() -> Self {
        Self {
            stations_per_port: 1024,
            age_ns: 300_000_000_000,
        }
    }
}

/// A port that can't be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// The address belongs to another port.
    AddressTaken(Mac),
    /// No station has such an address.
    BadAddress(Mac),
    /// No number is left.
    TooManyPorts,
}

/// How a turn of a port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing waits; the other end says when something does.
    Idle,
    /// More waits: give it another turn after the others.
    More,
    /// More waits, but not before this time in nanoseconds.
    Until(u64),
}

/// A switch over links of one type; the process has an enum of those it knows.
#[derive(Debug)]
pub struct Switch<L> {
    ports: BTreeMap<PortId, (Port, L)>,
    stations: Stations,
    /// Ports that a frame goes to, kept for its room.
    targets: Vec<PortId>,
}

/// Why a frame did not enter.
enum Refused {
    Malformed,
    Forged,
}

impl From<Lost> for Refused {
    fn from(_: Lost) -> Self {
        Self::Malformed
    }
}

impl<L: Link> Switch<L> {
    /// A switch without ports.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            ports: BTreeMap::new(),
            stations: Stations::new(settings.stations_per_port, settings.age_ns),
            targets: Vec::new(),
        }
    }

    /// Adds a port.
    ///
    /// # Errors
    /// [`SwitchError`].
    pub fn add_port(&mut self, settings: PortSettings, link: L, now_ns: u64) -> Result<PortId, SwitchError> {
        let mut numbers = (0..PORTS_MAX as u16).map(PortId);
        let id = numbers.find(|id| !self.ports.contains_key(id));
        let id = id.ok_or(SwitchError::TooManyPorts)?;
        if let Filter::Only(mac) = settings.filter {
            if !mac.is_station() {
                return Err(SwitchError::BadAddress(mac));
            }
            if !self.stations.bind((VlanId::DEFAULT, mac), id) {
                return Err(SwitchError::AddressTaken(mac));
            }
        }
        let port = Port {
            settings,
            limiter: Limiter::new(settings.limits, now_ns),
            counters: Counters::default(),
        };
        self.ports.insert(id, (port, link));
        Ok(id)
    }

    /// Takes a port away; its link goes back to the caller.
    pub fn remove_port(&mut self, id: PortId) -> Option<L> {
        self.stations.remove_port(id);
        self.ports.remove(&id).map(|(_, link)| link)
    }

    /// What passed a port.
    #[must_use]
    pub fn counters(&self, id: PortId) -> Option<Counters> {
        self.ports.get(&id).map(|(port, _)| port.counters)
    }

    /// The link of a port.
    pub fn link(&mut self, id: PortId) -> Option<&mut L> {
        self.ports.get_mut(&id).map(|(_, link)| link)
    }

    /// All ports.
    pub fn ports(&self) -> impl Iterator<Item = PortId> {
        self.ports.keys().copied()
    }

    /// How many stations were learned.
    #[must_use]
    pub fn stations(&self) -> usize {
        self.stations.learned()
    }

    /// Passes on at most `budget` frames that came in by a port. Publish all links afterwards.
    ///
    /// # Errors
    /// [`QueueError`]: this port's other end broke its queue or ends. Other ports go on. (One that breaks while it is sent to says so
    /// at its own next turn.)
    pub fn run(&mut self, id: PortId, now_ns: u64, budget: u16) -> Result<Turn, QueueError> {
        for _ in 0..budget {
            let Some((port, link)) = self.ports.get_mut(&id) else {
                return Ok(Turn::Idle);
            };
            if let Err(until) = port.limiter.ready(now_ns) {
                return Ok(Turn::Until(until));
            }
            let received = match link.receive() {
                Ok(Some(received)) => received,
                Err(LinkError::Broken(error)) => return Err(error),
                Ok(None) | Err(_) => return Ok(Turn::Idle),
            };
            self.pass(id, &received, now_ns);
            if let Some((_, link)) = self.ports.get_mut(&id)
                && let Err(LinkError::Broken(error)) = link.release(received)
            {
                return Err(error);
            }
        }
        Ok(Turn::More)
    }

    fn pass(&mut self, id: PortId, received: &Received, now_ns: u64) {
        let admitted = received.frame().map_err(Refused::from);
        let admitted = admitted.and_then(|frame| Ok((frame, self.admit(id, &frame, now_ns)?)));
        let Some((port, _)) = self.ports.get_mut(&id) else {
            return;
        };
        match admitted {
            Ok((frame, ethernet)) => {
                port.counters.sent.count(frame.bytes());
                port.limiter.charge(frame.bytes() as u64);
                self.choose_targets(id, ethernet, now_ns);
                self.deliver(&frame, ethernet);
            }
            Err(refused) => {
                port.counters.sent.dropped += 1;
                // Nonsense costs its sender an operation as well.
                port.limiter.charge(0);
                if matches!(refused, Refused::Forged) {
                    port.counters.forged += 1;
                }
            }
        }
    }

    /// Whether a frame may enter by a port. Notes where its sender is.
    fn admit(&mut self, id: PortId, frame: &Frame<'_>, now_ns: u64) -> Result<Ethernet, Refused> {
        let settings = self.ports.get(&id).map(|(port, _)| port.settings).ok_or(Lost)?;
        let ethernet = Ethernet::read(&frame.body)?;
        let tag = if ethernet.tagged { TAG_BYTES } else { 0 };
        let most = match frame.header.segmentation {
            Some(_) => SEGMENTED_MAX,
            None => usize::from(settings.mtu),
        };
        if frame.bytes() > most + ETHERNET_BYTES + tag || !ethernet.from.is_station() {
            return Err(Refused::Malformed);
        }
        offload::check(&frame.header, ethernet, &frame.body)?;
        let own = match settings.filter {
            Filter::Only(mac) => ethernet.from == mac,
            Filter::Any => self.stations.learn((VlanId::DEFAULT, ethernet.from), id, now_ns),
        };
        if own { Ok(ethernet) } else { Err(Refused::Forged) }
    }

    fn choose_targets(&mut self, from: PortId, ethernet: Ethernet, now_ns: u64) {
        self.targets.clear();
        if ethernet.to.is_link_local() {
            return;
        }
        let known = self.stations.find((VlanId::DEFAULT, ethernet.to), now_ns);
        let others = self.ports.iter().filter(|(id, _)| **id != from);
        let chosen = others.filter(|(id, (port, _))| match known {
            _ if ethernet.to.is_multicast() => true,
            Some(known) => **id == known,
            // A port with an address of its own has no strangers behind it.
            None => port.settings.filter == Filter::Any,
        });
        self.targets.extend(chosen.map(|(id, _)| *id));
    }

    fn deliver(&mut self, frame: &Frame<'_>, ethernet: Ethernet) {
        for target in &self.targets {
            let Some((port, link)) = self.ports.get_mut(target) else {
                continue;
            };
            let counters = &mut port.counters.received;
            let accepts = link.accepts();
            let delivered = offload::deliver(frame, ethernet, accepts, &mut |frame| {
                link.send(frame)?;
                counters.count(frame.bytes());
                Ok::<(), LinkError>(())
            });
            if delivered.is_err() {
                counters.dropped += 1;
            }
        }
    }
}
