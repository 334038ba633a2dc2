//! Operations of Memory: making objects and taking all of them back.

use ecusson_abi::{Kind, ops};

use super::kind::{Memory, Notification, Portal, ProtectionDomain, Region, SchedContext, Space, Thread};
use super::{Cap, Failure, Progress};

/// What a Memory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Pages nothing is made of yet.
    pub free_pages: u64,
    /// All pages.
    pub pages: u64,
    /// First physical page.
    pub first_page: u64,
}

/// Each `create_` puts the new object's capability into an empty `slot` of the caller's. Their errors: `NoMemory` with the
/// pages that are missing, `Occupied` for a slot in use, `BadState` while the Memory is being reclaimed, and those of the
/// arguments.
impl Cap<Memory> {
    pub(super) fn create(&self, kind: Kind, slot: u64, arguments: [u64; 3]) -> Result<(), Failure> {
        let [first, second, third] = arguments;
        self.operate([ops::memory::CREATE, kind as u64, slot, first, second, third])
            .map(|_| ())
    }

    /// Carves a new Memory from the upper end.
    ///
    /// # Errors
    /// As above.
    pub fn split(&self, pages: u64, slot: u64) -> Result<Cap<Memory>, Failure> {
        self.operate([ops::memory::SPLIT, pages, slot, 0, 0, 0])?;
        Ok(Cap::at(slot))
    }

    /// Makes a Region, its first page aligned to `1 << alignment_log2` pages. It must be scrubbed before use.
    ///
    /// # Errors
    /// As above.
    pub fn create_region(&self, pages: u64, alignment_log2: u64, slot: u64) -> Result<Cap<Region>, Failure> {
        self.create(Kind::Region, slot, [pages, alignment_log2, 0])?;
        Ok(Cap::at(slot))
    }

    /// Makes a Space of a kind of `ecusson_abi::ops::space`. Its tables will come from this Memory.
    ///
    /// # Errors
    /// As above; `Unsupported` for what this machine does not have.
    pub fn create_space(&self, kind: u64, slot: u64) -> Result<Cap<Space>, Failure> {
        self.create(Kind::Space, slot, [kind, 0, 0])?;
        Ok(Cap::at(slot))
    }

    /// Makes a protection domain with so many table pages that lives in a space.
    ///
    /// # Errors
    /// As above; `Occupied` for a space that has one.
    pub fn create_domain(
        &self,
        table_pages: u64,
        space: &Cap<Space>,
        slot: u64,
    ) -> Result<Cap<ProtectionDomain>, Failure> {
        self.create(Kind::ProtectionDomain, slot, [table_pages, space.slot(), 0])?;
        Ok(Cap::at(slot))
    }

    /// Makes a thread on a core; `flags` are of `ecusson_abi::ops::thread`.
    ///
    /// # Errors
    /// As above.
    pub fn create_thread(
        &self,
        domain: &Cap<ProtectionDomain>,
        core: u64,
        flags: u64,
        slot: u64,
    ) -> Result<Cap<Thread>, Failure> {
        self.create(Kind::Thread, slot, [domain.slot(), core, flags])?;
        Ok(Cap::at(slot))
    }

    /// Makes a scheduling context, not configured yet.
    ///
    /// # Errors
    /// As above.
    pub fn create_sched_context(&self, slot: u64) -> Result<Cap<SchedContext>, Failure> {
        self.create(Kind::SchedContext, slot, [0; 3])?;
        Ok(Cap::at(slot))
    }

    /// Makes a portal into a thread; `mode` is of `ecusson_abi::ops::portal`.
    ///
    /// # Errors
    /// As above.
    pub fn create_portal(
        &self,
        server: &Cap<Thread>,
        label: u64,
        mode: u64,
        slot: u64,
    ) -> Result<Cap<Portal>, Failure> {
        self.create(Kind::Portal, slot, [server.slot(), label, mode])?;
        Ok(Cap::at(slot))
    }

    /// Makes a notification.
    ///
    /// # Errors
    /// As above.
    pub fn create_notification(&self, slot: u64) -> Result<Cap<Notification>, Failure> {
        self.create(Kind::Notification, slot, [0; 3])?;
        Ok(Cap::at(slot))
    }

    /// Takes everything back that was made of these pages, one bounded step.
    ///
    /// # Errors
    /// `NoRight` without MANAGE, `BadState` for the kernel's first Memories.
    pub fn reclaim_step(&self) -> Result<Progress, Failure> {
        self.step([ops::memory::RECLAIM, 0, 0, 0, 0, 0])
    }

    /// Takes everything back, until it is done.
    ///
    /// # Errors
    /// As [`Cap::reclaim_step`].
    pub fn reclaim(&self) -> Result<(), Failure> {
        self.until_done([ops::memory::RECLAIM, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// What it has.
    ///
    /// # Errors
    /// `NoRight` without READ.
    pub fn info(&self) -> Result<MemoryInfo, Failure> {
        let answer = self.operate([ops::memory::INFO, 0, 0, 0, 0, 0])?;
        let [_, pages, first_page, ..] = answer.words;
        Ok(MemoryInfo {
            free_pages: answer.second,
            pages,
            first_page,
        })
    }
}
