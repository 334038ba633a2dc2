//! Exceptions that the VMM raises in a guest.

/// An exception to be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// The error code, for those that have one.
    pub code: Option<u32>,
    /// For a page fault: the value of control register 2.
    pub address: Option<u64>,
}

impl Exception {
    /// Invalid opcode.
    pub const INVALID_OPCODE: Self = Self {
        vector: 6,
        code: None,
        address: None,
    };
    /// General protection, without a selector.
    pub const GENERAL_PROTECTION: Self = Self {
        vector: 13,
        code: Some(0),
        address: None,
    };

    /// A page fault at a linear address.
    #[must_use]
    pub fn page_fault(address: u64, code: u32) -> Self {
        Self {
            vector: 14,
            code: Some(code),
            address: Some(address),
        }
    }
}
