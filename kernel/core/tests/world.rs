//! Random system calls on a small world: after each, every invariant of [`ecusson_core::check`] holds.
//!
//! Catches: links that disagree, lost time, lost wake-ups, states without their queue, page tables that differ
//! from the regions attached, panics of any kind.
#![allow(missing_docs)]

use ecusson_abi::{MESSAGE_WORDS, NO_DEADLINE, Syscall, root_slots};
use ecusson_core::boot::{Boot, Segment};
use ecusson_core::host::HostStore;
use ecusson_core::thread::flag;
use ecusson_core::{Kernel, Store};
use proptest::prelude::*;

type World = Kernel<HostStore<8, 64, 8>>;

/// A machine of 2 cores; 96 pages free, root's image in page 100.
fn world() -> World {
    let kernel = Kernel::new(HostStore::new(128));
    let boot = Boot {
        free: &[(1, 96), (110, 8)],
        reserved: &[(0, 128)],
        apic_ids: &[0, 1],
        ticks_per_us: 1,
        now: 0,
        segments: &[Segment {
            run: (100, 2),
            virtual_page: 16,
            rights: ecusson_abi::Rights(5),
        }],
        entry: 16 * 4096,
        boot_info: (102, 1),
        bundle: (103, 4),
        composition: (107, 1),
        time_page: (108, 1),
    };
    kernel.boot(&boot).expect("96 pages hold root");
    kernel
}

/// Puts a system call of the current thread of a core into its registers, and runs it.
fn syscall(kernel: &World, core: u8, call: u64, slot: u64, second: u64, words: [u64; MESSAGE_WORDS]) {
    let now = kernel.now.get() + 7;
    kernel.enter(core, now);
    let Some(current) = kernel.core(core).current.get() else {
        kernel.timer();
        kernel.schedule();
        return;
    };
    let thread = kernel.store.thread(current);
    thread.clear_flag(flag::FULL_CONTEXT);
    thread.context.rax.set(call);
    thread.context.rdi.set(slot);
    thread.context.rsi.set(second);
    thread.context.set_words(words);
    let is_fast = kernel.fast_saved(kernel.core(core), now).is_some();
    if !is_fast {
        kernel.syscall();
    }
    serve_flushes(kernel);
}

fn serve_flushes(kernel: &World) {
    for index in 0..2 {
        let core = kernel.core(index);
        core.serve_flush(|| {});
        let root = core
            .current
            .get()
            .map_or(0, |name| kernel.store.thread(name).root.get());
        core.loaded_root.set(root);
    }
}

#[test]
fn boots_into_a_well_formed_state() {
    let kernel = world();
    assert_eq!(kernel.check(), Ok(()));
    assert!(kernel.core(0).current.get().is_some());
}

#[test]
fn a_violated_invariant_is_found() {
    let kernel = world();
    kernel.core(0).ready_bitmap.set(1 << 9);
    assert_eq!(kernel.check().map_err(|finding| finding.invariant), Err("ready-bitmap"));
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
fn furnish(kernel: &World) {
    let memory = root_slots::MEMORY;
    let platform = root_slots::PLATFORM;
    let invoke = |slot: u64, words: [u64; 6]| syscall(kernel, 0, Syscall::Invoke as u64, slot, 0, words);
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
    let kernel = world();
    furnish(&kernel);
    assert_eq!(kernel.check(), Ok(()));
    let root = kernel.core(0).current.get().expect("root runs");
    for slot in 16..32 {
        assert!(
            !kernel
                .capability(kernel.store.thread(root), slot)
                .expect("slot")
                .is_none(),
            "slot {slot}"
        );
    }
    assert!(
        kernel.core(1).current.get().is_none(),
        "the other core has not entered the kernel yet"
    );
    kernel.enter(1, kernel.now.get() + 1);
    kernel.schedule();
    assert!(kernel.core(1).current.get().is_some());
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
        let kernel = world();
        furnish(&kernel);
        for (core, call, slot, second, words) in steps {
            syscall(&kernel, core, call, slot, second, words);
            prop_assert_eq!(kernel.check(), Ok(()), "after {} {} {:?}", call, slot, words);
        }
    }
}
