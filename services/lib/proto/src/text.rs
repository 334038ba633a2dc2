//! Short texts in message words: word 0 carries operation and length, words 1 to 5 up to 40 bytes.
//!
//! Key type: [`Piece`]. Used by the supervisor's and the console's messages.

use ecusson_abi::Words;

/// Bytes of text in one message.
pub const PIECE_BYTES: usize = 40;

/// Up to [`PIECE_BYTES`] bytes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    bytes: [u8; PIECE_BYTES],
    length: usize,
}

impl Piece {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

/// The message for an operation (below 256) with a piece of text; what does not fit is cut.
#[must_use]
pub fn encode(operation: u64, text: &[u8]) -> Words {
    let length = text.len().min(PIECE_BYTES);
    let mut words = [operation | (length as u64) << 8, 0, 0, 0, 0, 0];
    for (word, chunk) in words.iter_mut().skip(1).zip(text.chunks(8)) {
        let mut room = [0; 8];
        for (to, from) in room.iter_mut().zip(chunk) {
            *to = *from;
        }
        *word = u64::from_le_bytes(room);
    }
    words
}

/// The operation of a message, and its text. A length that is too large is cut.
#[must_use]
pub fn decode(words: &Words) -> (u64, Piece) {
    let length = usize::try_from(words[0] >> 8).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    let mut bytes = [0; PIECE_BYTES];
    let sent = words.iter().skip(1).flat_map(|word| word.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(sent) {
        *to = from;
    }
    (words[0] & 0xFF, Piece { bytes, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back() {
        for length in [0, 1, 8, 39, 40] {
            let text = &b"0123456789abcdefghijklmnopqrstuvwxyzABCD"[..length];
            let (operation, piece) = decode(&encode(3, text));
            assert_eq!((operation, piece.as_bytes()), (3, text));
        }
    }

    #[test]
    fn a_length_that_lies_is_cut() {
        let (_, piece) = decode(&[u64::MAX, 0, 0, 0, 0, 0]);
        assert_eq!(piece.as_bytes().len(), PIECE_BYTES);
    }
}
