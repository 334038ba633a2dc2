//! The root process of an image that tries the kernel. Prints `TEST ok` for each subject, ends QEMU with the result.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod tests;

use ecusson_test_kit::{Kit, print};
use tests::{cores, ipc, objects, phases, time};

ecusson_rt::root_entry!(main, stack: 32768);

/// A subject: its name and what tries it.
type Subject = (&'static str, fn(&Kit));

const SUBJECTS: &[Subject] = &[
    ("calls", ipc::calls),
    ("call errors", ipc::call_errors),
    ("chain", ipc::chain),
    ("transfers", ipc::transfers),
    ("signals", ipc::signals),
    ("queue order", ipc::queue_order),
    ("server dies", phases::server_dies),
    ("caller dies", phases::caller_dies),
    ("portal dies", phases::portal_dies),
    ("stops", phases::stops),
    ("time revoked", phases::time_revoked),
    ("destroy running", phases::destroy_running),
    ("object errors", objects::errors),
    ("memory conserved", objects::memory_is_conserved),
    ("regions", objects::regions),
    ("faults", objects::faults),
    ("registers", objects::registers),
    ("interrupts", objects::interrupts),
    ("priorities", time::priorities),
    ("cross-core calls", cores::calls),
    ("cross-core revocation", cores::revocation),
    ("throughput", cores::throughput),
];

/// What depends on how much runs in how much time: tried on one core, where QEMU counts instructions as time.
const TIMED_SUBJECTS: &[Subject] = &[
    ("capped caller", phases::capped_caller),
    ("budget ends in a call", phases::budget_ends_in_a_call),
    ("budgets", time::budgets),
    ("weights", time::weights),
];

fn run(kit: &Kit, subjects: &[Subject]) {
    for (name, subject) in subjects {
        let failed = kit.failures();
        subject(kit);
        if kit.failures() == failed {
            print(format_args!("TEST ok {name}"));
        } else {
            print(format_args!("TEST failed {name}: see above"));
        }
    }
}

fn main() -> ! {
    let kit = Kit::new();
    run(&kit, SUBJECTS);
    if kit.cores == 1 {
        run(&kit, TIMED_SUBJECTS);
    }
    kit.expect(kit.check_kernel(), "the kernel's state is well-formed");
    kit.end()
}
