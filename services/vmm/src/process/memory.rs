//! The guest's memory, as the library wants it, over what is mapped here.

use ecusson_guestmem::{Gpa, GuestMemory};
use ecusson_vmm::memory::{GuestMemory as Wanted, MemoryFault};

/// The guest's memory.
#[derive(Debug)]
pub(super) struct Memory(pub(super) GuestMemory);

fn fault<T>(result: Result<T, ecusson_guestmem::Fault>, address: u64, length: usize) -> Result<T, MemoryFault> {
    let length = length as u64;
    result.map_err(|_| MemoryFault { address, length })
}

impl Wanted for Memory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryFault> {
        fault(self.0.read(Gpa(address), into), address, into.len())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), MemoryFault> {
        fault(self.0.write(Gpa(address), from), address, from.len())
    }

    fn compare_exchange(&self, address: u64, expected: u64, value: u64) -> Result<u64, MemoryFault> {
        fault(self.0.compare_exchange_u64(Gpa(address), expected, value), address, 8)
    }
}
