//! What the toolstack tells a domain's VMM: what the domain is made of, that it starts, and how it is.
//!
//! Key types: [`Request`] and [`Reply`], in message words; [`Description`], which lies in a Region. In this order: one
//! [`Part::Description`], every stretch of guest memory twice ([`Part::Memory`] for the guest, [`Part::View`] for the VMM, both
//! slices of a Region that stays the toolstack's), [`Request::Start`]. When the guest is at its end, the VMM signals the
//! toolstack, which asks for the [`State`].

use ecusson_abi::Words;
use serde::{Deserialize, Serialize};

use crate::text::{self, Piece};

/// What a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description<'a> {
    /// Name of the domain, for messages.
    pub name: &'a str,
    /// Virtual processors, from 1.
    pub vcpus: u8,
    /// Name of the image's file that holds the kernel.
    pub kernel: &'a str,
    /// Name of the image's file that holds the initial RAM disk; empty for none.
    pub initrd: &'a str,
    /// The kernel's command line.
    pub command_line: &'a str,
}

impl<'a> Description<'a> {
    /// Reads one from the beginning of a Region.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        postcard::take_from_bytes(bytes)
            .ok()
            .map(|(description, _)| description)
    }

    /// Writes one; the bytes that were used. `None` if there is too little room.
    pub fn encode<'b>(&self, room: &'b mut [u8]) -> Option<&'b [u8]> {
        postcard::to_slice(self, room).ok().map(|used| &*used)
    }
}

/// What a Region that comes along with [`Request::Give`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A [`Description`] at its beginning.
    Description,
    /// Memory of the guest, to attach to its space at this guest-physical page.
    Memory {
        /// Guest-physical page.
        page: u64,
    },
    /// The same memory, for the VMM to look into.
    View {
        /// Guest-physical page.
        page: u64,
    },
}

/// A message of the toolstack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A part of the domain; its Region comes along.
    Give(Part),
    /// Loads the kernel and runs.
    Start,
    /// How is the domain?
    State,
    /// A piece of the text that says why something failed, from this byte on; the reply is a piece, empty at the end.
    Trouble {
        /// First byte.
        from: u64,
    },
    /// Presses the power button: the guest is asked to shut down.
    PressPower,
}

const GIVE: u64 = 1;
const START: u64 = 2;
const STATE: u64 = 3;
const TROUBLE: u64 = 4;
const PRESS_POWER: u64 = 5;

const DESCRIPTION: u64 = 1;
const MEMORY: u64 = 2;
const VIEW: u64 = 3;

impl Request {
    /// The message.
    #[must_use]
    pub fn encode(self) -> Words {
        match self {
            Self::Give(part) => {
                let (kind, page) = match part {
                    Part::Description => (DESCRIPTION, 0),
                    Part::Memory { page } => (MEMORY, page),
                    Part::View { page } => (VIEW, page),
                };
                [GIVE, kind, page, 0, 0, 0]
            }
            Self::Start => [START, 0, 0, 0, 0, 0],
            Self::State => [STATE, 0, 0, 0, 0, 0],
            Self::Trouble { from } => [TROUBLE, from, 0, 0, 0, 0],
            Self::PressPower => [PRESS_POWER, 0, 0, 0, 0, 0],
        }
    }

    /// Decodes a message; `None` for an unknown one.
    #[must_use]
    pub fn decode(words: &Words) -> Option<Self> {
        let [operation, first, second, ..] = *words;
        Some(match operation {
            GIVE => Self::Give(match first {
                DESCRIPTION => Part::Description,
                MEMORY => Part::Memory { page: second },
                VIEW => Part::View { page: second },
                _ => return None,
            }),
            START => Self::Start,
            STATE => Self::State,
            TROUBLE => Self::Trouble { from: first },
            PRESS_POWER => Self::PressPower,
            _ => return None,
        })
    }
}

/// How a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started.
    Waiting,
    /// It runs.
    Running,
    /// The guest switched itself off.
    PoweredOff,
    /// The guest wants to be started again.
    Reset,
    /// It came to a bad end; [`Request::Trouble`] says which.
    Crashed,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::PoweredOff,
        Self::Reset,
        Self::Crashed,
    ];

    /// As a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self as u64
    }

    /// From a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A reply of the VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// The answer to [`Request::State`].
    State(State),
    /// The answer to [`Request::Trouble`].
    Trouble(Piece),
    /// It failed; [`Request::Trouble`] says why.
    Refused,
}

const DONE: u64 = 0;
const REFUSED: u64 = 1;
const IS: u64 = 2;
const TEXT: u64 = 3;

impl Reply {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Words {
        match self {
            Self::Done => [DONE, 0, 0, 0, 0, 0],
            Self::Refused => [REFUSED, 0, 0, 0, 0, 0],
            Self::State(state) => [IS, state.number(), 0, 0, 0, 0],
            Self::Trouble(piece) => text::encode(TEXT, piece.as_bytes()),
        }
    }

    /// Decodes a message; `None` for an unknown one.
    #[must_use]
    pub fn decode(words: &Words) -> Option<Self> {
        let (code, piece) = text::decode(words);
        Some(match code {
            DONE => Self::Done,
            REFUSED => Self::Refused,
            IS => Self::State(State::from_number(words[1])?),
            TEXT => Self::Trouble(piece),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_come_back() {
        for request in [
            Request::Give(Part::Description),
            Request::Give(Part::Memory { page: 7 }),
            Request::Give(Part::View { page: 1 << 20 }),
            Request::Start,
            Request::State,
            Request::Trouble { from: 80 },
            Request::PressPower,
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let (_, piece) = text::decode(&text::encode(0, b"no such file"));
        for reply in [Reply::Done, Reply::Refused, Reply::Trouble(piece)] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
        for state in State::ALL {
            assert_eq!(Reply::decode(&Reply::State(state).encode()), Some(Reply::State(state)));
        }
    }

    #[test]
    fn nonsense_is_none() {
        assert_eq!(Request::decode(&[0; 6]), None);
        assert_eq!(Request::decode(&[GIVE, 9, 0, 0, 0, 0]), None);
        assert_eq!(Reply::decode(&[IS, 99, 0, 0, 0, 0]), None);
        assert_eq!(Description::decode(&[0xFF; 3]), None);
    }

    #[test]
    fn a_description_comes_back_from_the_beginning_of_a_page() {
        let description = Description {
            name: "web",
            vcpus: 2,
            kernel: "linux",
            initrd: "",
            command_line: "console=ttyS0",
        };
        let mut page = [0xAA; 256];
        assert!(description.encode(&mut page).is_some());
        assert_eq!(Description::decode(&page), Some(description));
        assert_eq!(description.encode(&mut [0; 8]), None);
    }
}
