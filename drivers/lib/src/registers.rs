//! Registers of a device in memory.
//!
//! Key type: [`Registers`].

use core::ptr::NonNull;

/// Mapped registers. Accesses are of one instruction each, in program order, and are checked against the mapping.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    address: usize,
    bytes: usize,
}

impl Registers {
    /// # Safety
    /// Device memory of so many bytes is mapped at the address, for as long as the process lives, and no Rust object lies there.
    pub(crate) const unsafe fn new(address: usize, bytes: usize) -> Self {
        Self { address, bytes }
    }

    /// A part of them. `None` if it is not within.
    #[must_use]
    pub fn part(self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self {
            address: self.address + offset,
            bytes,
        })
    }

    /// Their beginning.
    pub(crate) fn start(self) -> Option<NonNull<u8>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(self.address))
    }

    fn place<T>(self, offset: usize) -> *mut T {
        let end = offset.checked_add(size_of::<T>());
        assert!(
            end.is_some_and(|end| end <= self.bytes),
            "a register outside its window"
        );
        let place = core::ptr::with_exposed_provenance_mut::<T>(self.address + offset);
        assert!(place.is_aligned(), "a register that is not aligned");
        place
    }

    /// Reads 16 bits.
    #[must_use]
    pub fn read_u16(self, offset: usize) -> u16 {
        // SAFETY: within the mapping and aligned (`place`); device memory, by `new`.
        unsafe { self.place::<u16>(offset).read_volatile() }
    }

    /// Writes 16 bits.
    pub fn write_u16(self, offset: usize, value: u16) {
        // SAFETY: as in `read_u16`.
        unsafe { self.place::<u16>(offset).write_volatile(value) };
    }

    /// Reads 32 bits.
    #[must_use]
    pub fn read_u32(self, offset: usize) -> u32 {
        // SAFETY: as in `read_u16`.
        unsafe { self.place::<u32>(offset).read_volatile() }
    }

    /// Writes 32 bits.
    pub fn write_u32(self, offset: usize, value: u32) {
        // SAFETY: as in `read_u16`.
        unsafe { self.place::<u32>(offset).write_volatile(value) };
    }
}
