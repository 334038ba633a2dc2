//! What two cores must tell each other, and what a core has room for: moves, wake-ups, ports.
#![allow(missing_docs)]

mod common;

use common::{DONE, ENTRY, MEMORY, PLATFORM, SELF, World, failed};
use ecusson_abi::{Error, Kind, NO_DEADLINE, Syscall, ops, platform};
use ecusson_core::Store;
use ecusson_core::heap::{Entry, Heap};
use ecusson_core::percpu::{CORE_THREADS, FAIR_SLICE_US};

const CONFIGURE: u64 = ops::sched_context::CONFIGURE;
const BIND: u64 = ops::sched_context::BIND;

/// Arguments of `CONFIGURE` for all the time of a core.
fn unlimited(core: u64, priority: u64) -> [u64; 4] {
    [PLATFORM, core | priority << 8, 100, 100]
}

#[test]
fn a_thread_moves_after_its_core_let_go_of_it() {
    let mut w = World::new();
    let (thread, context) = w.thread_and_time(1, 20);
    w.reschedule(1);
    w.refuses(context, CONFIGURE, &unlimited(0, 20), Error::BadState, 0);
    assert_eq!(w.invoke(thread, ops::thread::STOP, &[]), DONE);
    w.refuses(context, CONFIGURE, &unlimited(0, 20), Error::Busy, 0);
    assert_eq!(w.current(1), Some(w.thread(thread)));
    w.reschedule(1);
    assert_eq!(w.invoke(context, CONFIGURE, &unlimited(0, 31)), DONE);
    let name = w.thread(thread);
    assert_eq!(w.invoke(thread, ops::thread::RESUME, &[]), DONE);
    assert_eq!(w.current(0), Some(name));
}

#[test]
fn a_core_has_room_for_so_many_threads() {
    let mut w = World::with_pages(400);
    let (first, context) = (w.bare_thread(1), w.context(0, 5));
    for _ in 1..CORE_THREADS {
        let thread = w.bare_thread(1);
        assert_eq!(w.invoke(SELF, ops::protection_domain::DROP, &[thread]), DONE);
        w.forget(thread);
    }
    let slot = w.slot();
    let creation = [Kind::Thread as u64, slot, SELF, 1, 0];
    w.refuses(MEMORY, ops::memory::CREATE, &creation, Error::NoMemory, 4);
    let wanderer = w.bare_thread(0);
    assert_eq!(w.invoke(context, BIND, &[wanderer]), DONE);
    w.refuses(context, CONFIGURE, &unlimited(1, 5), Error::NoMemory, 2);
    w.until_done(first, ops::DESTROY, &[]);
    assert_eq!(w.invoke(context, CONFIGURE, &unlimited(1, 5)), DONE);
    w.refuses(MEMORY, ops::memory::CREATE, &creation, Error::NoMemory, 4);
}

#[test]
#[should_panic(expected = "more threads or contexts than it counts")]
fn a_full_heap_takes_nothing() {
    let heap = Heap::<1>::new();
    for name in 1..3 {
        heap.insert(Entry { key: 0, name }, |_, _| {});
    }
}

#[test]
fn a_band_of_two_has_slices() {
    let mut w = World::new();
    let threads = [w.bare_thread(1), w.bare_thread(1)];
    for thread in threads {
        let context = w.create(Kind::SchedContext, &[]);
        let place = 1 | 1 << 8 | 100 << 32;
        assert_eq!(w.invoke(context, CONFIGURE, &[PLATFORM, place, 9, 9]), DONE);
        assert_eq!(w.invoke(context, BIND, &[thread]), DONE);
    }
    assert_eq!(w.invoke(threads[0], ops::thread::START, &[ENTRY]), DONE);
    w.reschedule(1);
    assert_eq!(
        w.kernel.next_timer(w.kernel.core(1)),
        NO_DEADLINE,
        "alone, it needs no timer"
    );
    assert!(w.was_told());
    assert_eq!(w.invoke(threads[1], ops::thread::START, &[ENTRY]), DONE);
    assert!(w.was_told(), "the other core has no timer that would end the slice");
    w.reschedule(1);
    let end = w.kernel.next_timer(w.kernel.core(1));
    assert!(end <= w.kernel.now.get() + FAIR_SLICE_US);
    w.timer(1, end);
    assert_eq!(w.current(1), Some(w.thread(threads[1])));
}

#[test]
fn a_new_core_begins_at_its_own_virtual_time() {
    let mut w = World::new();
    let (thread, context) = (w.bare_thread(1), w.create(Kind::SchedContext, &[]));
    let fair = |core: u64| [PLATFORM, core | 1 << 8 | 1 << 32, 9, 9];
    assert_eq!(w.invoke(context, CONFIGURE, &fair(1)), DONE);
    assert_eq!(w.invoke(context, BIND, &[thread]), DONE);
    assert_eq!(w.invoke(thread, ops::thread::START, &[ENTRY]), DONE);
    w.reschedule(1);
    w.timer(1, w.kernel.now.get() + 1_000_000);
    assert_eq!(w.invoke(thread, ops::thread::STOP, &[]), DONE);
    w.reschedule(1);
    assert_eq!(w.invoke(context, CONFIGURE, &fair(0)), DONE);
    let object = w.kernel.store.sched_context(w.object(context));
    assert_eq!(object.virtual_time.get(), 0);
}

/// Root's domain gets a range of ports.
fn attached_ports(w: &mut World) -> u64 {
    let ports = w.slot();
    let arguments = [0x3F8, 8, MEMORY, ports];
    assert_eq!(w.invoke(PLATFORM, platform::PORTS, &arguments), DONE);
    assert_eq!(w.invoke(ports, ops::ports::ATTACH, &[SELF]), DONE);
    ports
}

#[test]
fn ports_that_come_and_go_are_told_to_every_core() {
    let mut w = World::with_pages(200);
    let early = w.thread_on(1, 5);
    w.reschedule(1);
    assert_eq!(w.current(1), Some(w.thread(early)));
    w.was_told();
    let ports = attached_ports(&mut w);
    assert!(w.was_told(), "a thread of the domain runs there without them");
    for _ in 0..70 {
        w.bare_thread(0);
    }
    let late = w.thread_on(1, 20);
    w.reschedule(1);
    assert_eq!(w.current(1), Some(w.thread(late)));
    w.was_told();
    assert_eq!(w.invoke(ports, ops::DESTROY, &[]), DONE);
    assert!(w.was_told(), "the domain's last thread loses them, too");
    assert_eq!(w.kernel.ports_of(w.thread(late)).count(), 0);
}

#[test]
fn ports_of_others_disturb_nobody() {
    let mut w = World::new();
    let ports = attached_ports(&mut w);
    let space = w.create(Kind::Space, &[ops::space::HOST]);
    let domain = w.create(Kind::ProtectionDomain, &[1, space]);
    let thread = w.create(Kind::Thread, &[domain, 1, 0]);
    let context = w.context(1, 5);
    assert_eq!(w.invoke(context, BIND, &[thread]), DONE);
    assert_eq!(w.invoke(thread, ops::thread::START, &[ENTRY]), DONE);
    w.reschedule(1);
    w.was_told();
    assert_eq!(w.invoke(ports, ops::DESTROY, &[]), DONE);
    assert!(!w.was_told());
}

#[test]
fn a_queued_caller_moves_to_the_queue_of_its_new_priority() {
    let mut w = World::new();
    let server = w.thread_on(1, 20);
    w.reschedule(1);
    let portal = w.portal(server, 0, ops::portal::ACTIVE);
    let mut callers = Vec::new();
    for _ in 0..2 {
        let (thread, context) = w.thread_and_time(0, 31);
        assert_eq!(w.on(0, Syscall::Call, portal, 0, [1, 0, 0, 0, 0, 0]), None);
        callers.push((w.thread(thread), context));
    }
    assert_eq!(w.invoke(callers[0].1, CONFIGURE, &unlimited(0, 4)), DONE);
    assert_eq!(w.invoke(callers[0].1, CONFIGURE, &unlimited(0, 5)), DONE);
    let name = w.current(1).expect("the server runs");
    for (caller, _) in [callers[1], callers[0]] {
        w.on(1, Syscall::ReplyWait, NO_DEADLINE, 0, [0; 6]);
        assert_eq!(w.kernel.store.thread(name).caller.get(), Some(caller));
    }
}

#[test]
fn a_lender_priority_reaches_the_server() {
    let mut w = World::new();
    let server = w.thread_on(1, 3);
    w.reschedule(1);
    assert_eq!(w.on(1, Syscall::ReplyWait, NO_DEADLINE, 0, [0; 6]), None);
    let portal = w.portal(server, 0, ops::portal::PASSIVE);
    let (_, context) = w.thread_and_time(1, 20);
    w.reschedule(1);
    assert_eq!(w.on(1, Syscall::Call, portal, 0, [0; 6]), None);
    let name = w.thread(server);
    assert_eq!(w.current(1), Some(name));
    let priority = || w.kernel.store.thread(name).priority.get();
    assert_eq!(priority(), 20);
    for (lent, seen) in [(9, 9), (21, 21), (2, 3)] {
        assert_eq!(w.invoke(context, CONFIGURE, &unlimited(1, lent)), DONE);
        assert_eq!(priority(), seen);
    }
    assert_eq!(
        w.invoke(context, CONFIGURE, &unlimited(0, 9)),
        failed(Error::BadState, 0)
    );
}
