//! Calls, replies, signals, deadlines, faults, threads' registers; each error, and who gets what when something ends early.
#![allow(missing_docs)]

mod common;

use common::{BELL, DONE, EMPTY, ENTRY, MEMORY, ROOT, SELF, World, failed};
use ecusson_abi::{Error, Event, Kind, NO_DEADLINE, Rights, Status, Syscall, Transfer, ops};
use ecusson_core::Store;
use ecusson_core::thread::{Fault, State};

const WORDS: [u64; 6] = [11, 12, 13, 14, 15, 16];
/// Root's priority is 30.
const ABOVE: u64 = 31;

fn call(w: &World, slot: u64) -> Option<common::Answer> {
    w.on(0, Syscall::Call, slot, 0, WORDS)
}

fn transfer(send: Option<u64>, receive: Option<u64>) -> u64 {
    let mut word = Transfer(0);
    word.set_send_slot_plus_one(send.map_or(0, |slot| slot as u16 + 1));
    word.set_send_rights(0xFF);
    word.set_receive_slot_plus_one(receive.map_or(0, |slot| slot as u16 + 1));
    word.0
}

/// A server above root that waits for calls, with a slot open if one is given.
fn server(w: &mut World, receive: Option<u64>) -> u64 {
    let thread = w.thread_on(0, ABOVE);
    assert_eq!(
        w.current(0).map(|name| name.address()),
        Some(server_name(w, thread)),
        "the server preempts root"
    );
    assert_eq!(
        w.on(0, Syscall::ReplyWait, NO_DEADLINE, transfer(None, receive), [0; 6]),
        None
    );
    thread
}

fn server_name(w: &World, slot: u64) -> u64 {
    w.thread(slot).address()
}

#[test]
fn a_call_and_its_reply() {
    let mut w = World::new();
    let server = server(&mut w, None);
    let portal = w.portal(server, 77, ops::portal::PASSIVE);
    let (root, server) = (w.thread(ROOT), w.thread(server));
    assert_eq!(call(&w, portal), None);
    assert_eq!(w.answer_of(server), Some(Ok((Event::Done, 77))));
    assert_eq!(w.kernel.store.thread(server).context.words(), WORDS);
    assert_eq!(
        w.on(0, Syscall::ReplyWait, NO_DEADLINE, 0, [21, 22, 23, 24, 25, 26]),
        None
    );
    assert_eq!(w.answer_of(root), Some(DONE));
    assert_eq!(w.kernel.store.thread(root).context.words(), [21, 22, 23, 24, 25, 26]);
}

#[test]
fn calls_that_are_refused() {
    let mut w = World::new();
    let portal = w.portal(ROOT, 0, ops::portal::PASSIVE);
    let weak = w.with_rights(portal, Rights::MANAGE);
    let dead = w.dead(Kind::Portal, &[ROOT, 0, 0]);
    for (slot, error) in [
        (EMPTY, Error::BadCap),
        (BELL, Error::BadType),
        (weak, Error::NoRight),
        (dead, Error::Dead),
    ] {
        assert_eq!(call(&w, slot), Some(failed(error, 0)));
    }
    assert_eq!(
        call(&w, portal),
        Some(failed(Error::TooDeep, 0)),
        "root would wait for itself"
    );
    let idle = w.bare_thread(0);
    let active = w.portal(idle, 0, ops::portal::ACTIVE);
    assert_eq!(
        call(&w, active),
        Some(failed(Error::BadState, 0)),
        "an active server needs time of its own"
    );
    w.until_done(idle, ops::DESTROY, &[]);
    assert_eq!(call(&w, active), Some(failed(Error::Dead, 0)));
}

#[test]
fn chains_are_bounded() {
    let mut w = World::new();
    let mut servers = Vec::new();
    for _ in 0..8 {
        servers.push(server(&mut w, None));
    }
    let portals: Vec<u64> = servers.iter().map(|&server| w.portal(server, 0, 0)).collect();
    for portal in &portals[..7] {
        assert_eq!(call(&w, *portal), None);
    }
    assert_eq!(call(&w, portals[7]), Some(failed(Error::TooDeep, 0)));
}

#[test]
fn capabilities_travel_into_open_slots_only() {
    let mut w = World::new();
    let (target, second) = (w.slot(), w.slot());
    let server = server(&mut w, Some(target));
    let portal = w.portal(server, 0, 0);
    let weak = w.with_rights(BELL, Rights::SIGNAL);
    for (slot, error) in [(EMPTY, Error::BadCap), (weak, Error::NoRight)] {
        assert_eq!(
            w.on(0, Syscall::Call, portal, transfer(Some(slot), None), WORDS),
            Some(failed(error, 1))
        );
    }
    assert_eq!(w.on(0, Syscall::Call, portal, transfer(Some(BELL), None), WORDS), None);
    let status = Status(
        w.kernel
            .store
            .thread(w.current(0).expect("the server runs"))
            .context
            .rax
            .get(),
    );
    assert!(status.has_capability());
    // The slot is closed again: nothing comes a second time, into this slot or another.
    assert_eq!(w.on(0, Syscall::ReplyWait, NO_DEADLINE, 0, [0; 6]), None);
    assert_eq!(w.on(0, Syscall::Call, portal, transfer(Some(BELL), None), WORDS), None);
    assert_eq!(
        w.on(0, Syscall::ReplyWait, NO_DEADLINE, transfer(Some(BELL), None), [0; 6]),
        None
    );
    w.refuses(second, ops::IDENTIFY, &[], Error::BadCap, 0);
    assert!(w.invoke(target, ops::IDENTIFY, &[]).is_ok());
}

#[test]
fn death_and_stop_of_either_side() {
    let mut w = World::new();
    // On the other core, so that root can act while its peer is in a call.
    let server = w.thread_on(1, 20);
    let portal = w.portal(server, 0, ops::portal::ACTIVE);
    let caller = w.thread_on(1, 10);
    w.reschedule(1);
    assert_eq!(w.on(1, Syscall::ReplyWait, NO_DEADLINE, 0, [0; 6]), None);
    assert_eq!(w.on(1, Syscall::Call, portal, 0, WORDS), None);
    assert_eq!(w.invoke(server, ops::thread::STOP, &[]), DONE);
    w.reschedule(1);
    assert_eq!(w.current(1), None, "the server is stopped, the caller waits for it");
    assert_eq!(w.invoke(server, ops::thread::RESUME, &[]), DONE);
    let name = w.thread(caller);
    w.until_done(server, ops::DESTROY, &[]);
    assert_eq!(w.answer_of(name), Some(failed(Error::Dead, 0)));
    assert_eq!(w.invoke(server, ops::thread::RESUME, &[]), failed(Error::Dead, 0));
}

#[test]
fn signals() {
    let mut w = World::new();
    assert_eq!(w.on(0, Syscall::Signal, BELL, 0, [5, 0, 0, 0, 0, 0]), Some(DONE));
    assert_eq!(w.on(0, Syscall::Signal, BELL, 0, [8, 0, 0, 0, 0, 0]), Some(DONE));
    assert_eq!(
        w.on(0, Syscall::Wait, NO_DEADLINE, 0, [0; 6]),
        Some(Ok((Event::Signal, 13))),
        "all at once"
    );
    assert_eq!(
        w.on(0, Syscall::Wait, 1, 0, [0; 6]),
        Some(Ok((Event::Deadline, 0))),
        "the time is over"
    );
    let weak = w.with_rights(BELL, Rights::BIND);
    let dead = w.dead(Kind::Notification, &[]);
    for (slot, error) in [
        (EMPTY, Error::BadCap),
        (MEMORY, Error::BadType),
        (weak, Error::NoRight),
        (dead, Error::Dead),
    ] {
        assert_eq!(
            w.on(0, Syscall::Signal, slot, 0, [1, 0, 0, 0, 0, 0]),
            Some(failed(error, 0))
        );
    }
}

#[test]
fn deadlines() {
    let w = World::new();
    let root = w.thread(ROOT);
    assert_eq!(w.on(0, Syscall::ReplyWait, 1000, 0, [0; 6]), None);
    assert_eq!(w.current(0), None);
    w.timer(0, 999);
    assert_eq!(w.answer_of(root), None);
    w.timer(0, 1000);
    assert_eq!(w.answer_of(root), Some(Ok((Event::Deadline, 0))));
    assert_eq!(w.current(0), Some(root));
}

#[test]
fn bindings() {
    let mut w = World::new();
    let thread = w.bare_thread(0);
    let bell = w.create(Kind::Notification, &[]);
    let dead = w.dead(Kind::Notification, &[]);
    w.refuses_bad_capabilities(thread, ops::thread::BIND, |slot| vec![slot], 1, bell, dead);
    w.refuses(thread, ops::thread::BIND, &[BELL], Error::Occupied, 1);
    w.refuses(ROOT, ops::thread::BIND, &[bell], Error::Occupied, 0);
    assert_eq!(w.invoke(thread, ops::thread::BIND, &[bell]), DONE);
}

#[test]
fn starts() {
    let mut w = World::new();
    let thread = w.thread_on(1, 20);
    let weak = w.with_rights(thread, Rights::READ);
    w.refuses(weak, ops::thread::START, &[ENTRY], Error::NoRight, 0);
    w.refuses(thread, ops::thread::START, &[u64::MAX], Error::BadArg, 1);
    w.refuses(
        thread,
        ops::thread::START,
        &[ecusson_abi::USER_PAGES * 4096],
        Error::BadArg,
        1,
    );
    w.reschedule(1);
    assert_eq!(
        w.invoke(thread, ops::thread::START, &[ENTRY]),
        failed(Error::Busy, 0),
        "it runs: its core lets go first"
    );
    w.reschedule(1);
    assert_eq!(w.invoke(thread, ops::thread::START, &[ENTRY]), DONE);
}

#[test]
fn registers() {
    let mut w = World::new();
    let thread = w.thread_on(1, 20);
    let (peek, poke) = (ops::thread::PEEK, ops::thread::POKE);
    w.refuses(thread, peek, &[0], Error::BadState, 0);
    w.refuses(thread, poke, &[0, 1], Error::BadState, 0);
    w.reschedule(1);
    assert_eq!(w.invoke(thread, ops::thread::STOP, &[]), DONE);
    w.refuses(thread, peek, &[0], Error::Busy, 0);
    w.refuses(thread, poke, &[0, 1], Error::Busy, 0);
    w.reschedule(1);
    w.refuses(thread, peek, &[3], Error::BadArg, 1);
    for register in [3 << 8, 6, 0x1_0000] {
        w.refuses(thread, poke, &[register, 1], Error::BadArg, 1);
    }
    w.refuses(thread, poke, &[2 << 8 | 4, u64::MAX], Error::BadArg, 2);
    assert_eq!(
        w.invoke(thread, poke, &[2 << 8 | 3, u64::MAX]),
        DONE,
        "of the flags only harmless ones are set"
    );
    let flags = w.kernel.store.thread(w.thread(thread)).context.rflags.get();
    assert_eq!(flags, 0xFD7 & !0x28 | 0x200);
    assert_eq!(w.invoke(thread, poke, &[0, 99]), DONE);
    assert_eq!(w.invoke(thread, peek, &[0]), DONE);
    let root = w.kernel.store.thread(w.thread(ROOT));
    assert_eq!(root.context.r12.get(), 99);
    let nobody = w.with_rights(thread, Rights::EXECUTE);
    for operation in [peek, poke, ops::thread::INFO] {
        w.refuses(nobody, operation, &[0], Error::NoRight, 0);
    }
    assert_eq!(
        w.invoke(thread, ops::thread::INFO, &[]),
        Ok((Event::Done, ops::thread_state::RUNNABLE | ops::thread_state::STOPPED))
    );
}

#[test]
fn faults() {
    let mut w = World::new();
    let thread = w.thread_on(1, 20);
    let portal = w.portal(ROOT, 5, ops::portal::ACTIVE);
    let dead = w.dead(Kind::Portal, &[ROOT, 0, 0]);
    w.refuses_bad_capabilities(
        thread,
        ops::thread::SET_FAULT_HANDLER,
        |slot| vec![slot],
        1,
        portal,
        dead,
    );
    assert_eq!(w.invoke(thread, ops::thread::SET_FAULT_HANDLER, &[portal]), DONE);
    let (root, name) = (w.thread(ROOT), w.thread(thread));
    for (reply, state) in [
        (ecusson_abi::fault::RESUME, State::Running),
        (ecusson_abi::fault::STOP, State::Inactive),
    ] {
        w.reschedule(1);
        assert_eq!(w.current(1), Some(name));
        assert_eq!(
            w.on(0, Syscall::ReplyWait, NO_DEADLINE, 0, [reply, 0, 0, 0, 0, 0]),
            None
        );
        w.kernel.enter(1, w.kernel.now.get() + 1);
        w.kernel.fault(Fault {
            vector: 14,
            code: 6,
            address: 0x1234,
        });
        w.reschedule(0);
        assert_eq!(w.answer_of(root), Some(Ok((Event::Done, 5))));
        let words = w.kernel.store.thread(root).context.words();
        assert_eq!(words[..3], [ecusson_abi::fault::FAULT + 14, 6, 0x1234]);
        assert_eq!(
            w.on(0, Syscall::ReplyWait, w.kernel.now.get(), 0, [reply, 0, 0, 0, 0, 0]),
            Some(Ok((Event::Deadline, 0)))
        );
        w.reschedule(1);
        assert_eq!(w.kernel.store.thread(name).state(), state);
    }
    assert_eq!(
        w.invoke(thread, ops::thread::INFO, &[]),
        Ok((Event::Done, ops::thread_state::INACTIVE))
    );
    assert!(w.invoke(SELF, ops::IDENTIFY, &[]).is_ok());
}
