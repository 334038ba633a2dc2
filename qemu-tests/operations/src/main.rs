//! The root process of an image that tries the kernel. Prints `TEST ok` for each subject, ends QEMU with the result.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod tests;

use ecusson_test_kit::{Kit, Subject};
use tests::{cores, fpu, ipc, objects, phases, processor, revocation, time};

ecusson_rt::root_entry!(main, stack: 32768);

/// What one core suffices for. There QEMU counts instructions as time: with several cores time is the host's, and a test that
/// waits a while for something to happen on its own core would depend on who else uses the host.
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
    ("addresses", processor::addresses),
    ("segments", processor::segments),
    ("no local segments", processor::no_local_segments),
    ("priorities", time::priorities),
    ("fpu isolation", fpu::isolation),
    ("fpu closed without the flag", fpu::without_the_flag),
    ("capped caller", phases::capped_caller),
    ("budget ends in a call", phases::budget_ends_in_a_call),
    ("budgets", time::budgets),
    ("weights", time::weights),
];

/// What several cores do to each other.
const SUBJECTS_ACROSS_CORES: &[Subject] = &[
    ("cross-core calls", cores::calls),
    ("cross-core revocation", cores::revocation),
    ("revocation of every kind", revocation::of_every_kind),
    ("throughput", cores::throughput),
    ("no local segments", processor::no_local_segments),
];

fn main() -> ! {
    let kit = Kit::new();
    kit.try_all(if kit.cores == 1 {
        SUBJECTS
    } else {
        SUBJECTS_ACROSS_CORES
    });
    kit.expect(kit.check_kernel(), "the kernel's state is well-formed");
    kit.end()
}
