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

/// How often a swap is tried while a guest changes the bytes beside it: a guest that goes on longer harms itself.
const SWAP_TRIES: usize = 64;

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

    /// Puts `value` into the eight bytes at a multiple of eight if `expected` is there, in one step for the guest's processors;
    /// gives what was there.
    ///
    /// # Errors
    /// [`MemoryFault`] if the bytes are not memory of the guest, or the address is not a multiple of eight.
    fn compare_exchange(&self, address: u64, expected: u64, value: u64) -> Result<u64, MemoryFault>;

    /// Puts `value` into one byte and gives what was there, in one step for the guest's processors.
    ///
    /// # Errors
    /// [`MemoryFault`] if the byte is not memory of the guest, or its processors change its neighbours without end.
    fn swap_u8(&self, address: u64, value: u8) -> Result<u8, MemoryFault> {
        let word = address & !7;
        let shift = (address & 7) * 8;
        let mut seen = self.read_u64(word)?;
        for _ in 0..SWAP_TRIES {
            let wanted = seen & !(0xff << shift) | u64::from(value) << shift;
            let there = self.compare_exchange(word, seen, wanted)?;
            if there == seen {
                return Ok((seen >> shift) as u8);
            }
            seen = there;
        }
        Err(MemoryFault { address, length: 1 })
    }

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
