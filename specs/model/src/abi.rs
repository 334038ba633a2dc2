//! The numbers of the interface: kinds, rights, errors, operations, bounds.

/// What an object is; its number is the interface's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Pages that become objects.
    Memory = 1,
    /// A run of pages that can be mapped.
    Region = 2,
    /// Translations.
    Space = 3,
    /// A table of capabilities.
    ProtectionDomain = 4,
    /// What runs.
    Thread = 5,
    /// Time.
    SchedContext = 6,
    /// Where a thread can be called.
    Portal = 7,
    /// Bits that wake a thread.
    Notification = 8,
    /// A virtual processor; never made by the model.
    Vcpu = 9,
    /// Never made by the model.
    Interrupt = 10,
    /// Never made by the model.
    Ports = 11,
    /// The machine.
    Platform = 12,
}

impl Kind {
    pub(crate) fn of(code: u64) -> Option<Kind> {
        use Kind::{
            Interrupt, Memory, Notification, Platform, Portal, Ports, ProtectionDomain, Region, SchedContext, Space,
            Thread, Vcpu,
        };
        let all = [
            Memory,
            Region,
            Space,
            ProtectionDomain,
            Thread,
            SchedContext,
            Portal,
            Notification,
            Vcpu,
            Interrupt,
            Ports,
            Platform,
        ];
        all.into_iter().find(|kind| *kind as u64 == code)
    }
}

/// Why an operation fails; its number is the interface's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Error {
    /// No capability there.
    BadCap = 1,
    /// Another kind of object.
    BadType = 2,
    /// A right is missing.
    NoRight = 3,
    /// An argument is out of bounds.
    BadArg = 4,
    /// Not now.
    BadState = 5,
    /// Something is there already.
    Occupied = 6,
    /// Pages are missing: so many.
    NoMemory = 7,
    /// Another core has to let go first.
    Busy = 8,
    /// The object is gone.
    Dead = 9,
    /// A chain would be too long.
    TooDeep = 10,
    /// Not in this model.
    Unsupported = 12,
}

pub(crate) const READ: u64 = 1;
pub(crate) const WRITE: u64 = 2;
pub(crate) const EXECUTE: u64 = 4;
pub(crate) const CALL: u64 = 8;
pub(crate) const SIGNAL: u64 = 16;
pub(crate) const BIND: u64 = 32;
pub(crate) const MANAGE: u64 = 64;
pub(crate) const GRANT: u64 = 128;
pub(crate) const CPU_TIME: u64 = 8;
pub(crate) const POWER: u64 = 16;
pub(crate) const ALL: u64 = 255;

pub(crate) const PAGE_BYTES: u64 = 4096;
pub(crate) const SMALL_BYTES: u64 = 128;
pub(crate) const MAX_REGION_PAGES: u64 = 1 << 31;
pub(crate) const MAX_TABLE_PAGES: u64 = 255;
pub(crate) const MAX_SLICE_DEPTH: u64 = 8;
pub(crate) const MAX_CALL_DEPTH: usize = 8;
pub(crate) const SCRUB_PAGES: u64 = 64;
pub(crate) const SWEEP_PAGES: usize = 256;
pub(crate) const FUND_PAGES: u64 = 64;
pub(crate) const TABLES_A_STEP: usize = 64;
pub(crate) const STALE_CALLERS: usize = 16;
pub(crate) const CORE_THREADS: usize = 256;
pub(crate) const CORE_CONTEXTS: usize = 256;
pub(crate) const FAIR_PRIORITY: u64 = 1;
pub(crate) const LONGEST_PERIOD: u64 = 864_000_000_000_000;
pub(crate) const USER_PAGES: u64 = 0x7_FFFF_FFFF;
pub(crate) const NO_DEADLINE: u64 = u64::MAX;
pub(crate) const USER_FLAGS: u64 = 0x202;
pub(crate) const POKE_FLAGS: u64 = 0xDD5;
pub(crate) const FAULT_WORD: u64 = 0xFA00;

pub(crate) const OP_IDENTIFY: u64 = 0xFE;
pub(crate) const OP_DESTROY: u64 = 0xFF;

pub(crate) const DONE: u64 = 0;
pub(crate) const EV_SIGNAL: u64 = 0x100;
pub(crate) const EV_DEADLINE: u64 = 0x200;
pub(crate) const EV_PROGRESS: u64 = 0x400;
pub(crate) const WITH_CAP: u64 = 0x1_0000;

/// Whether every right of the second set is in the first.
pub(crate) fn holds(held: u64, needed: u64) -> bool {
    held & needed == needed
}
