//! Operations of Region and Space: what is mapped where.

use ecusson_abi::{Rights, ops};

use super::kind::{Memory, Region, Space};
use super::{Cap, Failure, Progress};

/// What a Region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Its length.
    pub pages: u64,
    /// Pages attached.
    pub attached_pages: u64,
    /// First virtual page of the attachment.
    pub virtual_page: u64,
}

impl Cap<Region> {
    /// Makes a child Region of some of its pages, paid by `memory`, into an empty slot of the caller's.
    ///
    /// # Errors
    /// `BadArg` outside the Region, `BadState` before it is scrubbed, `TooDeep`, `NoMemory`, `Occupied`.
    pub fn slice(
        &self,
        first_page: u64,
        pages: u64,
        rights: Rights,
        memory: &Cap<Memory>,
        slot: u64,
    ) -> Result<Cap<Region>, Failure> {
        let rights = u64::from(rights.0);
        self.operate([ops::region::SLICE, first_page, pages, rights, memory.slot(), slot])?;
        Ok(Cap::at(slot))
    }

    /// Attaches it to a space, whole. For a Dma space the answer is its bus address.
    ///
    /// # Errors
    /// `NoRight` for rights it does not have, `BadState` before it is scrubbed, `Occupied` for the place or an attached
    /// Region, `NoMemory` with the pages of tables that are missing: fund the space and call again.
    pub fn attach(&self, space: &Cap<Space>, virtual_page: u64, rights: Rights) -> Result<u64, Failure> {
        let words = [
            ops::region::ATTACH,
            space.slot(),
            virtual_page,
            u64::from(rights.0),
            0,
            0,
        ];
        Ok(self.until_done(words)?.second)
    }

    /// Attaches as much of it as one page table takes.
    ///
    /// # Errors
    /// As [`Cap::attach`].
    pub fn attach_step(&self, space: &Cap<Space>, virtual_page: u64, rights: Rights) -> Result<Progress, Failure> {
        let rights = u64::from(rights.0);
        self.step([ops::region::ATTACH, space.slot(), virtual_page, rights, 0, 0])
    }

    /// Takes it out of its space; when it is done no processor sees it any more.
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn detach(&self) -> Result<(), Failure> {
        self.until_done([ops::region::DETACH, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// Zeroes it, one bounded step.
    ///
    /// # Errors
    /// `NoRight` without MANAGE.
    pub fn scrub_step(&self) -> Result<Progress, Failure> {
        self.step([ops::region::SCRUB, 0, 0, 0, 0, 0])
    }

    /// Zeroes it, until it is done.
    ///
    /// # Errors
    /// As [`Cap::scrub_step`].
    pub fn scrub(&self) -> Result<(), Failure> {
        self.until_done([ops::region::SCRUB, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// What it is.
    ///
    /// # Errors
    /// `NoRight` without READ.
    pub fn info(&self) -> Result<RegionInfo, Failure> {
        let answer = self.operate([ops::region::INFO, 0, 0, 0, 0, 0])?;
        let [_, attached_pages, virtual_page, ..] = answer.words;
        Ok(RegionInfo {
            pages: answer.second,
            attached_pages,
            virtual_page,
        })
    }
}

impl Cap<Space> {
    /// Gives it 1 to 64 pages for its tables, from the Memory it was made of.
    ///
    /// # Errors
    /// `BadState` for another Memory, `NoMemory` with the pages that are missing, `BadArg`.
    pub fn fund(&self, memory: &Cap<Memory>, pages: u64) -> Result<(), Failure> {
        self.operate([ops::space::FUND, memory.slot(), pages, 0, 0, 0])
            .map(|_| ())
    }

    /// Funded pages not in use.
    ///
    /// # Errors
    /// `NoRight` without READ.
    pub fn unused_pages(&self) -> Result<u64, Failure> {
        Ok(self.operate([ops::space::INFO, 0, 0, 0, 0, 0])?.second)
    }
}
