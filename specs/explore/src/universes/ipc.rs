//! Calls, replies, signals, deadlines, faults, stops and deaths: two processes, three threads on two cores, a passive and an
//! active portal to the same server, a portal back to root, two notifications.

use ecusson_abi::{Error, Kind, Rights, Syscall, ops, root_slots};

use super::{DOMAIN, start, with_second_domain};
use crate::action::{Actions, DEADLINES, Entry, transfer};
use crate::machine::{self, Machine};
use crate::report::Outcome;
use crate::universe::Universe;

const SERVER: u64 = 13;
const TIME: u64 = 14;
const REMOTE: u64 = 15;
const PASSIVE: u64 = 17;
const ACTIVE: u64 = 18;
const BACK: u64 = 19;
const BELL: u64 = 20;
/// A context that belongs to nobody at first.
const SPARE: u64 = 21;

/// Two threads on the first core, one on the second.
fn apart() -> Machine {
    first(1, 20)
}

/// Three threads of one priority on the first core.
fn together() -> Machine {
    first(0, 30)
}

fn first(core: u64, priority: u64) -> Machine {
    let machine = with_second_domain();
    machine::create_thread(&machine, SERVER, DOMAIN, 0, 30);
    machine::create_thread(&machine, REMOTE, DOMAIN, core, priority);
    machine::create(&machine, Kind::Portal, PASSIVE, [SERVER, 7, ops::portal::PASSIVE]);
    machine::create(&machine, Kind::Portal, ACTIVE, [SERVER, 8, ops::portal::ACTIVE]);
    machine::create(
        &machine,
        Kind::Portal,
        BACK,
        [root_slots::THREAD, 9, ops::portal::PASSIVE],
    );
    machine::create(&machine, Kind::Notification, BELL, [0; 3]);
    machine::furnish(&machine, SERVER, [ops::thread::BIND, BELL, 0, 0, 0, 0]);
    machine::furnish(&machine, SERVER, [ops::thread::SET_FAULT_HANDLER, BACK, 0, 0, 0, 0]);
    for slot in [SERVER, TIME, REMOTE, PASSIVE, ACTIVE, BACK, BELL] {
        machine::give(&machine, DOMAIN, slot, Rights::ALL);
    }
    start(&machine, SERVER);
    start(&machine, REMOTE);
    machine
}

/// Three threads of one priority take turns on one core.
pub(crate) fn turns() -> Universe {
    let mut actions = Actions::on(&[0]);
    calls(&mut actions);
    actions.call("yield", Syscall::Yield, 0, 0, 0);
    actions.event("timer", Entry::Timer);
    actions.invoke("thread.stop", SERVER, ops::thread::STOP, [0; 5]);
    actions.invoke("thread.resume", SERVER, ops::thread::RESUME, [0; 5]);
    let required = vec![
        ("call", Outcome::Done),
        ("reply-wait", Outcome::Done),
        ("yield", Outcome::Done),
    ];
    Universe {
        name: "turns",
        start: together,
        actions: actions.list,
        required,
        limit: 300_000,
        sabotage: None,
    }
}

/// As `turns`, but the server loses its time and gets some again: what it does on the time of its callers only.
pub(crate) fn passive() -> Universe {
    let mut actions = Actions::on(&[0]);
    calls(&mut actions);
    actions.event("timer", Entry::Timer);
    actions.destroy("context.destroy", TIME);
    actions.invoke("context.bind", SPARE, ops::sched_context::BIND, [SERVER, 0, 0, 0, 0]);
    let required = vec![
        ("call", Outcome::Done),
        ("call", Outcome::error(Error::BadState)),
        ("reply-wait", Outcome::Signal),
        ("wait", Outcome::Signal),
        ("context.bind", Outcome::Done),
    ];
    Universe {
        name: "passive",
        start: || {
            let machine = together();
            machine::create_context(&machine, SPARE, 0, 30);
            machine::give(&machine, DOMAIN, SPARE, Rights::ALL);
            machine
        },
        actions: actions.list,
        required,
        limit: 300_000,
        sabotage: None,
    }
}

/// Calls of every portal, and every way of waiting.
fn calls(actions: &mut Actions) {
    for portal in [PASSIVE, ACTIVE, BACK] {
        actions.call("call", Syscall::Call, portal, 0, 0);
    }
    for word in [0, 1] {
        actions.call("reply-wait", Syscall::ReplyWait, DEADLINES[0], 0, word);
    }
    for deadline in DEADLINES {
        actions.call("reply-wait", Syscall::ReplyWait, deadline, 0, 0);
        actions.call("wait", Syscall::Wait, deadline, 0, 0);
    }
    actions.call("signal", Syscall::Signal, BELL, 0, 1);
}

/// With everything that may happen.
pub(crate) fn full() -> Universe {
    let mut more = Actions::on(&[0, 1]);
    more.call(
        "reply-wait",
        Syscall::ReplyWait,
        DEADLINES[0],
        transfer(None, Some(29)),
        0,
    );
    more.destroy("notification.destroy", BELL);
    more.invoke("context.bind", TIME, ops::sched_context::BIND, [REMOTE, 0, 0, 0, 0]);
    let mut universe = universe();
    universe.name = "ipc-full";
    universe.limit = 2_000_000;
    universe.actions.extend(more.list);
    universe
}

/// The universe.
pub(crate) fn universe() -> Universe {
    let mut actions = Actions::on(&[0, 1]);
    calls(&mut actions);
    actions.call("call", Syscall::Call, 30, 0, 0);
    actions.call("call", Syscall::Call, BELL, 0, 0);
    actions.call("yield", Syscall::Yield, 0, 0, 0);
    for thread in [SERVER, REMOTE] {
        actions.invoke("thread.start", thread, ops::thread::START, [machine::ENTRY, 0, 0, 0, 0]);
        actions.invoke("thread.stop", thread, ops::thread::STOP, [0; 5]);
        actions.invoke("thread.resume", thread, ops::thread::RESUME, [0; 5]);
    }
    actions.query("thread.info", SERVER, ops::thread::INFO, 0);
    actions.query("thread.peek", SERVER, ops::thread::PEEK, 0);
    actions.query("identify", ACTIVE, ops::IDENTIFY, 0);
    actions.event("fault", Entry::Fault);
    actions.destroy("portal.destroy", ACTIVE);
    actions.destroy("thread.destroy", SERVER);
    actions.destroy("context.destroy", TIME);
    actions.query("context.used", TIME, ops::sched_context::USED, 0);
    actions.interrupts();
    Universe {
        name: "ipc",
        start: apart,
        actions: actions.list,
        required: required(),
        limit: 400_000,
        sabotage: None,
    }
}

fn required() -> Vec<(&'static str, Outcome)> {
    let errors = [
        ("call", Error::BadCap),
        ("call", Error::BadType),
        ("call", Error::Dead),
        ("call", Error::TooDeep),
        ("thread.start", Error::Busy),
        ("thread.start", Error::Dead),
        ("thread.peek", Error::BadState),
        ("thread.peek", Error::Busy),
    ];
    let others = [
        ("call", Outcome::Done),
        ("call", Outcome::Silent),
        ("reply-wait", Outcome::Done),
        ("reply-wait", Outcome::Signal),
        ("reply-wait", Outcome::Deadline),
        ("wait", Outcome::Signal),
        ("wait", Outcome::Deadline),
        ("signal", Outcome::Done),
        ("thread.destroy", Outcome::Done),
        ("thread.destroy", Outcome::Progress),
    ];
    super::required(&errors, &others)
}
