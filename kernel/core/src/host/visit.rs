//! One list of fields a type, from which everything that must see the whole state is made: resetting an object,
//! saving and loading a state, its fingerprint, and its canonical form.
//!
//! A [`Visitor`] is told the value of every cell in turn and answers what it becomes. The lists take their types apart by
//! pattern, so that a field that is missing here does not compile. Called by [`super`] and by the explorer.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use super::{HostStore, Page, Small};
use crate::cap::{Capability, CapabilityCell};
use crate::interrupt::Interrupt;
use crate::kernel::Kernel;
use crate::memory::Memory;
use crate::name::{Frame, Header, Ref};
use crate::notification::Notification;
use crate::percpu::Core;
use crate::platform::Platform;
use crate::portal::Portal;
use crate::ports::Ports;
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::Space;
use crate::store::{FrameEntry, Tag};
use crate::thread::{Context, Fault, Thread};
use crate::vcpu::Vcpu;

/// Sees every cell of the state as words, and may replace them.
pub trait Visitor {
    /// A word, and what it becomes.
    fn word(&mut self, value: u64) -> u64;

    /// A capability, in a slot or in an object, and what it becomes.
    fn capability(&mut self, value: Capability) -> Capability {
        Capability {
            word: self.word(value.word),
            epoch: self.word(value.epoch),
        }
    }

    /// The epochs of an object: alive and dying.
    fn epochs(&mut self, _address: u64, alive: u64, dying: u64) -> (u64, u64) {
        (self.word(alive), self.word(dying))
    }
}

/// What fits into words.
trait Word: Copy {
    fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V);
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Word for $type {
            // `usize` has no lossless conversion; on the hosts that run this it has 64 bits.
            #[allow(clippy::cast_lossless)]
            #[allow(clippy::cast_lossless)] // One of the types is as wide as the word, one may be.
            fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V) {
                cell.set(visitor.word(cell.get() as u64) as $type);
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, usize);

impl Word for bool {
    fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V) {
        cell.set(visitor.word(u64::from(cell.get())) != 0);
    }
}
impl<T> Word for Option<Ref<T>> {
    fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V) {
        cell.set(Ref::new(visitor.word(cell.get().map_or(0, Ref::address))));
    }
}
impl Word for Frame {
    fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V) {
        cell.set(Frame(visitor.word(cell.get().0)));
    }
}
impl Word for Fault {
    fn visit<V: Visitor>(cell: &Cell<Self>, visitor: &mut V) {
        let Fault { vector, code, address } = cell.get();
        let (vector, code, address) = (visitor.word(vector), visitor.word(code), visitor.word(address));
        cell.set(Fault { vector, code, address });
    }
}

fn word<T: Word, V: Visitor>(cell: &Cell<T>, visitor: &mut V) {
    T::visit(cell, visitor);
}

fn capability<V: Visitor>(cell: &CapabilityCell, visitor: &mut V) {
    cell.set(visitor.capability(cell.get()));
}

fn atomic<V: Visitor>(cell: &AtomicU64, visitor: &mut V) {
    cell.store(visitor.word(cell.load(Ordering::Relaxed)), Ordering::Relaxed);
}

fn header<V: Visitor>(header: &Header, address: u64, visitor: &mut V) {
    let (alive, dying) = visitor.epochs(address, header.epoch.get(), header.dying.get());
    header.epoch.set(alive);
    header.dying.set(dying);
}

/// Everything an object consists of.
pub(super) trait Fields {
    fn visit<V: Visitor>(&self, address: u64, visitor: &mut V);

    /// Back to the initial value: a page of zeroes is a valid value of every type.
    fn reset(&self) {
        self.visit(0, &mut Zero);
    }
}

struct Zero;
impl Visitor for Zero {
    fn word(&mut self, _: u64) -> u64 {
        0
    }
}

macro_rules! fields {
    ($type:ident; words: [$($word:ident),*]; capabilities: [$($capability:ident),*]; parts: [$($part:ident),*]) => {
        impl Fields for $type {
            fn visit<V: Visitor>(&self, address: u64, visitor: &mut V) {
                let $type { header: head, $($word,)* $($capability,)* $($part,)* } = self;
                header(head, address, visitor);
                $(word($word, visitor);)*
                $(capability($capability, visitor);)*
                $($part.visit(visitor);)*
            }
        }
    };
}

fields!(Portal; words: [server, label, mode]; capabilities: []; parts: [siblings]);
fields!(Notification; words: [bits, thread]; capabilities: []; parts: []);
fields!(SchedContext; words: [budget, period, window, used, total, virtual_time, thread, weight, timer_place, core,
    priority]; capabilities: []; parts: []);
fields!(Memory; words: [first, pages, next, end, returned, returned_head, roomy_head, sweep, is_primal];
    capabilities: []; parts: []);
fields!(Region; words: [first, pages, scrubbed, rights, attached_rights, depth, is_device, parent, first_child, next,
    previous, space, virtual_page, mapped, flush]; capabilities: []; parts: [attachments]);
fields!(Space; words: [kind, root, memory, used_head, unused_head, unused, domain, flush, doorbells]; capabilities: [];
    parts: [attachments]);
fields!(Interrupt; words: [line, flags, bits, core, vector]; capabilities: [notification]; parts: []);
fields!(Ports; words: [first, last, domain]; capabilities: []; parts: [siblings]);
fields!(Vcpu; words: [thread, reason, load, window, halted, flush, kicked]; capabilities: [space, state]; parts: [pages]);
fields!(Platform; words: [reserved]; capabilities: []; parts: []);
fields!(ProtectionDomain; words: [table_pages, space, memory, ports_count]; capabilities: []; parts: [threads, ports]);
fields!(Thread; words: [run, priority, own_priority, depth, sched_context, caller, callee, table, slots, root,
    own_sched_context, domain, notification, vcpu, fault, receive_slot, transfer, timer_place, fair_place, callers_bitmap];
    capabilities: [fault_handler, called_through]; parts: [context, queue, siblings, portals, callers]);

impl Context {
    fn visit<V: Visitor>(&self, visitor: &mut V) {
        self.registers()
            .into_iter()
            .for_each(|register| word(register, visitor));
    }
}

/// Arrays of lists, as a part.
trait Part {
    fn visit<V: Visitor>(&self, visitor: &mut V);
}
impl<T, const N: usize> Part for [crate::list::List<T>; N] {
    fn visit<V: Visitor>(&self, visitor: &mut V) {
        self.iter().for_each(|list| list.visit(visitor));
    }
}

impl<const N: usize> Part for [Cell<Frame>; N] {
    fn visit<V: Visitor>(&self, visitor: &mut V) {
        self.iter().for_each(|frame| word(frame, visitor));
    }
}

impl Small {
    pub(super) fn reset(&self) {
        if self
            .headers()
            .iter()
            .any(|header| header.is_alive() || header.is_dying())
        {
            self.visit_kind(self.kind(), 0, &mut Zero);
            self.headers()
                .iter()
                .for_each(|header| (header.epoch.set(0), header.dying.set(0)).0);
        }
        self.visit_all(&mut Zero);
    }

    fn visit_all<V: Visitor>(&self, visitor: &mut V) {
        (1..=12).for_each(|kind| self.visit_kind(kind, 0, visitor));
    }

    /// Number of the kind of the object that is here, 0 for none.
    fn kind(&self) -> u64 {
        let used = self
            .headers()
            .into_iter()
            .find(|header| header.is_alive() || header.is_dying());
        used.and_then(Header::kind).map_or(0, |kind| kind as u64)
    }

    fn visit_kind<V: Visitor>(&self, kind: u64, address: u64, visitor: &mut V) {
        use ecusson_abi::Kind;
        match Kind::from_code(kind) {
            Some(Kind::Portal) => self.portal.visit(address, visitor),
            Some(Kind::Notification) => self.notification.visit(address, visitor),
            Some(Kind::SchedContext) => self.sched_context.visit(address, visitor),
            Some(Kind::Memory) => self.memory.visit(address, visitor),
            Some(Kind::Region) => self.region.visit(address, visitor),
            Some(Kind::Space) => self.space.visit(address, visitor),
            Some(Kind::Interrupt) => self.interrupt.visit(address, visitor),
            Some(Kind::Ports) => self.ports.visit(address, visitor),
            Some(Kind::Vcpu) => self.vcpu.visit(address, visitor),
            Some(Kind::Platform) => self.platform.visit(address, visitor),
            _ => {}
        }
    }

    /// The object that is here, of the kind that the visitor says.
    fn visit<V: Visitor>(&self, address: u64, visitor: &mut V) {
        let before = self.kind();
        let after = visitor.word(before);
        if before != after {
            self.visit_kind(before, 0, &mut Zero);
        }
        self.visit_kind(after, address, visitor);
    }
}

impl Page {
    /// What the page is used for, and then what is in it. The contents of plain pages are not part of the state.
    fn visit<V: Visitor>(&self, address: u64, visitor: &mut V) {
        let before = self.entry.tag();
        let FrameEntry { tag_owner, detail } = &self.entry;
        word(tag_owner, visitor);
        word(detail, visitor);
        if self.entry.tag() != before {
            self.contents(before, 0, &mut Zero);
        }
        self.contents(self.entry.tag(), address, visitor);
    }

    fn contents<V: Visitor>(&self, tag: Tag, address: u64, visitor: &mut V) {
        match tag {
            Tag::Plain | Tag::Returned | Tag::Vcpu => {}
            Tag::Small => {
                let bytes = crate::name::SMALL_OBJECT_BYTES as usize;
                let places = (address..).step_by(bytes);
                self.small
                    .iter()
                    .zip(places)
                    .for_each(|(small, address)| small.visit(address, visitor));
            }
            Tag::Thread => self.thread.visit(address, visitor),
            Tag::Domain => self.domain.visit(address, visitor),
            Tag::DomainTable => self.slots.iter().for_each(|slot| capability(slot, visitor)),
            Tag::PageTable => self.table.iter().for_each(|entry| word(entry, visitor)),
        }
    }

    /// Fills the page with zeroes, whatever it was.
    pub(super) fn reset(&self) {
        self.small.iter().for_each(|small| small.visit_all(&mut Zero));
        self.thread.reset();
        self.domain.reset();
        self.slots.iter().for_each(|slot| slot.set(Capability::NONE));
        self.table.iter().for_each(|entry| entry.set(0));
    }
}

impl Core {
    fn visit<V: Visitor>(&self, visitor: &mut V) {
        // Effects are carried out and the timer is armed within the entry that asked for it: neither is part of a state.
        let Self {
            current,
            running_word,
            ready_bitmap,
            index,
            reschedule,
            turn_over,
            rearm: _,
            ready,
            fair,
            fair_floor,
            timers,
            charged_since,
            slice_began,
            loaded_root,
            guest,
            ipi_mask,
            effect: _,
            flush_requested,
            threads,
            contexts,
            apic_id,
            vectors,
            flush_wanted,
            flush_done,
        } = self;
        word(current, visitor);
        word(running_word, visitor);
        word(ready_bitmap, visitor);
        word(index, visitor);
        word(reschedule, visitor);
        word(turn_over, visitor);
        ready.visit(visitor);
        fair.visit(visitor);
        word(fair_floor, visitor);
        timers.visit(visitor);
        word(charged_since, visitor);
        word(slice_began, visitor);
        word(loaded_root, visitor);
        word(guest, visitor);
        word(ipi_mask, visitor);
        word(flush_requested, visitor);
        word(threads, visitor);
        word(contexts, visitor);
        word(apic_id, visitor);
        vectors.iter().for_each(|vector| word(vector, visitor));
        atomic(flush_wanted, visitor);
        atomic(flush_done, visitor);
    }
}

impl<const SMALL: usize, const SLOTS: usize, const ENTRIES: usize> Kernel<HostStore<SMALL, SLOTS, ENTRIES>> {
    /// Shows the whole state to a visitor. What the machine layer told at boot never changes and is not part of it.
    pub fn visit<V: Visitor>(&self, visitor: &mut V) {
        let Self {
            store,
            cores,
            core_count,
            epoch,
            flush_generation,
            now,
            ticks_per_us,
            reserved: _,
            here,
            overrides: _,
            is_test: _,
            guest_pages: _,
        } = self;
        word(core_count, visitor);
        word(epoch, visitor);
        word(flush_generation, visitor);
        word(now, visitor);
        word(ticks_per_us, visitor);
        word(here, visitor);
        cores.iter().take(core_count.get()).for_each(|core| core.visit(visitor));
        for (number, page) in (0u64..).zip(&store.pages) {
            page.visit(Frame(number).address(), visitor);
        }
    }

    /// Appends the state's words.
    pub fn save(&self, words: &mut Vec<u64>) {
        self.visit(&mut Save(words));
    }

    /// Returns to a state that was saved from a kernel over a store of the same size.
    pub fn load(&self, words: &[u64]) {
        self.cores
            .iter()
            .for_each(|core| core.effect.set(crate::percpu::Effect::Nothing));
        self.visit(&mut Load(words.iter()));
    }
}

struct Save<'a>(&'a mut Vec<u64>);
impl Visitor for Save<'_> {
    fn word(&mut self, value: u64) -> u64 {
        self.0.push(value);
        value
    }
}

struct Load<'a>(core::slice::Iter<'a, u64>);
impl Visitor for Load<'_> {
    fn word(&mut self, _: u64) -> u64 {
        self.0.next().copied().unwrap_or(0)
    }
}
