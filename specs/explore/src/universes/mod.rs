//! The universes. Each has the objects of a part of the kernel, and every operation on them.

pub(crate) mod grants;
pub(crate) mod ipc;
pub(crate) mod memory;

use ecusson_abi::{Kind, Rights};

use crate::machine::{self, Machine};

/// Root's slot of the second process.
pub(crate) const DOMAIN: u64 = 12;

/// Makes a second process with a table of two pages.
pub(crate) fn second_domain(machine: &Machine) {
    machine::create(machine, Kind::Space, 11, [0, 0, 0]);
    machine::create(machine, Kind::ProtectionDomain, DOMAIN, [2, 11, 0]);
    machine::give(machine, DOMAIN, DOMAIN, Rights::ALL);
}

/// Starts a thread of another process.
pub(crate) fn start(machine: &Machine, slot: u64) {
    machine::furnish(
        machine,
        slot,
        [ecusson_abi::ops::thread::START, machine::ENTRY, 0, 0, 0, 0],
    );
}
