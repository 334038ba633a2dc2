//! The parts about processes that are started on demand.

use ecusson_manifest::BootTable;
use ecusson_proto::supervisor::{Ended, State, WRONG_STATE};
use ecusson_rt::cap::kind::Notification;
use ecusson_rt::controlled::Refusal;
use ecusson_rt::time::Clock;
use ecusson_rt::{Cap, Controlled, exit, println, sys};

use crate::parts::{portal, succeed};

/// Instances of the worker.
const WORKERS: [&str; 3] = ["worker.0", "worker.1", "worker.2"];
/// First of the bits by which workers say that they run.
const RUNS_BIT: u32 = 8;
/// Starts of the last worker: together they need more memory than there is.
const STARTS: u64 = 24;
/// Longest wait for an event.
const PATIENCE_US: u64 = 20_000_000;

/// Says that it runs, under which label, and then does what its number says.
pub(crate) fn work(name: &str, table: &BootTable<'_>) -> ! {
    let reply = portal(table, "echo-server.echo").call([0; 6]);
    println!("{name}: label {}", reply.map_or(0, |words| words[5]));
    let Some((slot, bit)) = table.signal("keeper.events") else {
        panic!("the manifest gives no signal")
    };
    let keeper = Cap::<Notification>::at(u64::from(slot));
    if let Err(failure) = keeper.signal(1 << bit) {
        panic!("signalling the keeper: {failure}");
    }
    match name {
        "worker.0" => exit(7),
        "worker.1" => sys::touch(0),
        _ => {}
    }
    loop {
        let _ = sys::wait(ecusson_abi::NO_DEADLINE);
    }
}

/// What the keeper has heard and not yet looked for.
struct Ear {
    clock: Clock,
    bits: u64,
}

impl Ear {
    /// Waits until all of these were signalled.
    fn wait_for(&mut self, wanted: u64) {
        let deadline = self.clock.deadline_in_us(PATIENCE_US);
        while self.bits & wanted != wanted {
            match ecusson_rt::cap::wait(deadline) {
                Some(bits) => self.bits |= bits,
                None => panic!("bits {wanted:#x} did not come, only {:#x}", self.bits),
            }
        }
        self.bits &= !wanted;
    }
}

fn expect(worker: &Controlled, state: State, ended: Ended, starts: u64) {
    match worker.report() {
        Ok(report) => assert_eq!((report.state, report.ended, report.starts), (state, ended, starts)),
        Err(refusal) => panic!("no report: {refusal:?}"),
    }
}

/// Starts all, hears how they end, starts them again.
pub(crate) fn keep() -> ! {
    let Some(clock) = Clock::of_process() else {
        panic!("no time page")
    };
    let mut ear = Ear { clock, bits: 0 };
    let workers = WORKERS.map(|name| match Controlled::find(name) {
        Some(worker) => worker,
        None => panic!("the manifest gives no control of {name}"),
    });
    for worker in &workers {
        expect(worker, State::Off, Ended::Never, 0);
        assert_eq!(worker.stop(), Err(Refusal::Code(WRONG_STATE)));
    }
    println!("keeper: nothing runs yet");
    for (worker, bit) in workers.iter().zip(RUNS_BIT..) {
        assert_eq!(worker.start(), Ok(()));
        ear.wait_for(1 << bit);
    }
    let [exits, crashes, waits] = workers;
    ear.wait_for(exits.end_signal() | crashes.end_signal());
    expect(&exits, State::Off, Ended::Exited(7), 1);
    expect(&crashes, State::Off, Ended::Faulted(14), 1);
    expect(&waits, State::Running, Ended::Never, 1);
    assert_eq!(waits.start(), Err(Refusal::Code(WRONG_STATE)), "it runs");
    stop(&waits, &mut ear);
    for (worker, name) in workers.iter().zip(WORKERS) {
        let ended = worker.report().map(|report| report.ended);
        println!("keeper: {name} ended: {:?}", ended.unwrap_or(Ended::Never));
    }
    start_often(&waits, &mut ear);
    assert_eq!(exits.start(), Ok(()));
    ear.wait_for(exits.end_signal());
    expect(&exits, State::Off, Ended::Exited(7), 2);
    succeed()
}

fn stop(worker: &Controlled, ear: &mut Ear) {
    assert_eq!(worker.stop(), Ok(()));
    ear.wait_for(worker.end_signal());
}

fn start_often(worker: &Controlled, ear: &mut Ear) {
    let mut ends = 1;
    for _ in 1..STARTS {
        assert_eq!(worker.start(), Ok(()));
        ear.wait_for(1 << (RUNS_BIT + 2));
        stop(worker, ear);
        ends += 1;
    }
    expect(worker, State::Off, Ended::Stopped, STARTS);
    println!("keeper: {STARTS} starts of worker.2, {ends} ends");
}
