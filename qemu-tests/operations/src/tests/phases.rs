//! Death, stop and exhausted budgets of caller and server in each phase of a call: queued, served, replying.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, NO_DEADLINE, Words, ops, root_slots};
use ecusson_rt::sys;

use crate::tests::ipc::echo_server;
use ecusson_test_kit::{Kit, Share, Worker};

/// Status word a caller got, plus one; 0 while it waits.
static OUTCOME: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn outcome(index: usize) -> u64 {
    OUTCOME.get(index).map_or(0, |outcome| outcome.load(Ordering::Relaxed))
}

fn forget_outcomes() {
    OUTCOME.iter().for_each(|outcome| outcome.store(0, Ordering::Relaxed));
}

/// Calls portal `argument >> 8` once and notes the outcome at `argument & 0xFF`.
extern "C" fn caller(argument: u64) -> ! {
    let answer = sys::call(argument >> 8, [0; 6]);
    if let Some(outcome) = OUTCOME.get(argument as usize & 0xFF) {
        outcome.store(answer.status.0 + 1, Ordering::Relaxed);
    }
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Takes a call and answers it only when it is signalled.
extern "C" fn slow_server(_: u64) -> ! {
    loop {
        let _ = sys::reply_wait(NO_DEADLINE, [0; 6]);
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// A slow server with a portal of each mode.
fn slow(kit: &Kit, mode: u64) -> (Worker, u64) {
    let server = kit.spawn(Share::unlimited(0, 31), slow_server, 0);
    (server, kit.portal(server, 0, mode))
}

fn call_from(kit: &Kit, portal: u64, index: u64) -> Worker {
    let worker = kit.spawn(Share::unlimited(0, 28), caller, portal << 8 | index);
    kit.sleep_us(200);
    worker
}

const DESTROY: Words = [ops::DESTROY, 0, 0, 0, 0, 0];

/// The server dies: the caller that is served and the ones that are queued get `Dead`.
pub(crate) fn server_dies(kit: &Kit) {
    for mode in [ops::portal::PASSIVE, ops::portal::ACTIVE] {
        forget_outcomes();
        let (server, portal) = slow(kit, mode);
        for index in 0..3 {
            let _ = call_from(kit, portal, index);
        }
        kit.expect_equal(outcome(0) | outcome(1) | outcome(2), 0, "nobody is answered yet");
        kit.must(server.thread, DESTROY);
        kit.sleep_us(500);
        for index in 0..3 {
            kit.expect_equal(
                outcome(index),
                Error::Dead as u64 + 1,
                "a dead server's callers learn of it",
            );
        }
        kit.reset();
    }
}

/// The caller dies, served or queued: the server goes on and serves the next.
pub(crate) fn caller_dies(kit: &Kit) {
    for mode in [ops::portal::PASSIVE, ops::portal::ACTIVE] {
        forget_outcomes();
        let (server, portal) = slow(kit, mode);
        let workers = [
            call_from(kit, portal, 0),
            call_from(kit, portal, 1),
            call_from(kit, portal, 2),
        ];
        kit.must(workers[0].thread, DESTROY);
        kit.must(workers[1].thread, DESTROY);
        let _ = sys::signal(server.notification, 1);
        kit.sleep_us(500);
        let _ = sys::signal(server.notification, 1);
        kit.sleep_us(500);
        kit.expect_equal(outcome(2), 1, "the caller behind the dead ones is served");
        kit.expect_equal(outcome(0) | outcome(1), 0, "the dead are not answered");
        kit.reset();
    }
}

/// The portal dies: a call that is served ends well, a queued one gets `Dead`.
pub(crate) fn portal_dies(kit: &Kit) {
    forget_outcomes();
    let (server, portal) = slow(kit, ops::portal::ACTIVE);
    let _ = call_from(kit, portal, 0);
    let _ = call_from(kit, portal, 1);
    kit.must(portal, DESTROY);
    let _ = sys::signal(server.notification, 1);
    kit.sleep_us(500);
    kit.expect_equal(outcome(0), 1, "the call that was served is answered");
    kit.expect_equal(outcome(1), Error::Dead as u64 + 1, "the queued one is refused");
    kit.reset();
}

/// Either side is stopped and resumed: the call waits and then goes on.
pub(crate) fn stops(kit: &Kit) {
    for stop_server in [true, false] {
        forget_outcomes();
        let (server, portal) = slow(kit, ops::portal::ACTIVE);
        let caller = call_from(kit, portal, 0);
        let stopped = if stop_server { server.thread } else { caller.thread };
        kit.must(stopped, [ops::thread::STOP, 0, 0, 0, 0, 0]);
        let _ = sys::signal(server.notification, 1);
        kit.sleep_us(300);
        kit.expect_equal(outcome(0), 0, "nothing happens while one side is stopped");
        kit.must(stopped, [ops::thread::RESUME, 0, 0, 0, 0, 0]);
        kit.sleep_us(300);
        kit.expect_equal(outcome(0), 1, "the call goes on after resume");
        kit.reset();
    }
}

/// Both time contexts: the caller's is destroyed while it is lent, the server goes on with its own.
pub(crate) fn time_revoked(kit: &Kit) {
    forget_outcomes();
    let (server, portal) = slow(kit, ops::portal::PASSIVE);
    let caller = call_from(kit, portal, 0);
    kit.must(caller.context, DESTROY);
    let _ = sys::signal(server.notification, 1);
    kit.sleep_us(300);
    kit.expect_equal(outcome(0), 0, "a caller without time does not run");
    let fresh = call_from(kit, portal, 1);
    let _ = sys::signal(server.notification, 1);
    kit.sleep_us(300);
    kit.expect_equal(outcome(1), 1, "the server serves the next caller");
    let _ = fresh;
    kit.reset();
}

/// Spins, for ever.
extern "C" fn spinner(_: u64) -> ! {
    loop {
        core::hint::black_box(());
    }
}

/// Calls as often as its budget lets it.
static CALLS: AtomicU64 = AtomicU64::new(0);

extern "C" fn greedy_caller(portal: u64) -> ! {
    loop {
        let _ = sys::call(portal, [0; 6]);
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A caller with hardly any budget hammers a shared (active) server; another caller of the server is answered all the same.
pub(crate) fn capped_caller(kit: &Kit) {
    let server = kit.spawn(Share::unlimited(0, 31), echo_server, 0);
    let portal = kit.portal(server, 0, ops::portal::ACTIVE);
    let period = kit.microseconds(20_000);
    let capped = Share {
        core: 0,
        priority: 10,
        weight: 0,
        budget: kit.microseconds(50),
        period,
    };
    let _ = kit.spawn(capped, greedy_caller, portal);
    kit.sleep_us(1000);
    let before = CALLS.load(Ordering::Relaxed);
    kit.expect(before > 0, "the capped caller was served");
    for _ in 0..50 {
        kit.expect(
            sys::call(portal, [0; 6]).status.0 == 0,
            "a capped caller does not freeze a shared server",
        );
    }
    kit.reset();
}

/// Budget of a caller ends while a passive server works on it: the server goes on in the next period.
pub(crate) fn budget_ends_in_a_call(kit: &Kit) {
    forget_outcomes();
    let server = kit.spawn(Share::unlimited(0, 20), working_server, kit.microseconds(400));
    let portal = kit.portal(server, 0, ops::portal::PASSIVE);
    let share = Share {
        core: 0,
        priority: 20,
        weight: 0,
        budget: kit.microseconds(100),
        period: kit.microseconds(1000),
    };
    let _ = kit.spawn(share, caller, portal << 8);
    kit.sleep_us(1500);
    kit.expect_equal(outcome(0), 0, "the call is not finished on one budget");
    kit.sleep_us(6000);
    kit.expect_equal(outcome(0), 1, "it is finished over several periods");
    kit.reset();
}

/// Works for a given number of ticks of its own running time, about, on each call.
extern "C" fn working_server(ticks: u64) -> ! {
    loop {
        let _ = sys::reply_wait(NO_DEADLINE, [0; 6]);
        let (mut worked, mut last) = (0, sys::now());
        while worked < ticks {
            let now = sys::now();
            // A jump means that somebody else ran.
            worked += (now - last).min(ticks / 64 + 1);
            last = now;
        }
    }
}

/// A thread in an endless loop of its own is taken off the processor by `destroy`, from the same core.
pub(crate) fn destroy_running(kit: &Kit) {
    let worker = kit.spawn(Share::unlimited(0, 5), spinner, 0);
    kit.sleep_us(300);
    kit.destroy(worker.thread);
    let used = sys::invoke(worker.context, [ops::sched_context::USED, 0, 0, 0, 0, 0]);
    kit.expect(used.second > 0, "it did run");
    kit.sleep_us(300);
    let later = sys::invoke(worker.context, [ops::sched_context::USED, 0, 0, 0, 0, 0]);
    kit.expect_equal(later.second, used.second, "it does not run any more");
    kit.expect_error(
        &sys::invoke(worker.thread, [ops::thread::INFO, 0, 0, 0, 0, 0]),
        Error::BadCap,
        0,
        "its slot is empty",
    );
    let _ = root_slots::SELF;
    kit.reset();
}
