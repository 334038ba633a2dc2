//! A guest's memory as a service sees it: guest-physical ranges, mapped into this process somewhere, checked on every access.
//!
//! Key types: [`GuestMemory`], [`Gpa`] (an address that nobody checked), [`GuestRange`] (one that was), [`Fault`]. Used by
//! `ecusson-virtqueue` and by the backends of guests. All accesses end in `routine.rs`, which survives it when a mapping
//! goes away under a copy, provided that the handler of this process's faults was told of [`recovery`].
//!
//! The guest changes its memory at any time: read everything once, then check what was read.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod mapping;
mod memory;
mod routine;

pub use mapping::Mapping;
pub use memory::{GuestMemory, GuestRange, LayoutError};
pub use routine::{Recovery, recovery};

/// A guest-physical address, in bytes. A guest may have named it: nothing is known about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The address so many bytes on; `None` beyond 64 bits.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing; a range that may be written may be read.
    Write,
}

/// An access that was not made, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the access began.
    pub address: Gpa,
    /// Why.
    pub kind: FaultKind,
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The guest has no memory there, or not enough.
    Outside,
    /// It may not be written from here.
    ReadOnly,
    /// An integer that is not at a multiple of its size.
    Unaligned,
    /// The mapping went away: the guest ends. Part of the bytes may have been copied.
    Gone,
}
