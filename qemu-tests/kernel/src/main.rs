//! The figures of group `kernel`: instructions, as the time stamp counter shows them when QEMU counts one instruction as one
//! nanosecond. Each line `BENCH key value` goes to `./x bench`. User stubs are included in every figure.
//!
//! Where a debug console answers (QEMU's `isa-debugcon`), a trace of each instruction is being taken: few repetitions, each
//! stretch that counts between two calls of [`mark`], and a line `TRACE key repetitions span` for each figure. `span` is
//! `all`, or `last-entry` where only the kernel's last stretch before the second mark counts.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Kind, NO_DEADLINE, Rights, fault, ops, platform, root_slots};
use ecusson_rt::sys;
use ecusson_test_kit::{Kit, PAGE, Share, print};

ecusson_rt::root_entry!(main, stack: 32768);

/// Repetitions after [`WARM_UP`].
static ROUNDS: AtomicU64 = AtomicU64::new(10_000);
/// Repetitions under trace. What lies between marks and repetitions is fewer instructions than this, so that it vanishes in
/// the average.
const TRACED_ROUNDS: u64 = 40;
const WARM_UP: u64 = 20;
/// QEMU's debug console, which answers a read with its own number.
const DEBUG_CONSOLE: u16 = 0xE9;

/// Calls of [`mark`].
static MARKS: AtomicU64 = AtomicU64::new(0);

/// Begins and ends, in turn, a stretch of the trace that counts.
#[inline(never)]
fn mark() {
    MARKS.fetch_add(1, Ordering::Relaxed);
}

fn rounds() -> u64 {
    ROUNDS.load(Ordering::Relaxed)
}

fn is_traced() -> bool {
    rounds() == TRACED_ROUNDS
}

/// Reads the debug console's port for [`settle_rounds`].
extern "C" fn probe(finished: u64) -> ! {
    if u16::from(sys::in_byte(DEBUG_CONSOLE)) == DEBUG_CONSOLE {
        ROUNDS.store(TRACED_ROUNDS, Ordering::Relaxed);
    }
    let _ = sys::signal(finished, 1);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Asks for the debug console from a process of its own: threads of one that has ports do not take the kernel's fast path.
fn settle_rounds(kit: &Kit) {
    let process = kit.process();
    let ports = kit.slot();
    let range = [platform::PORTS, DEBUG_CONSOLE.into(), 1, kit.memory(), ports, 0];
    kit.must(root_slots::PLATFORM, range);
    kit.must(ports, [ops::ports::ATTACH, process.domain, 0, 0, 0, 0]);
    kit.grant(process, root_slots::NOTIFICATION, Rights::ALL);
    let worker = kit.worker(process.domain, Share::unlimited(0, 30), 0);
    kit.start(worker, probe, root_slots::NOTIFICATION);
    let _ = sys::wait(NO_DEADLINE);
    kit.reset();
}

extern "C" fn one_word_server(_: u64) -> ! {
    loop {
        let _ = sys::reply_wait_one(NO_DEADLINE, 0);
    }
}

extern "C" fn six_word_server(_: u64) -> ! {
    let mut words = [0; 6];
    loop {
        words = sys::reply_wait(NO_DEADLINE, words).words;
    }
}

/// Average ticks of a repeated action.
fn average(mut action: impl FnMut()) -> u64 {
    for _ in 0..WARM_UP {
        action();
    }
    let rounds = rounds();
    mark();
    let begin = sys::now();
    for _ in 0..rounds {
        action();
    }
    let end = sys::now();
    mark();
    (end - begin) / rounds
}

fn report(key: &str, value: u64) {
    report_span(key, value, rounds(), "all");
}

/// A figure, and for a trace: of how many repetitions, and what of a stretch counts.
#[inline(never)]
fn report_span(key: &str, value: u64, repetitions: u64, span: &str) {
    print(format_args!("BENCH {key} {value}"));
    if is_traced() {
        print(format_args!("TRACE {key} {repetitions} {span}"));
    }
}

fn serve(kit: &Kit, domain: u64, entry: ecusson_test_kit::Entry, mode: u64) -> u64 {
    let worker = kit.worker(domain, Share::unlimited(0, 31), 0);
    kit.start(worker, entry, 0);
    kit.portal(worker, 1, mode)
}

fn ipc(kit: &Kit) {
    let process = kit.process();
    let cross = serve(kit, process.domain, one_word_server, ops::portal::PASSIVE);
    report("ipc_cross_pd_round_trip", average(|| drop(sys::call_one(cross, 0))));
    let same = serve(kit, root_slots::SELF, one_word_server, ops::portal::PASSIVE);
    report("ipc_same_pd_round_trip", average(|| drop(sys::call_one(same, 0))));
    let six = serve(kit, process.domain, six_word_server, ops::portal::PASSIVE);
    let mut words = [1, 2, 3, 4, 5, 6];
    report(
        "ipc_cross_pd_round_trip_6_words",
        average(|| words = sys::call(six, words).words),
    );
    let active = serve(kit, process.domain, one_word_server, ops::portal::ACTIVE);
    report(
        "ipc_cross_pd_round_trip_active",
        average(|| drop(sys::call_one(active, 0))),
    );
    kit.reset();
}

fn drop<T>(_: T) {}

fn simple_calls(kit: &Kit) {
    let notification = kit.create(Kind::Notification, [0; 3]);
    report(
        "syscall_null",
        average(|| drop(sys::invoke_one(notification, ops::IDENTIFY))),
    );
    report(
        "notification_signal_idle",
        average(|| drop(sys::signal(notification, 1))),
    );
    kit.reset();
}

extern "C" fn yielder(_: u64) -> ! {
    loop {
        sys::yield_now();
    }
}

/// Two threads of one priority in two processes: each yield of ours is one of theirs as well.
fn yields(kit: &Kit) {
    let process = kit.process();
    let worker = kit.worker(process.domain, Share::unlimited(0, 30), 0);
    kit.start(worker, yielder, 0);
    report_span("yield_cross_pd", average(sys::yield_now) / 2, rounds() * 2, "all");
    kit.reset();
}

extern "C" fn resuming_handler(_: u64) -> ! {
    loop {
        let _ = sys::reply_wait_one(NO_DEADLINE, fault::RESUME);
    }
}

extern "C" fn faulting(finished: u64) -> ! {
    report("fault_round_trip", average(sys::breakpoint));
    let _ = sys::signal(finished, 1);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// A breakpoint: the exception, the handler in another process, its reply, the next instruction.
fn faults(kit: &Kit) {
    let process = kit.process();
    let portal = serve(kit, process.domain, resuming_handler, ops::portal::PASSIVE);
    let worker = kit.worker(root_slots::SELF, Share::unlimited(0, 29), 0);
    kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    kit.start(worker, faulting, root_slots::NOTIFICATION);
    let _ = sys::wait(NO_DEADLINE);
    kit.reset();
}

/// One page attached where the table exists; detaching is not counted.
fn mapping(kit: &Kit) {
    let window = 0x4000_0000 / PAGE;
    let region = kit.create(Kind::Region, [1, 0, 0]);
    kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    let attach = [ops::region::ATTACH, root_slots::SPACE, window, 3, 0, 0];
    let mut total = 0;
    for _ in 0..rounds() {
        mark();
        let begin = sys::now();
        let answer = sys::invoke(region, attach);
        let end = sys::now();
        mark();
        kit.expect(answer.status.0 == 0, "the page is attached");
        total += end - begin;
        kit.must(region, [ops::region::DETACH, 0, 0, 0, 0, 0]);
    }
    report("map_page", total / rounds());
    kit.reset();
}

/// Time at which the spinning thread was last seen running.
static LAST_SEEN: AtomicU64 = AtomicU64::new(0);

extern "C" fn spinner(_: u64) -> ! {
    loop {
        LAST_SEEN.store(sys::now(), Ordering::Relaxed);
    }
}

/// Interrupts of the interval timer that are taken: each lets the spinning thread run for a while, most of the trace.
const INTERRUPTS: u64 = 10;
/// Counts of the timer (1.193 MHz) until it interrupts.
const DELAY: u8 = 0x30;
/// Least ticks from the spinning thread's last sign of life to the handler's first instruction after its wait.
static LEAST: AtomicU64 = AtomicU64::new(u64::MAX);

extern "C" fn interrupt_handler(interrupt: u64) -> ! {
    loop {
        let _ = sys::wait(NO_DEADLINE);
        let now = sys::now();
        mark();
        LEAST.fetch_min(now - LAST_SEEN.load(Ordering::Relaxed), Ordering::Relaxed);
        let _ = sys::invoke_one(interrupt, ops::interrupt::ACK);
        let _ = sys::signal(root_slots::NOTIFICATION, 1);
    }
}

/// The interval timer's interrupt for a thread of one process while another process spins. Up to a turn of the spinning loop
/// (four instructions) is counted along; a trace counts exactly.
fn interrupts(kit: &Kit) {
    let (spinning, handling) = (kit.process(), kit.process());
    let spinner_thread = kit.worker(spinning.domain, Share::unlimited(0, 5), 0);
    let handler = kit.worker(handling.domain, Share::unlimited(0, 31), 0);
    let (ports, interrupt) = (kit.slot(), kit.slot());
    kit.must(root_slots::PLATFORM, [platform::PORTS, 0x40, 4, kit.memory(), ports, 0]);
    kit.must(ports, [ops::ports::ATTACH, root_slots::SELF, 0, 0, 0, 0]);
    kit.must(root_slots::PLATFORM, [platform::IRQ, 2, 0, 0, kit.memory(), interrupt]);
    kit.must(interrupt, [ops::interrupt::BIND, handler.notification, 7, 0, 0, 0]);
    kit.grant(handling, interrupt, Rights::ALL);
    kit.grant(handling, root_slots::NOTIFICATION, Rights::SIGNAL);
    kit.start(handler, interrupt_handler, interrupt);
    kit.start(spinner_thread, spinner, 0);
    for _ in 0..INTERRUPTS {
        sys::out_byte(0x43, 0x30);
        sys::out_byte(0x40, DELAY);
        sys::out_byte(0x40, 0x00);
        mark();
        let _ = sys::wait(NO_DEADLINE);
    }
    report_span(
        "interrupt_to_user",
        LEAST.load(Ordering::Relaxed),
        INTERRUPTS,
        "last-entry",
    );
    kit.reset();
}

fn main() -> ! {
    let began = sys::now();
    let kit = Kit::new();
    // Since power-on: `./x bench` takes away what the firmware needs.
    print(format_args!("BENCH power_on_to_root_instructions {began}"));
    settle_rounds(&kit);
    ipc(&kit);
    simple_calls(&kit);
    yields(&kit);
    faults(&kit);
    mapping(&kit);
    interrupts(&kit);
    kit.end()
}
