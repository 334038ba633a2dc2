//! Data files of the image: what the manifest's `files` give to a process.
//!
//! Key type: [`File`], found by name with [`crate::environment::file`]. Nobody in the whole system can write the pages.

use ecusson_abi::{PAGE_BYTES, Rights};
use ecusson_manifest::Entry;
use ecusson_manifest::layout::slots;

use crate::cap::kind::{Region, Space};
use crate::cap::{Cap, Failure};

/// A data file, attached nowhere when the process starts.
#[derive(Debug)]
pub struct File {
    region: Cap<Region>,
    address: u64,
    bytes: u64,
}

impl File {
    /// The file of a boot table's entry; `None` for an entry of another kind.
    pub(crate) fn of(entry: &Entry<'_>) -> Option<Self> {
        let Entry::File {
            slot, address, bytes, ..
        } = *entry
        else {
            return None;
        };
        Some(Self {
            region: Cap::at(u64::from(slot)),
            address,
            bytes,
        })
    }

    /// Its pages (READ), for a process that attaches them itself: one attachment, for the life of the process.
    #[must_use]
    pub fn region(&self) -> &Cap<Region> {
        &self.region
    }

    /// The virtual page at which nothing else is and whose tables are paid for; aligned for large pages.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.address / PAGE_BYTES
    }

    /// Its length in bytes. In its last page zeros follow.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Attaches it to this process's space at [`File::page`] and shows its bytes, for ever.
    ///
    /// # Errors
    /// `Occupied` if it is attached already, by this function or otherwise; those of `attach`.
    pub fn map(self) -> Result<&'static [u8], Failure> {
        self.region
            .attach(&Cap::<Space>::at(u64::from(slots::SPACE)), self.page(), Rights::READ)?;
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        // SAFETY: the boot table is root's and constant. The Region behind the slot has at least so many bytes; it was
        // attached here a moment ago, as the kernel said. It stays: detaching needs MANAGE, which this process does not
        // get, and root ends the Region with the process only. Its pages are constant: they belong to the bundle, for
        // which no capability with WRITE exists. A process with `manage_self` that puts a Region of its own into the
        // slot of a file goes against the boot table, as one that takes away the Region under its heap.
        Ok(unsafe { core::slice::from_raw_parts(self.address as *const u8, length) })
    }
}
