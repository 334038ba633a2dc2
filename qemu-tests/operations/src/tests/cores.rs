//! Several cores: calls across, revocation of what another core uses, throughput on all at once.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Kind, NO_DEADLINE, ops, root_slots};
use ecusson_rt::sys;

use crate::tests::ipc::echo_server;
use ecusson_test_kit::{Kit, PAGE, Share, print};

/// A call to a server on another core is answered; it needs the server's own time.
pub(crate) fn calls(kit: &Kit) {
    for core in 1..kit.cores {
        let server = kit.spawn(Share::unlimited(core, 20), echo_server, 0);
        for mode in [ops::portal::PASSIVE, ops::portal::ACTIVE] {
            let portal = kit.portal(server, core, mode);
            for number in 0..100 {
                let answer = sys::call(portal, [0, number, 0, 0, 0, 0]);
                kit.expect(answer.status.0 == 0, "a cross-core call succeeds");
                kit.expect_equal(answer.words[1], number, "and brings its words");
                kit.expect_equal(answer.words[0], core, "and its label");
            }
        }
        kit.must(server.thread, [ops::DESTROY, 0, 0, 0, 0, 0]);
    }
    kit.reset();
}

/// How often a reader on another core read.
static READS: AtomicU64 = AtomicU64::new(0);

extern "C" fn reader(address: u64) -> ! {
    loop {
        sys::touch(address);
        READS.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn looper(portal: u64) -> ! {
    loop {
        let answer = sys::call(portal, [0; 6]);
        if answer.failure() == Some(Error::Dead) || answer.failure() == Some(Error::BadCap) {
            READS.store(u64::MAX / 2, Ordering::Relaxed);
            loop {
                let _ = sys::wait(NO_DEADLINE);
            }
        }
    }
}

/// Waits until a counter passes a mark, or gives up.
fn wait_for(kit: &Kit, counter: &AtomicU64, mark: u64) -> bool {
    kit.wait_until(|| counter.load(Ordering::Relaxed) >= mark)
}

/// A mapping and a portal are taken away while another core uses them, a running thread is destroyed.
pub(crate) fn revocation(kit: &Kit) {
    let window = 0x5000_0000;
    for core in 1..kit.cores {
        READS.store(0, Ordering::Relaxed);
        let region = kit.create(Kind::Region, [1, 0, 0]);
        kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
        kit.must(region, [ops::region::ATTACH, root_slots::SPACE, window / PAGE, 3, 0, 0]);
        let worker = kit.spawn(Share::unlimited(core, 9), reader, window);
        kit.expect(wait_for(kit, &READS, 100), "the other core reads");
        kit.must(region, [ops::region::DETACH, 0, 0, 0, 0, 0]);
        let reads = READS.load(Ordering::Relaxed);
        kit.sleep_us(2_000);
        kit.expect(
            READS.load(Ordering::Relaxed) <= reads + 1,
            "no read after detach is done",
        );
        kit.must(worker.thread, [ops::DESTROY, 0, 0, 0, 0, 0]);

        READS.store(0, Ordering::Relaxed);
        let server = kit.spawn(Share::unlimited(core, 20), echo_server, 0);
        let portal = kit.portal(server, 1, ops::portal::PASSIVE);
        let caller = kit.spawn(Share::unlimited(core, 9), looper, portal);
        kit.sleep_us(2_000);
        kit.must(portal, [ops::DESTROY, 0, 0, 0, 0, 0]);
        kit.expect(wait_for(kit, &READS, 1), "its caller learns that the portal is dead");
        kit.must(caller.thread, [ops::DESTROY, 0, 0, 0, 0, 0]);
        kit.reset();
    }
}

/// Calls or signals made on each core.
static DONE: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

fn note(core: u64) {
    if let Some(done) = DONE.get(core as usize) {
        done.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn counting_caller(argument: u64) -> ! {
    let (portal, core) = (argument >> 8, argument & 0xFF);
    loop {
        let _ = sys::call_one(portal, 0);
        note(core);
    }
}

extern "C" fn counting_signaller(argument: u64) -> ! {
    let (notification, core) = (argument >> 8, argument & 0xFF);
    loop {
        let _ = sys::signal(notification, 1);
        note(core);
    }
}

extern "C" fn short_server(_: u64) -> ! {
    loop {
        let _ = sys::reply_wait_one(NO_DEADLINE, 0);
    }
}

extern "C" fn short_waiter(_: u64) -> ! {
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// A server on this core, and somebody who calls it for ever.
fn start_calls(kit: &Kit, core: u64) {
    let server = kit.spawn(Share::unlimited(core, 20), short_server, 0);
    let portal = kit.portal(server, core, ops::portal::PASSIVE);
    let _ = kit.spawn(Share::unlimited(core, 9), counting_caller, portal << 8 | core);
}

/// Somebody who wakes a waiting thread of higher priority on this core for ever.
fn start_signals(kit: &Kit, core: u64) {
    let waiter = kit.spawn(Share::unlimited(core, 20), short_waiter, 0);
    let argument = waiter.notification << 8 | core;
    let _ = kit.spawn(Share::unlimited(core, 9), counting_signaller, argument);
}

/// What is done on a core, and how it is begun there.
type Work = (&'static str, fn(&Kit, u64));

/// Calls and signals within each core, on 1, 2 and 4 cores at once, as far as there are so many: what the kernel lock costs is
/// printed, and that each core made progress is checked.
pub(crate) fn throughput(kit: &Kit) {
    let works: [Work; 2] = [("calls", start_calls), ("signals", start_signals)];
    for (what, start) in works {
        for cores in [1, 2, 4].into_iter().filter(|&cores| cores <= kit.cores) {
            DONE.iter().for_each(|done| done.store(0, Ordering::Relaxed));
            (0..cores).for_each(|core| start(kit, core));
            let begin = sys::now();
            kit.sleep_us(20_000);
            for done in DONE.iter().take(cores as usize) {
                // More cores than the host has take turns: wait for the last one.
                kit.expect(wait_for(kit, done, 1), "every core makes progress");
            }
            let ticks = sys::now() - begin;
            let counts = DONE
                .iter()
                .take(cores as usize)
                .map(|done| done.load(Ordering::Relaxed));
            let total: u64 = counts.sum();
            let rate = total * kit.ticks_per_ms * 1000 / ticks.max(1);
            print(format_args!("{cores} cores at once: {rate} {what} a second"));
            kit.reset();
        }
    }
}
