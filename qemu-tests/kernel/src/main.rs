//! The figures of group `kernel`: instructions, as the time stamp counter shows them when QEMU counts one instruction as one
//! nanosecond. Each line `BENCH key value` goes to `./x bench`. User stubs are included in every figure.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Kind, NO_DEADLINE, Rights, fault, ops, platform, root_slots};
use ecusson_rt::sys;
use ecusson_test_kit::{Kit, PAGE, Process, Share, Worker, print};

ecusson_rt::root_entry!(main, stack: 32768);

/// Repetitions after [`WARM_UP`].
const ROUNDS: u64 = 10_000;
const WARM_UP: u64 = 100;

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
    let begin = sys::now();
    for _ in 0..ROUNDS {
        action();
    }
    (sys::now() - begin) / ROUNDS
}

fn report(key: &str, value: u64) {
    print(format_args!("BENCH {key} {value}"));
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
    report("yield_cross_pd", average(sys::yield_now) / 2);
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
    for round in 0..WARM_UP + 1000 {
        let begin = sys::now();
        let answer = sys::invoke(region, attach);
        let end = sys::now();
        if round >= WARM_UP && answer.status.0 == 0 {
            total += end - begin;
        }
        kit.must(region, [ops::region::DETACH, 0, 0, 0, 0, 0]);
    }
    report("map_page", total / 1000);
    kit.reset();
}

/// Time at which the spinning thread was last seen running.
static LAST_SEEN: AtomicU64 = AtomicU64::new(0);

extern "C" fn spinner(_: u64) -> ! {
    loop {
        LAST_SEEN.store(sys::now(), Ordering::Relaxed);
    }
}

/// The interval timer's interrupt while another process spins: from its last sign of life to the handler's first instruction
/// after its wait. Up to a turn of the spinning loop (four instructions) is counted along.
fn interrupts(kit: &Kit) {
    let process: Process = kit.process();
    let worker: Worker = kit.worker(process.domain, Share::unlimited(0, 5), 0);
    let (ports, interrupt) = (kit.slot(), kit.slot());
    kit.must(root_slots::PLATFORM, [platform::PORTS, 0x40, 4, kit.memory(), ports, 0]);
    kit.must(ports, [ops::ports::ATTACH, root_slots::SELF, 0, 0, 0, 0]);
    kit.must(root_slots::PLATFORM, [platform::IRQ, 2, 0, 0, kit.memory(), interrupt]);
    kit.must(interrupt, [ops::interrupt::BIND, root_slots::NOTIFICATION, 7, 0, 0, 0]);
    kit.start(worker, spinner, 0);
    let mut least = u64::MAX;
    for _ in 0..200 {
        sys::out_byte(0x43, 0x30);
        sys::out_byte(0x40, 0x00);
        sys::out_byte(0x40, 0x01);
        let _ = sys::wait(NO_DEADLINE);
        let now = sys::now();
        least = least.min(now - LAST_SEEN.load(Ordering::Relaxed));
        kit.must(interrupt, [ops::interrupt::ACK, 0, 0, 0, 0, 0]);
    }
    report("interrupt_to_user", least);
    kit.reset();
}

fn main() -> ! {
    let began = sys::now();
    let kit = Kit::new();
    report("boot_to_root_ticks", began);
    let _ = Rights::ALL;
    ipc(&kit);
    simple_calls(&kit);
    yields(&kit);
    faults(&kit);
    mapping(&kit);
    interrupts(&kit);
    kit.expect(kit.check_kernel(), "the kernel's state is well-formed");
    kit.end()
}
