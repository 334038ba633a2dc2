//! The universes. Each has the objects of a part of the kernel, and every operation on them.

pub(crate) mod grants;
pub(crate) mod ipc;
pub(crate) mod memory;

use ecusson_abi::{Error, Kind, Rights};

use crate::machine::{self, Machine};
use crate::report::Outcome;

/// Root's slot of the second process.
pub(crate) const DOMAIN: u64 = 12;

/// A machine with a second process, whose table has two pages.
pub(crate) fn with_second_domain() -> Machine {
    let machine = machine::boot();
    machine::create(&machine, Kind::Space, 11, [0, 0, 0]);
    machine::create(&machine, Kind::ProtectionDomain, DOMAIN, [2, 11, 0]);
    machine::give(&machine, DOMAIN, DOMAIN, Rights::ALL);
    machine
}

/// The cells of the matrix that must not stay empty: these errors, and these other results.
pub(crate) fn required(
    errors: &[(&'static str, Error)],
    others: &[(&'static str, Outcome)],
) -> Vec<(&'static str, Outcome)> {
    let errors = errors.iter().map(|&(row, error)| (row, Outcome::error(error)));
    errors.chain(others.iter().copied()).collect()
}

/// Starts a thread of another process.
pub(crate) fn start(machine: &Machine, slot: u64) {
    machine::furnish(
        machine,
        slot,
        [ecusson_abi::ops::thread::START, machine::ENTRY, 0, 0, 0, 0],
    );
}
