//! Bytes of a terminal to keys.
//!
//! Key types: [`KeyDecoder`], [`Key`]. Sequences may come in pieces, with any time between them; a lone escape is one only
//! when [`KeyDecoder::pause`] says that nothing followed. What is not known is swallowed whole, so that no rest of it is taken
//! for typing.

/// Parameters of a sequence, at most; of longer ones the rest is swallowed.
const MAX_PARAMETERS: usize = 8;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Character(char),
    /// A control character by its letter: `Control('a')` is `^A`.
    Control(char),
    /// Return.
    Enter,
    /// Tab.
    Tab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Arrows.
    Left,
    /// Arrows.
    Right,
    /// Arrows.
    Up,
    /// Arrows.
    Down,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// A word to the left.
    WordLeft,
    /// A word to the right.
    WordRight,
    /// Escape alone.
    Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    /// After a carriage return: a line feed belongs to it.
    Return,
    Escape,
    /// After `ESC [`.
    Control {
        parameters: [u8; MAX_PARAMETERS],
        length: usize,
    },
    /// After `ESC O`.
    Single,
    /// Within a character of UTF-8.
    Character {
        value: u32,
        missing: u8,
        least: u32,
    },
}

/// Decodes one byte after the other.
#[derive(Clone, Debug)]
pub struct KeyDecoder {
    state: State,
}

impl Default for KeyDecoder {
    fn default() -> Self {
        Self { state: State::Ground }
    }
}

impl KeyDecoder {
    /// Whether a pause would mean something.
    #[must_use]
    pub fn is_within_sequence(&self) -> bool {
        !matches!(self.state, State::Ground | State::Return)
    }

    /// Nothing came for a while: a lone escape was the key, any other beginning is forgotten.
    pub fn pause(&mut self) -> Option<Key> {
        let state = core::mem::replace(&mut self.state, State::Ground);
        (state == State::Escape).then_some(Key::Escape)
    }

    /// Takes a byte; perhaps it completes a key.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        match core::mem::replace(&mut self.state, State::Ground) {
            State::Return if byte == b'\n' => None,
            State::Ground | State::Return => self.ground(byte),
            State::Escape => self.escape(byte),
            State::Control { parameters, length } => self.control(byte, parameters, length),
            State::Single => match byte {
                0x1b => self.ground(byte),
                _ => arrow(byte),
            },
            State::Character { value, missing, least } => self.character(byte, value, missing, least),
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        match byte {
            0x1b => self.state = State::Escape,
            b'\r' => {
                self.state = State::Return;
                return Some(Key::Enter);
            }
            b'\n' => return Some(Key::Enter),
            b'\t' => return Some(Key::Tab),
            0x08 | 0x7f => return Some(Key::Backspace),
            0 => {}
            1..=26 => return Some(Key::Control(char::from(byte - 1 + b'a'))),
            0x1c..=0x1f => return Some(Key::Control(char::from(byte + b'@'))),
            b' '..=b'~' => return Some(Key::Character(char::from(byte))),
            0xc2..=0xdf => self.begin(byte & 0x1f, 1, 0x80),
            0xe0..=0xef => self.begin(byte & 0x0f, 2, 0x800),
            0xf0..=0xf4 => self.begin(byte & 0x07, 3, 0x1_0000),
            // No beginning of a character.
            _ => {}
        }
        None
    }

    fn begin(&mut self, bits: u8, missing: u8, least: u32) {
        self.state = State::Character {
            value: u32::from(bits),
            missing,
            least,
        };
    }

    fn character(&mut self, byte: u8, value: u32, missing: u8, least: u32) -> Option<Key> {
        if byte & 0xc0 != 0x80 {
            // The character is broken off; this byte begins something of its own.
            return self.ground(byte);
        }
        let value = value << 6 | u32::from(byte & 0x3f);
        if missing > 1 {
            self.state = State::Character {
                value,
                missing: missing - 1,
                least,
            };
            return None;
        }
        let printable = |character: &char| value >= least && !character.is_control();
        char::from_u32(value).filter(printable).map(Key::Character)
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => {
                self.state = State::Control {
                    parameters: [0; MAX_PARAMETERS],
                    length: 0,
                }
            }
            b'O' => self.state = State::Single,
            0x1b => {
                self.state = State::Escape;
                return Some(Key::Escape);
            }
            b'b' => return Some(Key::WordLeft),
            b'f' => return Some(Key::WordRight),
            0x08 | 0x7f => return Some(Key::Control('w')),
            _ => {}
        }
        None
    }

    fn control(&mut self, byte: u8, mut parameters: [u8; MAX_PARAMETERS], length: usize) -> Option<Key> {
        match byte {
            0x20..=0x3f => {
                if let Some(place) = parameters.get_mut(length) {
                    *place = byte;
                }
                self.state = State::Control {
                    parameters,
                    length: length.saturating_add(1),
                };
                None
            }
            0x40..=0x7e => {
                let parameters = parameters.get(..length)?;
                match (byte, parameters) {
                    (b'~', b"1" | b"7") => Some(Key::Home),
                    (b'~', b"4" | b"8") => Some(Key::End),
                    (b'~', b"3") => Some(Key::Delete),
                    (b'C', b"1;5" | b"1;3") => Some(Key::WordRight),
                    (b'D', b"1;5" | b"1;3") => Some(Key::WordLeft),
                    (_, b"") => arrow(byte),
                    _ => None,
                }
            }
            // A control character within a sequence ends it.
            _ => self.ground(byte),
        }
    }
}

fn arrow(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = KeyDecoder::default();
        bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect()
    }

    #[test]
    fn sequences_of_terminals_are_keys() {
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[C\x1b[D"),
            [Key::Up, Key::Down, Key::Right, Key::Left]
        );
        assert_eq!(
            keys(b"\x1b[1~\x1b[4~\x1b[H\x1bOF\x1b[3~"),
            [Key::Home, Key::End, Key::Home, Key::End, Key::Delete]
        );
        assert_eq!(keys(b"\x1b[1;5C\x1bb"), [Key::WordRight, Key::WordLeft]);
        assert_eq!(
            keys(b"\x01\x7f\t\x1d"),
            [Key::Control('a'), Key::Backspace, Key::Tab, Key::Control(']')]
        );
        assert_eq!(keys(b"\r\n\n\r\r"), [Key::Enter; 4]);
    }

    #[test]
    fn unknown_sequences_leave_nothing_behind() {
        assert_eq!(
            keys(b"\x1b[200;300;400;500zx\x1b[5~y\x1bOPz"),
            ['x', 'y', 'z'].map(Key::Character)
        );
        assert_eq!(keys(b"\x1b[1\x03a"), [Key::Control('c'), Key::Character('a')]);
    }

    #[test]
    fn an_escape_is_one_only_after_a_pause() {
        let mut decoder = KeyDecoder::default();
        assert_eq!(decoder.feed(0x1b), None);
        assert!(decoder.is_within_sequence());
        assert_eq!(decoder.pause(), Some(Key::Escape));
        assert_eq!(decoder.feed(b'['), Some(Key::Character('[')));
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        assert_eq!(
            (decoder.feed(0x1b), decoder.feed(b'['), decoder.pause()),
            (None, None, None)
        );
    }

    #[test]
    fn characters_are_utf_8() {
        assert_eq!(keys("é€😀".as_bytes()), ['é', '€', '😀'].map(Key::Character));
        // Broken off, overlong, a surrogate, bytes that begin nothing.
        assert_eq!(
            keys(b"\xc3a\xe0\x80\x80b\xed\xa0\x80c\x80\xffd"),
            ['a', 'b', 'c', 'd'].map(Key::Character)
        );
    }
}
