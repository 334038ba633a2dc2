//! What a process tells root, its supervisor, by the portal in its slot `SUPERVISOR`. The label is the process's index plus
//! one, so that nobody speaks for another.
//!
//! Key type: [`Request`]. Sent by `rt`, served by `services/root`.

use ecusson_abi::Words;

use crate::text::{self, PIECE_BYTES, Piece};

/// Operation: a piece of the reason for the fault that follows.
const PANIC: u64 = 1;
/// Operation: the process is finished, word 1 is its exit code. There is no reply.
const EXIT: u64 = 2;

/// Word 0 of the reply: taken.
pub const OK: u64 = 0;
/// Word 0 of the reply: no such operation.
pub const BAD_OPERATION: u64 = 1;

/// A decoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A piece of the reason for the fault that follows.
    Panic(Piece),
    /// The process is finished.
    Exit {
        /// 0 for success.
        code: u64,
    },
}

impl Request {
    /// Decodes a message; `None` for an unknown operation.
    #[must_use]
    pub fn decode(words: &Words) -> Option<Self> {
        match text::decode(words) {
            (PANIC, piece) => Some(Self::Panic(piece)),
            (EXIT, _) => Some(Self::Exit { code: words[1] }),
            _ => None,
        }
    }
}

/// The messages that carry the reason of a panic.
pub fn panic_messages(text: &[u8]) -> impl Iterator<Item = Words> + '_ {
    text.chunks(PIECE_BYTES).map(|piece| text::encode(PANIC, piece))
}

/// The message that ends a process.
#[must_use]
pub fn exit_message(code: u64) -> Words {
    [EXIT, code, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_decode_to_what_was_meant() {
        assert_eq!(Request::decode(&exit_message(7)), Some(Request::Exit { code: 7 }));
        assert_eq!(Request::decode(&[99, 0, 0, 0, 0, 0]), None);
        let text = b"panic at src/main.rs:7: index out of bounds: the length is 3";
        let mut together = [0; 120];
        let mut length = 0;
        for words in panic_messages(text) {
            let Some(Request::Panic(piece)) = Request::decode(&words) else {
                unreachable!()
            };
            together[length..length + piece.as_bytes().len()].copy_from_slice(piece.as_bytes());
            length += piece.as_bytes().len();
        }
        assert_eq!(&together[..length], text);
    }
}
