//! Objects of every kind are taken away while another core uses them: it must stop at once, and be told where it can be.
//! (Regions and portals: [`crate::tests::cores`].)

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Kind, NO_DEADLINE, Words, fault, ops, platform, root_slots};
use ecusson_rt::sys;

use ecusson_test_kit::{Entry, Kit, Share, Worker};

/// Steps of whoever uses the object.
static STEPS: AtomicU64 = AtomicU64::new(0);
/// Error it was given, or vector word of its fault.
static TOLD: AtomicU64 = AtomicU64::new(0);

const DESTROY: Words = [ops::DESTROY, 0, 0, 0, 0, 0];
/// A port without a device that minds: the BIOS's progress codes go there.
const PORT: u16 = 0x80;

fn note() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn stepper(_: u64) -> ! {
    loop {
        note();
    }
}

extern "C" fn signaller(notification: u64) -> ! {
    loop {
        match sys::signal(notification, 1).failure() {
            None => note(),
            Some(error) => {
                TOLD.store(error as u64, Ordering::Relaxed);
                let _ = sys::wait(NO_DEADLINE);
            }
        }
    }
}

extern "C" fn waiter(interrupt: u64) -> ! {
    loop {
        let _ = sys::wait(NO_DEADLINE);
        note();
        let _ = sys::invoke(interrupt, [ops::interrupt::ACK, 0, 0, 0, 0, 0]);
    }
}

extern "C" fn port_reader(_: u64) -> ! {
    loop {
        let _ = sys::in_byte(PORT);
        note();
    }
}

extern "C" fn recorder(_: u64) -> ! {
    loop {
        let event = sys::reply_wait(NO_DEADLINE, [fault::STOP, 0, 0, 0, 0, 0]);
        TOLD.store(event.words[0], Ordering::Relaxed);
    }
}

fn forget(kit: &Kit) {
    kit.reset();
    STEPS.store(0, Ordering::Relaxed);
    TOLD.store(0, Ordering::Relaxed);
}

fn expect_steps(kit: &Kit, what: &str) {
    kit.expect(kit.wait_until(|| STEPS.load(Ordering::Relaxed) >= 20), what);
}

/// At most the step that was under way is still made.
fn expect_no_steps(kit: &Kit, what: &str) {
    let steps = STEPS.load(Ordering::Relaxed);
    kit.sleep_us(2_000);
    kit.expect(STEPS.load(Ordering::Relaxed) <= steps + 1, what);
}

/// A thread of a second process on another core.
fn elsewhere(kit: &Kit, domain: u64, core: u64, entry: Entry, argument: u64) -> Worker {
    let worker = kit.worker(domain, Share::unlimited(core, 9), 0);
    kit.start(worker, entry, argument);
    worker
}

/// Revokes objects of each kind in use on each other core.
pub(crate) fn of_every_kind(kit: &Kit) {
    for core in 1..kit.cores {
        forget(kit);
        of_what_a_thread_lives_on(kit, core);
        of_memory(kit, core);
        of_a_notification(kit, core);
        of_ports(kit, core);
        of_an_interrupt(kit, core);
        kit.expect(kit.check_kernel(), "the kernel's state is well-formed afterwards");
    }
}

/// Thread, scheduling context, protection domain, space (which ends its domain first): the thread stops.
fn of_what_a_thread_lives_on(kit: &Kit, core: u64) {
    for kind in [Kind::Thread, Kind::SchedContext, Kind::ProtectionDomain, Kind::Space] {
        let process = kit.process();
        let worker = elsewhere(kit, process.domain, core, stepper, 0);
        expect_steps(kit, "the other core's thread runs");
        kit.must(
            match kind {
                Kind::Thread => worker.thread,
                Kind::SchedContext => worker.context,
                Kind::ProtectionDomain => process.domain,
                _ => process.space,
            },
            DESTROY,
        );
        expect_no_steps(kit, "a thread stops with what it lives on");
        forget(kit);
    }
}

/// All of a process's memory at once, as root does when one dies.
fn of_memory(kit: &Kit, core: u64) {
    let process = kit.process();
    let _ = elsewhere(kit, process.domain, core, stepper, 0);
    expect_steps(kit, "the other core's thread runs");
    kit.must(kit.memory(), [ops::memory::RECLAIM, 0, 0, 0, 0, 0]);
    expect_no_steps(kit, "nothing runs of reclaimed memory");
    forget(kit);
}

fn of_a_notification(kit: &Kit, core: u64) {
    let owner = elsewhere(kit, root_slots::SELF, core, waiter, 0);
    let _ = elsewhere(kit, root_slots::SELF, core, signaller, owner.notification);
    expect_steps(kit, "the other core signals");
    kit.must(owner.notification, DESTROY);
    let told = || TOLD.load(Ordering::Relaxed);
    let is_told = kit.wait_until(|| told() != 0);
    kit.expect(
        is_told && [Error::Dead as u64, Error::BadCap as u64].contains(&told()),
        "who signals learns that the notification is gone",
    );
    expect_no_steps(kit, "and nobody is woken by it");
    forget(kit);
}

fn of_ports(kit: &Kit, core: u64) {
    let process = kit.process();
    let ports = kit.slot();
    let range = [platform::PORTS, PORT.into(), 1, kit.memory(), ports, 0];
    kit.must(root_slots::PLATFORM, range);
    kit.must(ports, [ops::ports::ATTACH, process.domain, 0, 0, 0, 0]);
    let handler = kit.spawn(Share::unlimited(0, 31), recorder, 0);
    let portal = kit.portal(handler, 0, ops::portal::ACTIVE);
    let worker = kit.worker(process.domain, Share::unlimited(core, 9), 0);
    kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    kit.start(worker, port_reader, 0);
    expect_steps(kit, "the other core reads the port");
    kit.must(ports, DESTROY);
    let is_told = kit.wait_until(|| TOLD.load(Ordering::Relaxed) != 0);
    kit.expect(is_told, "the port faults after its end");
    kit.expect_equal(
        TOLD.load(Ordering::Relaxed),
        fault::FAULT + 13,
        "by a general protection fault",
    );
    expect_no_steps(kit, "and is read no more");
    forget(kit);
}

/// The interval timer (Intel 8254), channel 0, mode 2: an interrupt every 1.7 ms.
fn start_timer() {
    sys::out_byte(0x43, 0x34);
    sys::out_byte(0x40, 0x00);
    sys::out_byte(0x40, 0x08);
}

/// Mode 0 with the longest time: once more, then never.
fn stop_timer() {
    sys::out_byte(0x43, 0x30);
    sys::out_byte(0x40, 0xFF);
    sys::out_byte(0x40, 0xFF);
}

fn of_an_interrupt(kit: &Kit, core: u64) {
    let (ports, interrupt) = (kit.slot(), kit.slot());
    kit.must(root_slots::PLATFORM, [platform::PORTS, 0x40, 4, kit.memory(), ports, 0]);
    kit.must(ports, [ops::ports::ATTACH, root_slots::SELF, 0, 0, 0, 0]);
    let line = [platform::IRQ, 2, core, 0, kit.memory(), interrupt];
    kit.must(root_slots::PLATFORM, line);
    let worker = kit.worker(root_slots::SELF, Share::unlimited(core, 9), 0);
    kit.must(interrupt, [ops::interrupt::BIND, worker.notification, 3, 0, 0, 0]);
    kit.start(worker, waiter, interrupt);
    start_timer();
    expect_steps(kit, "interrupts reach the other core");
    kit.must(interrupt, DESTROY);
    expect_no_steps(kit, "no signal of an interrupt that ended");
    let mut again = line;
    again[5] = kit.slot();
    kit.must(root_slots::PLATFORM, again);
    stop_timer();
    forget(kit);
}
