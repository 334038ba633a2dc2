//! Why the kernel refused: the one list of errors of all system calls and operations.

/// Why a system call or an operation failed. The second result word names the argument at fault: its
/// index among the operation's words, or, where the operation says so, a quantity (pages that are missing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Error {
    /// The slot is empty or beyond the table.
    BadCap = 1,
    /// The capability names an object of another kind.
    BadType = 2,
    /// The capability lacks a right the operation needs.
    NoRight = 3,
    /// An argument is out of its range.
    BadArg = 4,
    /// The object is in a state in which the operation means nothing.
    BadState = 5,
    /// The place is taken: a slot, an address, a binding.
    Occupied = 6,
    /// Donated memory does not suffice; the second word says how many pages are missing.
    NoMemory = 7,
    /// A resource of the machine is in use; try again later.
    Busy = 8,
    /// The object, or the peer of a call, was destroyed.
    Dead = 9,
    /// A chain of calls or of slices would become too deep.
    TooDeep = 10,
    /// The deadline passed.
    Timeout = 11,
    /// This machine or this build does not offer it.
    Unsupported = 12,
}

impl Error {
    /// All errors, in numeric order.
    pub const ALL: [Self; 12] = [
        Self::BadCap,
        Self::BadType,
        Self::NoRight,
        Self::BadArg,
        Self::BadState,
        Self::Occupied,
        Self::NoMemory,
        Self::Busy,
        Self::Dead,
        Self::TooDeep,
        Self::Timeout,
        Self::Unsupported,
    ];

    /// The error with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).wrapping_sub(1)).copied()
    }
}
