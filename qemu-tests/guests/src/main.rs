//! The root process of an image that tries vCPUs. Prints `TEST ok` for each subject, ends QEMU with the result.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod cores;
mod exits;
mod guest;

use ecusson_test_kit::{Kit, Subject};

ecusson_rt::root_entry!(main, stack: 32768);

const SUBJECTS: &[Subject] = &[
    ("exits", exits::exits),
    ("states", exits::states),
    ("shutdown", exits::shutdown),
    ("injection", exits::injection),
    ("nmis", exits::nmis),
    ("halting", exits::halting),
    ("doorbells", exits::doorbells),
    ("memory", exits::memory),
    ("disturbed", cores::disturbed),
    ("revoked", cores::revoked),
];

fn main() -> ! {
    let kit = Kit::new();
    kit.try_all(SUBJECTS);
    kit.expect(kit.check_kernel(), "the kernel's state is well-formed");
    kit.end()
}
