//! The canonical form of a state, for exhaustive search: what never influences what the kernel does later is
//! fixed, so that two states that behave alike are the same words.
//!
//! Epochs are only ever compared for equality: living and dying objects are numbered by address. Capabilities to dead
//! objects are taken for having every right, so that they are all alike but for their kind; that only decides between errors, and
//! lets messages go off (without it) that try to send one. Time stands still, nothing was ever charged.
//! Generations of flushes keep their order only. Registers and messages are cleared: the core never reads them back.

use core::sync::atomic::Ordering;
use std::vec::Vec;

use ecusson_abi::Kind;

use super::{HostStore, Visitor};
use crate::cap::Capability;
use crate::kernel::Kernel;
use crate::name::Frame;
use crate::percpu::Core;
use crate::store::{Store, Tag};
use crate::thread::{Fault, State, Thread};

/// The time at which canonical states stand still.
pub const CANONICAL_NOW: u64 = 1_000;
/// Every deadline of a canonical state that has not passed.
pub const CANONICAL_DEADLINE: u64 = 2_000;

/// Old epoch and address of an object, in order of address; its new epoch follows from the place.
struct Renumber {
    objects: Vec<(u64, u64)>,
    count: u64,
}

impl Renumber {
    fn of_place(place: usize, kind: u64) -> u64 {
        (place as u64 + 1) << 4 | kind & 0xF
    }
}

impl Visitor for Renumber {
    fn word(&mut self, value: u64) -> u64 {
        value
    }

    fn epochs(&mut self, _: u64, alive: u64, dying: u64) -> (u64, u64) {
        if alive | dying == 0 {
            return (0, 0);
        }
        let new = Self::of_place(self.count as usize, alive | dying);
        self.count += 1;
        if alive != 0 { (new, 0) } else { (0, new) }
    }

    fn capability(&mut self, value: Capability) -> Capability {
        if value.is_none() {
            return value;
        }
        match self
            .objects
            .iter()
            .position(|object| *object == (value.address(), value.epoch))
        {
            Some(place) => Capability {
                word: value.word,
                epoch: Self::of_place(place, value.epoch),
            },
            None => Capability {
                word: value.word & 0xFFF | 0xFF0,
                epoch: value.word & 0xF,
            },
        }
    }
}

/// Collects the objects that live or die.
#[derive(Default)]
struct Collect(Vec<(u64, u64)>);

impl Visitor for Collect {
    fn word(&mut self, value: u64) -> u64 {
        value
    }
    fn epochs(&mut self, address: u64, alive: u64, dying: u64) -> (u64, u64) {
        if alive | dying != 0 {
            self.0.push((address, alive | dying));
        }
        (alive, dying)
    }
}

impl<const SMALL: usize, const SLOTS: usize, const ENTRIES: usize> Kernel<HostStore<SMALL, SLOTS, ENTRIES>> {
    /// Brings the state between two kernel entries into its canonical form.
    pub fn canonicalize(&self) {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        self.epoch.set(collect.0.len() as u64);
        self.visit(&mut Renumber {
            objects: collect.0,
            count: 0,
        });
        self.now.set(CANONICAL_NOW);
        self.here.set(0);
        self.cores.iter().take(self.core_count()).for_each(Core::stand_still);
        for number in 0..self.store.frame_count() {
            self.still_page(Frame(number));
        }
        self.order_flushes();
    }

    /// The last epoch that was given, without the kind.
    #[must_use]
    pub fn last_epoch(&self) -> u64 {
        self.epoch.get()
    }

    fn still_page(&self, frame: Frame) {
        let page = self.store.page(frame);
        match page.entry.tag() {
            Tag::Thread => page.thread.stand_still(),
            Tag::Small => {
                for small in page
                    .small
                    .iter()
                    .filter(|small| small.sched_context.header.kind().is_some())
                {
                    let context = &small.sched_context;
                    let cells = [&context.used, &context.total, &context.virtual_time];
                    cells.into_iter().for_each(|cell| cell.set(0));
                    context.window.set(CANONICAL_NOW);
                }
            }
            _ => {}
        }
    }

    /// The generation of the flush that a Region waits for, in full; none if it waits for none.
    fn generation_of(&self, low: u32) -> u64 {
        let now = self.flush_generation.get();
        now - u64::from((now as u32).wrapping_sub(low))
    }

    /// Renumbers flush generations: 1 for all that are done everywhere, the others by their order.
    fn order_flushes(&self) {
        let cores = || self.cores.iter().take(self.core_count());
        let regions = || {
            let small = self
                .store
                .pages
                .iter()
                .filter(|page| page.entry.is(Tag::Small))
                .flat_map(|page| &page.small);
            small
                .map(|small| &small.region)
                .filter(|region| region.header.kind() == Some(Kind::Region))
        };
        let mut waited: Vec<u64> = Vec::new();
        for core in cores() {
            if core.needs_flush() {
                waited.extend([
                    core.flush_done.load(Ordering::Relaxed),
                    core.flush_wanted.load(Ordering::Relaxed),
                ]);
            }
        }
        let open = regions().filter(|region| region.flush.get() != 0 && !self.is_flushed(region.flush.get()));
        waited.extend(open.map(|region| self.generation_of(region.flush.get())));
        waited.sort_unstable();
        waited.dedup();
        let rank = |generation: u64| {
            waited
                .iter()
                .position(|&one| one == generation)
                .map_or(1, |place| place as u64 + 2)
        };
        let waiting = regions().filter(|region| region.flush.get() != 0);
        let renumbered = waiting.map(|region| {
            let is_open = !self.is_flushed(region.flush.get());
            (
                region,
                if is_open {
                    rank(self.generation_of(region.flush.get()))
                } else {
                    1
                },
            )
        });
        // All of them are known before the first is changed: the order of two is what matters.
        for (region, new) in renumbered.collect::<Vec<_>>() {
            region.flush.set(new as u32);
        }
        for core in cores() {
            let pending = core.needs_flush();
            for cell in [&core.flush_done, &core.flush_wanted] {
                let new = if pending { rank(cell.load(Ordering::Relaxed)) } else { 0 };
                cell.store(new, Ordering::Relaxed);
            }
        }
        self.flush_generation.set(waited.len() as u64 + 1);
    }
}

impl Core {
    fn stand_still(&self) {
        self.effect.set(crate::percpu::Effect::Nothing);
        self.charged_since.set(CANONICAL_NOW);
        self.slice_began.set(CANONICAL_NOW);
        self.flush_requested.set(false);
    }
}

impl Thread {
    /// Fixes what nobody reads before it is written again.
    fn stand_still(&self) {
        self.context
            .registers()
            .into_iter()
            .for_each(|register| register.set(0));
        self.fault.set(Fault::default());
        match self.state() {
            State::Inactive | State::Waiting => self.priority.set(self.own_priority.get()),
            _ => {}
        }
        if self.state() != State::Queued {
            self.transfer.set(0);
        }
    }
}

/// A 128-bit fingerprint of a state's words: two independent multiply-and-fold lanes. Among `n` different states the
/// odds that any two share one are about `n * n / 2^129`, if the lanes mix as well as chance: below 10^-22 for ten million.
#[must_use]
pub fn fingerprint(words: &[u64]) -> u128 {
    let (mut left, mut right) = (0x9E37_79B9_7F4A_7C15_u64, 0xC2B2_AE3D_27D4_EB4F_u64);
    for (place, &word) in words.iter().enumerate() {
        if word != 0 {
            let word = word ^ (place as u64) << 48;
            left = fold(left ^ word, 0xA076_1D64_78BD_642F);
            right = fold(right.rotate_left(23) ^ word, 0xE703_7ED1_A0B4_28DB);
        }
    }
    let length = words.len() as u64;
    u128::from(fold(left ^ length, 0x8EBC_6AF0_9C88_C6E3)) << 64
        | u128::from(fold(right ^ length, 0x5899_65CC_7537_4CC3))
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}
