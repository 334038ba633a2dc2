//! Calls, replies, signals and transfers between threads of one core.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Event, MAX_CALL_DEPTH, NO_DEADLINE, Rights, Transfer, Words, ops, root_slots};
use ecusson_rt::sys;

use ecusson_test_kit::{Kit, Share, Worker};

/// Label of the portals here.
const LABEL: u64 = 0xABCD;
/// Operation that asks the server to answer what it was told.
const ECHO: u64 = 1;

/// Answers each call with its words, the first replaced by the label.
pub(crate) extern "C" fn echo_server(_: u64) -> ! {
    let mut reply = [0; 6];
    loop {
        let event = sys::reply_wait(NO_DEADLINE, reply);
        reply = event.words;
        reply[0] = if event.status.event_code() == Event::Signal as u8 {
            0
        } else {
            event.second
        };
    }
}

/// A server that waits, above root's priority so that it is ready when `spawn` returns.
fn server(kit: &Kit) -> Worker {
    kit.spawn(Share::unlimited(0, 31), echo_server, 0)
}

/// Passive, active, and by the slow path: words and label arrive, in both directions.
pub(crate) fn calls(kit: &Kit) {
    let server = server(kit);
    let words: Words = [ECHO, 2, 3, 4, 5, u64::MAX];
    for mode in [ops::portal::PASSIVE, ops::portal::ACTIVE] {
        let portal = kit.portal(server, LABEL, mode);
        for _ in 0..3 {
            let answer = sys::call(portal, words);
            kit.expect(answer.status.0 == 0, "a call succeeds");
            kit.expect_equal(answer.words[0], LABEL, "the server sees the label");
            kit.expect(answer.words[1..] == words[1..], "words travel both ways");
        }
    }
    kit.reset();
}

/// Every error of `Call`.
pub(crate) fn call_errors(kit: &Kit) {
    let server = server(kit);
    let portal = kit.portal(server, LABEL, ops::portal::PASSIVE);
    kit.expect_error(&sys::call(1023, [0; 6]), Error::BadCap, 0, "call of an empty slot");
    kit.expect_error(&sys::call(u64::MAX, [0; 6]), Error::BadCap, 0, "call beyond the table");
    kit.expect_error(
        &sys::call(root_slots::SPACE, [0; 6]),
        Error::BadType,
        0,
        "call of a space",
    );
    let weak = kit.slot();
    kit.must(
        root_slots::SELF,
        [
            ops::protection_domain::GRANT,
            portal,
            weak,
            u64::from(Rights::GRANT.0),
            0,
            0,
        ],
    );
    kit.expect_error(&sys::call(weak, [0; 6]), Error::NoRight, 0, "call without the right");
    let mut transfer = Transfer(0);
    transfer.set_send_slot_plus_one(1023);
    kit.expect_error(
        &sys::call_transfer(portal, transfer, [0; 6]),
        Error::BadCap,
        1,
        "sending an empty slot",
    );
    kit.must(server.thread, [ops::DESTROY, 0, 0, 0, 0, 0]);
    kit.expect_error(&sys::call(portal, [0; 6]), Error::Dead, 0, "call of a dead server");
    kit.must(portal, [ops::DESTROY, 0, 0, 0, 0, 0]);
    kit.expect_error(&sys::call(portal, [0; 6]), Error::Dead, 0, "call of a dead portal");
    kit.reset();
}

/// Slots of the portals of a chain, by the depth of the thread that calls through them.
static CHAIN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
/// What the deepest call was answered.
static DEEPEST: AtomicU64 = AtomicU64::new(0);

/// A server that calls the next one of the chain before it answers.
extern "C" fn chain_server(depth: u64) -> ! {
    let mut reply = [0; 6];
    loop {
        let _ = sys::reply_wait(NO_DEADLINE, reply);
        let next = CHAIN.get(depth as usize).map_or(0, |slot| slot.load(Ordering::Relaxed));
        let answer = sys::call(next, [0; 6]);
        if let Some(error) = answer.status.failure() {
            DEEPEST.store(depth << 8 | error as u64, Ordering::Relaxed);
        }
        reply = [answer.words[0] + 1, 0, 0, 0, 0, 0];
    }
}

/// A chain goes to the limit and not one call further.
pub(crate) fn chain(kit: &Kit) {
    let length = u64::from(MAX_CALL_DEPTH);
    for depth in 1..=length {
        let worker = kit.spawn(Share::unlimited(0, 31), chain_server, depth);
        let portal = kit.portal(worker, depth, ops::portal::PASSIVE);
        if let Some(slot) = CHAIN.get(depth as usize - 1) {
            slot.store(portal, Ordering::Relaxed);
        }
    }
    let first = CHAIN[0].load(Ordering::Relaxed);
    let answer = sys::call(first, [0; 6]);
    kit.expect(
        answer.status.failure().is_none(),
        "the first call of a long chain succeeds",
    );
    // The caller and seven servers make eight; the seventh server's call is refused.
    let expected = (length - 1) << 8 | Error::TooDeep as u64;
    kit.expect_equal(DEEPEST.load(Ordering::Relaxed), expected, "the chain ends at the limit");
    kit.expect_equal(answer.words[0], length - 1, "every server of the chain answered");
    kit.reset();
}

/// Sends back, as a capability, what it was sent as one: proof that it arrived and can be sent on.
extern "C" fn courier(slot: u64) -> ! {
    let (mut reply, mut transfer) = ([0; 6], Transfer(0));
    transfer.set_receive_slot_plus_one(slot as u16 + 1);
    loop {
        let event = sys::reply_wait_transfer(NO_DEADLINE, transfer, reply);
        reply = [u64::from(event.status.has_capability()), 0, 0, 0, 0, 0];
        transfer.set_send_slot_plus_one(slot as u16 + 1);
        transfer.set_send_rights(Rights::ALL.0);
    }
}

/// A capability travels with a call and another one with the reply; rights shrink on the way.
pub(crate) fn transfers(kit: &Kit) {
    let process = kit.process();
    let theirs = 300;
    let worker = kit.worker(process.domain, Share::unlimited(0, 31), 0);
    kit.start(worker, courier, theirs);
    let portal = kit.portal(worker, LABEL, ops::portal::PASSIVE);
    let (sent, back) = (worker.notification, kit.slot());
    let mut transfer = Transfer(0);
    transfer.set_send_slot_plus_one(sent as u16 + 1);
    transfer.set_send_rights(Rights::SIGNAL.with(Rights::GRANT).0);
    transfer.set_receive_slot_plus_one(back as u16 + 1);
    let answer = sys::call_transfer(portal, transfer, [0; 6]);
    kit.expect_equal(answer.words[0], 1, "the server received the capability");
    kit.expect(answer.status.has_capability(), "the caller received one back");
    let identity = sys::invoke(back, [ops::IDENTIFY, 0, 0, 0, 0, 0]).second;
    let expected = u64::from(Rights::SIGNAL.with(Rights::GRANT).0) << 8 | ecusson_abi::Kind::Notification as u64;
    kit.expect_equal(identity, expected, "its rights shrank on the way");
    let plain = sys::call(portal, [0; 6]);
    kit.expect(!plain.status.has_capability(), "a closed slot receives nothing");
    kit.reset();
}

/// Counts what it is signalled.
static SIGNALLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn signal_server(_: u64) -> ! {
    loop {
        let event = sys::reply_wait(NO_DEADLINE, [0; 6]);
        if event.status.event_code() == Event::Signal as u8 {
            SIGNALLED.fetch_add(event.second, Ordering::Relaxed);
        }
    }
}

/// Signals: at once, gathered, with deadlines, and with calls at the same place.
pub(crate) fn signals(kit: &Kit) {
    SIGNALLED.store(0, Ordering::Relaxed);
    let worker = kit.spawn(Share::unlimited(0, 31), signal_server, 0);
    let portal = kit.portal(worker, LABEL, ops::portal::PASSIVE);
    let _ = sys::signal(worker.notification, 5);
    kit.expect_equal(
        SIGNALLED.load(Ordering::Relaxed),
        5,
        "a waiting thread of higher priority runs at once",
    );
    kit.expect(
        sys::call(portal, [0; 6]).status.0 == 0,
        "and takes calls at the same place",
    );
    let mine = root_slots::NOTIFICATION;
    kit.expect(sys::signal(mine, 1).status.0 == 0, "signal to oneself");
    let _ = sys::signal(mine, 2);
    let event = sys::wait(NO_DEADLINE);
    kit.expect_equal(
        event.status.event_code().into(),
        Event::Signal as u64,
        "pending signals end a wait at once",
    );
    kit.expect_equal(event.second, 3, "signals are gathered");
    let event = sys::wait(sys::now());
    kit.expect_equal(
        event.status.event_code().into(),
        Event::Deadline as u64,
        "a deadline that passed ends a wait at once",
    );
    let deadline = sys::now() + kit.microseconds(300);
    let event = sys::wait(deadline);
    kit.expect_equal(
        event.status.event_code().into(),
        Event::Deadline as u64,
        "a deadline ends a wait",
    );
    kit.expect(sys::now() >= deadline, "and not early");
    kit.expect_error(
        &sys::signal(root_slots::SPACE, 1),
        Error::BadType,
        0,
        "signal to a space",
    );
    kit.reset();
}

/// Order in which callers were served.
static ORDER: AtomicU64 = AtomicU64::new(0);

extern "C" fn ordered_caller(argument: u64) -> ! {
    let (portal, number) = (argument >> 8, argument & 0xFF);
    let _ = sys::call(portal, [number, 0, 0, 0, 0, 0]);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Serves after it was signalled, so that callers queue meanwhile.
extern "C" fn late_server(_: u64) -> ! {
    let _ = sys::wait(NO_DEADLINE);
    loop {
        let event = sys::reply_wait(NO_DEADLINE, [0; 6]);
        let order = ORDER.load(Ordering::Relaxed);
        ORDER.store(order << 4 | event.words[0], Ordering::Relaxed);
    }
}

/// A busy server takes its callers by priority, equals in order of arrival.
pub(crate) fn queue_order(kit: &Kit) {
    ORDER.store(0, Ordering::Relaxed);
    let server = kit.spawn(Share::unlimited(0, 31), late_server, 0);
    let portal = kit.portal(server, LABEL, ops::portal::ACTIVE);
    for (number, priority) in [(1, 4), (2, 9), (3, 4), (4, 20)] {
        let _ = kit.spawn(Share::unlimited(0, priority), ordered_caller, portal << 8 | number);
    }
    kit.sleep_us(500);
    let _ = sys::signal(server.notification, 1);
    kit.sleep_us(500);
    kit.expect_equal(ORDER.load(Ordering::Relaxed), 0x4213, "callers are served by priority");
    kit.reset();
}
