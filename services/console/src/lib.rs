//! The administrator's console on a serial line, as a pure state machine: bytes in; bytes out and events.
//!
//! Key types: [`Session`] (all of it), [`LineEditor`], [`KeyDecoder`], [`Scrollback`]. A serial terminal is all that is
//! assumed (ECMA-48: cursor left, erase to the end of the line); its size is only guessed. What a command does is not known
//! here: [`Event::Run`] hands the line to the toolstack. The console's process calls this, and brings bytes and time.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod complete;
mod editor;
mod history;
mod keys;
mod scrollback;
mod session;

pub use complete::{Complete, Nothing};
pub use editor::{Edited, LineEditor, MAX_LINE_CHARACTERS};
pub use history::{History, MAX_HISTORY};
pub use keys::{Key, KeyDecoder};
pub use scrollback::Scrollback;
pub use session::{DEFAULT_ESCAPE, Event, REPLAYED_LINES, SCROLLBACK_BYTES, Session};
