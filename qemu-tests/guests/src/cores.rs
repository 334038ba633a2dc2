//! Guests that run on another core, or whose thread is not the one that acts: kicks, signals, stops, revocation.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::vcpu::exit;
use ecusson_abi::{Error, root_slots};
use ecusson_rt::Cap;
use ecusson_rt::cap::{Left, run};
use ecusson_rt::sys;
use ecusson_test_kit::{Kit, Share, Worker};

use crate::guest::{Guest, deadline, must};

/// What the other thread's `VcpuRun` came back with, and how often: count in bits 32.., kind in 16..32, value below.
static CAME_BACK: AtomicU64 = AtomicU64::new(0);

const SIGNAL: u64 = 1 << 16;
const DEADLINE: u64 = 2 << 16;
const EXIT: u64 = 3 << 16;
const FAILED: u64 = 4 << 16;

/// Runs the thread's vCPU again and again.
extern "C" fn runner(_: u64) -> ! {
    loop {
        let what = match run(ecusson_abi::NO_DEADLINE, 0) {
            Ok(Left::Exit(reason)) => EXIT | reason,
            Ok(Left::Signal(bits)) => SIGNAL | bits & 0xFFFF,
            Ok(Left::Deadline) => DEADLINE,
            Err(failure) => FAILED | failure.error as u64,
        };
        let count = (CAME_BACK.load(Ordering::Relaxed) >> 32) + 1;
        CAME_BACK.store(count << 32 | what, Ordering::Release);
        if what & 0xFFFF_0000 == FAILED {
            loop {
                let _ = sys::wait(ecusson_abi::NO_DEADLINE);
            }
        }
    }
}

/// What the other thread reported next after `count` reports; 0 if nothing within a second.
fn report_after(kit: &Kit, count: u64) -> u64 {
    let end = deadline(kit);
    while sys::now() < end {
        let report = CAME_BACK.load(Ordering::Acquire);
        if report >> 32 > count {
            return report & 0xFFFF_FFFF;
        }
        kit.sleep_us(50);
    }
    0
}

/// A thread on the last core that runs a guest which only spins.
fn spinning(kit: &Kit) -> (Guest, Worker) {
    CAME_BACK.store(0, Ordering::Release);
    // jmp $
    let guest = Guest::new(kit, 0, &[0xEB, 0xFE]);
    let worker = kit.worker(root_slots::SELF, Share::unlimited(kit.cores - 1, 5), 0);
    must(guest.vcpu.bind(&Cap::at(worker.thread)));
    kit.start(worker, runner, 0);
    kit.sleep_us(20_000);
    (guest, worker)
}

/// A kick and a signal end the turn of a guest that runs.
pub(crate) fn disturbed(kit: &Kit) {
    let (guest, worker) = spinning(kit);
    kit.expect_equal(CAME_BACK.load(Ordering::Acquire), 0, "it runs");
    must(guest.vcpu.kick());
    kit.expect_equal(report_after(kit, 0), EXIT | exit::KICK, "a kick");
    kit.sleep_us(10_000);
    let _ = sys::signal(worker.notification, 6);
    kit.expect_equal(report_after(kit, 1), SIGNAL | 6, "a signal");
    let worker_thread = Cap::<ecusson_rt::cap::kind::Thread>::at(worker.thread);
    must(worker_thread.stop());
    kit.sleep_us(10_000);
    must(guest.vcpu.kick());
    kit.expect_equal(CAME_BACK.load(Ordering::Acquire) >> 32, 2, "stopped, it says nothing");
    must(worker_thread.resume());
    kit.expect_equal(report_after(kit, 2), EXIT | exit::KICK, "resumed, it does");
    kit.expect(kit.check_kernel(), "well-formed while a guest runs");
    must(guest.vcpu.destroy());
    kit.expect_equal(report_after(kit, 3), FAILED | Error::Dead as u64, "its vCPU ends");
}

/// Memory, space, state page and thread end while the guest runs.
pub(crate) fn revoked(kit: &Kit) {
    let (guest, _) = spinning(kit);
    must(guest.memory.destroy());
    kit.expect_equal(report_after(kit, 0), EXIT | exit::MEMORY, "its memory ends");
    kit.expect(kit.check_kernel(), "well-formed without memory");
    kit.reset();
    let (guest, _) = spinning(kit);
    must(guest.space.destroy());
    let end = report_after(kit, 0);
    let end = if end == EXIT | exit::MEMORY {
        report_after(kit, 1)
    } else {
        end
    };
    kit.expect(
        end == FAILED | Error::Dead as u64 || end == EXIT | exit::MEMORY,
        "its space ends",
    );
    kit.reset();
    let (guest, _) = spinning(kit);
    must(guest.page.destroy());
    must(guest.vcpu.kick());
    kit.expect_equal(report_after(kit, 0), FAILED | Error::Dead as u64, "its state page ends");
    kit.reset();
    let (guest, worker) = spinning(kit);
    must(Cap::<ecusson_rt::cap::kind::Thread>::at(worker.thread).destroy());
    kit.expect(kit.check_kernel(), "well-formed without a thread");
    guest.adopt();
    kit.expect(
        run(sys::now() + kit.microseconds(20_000), 0) == Ok(Left::Deadline),
        "another thread takes it up",
    );
    kit.reset();
    let _ = spinning(kit);
    kit.reset();
    kit.expect(kit.check_kernel(), "well-formed after all was reclaimed");
}
