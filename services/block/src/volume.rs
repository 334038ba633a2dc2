//! Volumes: which part of a disk a domain gets.
//!
//! Key types: [`Volume`], [`Selector`].

use alloc::string::{String, ToString};
use core::fmt;

use crate::backend::Geometry;
use crate::gpt::{Guid, Table};

/// What a domain may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeAccess {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A part of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    first: u64,
    sectors: u64,
    access: VolumeAccess,
    name: String,
}

/// How a configuration names a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The whole disk.
    Disk,
    /// A partition by the name that its table gives it.
    Label(String),
    /// A partition by its own GUID.
    Uuid(Guid),
}

/// A volume that can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeError {
    /// No partition is called so.
    NotFound,
    /// Several are.
    Ambiguous,
    /// The disk takes no writes.
    DiskReadOnly,
    /// The partition ends behind the disk.
    BeyondDisk,
}

impl fmt::Display for VolumeError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NotFound => "no partition is called so",
            Self::Ambiguous => "several partitions are called so: use the UUID",
            Self::DiskReadOnly => "the disk is read-only",
            Self::BeyondDisk => "the partition ends behind the disk",
        })
    }
}

impl Volume {
    /// A part of a disk, found by its selector. `table` is the disk's partition table, if it has one.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub fn select(
        geometry: &Geometry,
        table: Option<&Table>,
        selector: &Selector,
        access: VolumeAccess,
    ) -> Result<Self, VolumeError> {
        if access == VolumeAccess::ReadWrite && geometry.read_only {
            return Err(VolumeError::DiskReadOnly);
        }
        let partitions = table.map_or(&[][..], |table| &table.partitions);
        let mut found = partitions.iter().filter(|partition| match selector {
            Selector::Disk => false,
            Selector::Label(label) => partition.label == *label,
            Selector::Uuid(uuid) => partition.uuid == *uuid,
        });
        let (first, sectors, name) = match (selector, found.next(), found.next()) {
            (Selector::Disk, ..) => (0, geometry.sectors, "disk".to_string()),
            (_, None, _) => return Err(VolumeError::NotFound),
            (_, Some(_), Some(_)) => return Err(VolumeError::Ambiguous),
            (_, Some(partition), None) => (partition.first, partition.sectors, partition.uuid.to_string()),
        };
        let end = first.checked_add(sectors).ok_or(VolumeError::BeyondDisk)?;
        if end > geometry.sectors {
            return Err(VolumeError::BeyondDisk);
        }
        Ok(Self {
            first,
            sectors,
            access,
            name,
        })
    }

    /// Its length in sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// What may be done with it.
    #[must_use]
    pub fn access(&self) -> VolumeAccess {
        self.access
    }

    /// The first 20 bytes of its name, padded with zeroes: what GET_ID answers.
    #[must_use]
    pub fn id(&self) -> [u8; 20] {
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        id
    }

    /// The sector of the disk for one of the volume, if so many lie within it.
    #[must_use]
    pub fn on_disk(&self, first: u64, sectors: u64) -> Option<u64> {
        let end = first.checked_add(sectors)?;
        (end <= self.sectors).then(|| self.first + first)
    }

    /// Whether both may not be used at once by different domains: they share sectors and one is written.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let apart = self.first + self.sectors <= other.first || other.first + other.sectors <= self.first;
        let written = self.access == VolumeAccess::ReadWrite || other.access == VolumeAccess::ReadWrite;
        !apart && written
    }
}
