//! Streams of bytes in a ring: up to 15 in a descriptor, the lowest byte says how many.
//!
//! Key functions: [`pack`], [`unpack`]. Used by consoles.

use crate::Descriptor;

/// Bytes in one descriptor at most.
pub const BYTES_MAX: usize = 15;

/// A descriptor with the first bytes of `from`, and how many those are.
#[must_use]
pub fn pack(from: &[u8]) -> (Descriptor, usize) {
    let count = from.len().min(BYTES_MAX);
    let mut room = [0; 16];
    for (to, byte) in room
        .iter_mut()
        .zip(core::iter::once(count as u8).chain(from.iter().copied().take(count)))
    {
        *to = byte;
    }
    let whole = u128::from_le_bytes(room);
    ([whole as u64, (whole >> 64) as u64], count)
}

/// The bytes of a descriptor; a count that is too large is cut.
#[must_use]
pub fn unpack(descriptor: &Descriptor) -> ([u8; BYTES_MAX], usize) {
    let whole = u128::from(descriptor[0]) | u128::from(descriptor[1]) << 64;
    let [count, bytes @ ..] = whole.to_le_bytes();
    (bytes, usize::from(count).min(BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let text = b"sixteen letters!";
        for length in 0..=text.len() {
            let (descriptor, count) = pack(&text[..length]);
            assert_eq!(count, length.min(BYTES_MAX));
            let (bytes, back) = unpack(&descriptor);
            assert_eq!(&bytes[..back], &text[..count]);
        }
        assert_eq!(unpack(&[u64::MAX; 2]), ([0xFF; BYTES_MAX], BYTES_MAX));
    }
}
