//! Faults in words, for the line that says why a process died.
//!
//! Key type: [`FaultReport`]. The message is the kernel's (`ecusson_abi::fault`).

use core::fmt;

use ecusson_abi::{Words, fault};

/// Vector of page faults.
const PAGE_FAULT: u64 = 14;
/// Bits of a page fault's error code: the access was a write; it was an instruction fetch (AMD APM vol. 2, 8.4.2).
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;

/// A fault message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultReport {
    vector: u64,
    code: u64,
    address: u64,
    instruction: u64,
}

impl FaultReport {
    /// Reads the kernel's message.
    #[must_use]
    pub fn new(words: &Words) -> Self {
        let [operation, code, address, instruction, ..] = *words;
        Self {
            vector: operation.wrapping_sub(fault::FAULT),
            code,
            address,
            instruction,
        }
    }

    /// Vector of the exception.
    #[must_use]
    pub fn vector(&self) -> u64 {
        self.vector
    }

    /// Name of the exception (AMD APM vol. 2, table 8-1).
    fn name(&self) -> &'static str {
        match self.vector {
            0 => "division error",
            1 => "debug trap",
            3 => "breakpoint",
            4 => "overflow",
            5 => "bound range exceeded",
            6 => "invalid instruction",
            7 => "use of the FPU without the right",
            10..=12 => "segment fault",
            13 => "general protection fault",
            PAGE_FAULT => "page fault",
            16 | 19 => "floating-point error",
            17 => "alignment check",
            _ => "exception",
        }
    }

    fn access(&self) -> &'static str {
        match self.code {
            code if code & FETCH != 0 => "fetch",
            code if code & WRITE != 0 => "write",
            _ => "read",
        }
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} at {:#x}", self.name(), self.instruction)?;
        match self.vector {
            PAGE_FAULT => write!(to, " (address {:#x}, {})", self.address, self.access()),
            vector => write!(to, " (vector {vector}, code {:#x})", self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn faults_read_well() {
        let null = FaultReport::new(&[fault::FAULT + 14, 6, 0, 0x20_1234, 0, 0]);
        assert_eq!(null.to_string(), "page fault at 0x201234 (address 0x0, write)");
        let invalid = FaultReport::new(&[fault::FAULT + 6, 0, 0, 0x1000, 0, 0]);
        assert_eq!(
            invalid.to_string(),
            "invalid instruction at 0x1000 (vector 6, code 0x0)"
        );
        let nonsense = FaultReport::new(&[0, u64::MAX, 0, 0, 0, 0]);
        assert!(nonsense.to_string().starts_with("exception"));
    }
}
