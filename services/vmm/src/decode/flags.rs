//! Arithmetic on memory operands, with the flags that it sets.

/// What an instruction does with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
}

const CARRY: u64 = 1;
const PARITY: u64 = 1 << 2;
const ADJUST: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;
const ALL: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;

/// All ones in so many bytes; 1, 2, 4 or 8.
pub(super) fn mask(bytes: u8) -> u64 {
    match bytes {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

impl Arithmetic {
    /// `left` and `right` of `bytes` bytes; gives the result and the new flags.
    #[must_use]
    pub fn apply(self, left: u64, right: u64, bytes: u8, rflags: u64) -> (u64, u64) {
        let mask = mask(bytes);
        let (left, right) = (left & mask, right & mask);
        let result = mask
            & match self {
                Self::Add => left.wrapping_add(right),
                Self::Subtract => left.wrapping_sub(right),
                Self::And => left & right,
                Self::Or => left | right,
                Self::Xor => left ^ right,
            };
        let top = mask ^ mask >> 1;
        let (carry, overflow) = match self {
            Self::Add => (result < left, (left ^ result) & (right ^ result) & top != 0),
            Self::Subtract => (left < right, (left ^ right) & (left ^ result) & top != 0),
            Self::And | Self::Or | Self::Xor => (false, false),
        };
        let adjust = match self {
            Self::Add | Self::Subtract => (left ^ right ^ result) & 16 != 0,
            Self::And | Self::Or | Self::Xor => false,
        };
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let even = (result as u8).count_ones().is_multiple_of(2);
        let flags = flag(carry, CARRY)
            | flag(even, PARITY)
            | flag(adjust, ADJUST)
            | flag(result == 0, ZERO)
            | flag(result & top != 0, SIGN)
            | flag(overflow, OVERFLOW);
        (result, rflags & !ALL | flags)
    }
}
