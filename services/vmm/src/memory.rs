//! A guest's memory as this library needs it: bytes at guest-physical addresses, every access checked.
//!
//! Key types: [`GuestMemory`], [`MemoryFault`]. Implemented by the process around this library over whatever it has mapped;
//! used by the loader, and by everything else that follows a guest's pointers.

use core::fmt;

/// An access that the guest has no memory for, or that failed half-way because the memory went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFault {
    /// Guest-physical address of the first byte of the access.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "no guest memory for {:#x} bytes at {:#x}",
            self.length, self.address
        )
    }
}

/// Bytes at guest-physical addresses. Other vCPUs and devices change them at any time; nothing read twice need be the same.
pub trait GuestMemory {
    /// Copies from the guest.
    ///
    /// # Errors
    /// [`MemoryFault`] if any of the bytes is not memory of the guest; `into` may then hold part of them.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryFault>;

    /// Copies to the guest.
    ///
    /// # Errors
    /// [`MemoryFault`] if any of the bytes is not memory of the guest; part of them may have been written.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), MemoryFault>;

    /// Puts `value` into one byte and gives what was there, in one step for the guest's processors.
    ///
    /// # Errors
    /// [`MemoryFault`] if the byte is not memory of the guest.
    fn swap_u8(&self, address: u64, value: u8) -> Result<u8, MemoryFault>;

    /// Reads a little-endian integer.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u32(&self, address: u64) -> Result<u32, MemoryFault> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a little-endian integer.
    ///
    /// # Errors
    /// As [`GuestMemory::read`].
    fn read_u64(&self, address: u64) -> Result<u64, MemoryFault> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
