//! The console: a prompt, a command under way, or a guest's console.
//!
//! Key types: [`Session`], [`Event`].

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::complete::Complete;
use crate::editor::{Edited, LineEditor};
use crate::keys::{Key, KeyDecoder};
use crate::scrollback::Scrollback;

/// Bytes kept of each guest's output.
pub const SCROLLBACK_BYTES: usize = 64 * 1024;
/// Lines of it that are shown on attaching.
pub const REPLAYED_LINES: usize = 100;
/// `Ctrl-]`.
pub const DEFAULT_ESCAPE: u8 = 0x1d;
/// Typed while a command is under way; more is dropped.
const MAX_TYPED_AHEAD: usize = 1024;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Carry a line out, then call [`Session::finished`].
    Run(String),
    /// Give a byte to a guest's console.
    ToGuest {
        /// Which guest.
        domain: u16,
        /// The byte.
        byte: u8,
    },
    /// The administrator left a guest's console.
    Detached {
        /// Which.
        domain: u16,
    },
    /// `^C` while a command is under way: give up waiting for it.
    Interrupt,
    /// `^D` at the prompt.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Prompt,
    Busy,
    Attached { domain: u16, escape: u8 },
}

/// The console.
#[derive(Clone, Debug)]
pub struct Session {
    decoder: KeyDecoder,
    editor: LineEditor,
    mode: Mode,
    typed_ahead: Vec<u8>,
    guests: BTreeMap<u16, Scrollback>,
}

impl Session {
    /// A console with this prompt, on a terminal of so many columns. Shows the greeting.
    #[must_use]
    pub fn new(prompt: &str, columns: usize, greeting: &str, out: &mut Vec<u8>) -> Self {
        let session = Self {
            decoder: KeyDecoder::default(),
            editor: LineEditor::new(prompt, columns),
            mode: Mode::Prompt,
            typed_ahead: Vec::new(),
            guests: BTreeMap::new(),
        };
        write_text(greeting, out);
        session.editor.redraw(out);
        session
    }

    /// Whether [`Session::pause`] should be called soon, if nothing is typed.
    #[must_use]
    pub fn wants_pause(&self) -> bool {
        self.mode == Mode::Prompt && self.decoder.is_within_sequence()
    }

    /// Nothing was typed for a while (a tenth of a second).
    pub fn pause(&mut self, completer: &impl Complete, out: &mut Vec<u8>) {
        if let (Mode::Prompt, Some(key)) = (self.mode, self.decoder.pause()) {
            // An escape never ends a line.
            self.editor.key(key, completer, out);
        }
    }

    /// A byte was typed.
    pub fn input(&mut self, byte: u8, completer: &impl Complete, out: &mut Vec<u8>) -> Option<Event> {
        match self.mode {
            Mode::Prompt => self.decoder.feed(byte).and_then(|key| self.key(key, completer, out)),
            Mode::Busy if byte == 0x03 => {
                self.typed_ahead.clear();
                out.extend_from_slice(b"^C\r\n");
                Some(Event::Interrupt)
            }
            Mode::Busy => {
                if self.typed_ahead.len() < MAX_TYPED_AHEAD {
                    self.typed_ahead.push(byte);
                }
                None
            }
            Mode::Attached { domain, escape } if byte == escape => {
                self.mode = Mode::Prompt;
                out.extend_from_slice(b"\r\n");
                self.editor.redraw(out);
                Some(Event::Detached { domain })
            }
            Mode::Attached { domain, .. } => Some(Event::ToGuest { domain, byte }),
        }
    }

    fn key(&mut self, key: Key, completer: &impl Complete, out: &mut Vec<u8>) -> Option<Event> {
        match self.editor.key(key, completer, out) {
            Edited::More => None,
            Edited::Line(line) if line.trim().is_empty() => {
                self.editor.redraw(out);
                None
            }
            Edited::Line(line) => {
                self.mode = Mode::Busy;
                Some(Event::Run(line))
            }
            Edited::Given => {
                self.editor.redraw(out);
                None
            }
            Edited::End => {
                self.editor.redraw(out);
                Some(Event::End)
            }
        }
    }

    /// Shows output of the command under way.
    pub fn output(&self, text: &str, out: &mut Vec<u8>) {
        write_text(text, out);
    }

    /// The command is finished: the prompt comes back. What was typed meanwhile counts now; the events are returned in order,
    /// up to the first line, after which a command is under way again.
    pub fn finished(&mut self, completer: &impl Complete, out: &mut Vec<u8>) -> Option<Event> {
        if self.mode != Mode::Busy {
            return None;
        }
        self.mode = Mode::Prompt;
        self.editor.redraw(out);
        let typed = core::mem::take(&mut self.typed_ahead);
        for (place, byte) in typed.iter().enumerate() {
            if let Some(event) = self.input(*byte, completer, out) {
                self.typed_ahead.extend_from_slice(&typed[place + 1..]);
                return Some(event);
            }
        }
        None
    }

    /// Shows a message that nobody asked for, without disturbing the line that is edited. Not while a guest has the terminal.
    pub fn notify(&self, text: &str, out: &mut Vec<u8>) {
        match self.mode {
            Mode::Prompt => {
                out.extend_from_slice(b"\r\x1b[K");
                write_text(text, out);
                self.editor.redraw(out);
            }
            Mode::Busy => write_text(text, out),
            Mode::Attached { .. } => {}
        }
    }

    /// Gives the terminal to a guest, after its latest output. What was typed ahead is for nobody.
    pub fn attach(&mut self, domain: u16, escape: u8, out: &mut Vec<u8>) {
        self.mode = Mode::Attached { domain, escape };
        self.decoder = KeyDecoder::default();
        self.typed_ahead.clear();
        if let Some(scrollback) = self.guests.get(&domain) {
            out.extend_from_slice(&scrollback.last_lines(REPLAYED_LINES));
        }
    }

    /// The guest that has the terminal.
    #[must_use]
    pub fn attached(&self) -> Option<u16> {
        match self.mode {
            Mode::Attached { domain, .. } => Some(domain),
            _ => None,
        }
    }

    /// A guest's console printed something.
    pub fn guest_output(&mut self, domain: u16, output: &[u8], out: &mut Vec<u8>) {
        let fresh = || Scrollback::new(SCROLLBACK_BYTES);
        self.guests.entry(domain).or_insert_with(fresh).push(output);
        if self.attached() == Some(domain) {
            out.extend_from_slice(output);
        }
    }

    /// A guest is gone, with its output; its console is left.
    pub fn guest_gone(&mut self, domain: u16, out: &mut Vec<u8>) {
        self.guests.remove(&domain);
        if self.attached() == Some(domain) {
            self.mode = Mode::Prompt;
            out.extend_from_slice(b"\r\n");
            self.editor.redraw(out);
        }
    }

    /// The latest lines of a guest's output.
    #[must_use]
    pub fn scrollback(&self, domain: u16, lines: usize) -> Vec<u8> {
        self.guests
            .get(&domain)
            .map(|scrollback| scrollback.last_lines(lines))
            .unwrap_or_default()
    }
}

/// Text for a terminal: line feeds become carriage return and line feed.
fn write_text(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
}
