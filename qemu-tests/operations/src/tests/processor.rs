//! What user mode may do to the processor's own state: addresses that are not canonical, segment selectors.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Error, Kind, NO_DEADLINE, USER_PAGES, fault, ops, root_slots};
use ecusson_rt::sys;

use ecusson_test_kit::{Entry, Kit, PAGE, Share};

/// The first address that is not canonical, as seen from below.
const HOLE: u64 = USER_PAGES * PAGE + PAGE;
/// Selector of the user's data segment.
const USER_DATA: u16 = 0x1B;
/// A selector in the local descriptor table, which no thread has.
const LOCAL: u16 = 0x07;
/// Times that the handler repeats the instruction before it stops the thread.
const REPEATS: u64 = 3;

/// Vector word of the last fault message, and how many came.
static FAULT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Has the instruction repeated, then stops the thread.
extern "C" fn repeater(_: u64) -> ! {
    let mut reply = [0; 6];
    loop {
        let event = sys::reply_wait(NO_DEADLINE, reply);
        FAULT[0].store(event.words[0], Ordering::Relaxed);
        let before = FAULT[1].fetch_add(1, Ordering::Relaxed);
        reply[0] = if before < REPEATS { fault::RESUME } else { fault::STOP };
    }
}

extern "C" fn jumper(address: u64) -> ! {
    sys::jump(address)
}

extern "C" fn pusher(_: u64) -> ! {
    let _ = sys::wait(0);
    sys::fault()
}

extern "C" fn selector_setter(selector: u64) -> ! {
    sys::set_selectors(selector as u16);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// Runs a thread on a core under the handler that repeats; the vector word of its fault.
fn faults_with(kit: &Kit, core: u64, entry: Entry, stack: Option<u64>, argument: u64) -> u64 {
    FAULT.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    let handler = kit.spawn(Share::unlimited(core, 31), repeater, 0);
    let portal = kit.portal(handler, 0, ops::portal::PASSIVE);
    let mut worker = kit.worker(root_slots::SELF, Share::unlimited(core, 29), 0);
    worker.stack = stack.unwrap_or(worker.stack);
    kit.must(worker.thread, [ops::thread::SET_FAULT_HANDLER, portal, 0, 0, 0, 0]);
    kit.start(worker, entry, argument);
    let faulted = kit.wait_until(|| FAULT[1].load(Ordering::Relaxed) > REPEATS);
    kit.expect(faulted, "it faults each time it is resumed");
    FAULT[0].load(Ordering::Relaxed)
}

/// Addresses that are not canonical, in the registers that the kernel loads: the thread faults, as often as it is resumed, and
/// never the kernel.
pub(crate) fn addresses(kit: &Kit) {
    for address in [HOLE, 0x4000_0000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF] {
        let vector = faults_with(kit, 0, jumper, None, address);
        kit.expect_equal(vector, fault::FAULT + 13, "a jump to no canonical address");
    }
    let vector = faults_with(kit, 0, jumper, None, HOLE - 2);
    kit.expect_equal(vector, fault::FAULT + 14, "the last page of the lower half is nobody's");
    let vector = faults_with(kit, 0, pusher, Some(HOLE + PAGE), 0);
    // A stack fault; the emulator makes it a general one.
    kit.expect(
        matches!(vector.wrapping_sub(fault::FAULT), 12 | 13),
        "a stack at no canonical address",
    );

    let region = kit.create(Kind::Region, [1, 0, 0]);
    kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    let last = [ops::region::ATTACH, root_slots::SPACE, USER_PAGES, 5, 0, 0];
    kit.expect_error(
        &sys::invoke(region, last),
        Error::BadArg,
        2,
        "a system call would return behind the last page",
    );
    let worker = kit.worker(root_slots::SELF, Share::unlimited(0, 29), 0);
    for address in [HOLE, HOLE - 1, HOLE - PAGE, 0x4000_0000_0000_0000, u64::MAX] {
        let start = [ops::thread::START, address, worker.stack, 0, 0, 0];
        kit.expect_error(&sys::invoke(worker.thread, start), Error::BadArg, 1, "a start there");
        let poke = [ops::thread::POKE, 2 << 8 | 4, address, 0, 0, 0];
        kit.expect_error(
            &sys::invoke(worker.thread, poke),
            Error::BadArg,
            2,
            "a thread sent there",
        );
    }
    kit.reset();
}

/// Selectors that the reader found.
static FOUND: AtomicU64 = AtomicU64::new(u64::MAX);

extern "C" fn selector_reader(_: u64) -> ! {
    FOUND.store(sys::selectors(), Ordering::Relaxed);
    loop {
        let _ = sys::wait(NO_DEADLINE);
    }
}

/// A process does not see what another one left in the segment registers.
pub(crate) fn segments(kit: &Kit) {
    for selector in [3, USER_DATA] {
        FOUND.store(u64::MAX, Ordering::Relaxed);
        let process = kit.process();
        let reader = kit.worker(process.domain, Share::unlimited(0, 20), 0);
        kit.start(reader, selector_reader, 0);
        let setter = kit.spawn(Share::unlimited(0, 21), selector_setter, u64::from(selector));
        kit.sleep_us(300);
        kit.expect_equal(FOUND.load(Ordering::Relaxed), 0, "another process's selectors are gone");
        kit.must(setter.thread, [ops::thread::STOP, 0, 0, 0, 0, 0]);
        kit.reset();
    }
}

/// No core has a local descriptor table, which after INIT would be at address 0 and in the hands of whoever maps a page there.
pub(crate) fn no_local_segments(kit: &Kit) {
    for core in 0..kit.cores {
        let vector = faults_with(kit, core, selector_setter, None, u64::from(LOCAL));
        kit.expect_equal(vector, fault::FAULT + 13, "a selector of the local table");
        kit.reset();
    }
}
