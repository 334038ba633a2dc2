//! The console's log: lines for people, six words at a time.
//!
//! Key functions: [`write_messages`] for clients, [`decode`] for the server. A line ends with a line feed; pieces of one
//! client arrive in order, so that the server puts lines together by label.

use ecusson_abi::Words;

use crate::text::{self, PIECE_BYTES, Piece};

/// Operation: a piece of text.
pub const WRITE: u64 = 1;

/// Word 0 of the reply: taken.
pub const OK: u64 = 0;
/// Word 0 of the reply: no such operation.
pub const BAD_OPERATION: u64 = 1;

/// The messages that write a text.
pub fn write_messages(text: &[u8]) -> impl Iterator<Item = Words> + '_ {
    text.chunks(PIECE_BYTES).map(|piece| text::encode(WRITE, piece))
}

/// What a client wants written; `None` for an unknown operation.
#[must_use]
pub fn decode(words: &Words) -> Option<Piece> {
    let (operation, piece) = text::decode(words);
    if operation == WRITE { Some(piece) } else { None }
}
