//! Names and UUIDs of domains.
//!
//! Key types: [`DomainName`], [`Uuid`].

use alloc::string::String;
use core::fmt;

/// Bytes of a name, at most.
const MAX_NAME_BYTES: usize = 64;

/// A name that was checked: 1 to 64 of letters, digits and `_.:/+-`, not only digits (that would be a domain id), and
/// beginning with a letter, a digit or `_` (what begins with `-` would be an option).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing, or more than 64 bytes.
    Length,
    /// This must not be in it, or not in front.
    Character(char),
    /// Only digits.
    Number,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a name has 1 to {MAX_NAME_BYTES} characters"),
            Self::Character(character) => {
                write!(
                    f,
                    "{character:?} can't stand there: use letters, digits and _.:/+-, and begin with a letter"
                )
            }
            Self::Number => f.write_str("a name of digits alone would be taken for a domain id: add a letter"),
        }
    }
}

impl DomainName {
    /// Checks a name.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return Err(NameError::Length);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:/+-".contains(c);
        if let Some(character) = text.chars().find(|&c| !fits(c)) {
            return Err(NameError::Character(character));
        }
        if let Some(character) = text.chars().next().filter(|&c| !c.is_ascii_alphanumeric() && c != '_') {
            return Err(NameError::Character(character));
        }
        if text.chars().all(|c| c.is_ascii_digit()) {
            return Err(NameError::Number);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A UUID, in the order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// A random one (version 4, RFC 9562, 5.4) out of 16 random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// 32 hexadecimal digits, hyphens anywhere between bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut rest = text;
        for (index, byte) in bytes.iter_mut().enumerate() {
            if index > 0 {
                rest = rest.strip_prefix('-').unwrap_or(rest);
            }
            let digits = rest.get(..2)?;
            // `from_str_radix` would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(digits, 16).ok()?;
            rest = rest.get(2..)?;
        }
        rest.is_empty().then_some(Self(bytes))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
