//! Random system calls on a small world: after each, every invariant of [`ecusson_core::check`] holds.
//!
//! Catches: links that disagree, lost time, lost wake-ups, states without their queue, page tables that differ
//! from the regions attached, panics of any kind.
#![allow(missing_docs)]

mod common;

use common::World;
use ecusson_abi::{MESSAGE_WORDS, NO_DEADLINE, Syscall, root_slots};
use ecusson_core::Store;
use proptest::prelude::*;

/// The current thread of a core makes a system call, or, if it runs none, its timer fires. Every invariant holds afterwards.
fn step_on(w: &World, core: u8, call: u64, slot: u64, second: u64, words: [u64; MESSAGE_WORDS]) {
    if w.current(core).is_some() {
        w.system_call(core, call, slot, second, words);
    } else {
        w.timer(core, w.kernel.now.get() + 7);
    }
}

#[test]
fn boots_into_a_well_formed_state() {
    let w = World::new();
    assert_eq!(w.kernel.check(), Ok(()));
    assert!(w.current(0).is_some());
}

#[test]
fn a_violated_invariant_is_found() {
    let w = World::new();
    w.kernel.core(0).ready_bitmap.set(1 << 9);
    assert_eq!(
        w.kernel.check().map_err(|finding| finding.invariant),
        Err("ready-bitmap")
    );
}

#[test]
fn a_core_that_counts_wrongly_is_found() {
    let w = World::new();
    let core = w.kernel.core(0);
    for (counter, invariant) in [(&core.threads, "core-threads"), (&core.contexts, "core-contexts")] {
        counter.set(counter.get() + 1);
        assert_eq!(w.kernel.check().map_err(|finding| finding.invariant), Err(invariant));
        counter.set(counter.get() - 1);
    }
}

/// A plausible argument: small numbers mostly, so that slots, cores and pages are hit.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..48,
        2 => prop_oneof![Just(0x1E01), Just(1 << 32 | 0x0100), Just(0x1E00), Just(u64::MAX), Just(100)],
        1 => any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = (u8, u64, u64, u64, [u64; MESSAGE_WORDS])> {
    let call = prop_oneof![
        6 => Just(Syscall::Invoke as u64),
        2 => Just(Syscall::Call as u64),
        2 => Just(Syscall::ReplyWait as u64),
        1 => Just(Syscall::Signal as u64),
        1 => Just(Syscall::Wait as u64),
        1 => Just(Syscall::Yield as u64),
    ];
    let operation = prop_oneof![6 => 1u64..8, 1 => Just(0xFFu64), 1 => Just(0xFEu64)];
    let words = (operation, [argument(), argument(), argument(), argument(), argument()]);
    let second = prop_oneof![6 => Just(0u64), 1 => any::<u64>()];
    (0u8..2, call, argument(), second, words).prop_map(|(core, call, slot, second, (operation, rest))| {
        let slot = if call == Syscall::ReplyWait as u64 && slot < 40 {
            NO_DEADLINE
        } else {
            slot
        };
        (
            core,
            call,
            slot,
            second,
            [operation, rest[0], rest[1], rest[2], rest[3], rest[4]],
        )
    })
}

/// Gives the world a few objects, so that random steps have something to meet: threads on both cores with their
/// contexts and portals, a notification, a region.
fn furnish(w: &World) {
    let memory = root_slots::MEMORY;
    let platform = root_slots::PLATFORM;
    let invoke = |slot: u64, words: [u64; 6]| step_on(w, 0, Syscall::Invoke as u64, slot, 0, words);
    for (index, core) in [0u64, 0, 1].into_iter().enumerate() {
        let slot = 17 + 4 * index as u64;
        invoke(memory, [2, 5, slot, root_slots::SELF, core, 0]);
        invoke(memory, [2, 6, slot + 1, 0, 0, 0]);
        invoke(slot + 1, [1, platform, core | (5 + index as u64) << 8, 50, 100, 0]);
        invoke(slot + 1, [2, slot, 0, 0, 0, 0]);
        invoke(memory, [2, 7, slot + 2, slot, 7, index as u64 % 2]);
        invoke(memory, [2, 8, slot + 3, 0, 0, 0]);
        invoke(slot, [7, slot + 3, 0, 0, 0, 0]);
        invoke(slot, [1, 16 * 4096, 0, 0, 0, 0]);
    }
    invoke(memory, [2, 2, 29, 3, 0, 0]);
    invoke(memory, [2, 3, 30, 0, 0, 0]);
    invoke(memory, [1, 12, 31, 0, 0, 0]);
}

#[test]
fn the_furnished_world_is_what_it_seems() {
    let w = World::new();
    furnish(&w);
    let root = w.current(0).expect("root runs");
    for slot in 16..32 {
        let capability = w.kernel.capability(w.kernel.store.thread(root), slot);
        assert!(!capability.expect("slot").is_none(), "slot {slot}");
    }
    assert!(w.current(1).is_none(), "the other core has not entered the kernel yet");
    w.reschedule(1);
    assert!(w.current(1).is_some());
}

/// Cases to run: 2000, or what the environment says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_calls_keep_every_invariant(steps in prop::collection::vec(step(), 1..120)) {
        let w = World::new();
        furnish(&w);
        for (core, call, slot, second, words) in steps {
            step_on(&w, core, call, slot, second, words);
        }
    }
}
