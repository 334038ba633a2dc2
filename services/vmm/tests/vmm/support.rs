//! A guest's memory in an array.

use std::cell::RefCell;
use std::ops::Range;

use ecusson_vmm::memory::{GuestMemory, MemoryFault};

/// Memory from address 0 on.
pub(crate) struct Memory {
    bytes: RefCell<Vec<u8>>,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes: RefCell::new(vec![0; bytes]),
        }
    }

    fn range(&self, address: u64, length: usize) -> Result<Range<usize>, MemoryFault> {
        let start = usize::try_from(address).ok();
        let end = start.and_then(|start| start.checked_add(length));
        match (start, end) {
            (Some(start), Some(end)) if end <= self.bytes.borrow().len() => Ok(start..end),
            _ => Err(MemoryFault {
                address,
                length: length as u64,
            }),
        }
    }

    /// So many bytes at an address that is there.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        self.read(address, &mut out).expect("memory of the test");
        out
    }

    pub(crate) fn u32(&self, address: u64) -> u32 {
        self.read_u32(address).expect("memory of the test")
    }

    pub(crate) fn u64(&self, address: u64) -> u64 {
        self.read_u64(address).expect("memory of the test")
    }
}

impl GuestMemory for Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryFault> {
        let range = self.range(address, into.len())?;
        into.copy_from_slice(&self.bytes.borrow()[range]);
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), MemoryFault> {
        let range = self.range(address, from.len())?;
        self.bytes.borrow_mut()[range].copy_from_slice(from);
        Ok(())
    }

    fn compare_exchange(&self, address: u64, expected: u64, value: u64) -> Result<u64, MemoryFault> {
        let fault = MemoryFault { address, length: 8 };
        if !address.is_multiple_of(8) {
            return Err(fault);
        }
        let there = self.read_u64(address)?;
        if there == expected {
            self.write(address, &value.to_le_bytes())?;
        }
        Ok(there)
    }
}
