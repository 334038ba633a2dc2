//! What connects the APICs of a guest: for each vCPU an inbox of posted interrupts, and the addresses that it answers to.
//!
//! Key types: [`Fabric`], [`Posted`], [`VcpuSet`]. Shared by all threads of the VMM, without a lock: bits are set by anybody and taken
//! by the vCPU's own thread. A poster sets the bit first and kicks afterwards; the owner takes bits after the last kick it saw
//! and before it enters the guest, so that none is missed.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::message::{Delivery, Destination, Message, Shorthand, Trigger};
use super::vectors::Vectors;
use crate::layout::VCPUS_MAX;

/// A set of vCPUs by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuSet(pub u32);

impl VcpuSet {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// One vCPU.
    #[must_use]
    pub fn of(vcpu: usize) -> Self {
        Self(1_u32.checked_shl(vcpu as u32).unwrap_or_default())
    }

    /// Whether a vCPU is in it.
    #[must_use]
    pub fn contains(self, vcpu: usize) -> bool {
        self.0 & Self::of(vcpu).0 != 0
    }

    /// Both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without a vCPU.
    #[must_use]
    pub fn without(self, vcpu: usize) -> Self {
        Self(self.0 & !Self::of(vcpu).0)
    }

    /// The numbers in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..VCPUS_MAX).filter(move |&vcpu| self.contains(vcpu))
    }
}

/// What others sent to a vCPU since it last looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Vectors of edge-triggered interrupts.
    pub edge: Vectors,
    /// Vectors of level-triggered interrupts.
    pub level: Vectors,
    /// A non-maskable interrupt.
    pub nmi: bool,
    /// An INIT; comes before a start-up.
    pub init: bool,
    /// A start-up message with its page number.
    pub startup: Option<u8>,
    /// A paravirtual kick out of a halt.
    pub woken: bool,
}

/// How an APIC is addressed, as its own vCPU has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The APIC is off: it hears INIT, start-up and NMI only by its number.
    Off,
    /// xAPIC: 8-bit logical address, flat or in clusters.
    Flat {
        /// Logical address.
        logical: u8,
    },
    /// xAPIC with its logical addresses in clusters.
    Cluster {
        /// Cluster in the upper half, member bits in the lower.
        logical: u8,
    },
    /// x2APIC: the logical address follows from the number.
    X2Apic,
}

impl Routing {
    fn pack(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Flat { logical } => 0x100 | u32::from(logical),
            Self::Cluster { logical } => 0x200 | u32::from(logical),
            Self::X2Apic => 0x300,
        }
    }

    fn unpack(word: u32) -> Self {
        let logical = word as u8;
        match word >> 8 {
            1 => Self::Flat { logical },
            2 => Self::Cluster { logical },
            3 => Self::X2Apic,
            _ => Self::Off,
        }
    }

    /// Whether the APIC with number `id` answers to the logical address `to`.
    fn answers(self, id: u32, to: u32) -> bool {
        match self {
            Self::Off => false,
            Self::Flat { logical } => to & u32::from(logical) != 0,
            Self::Cluster { logical } => {
                let logical = u32::from(logical);
                let cluster = to >> 4 & 15;
                (cluster == 15 || cluster == logical >> 4) && to & logical & 15 != 0
            }
            Self::X2Apic => to >> 16 == id >> 4 && to & 1 << (id & 15) != 0,
        }
    }
}

mod event {
    pub(super) const NMI: u32 = 1;
    pub(super) const INIT: u32 = 2;
    pub(super) const STARTUP: u32 = 4;
    pub(super) const WOKEN: u32 = 8;
    /// The page number of a start-up is in the bits from here on.
    pub(super) const PAGE: u32 = 8;
}

#[derive(Debug, Default)]
struct Inbox {
    /// Whether anything is in it; written last by posters and cleared first by the owner.
    full: AtomicU32,
    edge: [AtomicU64; 4],
    level: [AtomicU64; 4],
    events: AtomicU32,
    routing: AtomicU32,
}

impl Inbox {
    fn post(&self, message: &Message) {
        match message.delivery {
            Delivery::Fixed | Delivery::LowestPriority => self.post_vector(message.vector, message.trigger),
            Delivery::Nmi => self.post_event(event::NMI),
            Delivery::Init => {
                // A start-up from before the INIT is void.
                self.events.store(event::INIT, Ordering::Relaxed);
            }
            Delivery::Startup => self.post_startup(message.vector),
            Delivery::Ignored => return,
        }
        self.full.store(1, Ordering::Release);
    }

    fn post_event(&self, bits: u32) {
        self.events.fetch_or(bits, Ordering::Relaxed);
        self.full.store(1, Ordering::Release);
    }

    fn post_startup(&self, page: u8) {
        // The first start-up counts: later ones are ignored until the vCPU has taken it.
        let _ = self
            .events
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |events| {
                (events & event::STARTUP == 0).then_some(events | event::STARTUP | u32::from(page) << event::PAGE)
            });
    }

    fn post_vector(&self, vector: u8, trigger: Trigger) {
        let words = match trigger {
            Trigger::Edge => &self.edge,
            Trigger::Level => &self.level,
        };
        if let Some(word) = words.get(usize::from(vector / 64)) {
            word.fetch_or(1 << (vector % 64), Ordering::Relaxed);
        }
    }

    fn take(&self) -> Option<Posted> {
        // Most looks find nothing: one load.
        if self.full.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.full.swap(0, Ordering::Acquire);
        let take = |words: &[AtomicU64; 4]| {
            let mut out = [0; 4];
            for (to, from) in out.iter_mut().zip(words) {
                *to = from.swap(0, Ordering::Relaxed);
            }
            Vectors(out)
        };
        let (edge, level) = (take(&self.edge), take(&self.level));
        let events = self.events.swap(0, Ordering::Relaxed);
        Some(Posted {
            edge,
            level,
            nmi: events & event::NMI != 0,
            init: events & event::INIT != 0,
            startup: (events & event::STARTUP != 0).then_some((events >> event::PAGE) as u8),
            woken: events & event::WOKEN != 0,
        })
    }
}

/// The inboxes of all vCPUs of a guest. An APIC's number is its vCPU's.
#[derive(Debug)]
pub struct Fabric {
    inboxes: Box<[Inbox]>,
}

impl Fabric {
    /// For so many vCPUs, at most [`VCPUS_MAX`]; at least one.
    #[must_use]
    pub fn new(vcpus: usize) -> Self {
        let vcpus = vcpus.clamp(1, VCPUS_MAX);
        Self {
            inboxes: (0..vcpus).map(|_| Inbox::default()).collect(),
        }
    }

    /// How many vCPUs there are.
    #[must_use]
    pub fn vcpus(&self) -> usize {
        self.inboxes.len()
    }

    /// Everybody.
    #[must_use]
    pub fn all(&self) -> VcpuSet {
        (0..self.vcpus()).fold(VcpuSet::NONE, |set, vcpu| set.and(VcpuSet::of(vcpu)))
    }

    /// Posts a message to everyone it is for; gives whom to kick.
    pub fn send(&self, message: &Message) -> VcpuSet {
        if message.delivery == Delivery::Ignored {
            return VcpuSet::NONE;
        }
        let mut targets = self.targets(message.destination);
        if message.delivery == Delivery::LowestPriority {
            targets = one_of(targets, message.vector);
        }
        self.post(message, targets)
    }

    /// Posts an inter-processor interrupt of `sender`; gives whom to kick, perhaps the sender itself.
    pub fn send_from(&self, sender: usize, shorthand: Shorthand, message: &Message) -> VcpuSet {
        let targets = match shorthand {
            Shorthand::None => return self.send(message),
            Shorthand::Itself => VcpuSet::of(sender),
            Shorthand::All => self.all(),
            Shorthand::Others => self.all().without(sender),
        };
        self.post(message, targets)
    }

    /// Wakes a vCPU out of a halt (KVM's hypercall "kick").
    pub fn wake(&self, vcpu: usize) -> VcpuSet {
        match self.inboxes.get(vcpu) {
            Some(inbox) => {
                inbox.post_event(event::WOKEN);
                VcpuSet::of(vcpu)
            }
            None => VcpuSet::NONE,
        }
    }

    /// What was posted to a vCPU since its last look; for its own thread.
    pub fn take(&self, vcpu: usize) -> Option<Posted> {
        self.inboxes.get(vcpu)?.take()
    }

    /// Says how a vCPU's APIC is addressed from now on; for its own thread.
    pub fn route(&self, vcpu: usize, routing: Routing) {
        if let Some(inbox) = self.inboxes.get(vcpu) {
            inbox.routing.store(routing.pack(), Ordering::Relaxed);
        }
    }

    fn targets(&self, destination: Destination) -> VcpuSet {
        let mut targets = VcpuSet::NONE;
        for (vcpu, inbox) in self.inboxes.iter().enumerate() {
            let routing = Routing::unpack(inbox.routing.load(Ordering::Relaxed));
            let id = vcpu as u32;
            let is_target = match destination {
                Destination::Physical(u32::MAX) => true,
                Destination::Physical(to) => to == id,
                Destination::Logical(to) => routing.answers(id, to),
            };
            if is_target {
                targets = targets.and(VcpuSet::of(vcpu));
            }
        }
        targets
    }

    fn post(&self, message: &Message, targets: VcpuSet) -> VcpuSet {
        let mut posted = VcpuSet::NONE;
        for (vcpu, inbox) in self.inboxes.iter().enumerate() {
            if targets.contains(vcpu) {
                inbox.post(message);
                posted = posted.and(VcpuSet::of(vcpu));
            }
        }
        posted
    }
}

/// One of several processors: the vector decides, which spreads a guest's devices over its vCPUs.
fn one_of(targets: VcpuSet, vector: u8) -> VcpuSet {
    let count = targets.0.count_ones();
    let chosen = u32::from(vector).checked_rem(count).unwrap_or_default() as usize;
    targets.iter().nth(chosen).map_or(VcpuSet::NONE, VcpuSet::of)
}
