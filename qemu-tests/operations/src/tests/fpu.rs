//! No FPU state of one thread in another's registers: through preemption, calls, faults and signals.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{NO_DEADLINE, fault, ops, root_slots};
use ecusson_rt::{fpu, sys};

use ecusson_test_kit::{Kit, Share, Worker, print};

/// What a thread does between filling its registers and looking at them again.
#[derive(Clone, Copy)]
enum Between {
    Spin,
    Call,
    Fault,
    Wait,
}

/// The threads: at one core, so that they take turns in the same registers.
const USERS: [(Between, u64); 5] = [
    (Between::Spin, 8),
    (Between::Spin, 5),
    (Between::Call, 7),
    (Between::Fault, 6),
    (Between::Wait, 9),
];

/// Turns of each thread.
static TURNS: [AtomicU64; USERS.len()] = [const { AtomicU64::new(0) }; USERS.len()];
/// Turns of server and fault handler.
static SERVED: AtomicU64 = AtomicU64::new(0);
/// Times that registers were not as their thread left them.
static DAMAGED: AtomicU64 = AtomicU64::new(0);
/// Threads that did not begin with the initial state.
static INHERITED: AtomicU64 = AtomicU64::new(0);

fn note(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn look_at_first_state() {
    if !fpu::read().is_initial() {
        note(&INHERITED);
    }
}

/// Argument: index, and above bit 8 the slot of the portal that it calls.
extern "C" fn user(argument: u64) -> ! {
    look_at_first_state();
    let (index, portal) = (argument & 0xFF, argument >> 8);
    let Some((&(between, _), turns)) = USERS.get(index as usize).zip(TURNS.get(index as usize)) else {
        sys::fault()
    };
    loop {
        fpu::fill(turns.load(Ordering::Relaxed) << 8 | index);
        let mine = fpu::read();
        match between {
            Between::Spin => (0..500).for_each(|turn| drop(core::hint::black_box(turn))),
            Between::Call => drop(sys::call(portal, [0; 6])),
            Between::Fault => sys::breakpoint(),
            Between::Wait => drop(sys::wait(NO_DEADLINE)),
        }
        if fpu::read() != mine {
            note(&DAMAGED);
        }
        note(turns);
    }
}

/// Answers calls and resumes faults, and keeps a state of its own from one to the next.
extern "C" fn server(pattern: u64) -> ! {
    look_at_first_state();
    loop {
        fpu::fill(pattern ^ SERVED.load(Ordering::Relaxed));
        let mine = fpu::read();
        let _ = sys::reply_wait(NO_DEADLINE, [fault::RESUME, 0, 0, 0, 0, 0]);
        if fpu::read() != mine {
            note(&DAMAGED);
        }
        note(&SERVED);
    }
}

fn drop<T>(_: T) {}

/// A server in another process, with FPU, and a portal to it.
fn serve(kit: &Kit, pattern: u64) -> u64 {
    let process = kit.process();
    let worker = kit.worker(process.domain, Share::unlimited(0, 20), ops::thread::USES_FPU);
    kit.start(worker, server, pattern);
    kit.portal(worker, 0, ops::portal::PASSIVE)
}

fn start_user(kit: &Kit, index: usize, portal: u64) -> Worker {
    let (between, priority) = USERS[index];
    let mut share = Share::unlimited(0, priority);
    if matches!(between, Between::Spin) && priority > 5 {
        // It comes and goes, and takes the registers of whoever runs then.
        (share.budget, share.period) = (kit.microseconds(100), kit.microseconds(400));
    }
    let worker = kit.worker(root_slots::SELF, share, ops::thread::USES_FPU);
    if matches!(between, Between::Fault) {
        kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    }
    kit.start(worker, user, portal << 8 | index as u64);
    worker
}

/// Each thread finds its registers as it left them, a new one finds the initial state.
pub(crate) fn isolation(kit: &Kit) {
    let portals = [serve(kit, 0xAAAA_0000), serve(kit, 0x5555_0000)];
    let mut workers = USERS.map(|_| None);
    for (index, worker) in workers.iter_mut().enumerate() {
        let portal = portals[usize::from(matches!(USERS[index].0, Between::Fault))];
        *worker = Some(start_user(kit, index, portal));
    }
    for _ in 0..40 {
        for worker in workers.iter().flatten() {
            let _ = sys::signal(worker.notification, 1);
        }
        kit.sleep_us(200);
        // Caller and faulting thread never wait: one after the other is stopped for a while, so that those below run, too.
        let busy = [workers[2], workers[3]];
        for worker in busy.iter().flatten() {
            kit.must(worker.thread, [ops::thread::STOP, 0, 0, 0, 0, 0]);
            kit.sleep_us(200);
        }
        for worker in busy.iter().flatten() {
            kit.must(worker.thread, [ops::thread::RESUME, 0, 0, 0, 0, 0]);
        }
    }
    for (index, turns) in TURNS.iter().enumerate() {
        let turns = turns.load(Ordering::Relaxed);
        if turns < 10 {
            print(format_args!("thread {index}: {turns} turns"));
        }
        kit.expect(turns >= 10, "each thread with FPU state ran");
    }
    kit.expect(SERVED.load(Ordering::Relaxed) >= 20, "so did the servers");
    kit.expect_equal(
        DAMAGED.load(Ordering::Relaxed),
        0,
        "registers are as their thread left them",
    );
    kit.expect_equal(
        INHERITED.load(Ordering::Relaxed),
        0,
        "a new thread has the initial state",
    );
    kit.reset();
}

extern "C" fn intruder(_: u64) -> ! {
    let _ = fpu::read();
    note(&INHERITED);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Vector word of the fault message.
static FAULT: AtomicU64 = AtomicU64::new(0);

extern "C" fn recorder(_: u64) -> ! {
    loop {
        let event = sys::reply_wait(NO_DEADLINE, [fault::STOP, 0, 0, 0, 0, 0]);
        FAULT.store(event.words[0], Ordering::Relaxed);
    }
}

/// A thread without the FPU flag cannot look at what others left: its first use faults (device not available, 7).
pub(crate) fn without_the_flag(kit: &Kit) {
    let handler = kit.spawn(Share::unlimited(0, 31), recorder, 0);
    let portal = kit.portal(handler, 0, ops::portal::PASSIVE);
    let worker = kit.worker(root_slots::SELF, Share::unlimited(0, 29), 0);
    kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    kit.start(worker, intruder, 0);
    kit.sleep_us(500);
    kit.expect_equal(
        FAULT.load(Ordering::Relaxed),
        fault::FAULT + 7,
        "the FPU is closed to a thread without the flag",
    );
    kit.expect_equal(INHERITED.load(Ordering::Relaxed), 0, "and it read nothing");
    kit.reset();
}
