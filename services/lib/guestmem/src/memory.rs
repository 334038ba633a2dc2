//! The map of a guest's memory, and the accesses by guest-physical address.
//!
//! Key types: [`GuestMemory`], [`GuestRange`]. Calls `routine.rs` for each piece of a range that lies in one mapping.

use alloc::vec::Vec;
use core::fmt;

use crate::mapping::Mapping;
use crate::routine::Place;
use crate::{Access, Fault, FaultKind, Gpa};

/// Most mappings a guest's memory may have: looking one up stays cheap.
const MAPPINGS_MAX: usize = 64;

/// Mappings that are no memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A mapping without bytes, one that ends beyond 64 bits, or one that does not begin and end at multiples of 8.
    BadRange(Gpa),
    /// Two mappings show the same guest-physical address.
    Overlap(Gpa),
    /// More than 64.
    TooMany,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(at) => write!(to, "guest memory at {:#x} is empty, too long or unaligned", at.0),
            Self::Overlap(at) => write!(to, "two mappings of guest memory at {:#x}", at.0),
            Self::TooMany => write!(to, "more than {MAPPINGS_MAX} mappings of guest memory"),
        }
    }
}

/// A range of guest-physical addresses that was found in a guest's memory, with the access that was asked for.
///
/// It may span mappings that touch. It holds for the memory it was checked against; used with another it is checked again,
/// as every access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestRange {
    address: Gpa,
    bytes: u64,
}

impl GuestRange {
    /// First address.
    #[must_use]
    pub const fn address(self) -> Gpa {
        self.address
    }

    /// Length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// So many bytes from an offset; `None` beyond its end.
    #[must_use]
    pub fn part(self, offset: u64, bytes: u64) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self {
            address: Gpa(self.address.0 + offset),
            bytes,
        })
    }
}

/// All memory of a guest that this process may touch.
#[derive(Debug)]
pub struct GuestMemory {
    /// By guest-physical address, apart from each other.
    mappings: Vec<Mapping>,
}

impl GuestMemory {
    /// Puts mappings together, in any order.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn new(mut mappings: Vec<Mapping>) -> Result<Self, LayoutError> {
        if mappings.len() > MAPPINGS_MAX {
            return Err(LayoutError::TooMany);
        }
        mappings.sort_unstable_by_key(|mapping| mapping.guest);
        let mut free_from = Gpa(0);
        for mapping in &mappings {
            let bytes = mapping.place.bytes() as u64;
            let is_aligned = mapping.guest.0.is_multiple_of(8) && mapping.place.is_aligned();
            let end = mapping.guest.checked_add(bytes).filter(|_| bytes > 0 && is_aligned);
            let end = end.ok_or(LayoutError::BadRange(mapping.guest))?;
            if mapping.guest < free_from {
                return Err(LayoutError::Overlap(mapping.guest));
            }
            free_from = end;
        }
        Ok(Self { mappings })
    }

    /// Bytes of all mappings.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.mappings.iter().map(|mapping| mapping.place.bytes() as u64).sum()
    }

    /// The mapping with an address.
    fn find(&self, address: Gpa) -> Option<&Mapping> {
        let behind = self.mappings.partition_point(|mapping| mapping.guest <= address);
        let mapping = self.mappings.get(behind.checked_sub(1)?)?;
        (address.0 - mapping.guest.0 < mapping.place.bytes() as u64).then_some(mapping)
    }

    /// The longest piece from an address on that lies in one mapping, at most `bytes`; `bytes` is not 0.
    fn piece(&self, address: Gpa, bytes: u64, access: Access) -> Result<Place, Fault> {
        let fault = |kind| Fault { address, kind };
        let mapping = self.find(address).ok_or(fault(FaultKind::Outside))?;
        if mapping.access < access {
            return Err(fault(FaultKind::ReadOnly));
        }
        let offset = (address.0 - mapping.guest.0) as usize;
        let left = mapping.place.bytes() - offset;
        let length = usize::try_from(bytes).map_or(left, |bytes| bytes.min(left));
        mapping.place.part(offset, length).ok_or(fault(FaultKind::Outside))
    }

    /// Checks a range that a guest named. An empty range is always right.
    ///
    /// # Errors
    /// `Outside` with the first address that the guest has not, `ReadOnly`.
    pub fn range(&self, address: Gpa, bytes: u64, access: Access) -> Result<GuestRange, Fault> {
        let outside = Fault {
            address,
            kind: FaultKind::Outside,
        };
        address.checked_add(bytes).ok_or(outside)?;
        let mut done = 0;
        while done < bytes {
            let piece = self.piece(Gpa(address.0 + done), bytes - done, access)?;
            done += piece.bytes() as u64;
        }
        Ok(GuestRange { address, bytes })
    }

    /// Calls `step` with each piece of a range that lies in one mapping, and the offset of the piece in the range. Nothing is
    /// done if part of the range is not there.
    fn each(
        &self,
        address: Gpa,
        bytes: usize,
        access: Access,
        mut step: impl FnMut(usize, Place) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        let first = self.piece(address, bytes as u64, access)?;
        // The usual case is one mapping. Of several none may be touched before all are found.
        if first.bytes() == bytes {
            return step(0, first);
        }
        self.range(address, bytes as u64, access)?;
        let mut done = 0;
        while done < bytes {
            let piece = self.piece(Gpa(address.0 + done as u64), (bytes - done) as u64, access)?;
            step(done, piece)?;
            done += piece.bytes();
        }
        Ok(())
    }

    /// Copies out of the guest.
    ///
    /// # Errors
    /// [`Fault`]; `bytes` may be changed in part.
    pub fn read(&self, address: Gpa, bytes: &mut [u8]) -> Result<(), Fault> {
        self.each(address, bytes.len(), Access::Read, |offset, piece| {
            let part = &mut bytes[offset..offset + piece.bytes()];
            piece.read(part).map_err(|_| gone(address))
        })
    }

    /// Copies into the guest.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn write(&self, address: Gpa, bytes: &[u8]) -> Result<(), Fault> {
        self.each(address, bytes.len(), Access::Write, |offset, piece| {
            let part = &bytes[offset..offset + piece.bytes()];
            piece.write(part).map_err(|_| gone(address))
        })
    }

    /// Writes one byte all over a range.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn fill(&self, address: Gpa, bytes: usize, byte: u8) -> Result<(), Fault> {
        self.each(address, bytes, Access::Write, |_, piece| {
            piece.fill(byte).map_err(|_| gone(address))
        })
    }

    /// Copies from one guest to another, or within one, without a stop in this process's memory. Where source and target
    /// overlap, the result is some mixture of both.
    ///
    /// # Errors
    /// [`Fault`], with an address of the one or of the other.
    pub fn copy(&self, to: Gpa, from_memory: &Self, from: Gpa, bytes: usize) -> Result<(), Fault> {
        from_memory.range(from, bytes as u64, Access::Read)?;
        self.each(to, bytes, Access::Write, |offset, target| {
            let from = Gpa(from.0 + offset as u64);
            from_memory.each(from, target.bytes(), Access::Read, |offset, source| {
                let target = target.part(offset, source.bytes()).ok_or(gone(to))?;
                target.copy(source).map_err(|_| gone(to))
            })
        })
    }

    fn load<const BYTES: usize>(&self, address: Gpa) -> Result<u64, Fault> {
        let place = self.word::<BYTES>(address, Access::Read)?;
        place.load::<BYTES>().map_err(|_| gone(address))
    }

    fn store<const BYTES: usize>(&self, address: Gpa, value: u64) -> Result<(), Fault> {
        let place = self.word::<BYTES>(address, Access::Write)?;
        place.store::<BYTES>(value).map_err(|_| gone(address))
    }

    /// The place of an aligned integer, which never spans mappings: those begin and end at multiples of 8.
    fn word<const BYTES: usize>(&self, address: Gpa, access: Access) -> Result<Place, Fault> {
        let fault = |kind| Fault { address, kind };
        if !address.0.is_multiple_of(BYTES as u64) {
            return Err(fault(FaultKind::Unaligned));
        }
        let place = self.piece(address, BYTES as u64, access)?;
        (place.bytes() == BYTES)
            .then_some(place)
            .ok_or(fault(FaultKind::Outside))
    }

    /// A little-endian integer of two bytes, read by one instruction; what its writer wrote before it is seen behind it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn load_u16(&self, address: Gpa) -> Result<u16, Fault> {
        self.load::<2>(address).map(|value| value as u16)
    }

    /// As [`GuestMemory::load_u16`], of four bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn load_u32(&self, address: Gpa) -> Result<u32, Fault> {
        self.load::<4>(address).map(|value| value as u32)
    }

    /// As [`GuestMemory::load_u16`], of eight bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn load_u64(&self, address: Gpa) -> Result<u64, Fault> {
        self.load::<8>(address)
    }

    /// Writes a little-endian integer of two bytes by one instruction; who sees it sees all that was written before.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn store_u16(&self, address: Gpa, value: u16) -> Result<(), Fault> {
        self.store::<2>(address, u64::from(value))
    }

    /// As [`GuestMemory::store_u16`], of four bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn store_u32(&self, address: Gpa, value: u32) -> Result<(), Fault> {
        self.store::<4>(address, u64::from(value))
    }

    /// As [`GuestMemory::store_u16`], of eight bytes.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn store_u64(&self, address: Gpa, value: u64) -> Result<(), Fault> {
        self.store::<8>(address, value)
    }

    /// Puts `value` into the eight bytes at an address if `expected` is there, in one step for everybody; gives what was there.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn compare_exchange_u64(&self, address: Gpa, expected: u64, value: u64) -> Result<u64, Fault> {
        let place = self.word::<8>(address, Access::Write)?;
        place.compare_exchange(expected, value).map_err(|_| gone(address))
    }
}

fn gone(address: Gpa) -> Fault {
    Fault {
        address,
        kind: FaultKind::Gone,
    }
}
