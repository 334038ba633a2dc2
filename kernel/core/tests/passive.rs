//! Servers that have no time of their own, and calls that end while something is being destroyed.
#![allow(missing_docs)]

mod common;

use common::{DONE, MEMORY, World, failed};
use ecusson_abi::{Error, Event, Kind, NO_DEADLINE, Syscall, ops};
use ecusson_core::thread::{State, Thread};
use ecusson_core::{Ref, Store};

const BIND: u64 = ops::sched_context::BIND;
/// Message words of a signal.
const BIT_0: [u64; 6] = [1, 0, 0, 0, 0, 0];

/// On core 1: a server that waits with a notification and, since its scheduling context was destroyed, without time.
struct Passive {
    thread: u64,
    name: Ref<Thread>,
    bell: u64,
    portal: u64,
}

impl Passive {
    fn new(w: &mut World, deadline: u64) -> Self {
        let (thread, context) = w.thread_and_time(1, 3);
        let (bell, portal) = (
            w.create(Kind::Notification, &[]),
            w.portal(thread, 7, ops::portal::PASSIVE),
        );
        assert_eq!(w.invoke(thread, ops::thread::BIND, &[bell]), DONE);
        w.reschedule(1);
        assert_eq!(w.on(1, Syscall::ReplyWait, deadline, 0, [0; 6]), None);
        assert_eq!(w.invoke(context, ops::DESTROY, &[]), DONE);
        let name = w.thread(thread);
        Self {
            thread,
            name,
            bell,
            portal,
        }
    }

    fn state(&self, w: &World) -> State {
        w.kernel.store.thread(self.name).state()
    }

    fn signal(&self, w: &World) {
        assert_eq!(w.on(0, Syscall::Signal, self.bell, 0, BIT_0), Some(DONE));
    }

    /// A client on core 1 that has called: the server runs.
    fn called_by(&self, w: &mut World, priority: u64) -> Ref<Thread> {
        let client = w.thread_on(1, priority);
        w.reschedule(1);
        let name = w.thread(client);
        assert_eq!(w.current(1), Some(name));
        assert_eq!(w.on(1, Syscall::Call, self.portal, 0, [0; 6]), None);
        name
    }
}

fn reply(w: &World) {
    w.on(1, Syscall::ReplyWait, NO_DEADLINE, 0, [0; 6]);
}

#[test]
fn the_time_of_the_next_caller_is_enough() {
    let mut w = World::new();
    let server = Passive::new(&mut w, NO_DEADLINE);
    let first = server.called_by(&mut w, 20);
    let second = server.called_by(&mut w, 21);
    assert_eq!(
        w.current(1),
        Some(server.name),
        "the second queues, the first's time serves"
    );
    reply(&w);
    assert_eq!(w.answer_of(first), Some(DONE));
    assert_eq!(w.current(1), Some(server.name), "on the second's time");
    reply(&w);
    assert_eq!(w.answer_of(second), Some(DONE));
    assert_eq!(server.state(&w), State::Waiting);
}

#[test]
fn signals_wait_for_time() {
    let mut w = World::new();
    let server = Passive::new(&mut w, NO_DEADLINE);
    server.signal(&w);
    assert_eq!(server.state(&w), State::Waiting, "it still takes calls");
    let client = server.called_by(&mut w, 20);
    assert_eq!(w.current(1), Some(server.name));
    let looked = w.on(1, Syscall::Wait, 1, 0, [0; 6]);
    assert_eq!(looked, Some(Ok((Event::Signal, 1))), "it has time while it serves");
    server.signal(&w);
    reply(&w);
    assert_eq!(w.answer_of(client), Some(DONE));
    assert_eq!(server.state(&w), State::Waiting);
    server.signal(&w);
    let context = w.context(1, 25);
    assert_eq!(w.invoke(context, BIND, &[server.thread]), DONE);
    assert_eq!(w.answer_of(server.name), Some(Ok((Event::Signal, 1))));
    w.reschedule(1);
    assert_eq!(w.current(1), Some(server.name));
}

#[test]
fn a_deadline_without_time_is_forgotten() {
    let mut w = World::new();
    let server = Passive::new(&mut w, 10_000);
    w.timer(1, 10_000);
    assert_eq!(server.state(&w), State::Waiting);
    server.called_by(&mut w, 20);
    assert_eq!(
        w.on(1, Syscall::ReplyWait, 1, 0, [0; 6]),
        None,
        "neither is one that has passed"
    );
    let now = w.kernel.now.get();
    w.timer(1, now);
    assert_eq!(server.state(&w), State::Waiting);
    server.called_by(&mut w, 21);
    assert_eq!(w.current(1), Some(server.name));
}

#[test]
fn a_caller_that_lost_its_time_is_refused() {
    let mut w = World::new();
    let server = Passive::new(&mut w, NO_DEADLINE);
    let first = server.called_by(&mut w, 20);
    let (client, context) = w.thread_and_time(1, 21);
    w.reschedule(1);
    assert_eq!(w.on(1, Syscall::Call, server.portal, 0, [0; 6]), None);
    assert_eq!(w.invoke(context, ops::DESTROY, &[]), DONE);
    reply(&w);
    assert_eq!(w.answer_of(first), Some(DONE));
    assert_eq!(w.answer_of(w.thread(client)), Some(failed(Error::BadState, 0)));
    assert_eq!(server.state(&w), State::Waiting);
}

#[test]
fn many_stale_callers_hold_nobody_up() {
    let mut w = World::with_pages(200);
    let server = Passive::new(&mut w, NO_DEADLINE);
    let first = server.called_by(&mut w, 4);
    let doomed = w.portal(server.thread, 8, ops::portal::PASSIVE);
    let call = |w: &mut World, portal| {
        let client = w.thread_on(1, 5);
        w.reschedule(1);
        assert_eq!(w.on(1, Syscall::Call, portal, 0, [0; 6]), None);
        w.thread(client)
    };
    let stale: Vec<_> = (0..40).map(|_| call(&mut w, doomed)).collect();
    let last = call(&mut w, server.portal);
    assert_eq!(w.invoke(doomed, ops::DESTROY, &[]), DONE);
    for _ in 0..60 {
        if w.current(1) != Some(server.name) {
            assert_eq!(w.on(1, Syscall::Wait, NO_DEADLINE, 0, [0; 6]), None);
        } else if w.kernel.store.thread(server.name).caller.get() != Some(last) {
            reply(&w);
        }
    }
    assert_eq!(w.answer_of(first), Some(DONE));
    assert!(
        stale
            .iter()
            .all(|&name| w.kernel.store.thread(name).state() == State::WaitingSignal)
    );
    assert_eq!(w.current(1), Some(server.name));
    assert_eq!(w.kernel.store.thread(server.name).caller.get(), Some(last));
}

#[test]
fn a_dying_server_takes_no_calls() {
    let mut w = World::new();
    let server = w.bare_thread(0);
    let context = w.context(0, 5);
    assert_eq!(w.invoke(context, BIND, &[server]), DONE);
    let portals = [w.portal(server, 0, 0), w.portal(server, 0, 0)];
    assert_eq!(w.invoke(server, ops::DESTROY, &[]), Ok((Event::Progress, 0)));
    for portal in portals {
        assert_eq!(w.on(0, Syscall::Call, portal, 0, [0; 6]), Some(failed(Error::Dead, 0)));
    }
    w.until_done(server, ops::DESTROY, &[]);
}

#[test]
fn a_dying_region_gets_no_new_slices() {
    let mut w = World::new();
    let (region, slice, inner, late) = (w.region(4), w.slot(), w.slot(), w.slot());
    let words = |slot| [0, 1, 0xFF, MEMORY, slot];
    assert_eq!(w.invoke(region, ops::region::SLICE, &words(slice)), DONE);
    assert_eq!(w.invoke(slice, ops::region::SLICE, &words(inner)), DONE);
    assert_eq!(w.invoke(region, ops::DESTROY, &[]), Ok((Event::Progress, 0)));
    w.refuses(slice, ops::region::SLICE, &words(late), Error::Dead, 0);
    w.until_done(region, ops::DESTROY, &[]);
}
