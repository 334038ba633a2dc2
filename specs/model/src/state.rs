//! What the kernel's state is, as the specification sees it: objects with what belongs to them, pages, cores.
//!
//! An object carries the relations that begin at it (a portal its server, a context who holds it); the other direction is searched.

use std::collections::{BTreeMap, BTreeSet};

use crate::abi::{Error, GRANT, Kind, holds};

/// A failed check: the error, and the argument at fault or the number that the error comes with.
pub(crate) type Check<T> = Result<T, (Error, u64)>;

pub(crate) fn ensure(is_met: bool, error: Error, argument: u64) -> Check<()> {
    if is_met { Ok(()) } else { Err((error, argument)) }
}

/// The same failure, at another argument.
pub(crate) fn at<T>(argument: u64, check: Check<T>) -> Check<T> {
    check.map_err(|(error, _)| (error, argument))
}

/// Sizes of the machine, in the order of the oracle's line `machine`.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Small objects a page.
    pub small_objects: u64,
    /// Capabilities a page.
    pub slots_per_page: u64,
    /// Log2 of the entries of a page table.
    pub table_bits: u64,
    /// Levels of a page table.
    pub table_levels: u64,
    /// Cores.
    pub cores: u64,
    /// First page of the free memory, which is all RAM there is.
    pub first: u64,
    /// Pages of it.
    pub pages: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cap {
    pub(crate) object: u64,
    pub(crate) kind: Kind,
    pub(crate) rights: u64,
    pub(crate) epoch: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) epoch: u64,
    pub(crate) is_alive: bool,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Memory(Memory),
    Region(Region),
    Space(Space),
    Domain(Domain),
    Thread(Box<Thread>),
    Context(Context),
    Portal(Portal),
    Notification(Notification),
    Platform,
}

/// Unused pages: `next..end` and `returned`.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) first: u64,
    pub(crate) pages: u64,
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) is_primal: bool,
    pub(crate) returned: Vec<u64>,
    /// Pages of small objects with room; the last is used first.
    pub(crate) roomy: Vec<u64>,
    /// Where reclamation goes on.
    pub(crate) sweep: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) first: u64,
    pub(crate) pages: u64,
    pub(crate) max: u64,
    pub(crate) is_device: bool,
    pub(crate) depth: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) scrubbed: u64,
    pub(crate) attachment: Option<Attachment>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Attachment {
    pub(crate) space: u64,
    pub(crate) page: u64,
    pub(crate) rights: u64,
    pub(crate) mapped: u64,
    /// The flush that its last unmapping waits for; 0 for none.
    pub(crate) flush: u64,
    pub(crate) stamp: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    pub(crate) is_dma: bool,
    pub(crate) memory: u64,
    pub(crate) root: Option<u64>,
    pub(crate) used: Vec<u64>,
    pub(crate) unused: Vec<u64>,
    /// Tables below the root: level, and the pages they cover by their common upper bits.
    pub(crate) tables: BTreeSet<(u64, u64)>,
    /// Large pages, by number.
    pub(crate) large: BTreeSet<u64>,
    /// Virtual page to page and rights.
    pub(crate) map: BTreeMap<u64, (u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) pages: u64,
    pub(crate) space: u64,
    pub(crate) memory: u64,
    pub(crate) slots: BTreeMap<u64, Cap>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Run {
    Inactive,
    Running,
    Ready,
    Held,
    Waiting,
    WaitingSignal,
    Calling,
}

/// The call a thread waits in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) server: u64,
    pub(crate) is_served: bool,
    pub(crate) via: Cap,
    pub(crate) level: u64,
    pub(crate) stamp: u64,
}

/// Registers are in the order of `Thread.peek`: 0 to 5 the words, 6 rax, 7 rdx, 8 rdi, 9 rsi, 15 rflags, 16 rip, 17 rsp.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) domain: u64,
    pub(crate) run: Run,
    pub(crate) core: u64,
    pub(crate) is_stopped: bool,
    pub(crate) is_faulting: bool,
    pub(crate) has_signals: bool,
    pub(crate) priority: u64,
    pub(crate) own_priority: u64,
    /// Number of the slot opened for a capability, plus one; 0 for none.
    pub(crate) receive: u64,
    pub(crate) transfer: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) handler: Option<Cap>,
    pub(crate) fault: [u64; 3],
    pub(crate) registers: [u64; 18],
    pub(crate) call: Option<Call>,
}

impl Thread {
    pub(crate) fn new(domain: u64, core: u64) -> Thread {
        Thread {
            domain,
            run: Run::Inactive,
            core,
            is_stopped: false,
            is_faulting: false,
            has_signals: false,
            priority: 0,
            own_priority: 0,
            receive: 0,
            transfer: 0,
            deadline: None,
            handler: None,
            fault: [0; 3],
            registers: [0; 18],
            call: None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) budget: u64,
    pub(crate) period: u64,
    pub(crate) window: u64,
    pub(crate) used: u64,
    pub(crate) total: u64,
    pub(crate) core: u64,
    pub(crate) priority: u64,
    /// End of the period that it waits for.
    pub(crate) armed: Option<u64>,
    /// Whose own time it is.
    pub(crate) home: Option<u64>,
    /// Who holds it, then who lent it, the last lender first.
    pub(crate) stack: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Portal {
    pub(crate) label: u64,
    pub(crate) is_active: bool,
    pub(crate) server: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Notification {
    pub(crate) bits: u64,
    pub(crate) bound: Option<u64>,
}

/// What a page is used for, if it is no plain page; with the Memory it came from, or what it is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Small { owner: u64, used: u64 },
    Thread(u64),
    Domain(u64),
    Table(u64),
    PageTable(u64),
    Returned(u64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Core {
    pub(crate) current: Option<u64>,
    pub(crate) charged: u64,
    pub(crate) loaded: Option<u64>,
    pub(crate) wanted: u64,
    pub(crate) flushed: u64,
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) config: Config,
    pub(crate) epochs: u64,
    pub(crate) stamps: u64,
    pub(crate) objects: BTreeMap<u64, Object>,
    pub(crate) frames: BTreeMap<u64, Frame>,
    pub(crate) cores: Vec<Core>,
    pub(crate) now: u64,
    pub(crate) flushes: u64,
}

/// Access to an object whose kind is known: an address of another kind is a fault of the model, and panics.
macro_rules! access {
    ($($get:ident $get_mut:ident $($all:ident)? : $variant:ident $type:ty;)*) => {
        impl State {$(
            pub(crate) fn $get(&self, address: u64) -> &$type {
                match self.objects.get(&address).map(|object| &object.body) {
                    Some(Body::$variant(body)) => body,
                    other => panic!("{address} is not what {} wants: {other:?}", stringify!($get)),
                }
            }
            pub(crate) fn $get_mut(&mut self, address: u64) -> &mut $type {
                match self.objects.get_mut(&address).map(|object| &mut object.body) {
                    Some(Body::$variant(body)) => body,
                    other => panic!("{address} is not what {} wants: {other:?}", stringify!($get)),
                }
            }
            $(pub(crate) fn $all(&self) -> impl Iterator<Item = (u64, &$type)> {
                self.objects.iter().filter_map(|(address, object)| match &object.body {
                    Body::$variant(body) => Some((*address, body as &$type)),
                    _ => None,
                })
            })?
        )*}
    };
}

access! {
    memory memory_mut : Memory Memory;
    region region_mut regions: Region Region;
    space space_mut spaces: Space Space;
    domain domain_mut domains: Domain Domain;
    thread thread_mut threads: Thread Thread;
    context context_mut contexts: Context Context;
    portal portal_mut portals: Portal Portal;
    notification notification_mut notifications: Notification Notification;
}

impl State {
    pub(crate) fn kind_of(&self, address: u64) -> Option<Kind> {
        self.objects.get(&address).map(|object| match object.body {
            Body::Memory(_) => Kind::Memory,
            Body::Region(_) => Kind::Region,
            Body::Space(_) => Kind::Space,
            Body::Domain(_) => Kind::ProtectionDomain,
            Body::Thread(_) => Kind::Thread,
            Body::Context(_) => Kind::SchedContext,
            Body::Portal(_) => Kind::Portal,
            Body::Notification(_) => Kind::Notification,
            Body::Platform => Kind::Platform,
        })
    }

    /// Whether a capability confers something: its object lives and has its epoch.
    pub(crate) fn is_live(&self, cap: Cap) -> bool {
        self.objects
            .get(&cap.object)
            .is_some_and(|object| object.is_alive && object.epoch == cap.epoch)
    }

    pub(crate) fn is_dying(&self, cap: Cap) -> bool {
        self.objects
            .get(&cap.object)
            .is_some_and(|object| !object.is_alive && object.epoch == cap.epoch)
    }

    pub(crate) fn cap_at(&self, thread: u64, slot: u64) -> Option<Cap> {
        self.domain(self.thread(thread).domain).slots.get(&slot).copied()
    }

    pub(crate) fn has_slot(&self, domain: u64, slot: u64) -> bool {
        slot < self.domain(domain).pages * self.config.slots_per_page
    }

    /// From a slot to an object: presence, kind, rights, liveness, in this order.
    pub(crate) fn lookup(&self, thread: u64, slot: u64, kind: Kind, needed: u64) -> Check<u64> {
        let cap = self.cap_at(thread, slot).ok_or((Error::BadCap, 0))?;
        ensure(cap.kind == kind, Error::BadType, 0)?;
        ensure(holds(cap.rights, needed), Error::NoRight, 0)?;
        ensure(self.is_live(cap), Error::Dead, 0)?;
        Ok(cap.object)
    }

    pub(crate) fn empty_slot(&self, thread: u64, slot: u64) -> Check<()> {
        ensure(self.has_slot(self.thread(thread).domain, slot), Error::BadCap, 0)?;
        ensure(self.cap_at(thread, slot).is_none(), Error::Occupied, 0)
    }

    /// Adds an object and its first capability, into a free slot.
    pub(crate) fn add(&mut self, address: u64, body: Body, domain: u64, slot: u64, rights: u64) {
        self.epochs += 1;
        let epoch = self.epochs;
        let old = self.objects.insert(
            address,
            Object {
                epoch,
                is_alive: true,
                body,
            },
        );
        assert!(old.is_none(), "two objects at {address}");
        let kind = self.kind_of(address).expect("it was just added");
        let cap = Cap {
            object: address,
            kind,
            rights,
            epoch,
        };
        self.domain_mut(domain).slots.insert(slot, cap);
    }

    /// Copies a living capability that may be copied.
    pub(crate) fn copy_cap(&mut self, cap: Cap, domain: u64, slot: u64, mask: u64) {
        assert!(holds(cap.rights, GRANT) && self.is_live(cap), "copied without right");
        let copy = Cap {
            rights: cap.rights & mask,
            ..cap
        };
        self.domain_mut(domain).slots.insert(slot, copy);
    }

    /// Kills every capability to an object.
    pub(crate) fn condemn(&mut self, address: u64) {
        if let Some(object) = self.objects.get_mut(&address) {
            object.is_alive = false;
        }
    }

    /// Whether anything names the object, or it still takes part in something.
    fn is_linked(&self, address: u64) -> bool {
        let is_current = self.cores.iter().any(|core| core.current == Some(address));
        is_current
            || self
                .objects
                .iter()
                .any(|(at, object)| names(&object.body, address, *at == address))
    }

    /// The end of a dying object that nothing names; whether it is gone.
    pub(crate) fn remove(&mut self, address: u64) -> bool {
        let Some(object) = self.objects.get(&address) else {
            return true;
        };
        if object.is_alive || self.is_linked(address) {
            return false;
        }
        self.objects.remove(&address);
        true
    }
}

/// Whether a body names an object; of the object's own, whether it takes part in something.
fn names(body: &Body, address: u64, is_own: bool) -> bool {
    let is = |other: Option<u64>| other == Some(address) || (is_own && other.is_some());
    match body {
        Body::Region(region) => {
            region.parent == Some(address) || is(region.attachment.map(|attachment| attachment.space))
        }
        Body::Domain(domain) => domain.space == address,
        Body::Thread(thread) => thread.domain == address || is(thread.call.map(|call| call.server)),
        Body::Context(context) => {
            is(context.home) || context.stack.contains(&address) || (is_own && !context.stack.is_empty())
        }
        Body::Portal(portal) => is(portal.server),
        Body::Notification(notification) => is(notification.bound),
        Body::Memory(_) | Body::Space(_) | Body::Platform => false,
    }
}
