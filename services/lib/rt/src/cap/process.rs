//! Operations of ProtectionDomain, Thread and SchedContext: what runs, with which capabilities, for how long.

use ecusson_abi::{Rights, ops};

use super::kind::{Notification, Platform, Portal, ProtectionDomain, SchedContext, Thread};
use super::{Cap, Failure};

impl Cap<ProtectionDomain> {
    /// Copies a capability of the caller's into an empty slot of this domain's, with no more than the mask's rights.
    ///
    /// # Errors
    /// `NoRight` for a capability without GRANT, `Dead` for one whose object ended, `Occupied`, `BadCap`.
    pub fn grant<K>(&self, capability: &Cap<K>, slot: u64, mask: Rights) -> Result<(), Failure> {
        let mask = u64::from(mask.0);
        self.operate([ops::protection_domain::GRANT, capability.slot(), slot, mask, 0, 0])
            .map(|_| ())
    }

    /// Empties a slot of this domain's.
    ///
    /// # Errors
    /// `BadCap` if it is empty.
    pub fn empty(&self, slot: u64) -> Result<(), Failure> {
        self.operate([ops::protection_domain::DROP, slot, 0, 0, 0, 0])
            .map(|_| ())
    }
}

/// Where a thread begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Address of the first instruction.
    pub entry: u64,
    /// Initial stack pointer.
    pub stack: u64,
    /// What it finds in rdi.
    pub argument: u64,
}

impl Cap<Thread> {
    /// Starts it anew, whatever it did before.
    ///
    /// # Errors
    /// `BadArg` for an address outside user space; `Busy` while another core still runs it: call again.
    pub fn start(&self, start: Start) -> Result<(), Failure> {
        self.operate([ops::thread::START, start.entry, start.stack, start.argument, 0, 0])
            .map(|_| ())
    }

    /// Keeps it from running.
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn stop(&self) -> Result<(), Failure> {
        self.operate([ops::thread::STOP, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// Undoes [`Cap::stop`].
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn resume(&self) -> Result<(), Failure> {
        self.operate([ops::thread::RESUME, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// Has its faults reported by a portal.
    ///
    /// # Errors
    /// Those of the portal's capability.
    pub fn set_fault_handler(&self, portal: &Cap<Portal>) -> Result<(), Failure> {
        self.operate([ops::thread::SET_FAULT_HANDLER, portal.slot(), 0, 0, 0, 0])
            .map(|_| ())
    }

    /// Binds a notification: the one place where it waits for signals.
    ///
    /// # Errors
    /// `Occupied` when one of the two is bound already.
    pub fn bind(&self, notification: &Cap<Notification>) -> Result<(), Failure> {
        self.operate([ops::thread::BIND, notification.slot(), 0, 0, 0, 0])
            .map(|_| ())
    }
}

/// A share of a core. Times are ticks; a budget equal to the period is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Core.
    pub core: u64,
    /// 0 to 31.
    pub priority: u64,
    /// Share of the fair band; counts at priority 1 only.
    pub weight: u64,
    /// Ticks it may use in a period.
    pub budget: u64,
    /// Length of a period.
    pub period: u64,
}

impl Cap<SchedContext> {
    /// Says how much time it gives, where, and how urgently.
    ///
    /// # Errors
    /// `BadArg` with the word at fault, `NoMemory` when the core has as many contexts as it can.
    pub fn configure(&self, platform: &Cap<Platform>, share: Share) -> Result<(), Failure> {
        let place = share.core & 0xFF | (share.priority & 0xFF) << 8 | share.weight << 32;
        let words = [
            ops::sched_context::CONFIGURE,
            platform.slot(),
            place,
            share.budget,
            share.period,
            0,
        ];
        self.operate(words).map(|_| ())
    }

    /// Gives it to a thread on its core.
    ///
    /// # Errors
    /// `Occupied` when one of the two is bound already, `BadArg` on another core.
    pub fn bind(&self, thread: &Cap<Thread>) -> Result<(), Failure> {
        self.operate([ops::sched_context::BIND, thread.slot(), 0, 0, 0, 0])
            .map(|_| ())
    }

    /// Ticks used since creation.
    ///
    /// # Errors
    /// `NoRight` without READ.
    pub fn used(&self) -> Result<u64, Failure> {
        Ok(self.operate([ops::sched_context::USED, 0, 0, 0, 0, 0])?.second)
    }
}
