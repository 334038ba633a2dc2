//! Operations on objects: errors that only a running kernel shows, memory that comes back, mappings, faults, interrupts.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Event, Kind, NO_DEADLINE, Rights, fault, ops, platform, root_slots};
use ecusson_rt::sys;

use ecusson_test_kit::{Kit, PAGE, Share};

/// A free virtual page of the test programs.
const WINDOW: u64 = 0x4000_0000 / PAGE;

/// A sample of errors over all kinds; each of every operation is provoked in the core's host tests.
pub(crate) fn errors(kit: &Kit) {
    let notification = kit.create(Kind::Notification, [0; 3]);
    let region = kit.create(Kind::Region, [2, 0, 0]);
    let taken = [ops::memory::CREATE, Kind::Notification as u64, notification, 0, 0, 0];
    kit.expect_error(
        &sys::invoke(kit.memory(), taken),
        Error::Occupied,
        2,
        "a slot used twice",
    );
    let attach = [ops::region::ATTACH, root_slots::SPACE, WINDOW, 3, 0, 0];
    kit.expect_error(
        &sys::invoke(region, attach),
        Error::BadState,
        0,
        "a region that was not scrubbed",
    );
    let _ = kit.finish(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    let executable = [ops::region::ATTACH, root_slots::SPACE, WINDOW, 7, 0, 0];
    kit.expect_error(&sys::invoke(region, executable), Error::BadArg, 3, "writable code");
    let kernel_half = [ops::region::ATTACH, root_slots::SPACE, 1 << 35, 3, 0, 0];
    kit.expect_error(
        &sys::invoke(region, kernel_half),
        Error::BadArg,
        2,
        "the kernel's addresses",
    );
    let ram = [platform::MMIO, 256, 1, kit.memory(), kit.slot(), 0];
    kit.expect_error(
        &sys::invoke(root_slots::PLATFORM, ram),
        Error::NoRight,
        1,
        "RAM as device memory",
    );
    kit.expect_error(
        &sys::invoke(notification, [1, 0, 0, 0, 0, 0]),
        Error::BadArg,
        0,
        "an operation that is none",
    );
    let vcpu = [ops::memory::CREATE, Kind::Vcpu as u64, kit.slot(), 0, 0, 0];
    kit.expect_error(
        &sys::invoke(kit.memory(), vcpu),
        Error::BadCap,
        3,
        "a vCPU without a space",
    );
    let huge = [ops::memory::SPLIT, u64::MAX, kit.slot(), 0, 0, 0];
    kit.expect_error(
        &sys::invoke(kit.memory(), huge),
        Error::BadArg,
        1,
        "more pages than there are",
    );
    kit.reset();
}

fn free_pages(kit: &Kit) -> u64 {
    sys::invoke(kit.memory(), [ops::memory::INFO, 0, 0, 0, 0, 0]).second
}

/// What is donated comes back.
pub(crate) fn memory_is_conserved(kit: &Kit) {
    let before = free_pages(kit);
    for _ in 0..3 {
        let process = kit.process();
        let worker = kit.worker(process.domain, Share::unlimited(0, 31), 0);
        kit.start(worker, crate::tests::ipc::echo_server, 0);
        let _ = kit.portal(worker, 1, ops::portal::ACTIVE);
        kit.expect(free_pages(kit) < before, "a process takes memory");
        kit.reset();
        kit.expect_equal(free_pages(kit), before, "reclaim gives back every page");
    }
}

/// Mapped memory is zero, can be written, is gone after `detach`, and large runs take large pages.
pub(crate) fn regions(kit: &Kit) {
    kit.must(root_slots::SPACE, [ops::space::INFO, 0, 0, 0, 0, 0]);
    let region = kit.create(Kind::Region, [1024, 9, 0]);
    kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    kit.must(region, [ops::region::ATTACH, root_slots::SPACE, WINDOW, 3, 0, 0]);
    sys::touch(WINDOW * PAGE);
    sys::touch((WINDOW + 1023) * PAGE);
    kit.must(region, [ops::region::DETACH, 0, 0, 0, 0, 0]);
    kit.must(region, [ops::region::ATTACH, root_slots::SPACE, WINDOW + 1, 3, 0, 0]);
    sys::touch((WINDOW + 1) * PAGE);
    kit.destroy(region);
    kit.expect(
        fault_at(kit, (WINDOW + 1) * PAGE) == fault::FAULT + 14,
        "a detached page is gone",
    );
    kit.reset();
}

/// Vector word of the last fault message.
static FAULT: AtomicU64 = AtomicU64::new(0);
/// Set by a thread that got over its fault.
static RESUMED: AtomicU64 = AtomicU64::new(0);

extern "C" fn toucher(address: u64) -> ! {
    sys::touch(address);
    RESUMED.fetch_add(1, Ordering::Relaxed);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Notes the fault and stops the thread, or, if told a region's slot, maps it there and resumes.
extern "C" fn fault_server(region: u64) -> ! {
    let mut reply = [0; 6];
    loop {
        let event = sys::reply_wait(NO_DEADLINE, reply);
        FAULT.store(event.words[0], Ordering::Relaxed);
        let page = event.words[2] / PAGE;
        reply[0] = fault::STOP;
        if region != 0 {
            let attach = [ops::region::ATTACH, root_slots::SPACE, page, 3, 0, 0];
            if sys::invoke(region, attach).failure().is_none() {
                reply[0] = fault::RESUME;
            }
        }
    }
}

/// Has a thread touch an address under a fault handler; word 0 of the fault message.
fn fault_at(kit: &Kit, address: u64) -> u64 {
    touch_with(kit, address, 0)
}

fn touch_with(kit: &Kit, address: u64, region: u64) -> u64 {
    FAULT.store(0, Ordering::Relaxed);
    let handler = kit.spawn(Share::unlimited(0, 31), fault_server, region);
    let portal = kit.portal(handler, 0, ops::portal::PASSIVE);
    let worker = kit.worker(root_slots::SELF, Share::unlimited(0, 29), 0);
    kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    kit.start(worker, toucher, address);
    kit.sleep_us(300);
    FAULT.load(Ordering::Relaxed)
}

/// Faults go to their handler, which repairs or stops.
pub(crate) fn faults(kit: &Kit) {
    RESUMED.store(0, Ordering::Relaxed);
    kit.expect_equal(fault_at(kit, 0x10), fault::FAULT + 14, "a null pointer is a page fault");
    kit.expect_equal(
        fault_at(kit, 0xFFFF_8000_0000_0000),
        fault::FAULT + 14,
        "the kernel's memory is out of reach",
    );
    kit.expect_equal(
        fault_at(kit, 0x8000_0000_0000_0000),
        fault::FAULT + 13,
        "no canonical address",
    );
    kit.expect_equal(
        RESUMED.load(Ordering::Relaxed),
        0,
        "a thread that was stopped does not go on",
    );
    let region = kit.create(Kind::Region, [1, 0, 0]);
    kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    kit.expect_equal(
        touch_with(kit, (WINDOW + 600) * PAGE, region),
        fault::FAULT + 14,
        "a hole faults",
    );
    kit.expect_equal(RESUMED.load(Ordering::Relaxed), 1, "a repaired fault goes on");
    kit.must(region, [ops::region::DETACH, 0, 0, 0, 0, 0]);
    kit.reset();
}

extern "C" fn idler(_: u64) -> ! {
    loop {
        core::hint::black_box(());
    }
}

/// Registers are read and written while a thread is stopped, and only then.
pub(crate) fn registers(kit: &Kit) {
    let worker = kit.spawn(Share::unlimited(0, 5), idler, 77);
    kit.sleep_us(300);
    let peek = [ops::thread::PEEK, 2, 0, 0, 0, 0];
    kit.expect_error(
        &sys::invoke(worker.thread, peek),
        Error::BadState,
        0,
        "registers of a thread that runs",
    );
    kit.must(worker.thread, [ops::thread::STOP, 0, 0, 0, 0, 0]);
    let found = kit.must(worker.thread, peek);
    kit.expect(
        found.words[4] != 0 && found.words[5] != 0,
        "instruction and stack pointer are there",
    );
    let kernel_address = [ops::thread::POKE, 2 << 8 | 4, 0xFFFF_8000_0000_0000, 0, 0, 0];
    kit.expect_error(
        &sys::invoke(worker.thread, kernel_address),
        Error::BadArg,
        2,
        "the kernel's code can't be entered",
    );
    kit.must(worker.thread, [ops::thread::POKE, 5, 42, 0, 0, 0]);
    let found = kit.must(worker.thread, [ops::thread::PEEK, 0, 0, 0, 0, 0]);
    kit.expect_equal(found.words[5], 42, "a register was written");
    kit.reset();
}

/// The PC's interval timer (Intel 8254): channel 0, one shot, on line 2 behind the I/O APIC.
const TIMER_LINE: u64 = 2;

/// A device's interrupt comes as a signal, again after each `ack`.
pub(crate) fn interrupts(kit: &Kit) {
    let ports = kit.slot();
    kit.must(root_slots::PLATFORM, [platform::PORTS, 0x40, 4, kit.memory(), ports, 0]);
    kit.must(ports, [ops::ports::ATTACH, root_slots::SELF, 0, 0, 0, 0]);
    let interrupt = kit.slot();
    kit.must(
        root_slots::PLATFORM,
        [platform::IRQ, TIMER_LINE, 0, 0, kit.memory(), interrupt],
    );
    let again = [platform::IRQ, TIMER_LINE, 0, 0, kit.memory(), kit.slot()];
    kit.expect_error(
        &sys::invoke(root_slots::PLATFORM, again),
        Error::Occupied,
        1,
        "a line has one owner",
    );
    kit.must(interrupt, [ops::interrupt::BIND, root_slots::NOTIFICATION, 7, 0, 0, 0]);
    for _ in 0..3 {
        sys::out_byte(0x43, 0x30);
        sys::out_byte(0x40, 0x00);
        sys::out_byte(0x40, 0x04);
        let event = sys::wait(sys::now() + kit.ticks_per_ms * 500);
        kit.expect_equal(
            event.status.event_code().into(),
            Event::Signal as u64,
            "the timer's interrupt arrives",
        );
        kit.expect_equal(event.second, 1 << 7, "as the signal it was bound to");
        kit.must(interrupt, [ops::interrupt::ACK, 0, 0, 0, 0, 0]);
    }
    let weak = kit.slot();
    let rights = u64::from(Rights::GRANT.with(Rights::PORTS).0);
    kit.must(
        root_slots::SELF,
        [ops::protection_domain::GRANT, root_slots::PLATFORM, weak, rights, 0, 0],
    );
    kit.expect_error(
        &sys::invoke(weak, again),
        Error::NoRight,
        0,
        "interrupts need their right",
    );
    kit.reset();
}
