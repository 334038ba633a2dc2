//! What a process tells root, its supervisor, by the portal in its slot `SUPERVISOR`. The label is the process's index plus
//! one, so that nobody speaks for another.
//!
//! Key types: [`Request`]; for those whom the manifest lets control others, [`Order`] and [`Report`]. Sent by `rt`, served by
//! `services/root`.
//!
//! | word 0 | word 1 | answer in word 0 | and then |
//! |---|---|---|---|
//! | 1 panic, 2 exit | the text; the code | [`OK`]; none after an exit | |
//! | 3 start, 4 stop | number of the process | [`OK`], [`NOT_YOURS`], [`WRONG_STATE`] | |
//! | 5 report | number of the process | [`OK`], [`NOT_YOURS`] | 1: [`State`], 2: how it ended last, 3: code or vector, 4: starts |
//!
//! A start and a stop are taken on and done soon: the end of a process is told by the notification and bit of the boot table's
//! entry, when its memory is free again. Bits may come together or be left over from a former life: ask for a report.

use ecusson_abi::Words;

use crate::text::{self, PIECE_BYTES, Piece};

/// Operation: a piece of the reason for the fault that follows.
const PANIC: u64 = 1;
/// Operation: the process is finished, word 1 is its exit code. There is no reply.
const EXIT: u64 = 2;
/// Operations about the process with the number in word 1; see [`Order`].
const START: u64 = 3;
const STOP: u64 = 4;
const REPORT: u64 = 5;

/// Word 0 of the reply: taken.
pub const OK: u64 = 0;
/// Word 0 of the reply: no such operation.
pub const BAD_OPERATION: u64 = 1;
/// Word 0 of the reply: the caller controls no process of this number.
pub const NOT_YOURS: u64 = 2;
/// Word 0 of the reply: to be started it must be off, to be stopped it must be starting or running.
pub const WRONG_STATE: u64 = 3;

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
    /// Something about a process that the caller controls.
    Control {
        /// Its number in the caller's boot table.
        number: u16,
        /// What.
        order: Order,
    },
}

/// What a controller wants of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make it and start it.
    Start,
    /// End it and take everything back.
    Stop,
    /// Say how it is: a [`Report`].
    Report,
}

/// Where a process that is started on demand is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing of it.
    Off,
    /// It is about to be made.
    Starting,
    /// It runs.
    Running,
    /// Its memory is being taken back.
    Ending,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It never ran.
    Never,
    /// It said that it was finished, with this code.
    Exited(u64),
    /// By an exception of this vector, a panic among them (6).
    Faulted(u64),
    /// Its controller stopped it.
    Stopped,
    /// It could not be made: the console says why.
    NotMade,
}

/// What root knows of a controlled process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it is.
    pub state: State,
    /// How it ended last.
    pub ended: Ended,
    /// How often it was started.
    pub starts: u64,
}

impl Report {
    /// The reply.
    #[must_use]
    pub fn encode(&self) -> Words {
        let state = match self.state {
            State::Off => 0,
            State::Starting => 1,
            State::Running => 2,
            State::Ending => 3,
        };
        let (kind, detail) = match self.ended {
            Ended::Never => (0, 0),
            Ended::Exited(code) => (1, code),
            Ended::Faulted(vector) => (2, vector),
            Ended::Stopped => (3, 0),
            Ended::NotMade => (4, 0),
        };
        [OK, state, kind, detail, self.starts, 0]
    }

    /// Decodes a reply; `None` if it is none.
    #[must_use]
    pub fn decode(words: &Words) -> Option<Self> {
        let [OK, state, kind, detail, starts, _] = *words else {
            return None;
        };
        let state = match state {
            0 => State::Off,
            1 => State::Starting,
            2 => State::Running,
            3 => State::Ending,
            _ => return None,
        };
        let ended = match kind {
            0 => Ended::Never,
            1 => Ended::Exited(detail),
            2 => Ended::Faulted(detail),
            3 => Ended::Stopped,
            4 => Ended::NotMade,
            _ => return None,
        };
        Some(Self { state, ended, starts })
    }
}

impl Request {
    /// Decodes a message; `None` for an unknown operation.
    #[must_use]
    pub fn decode(words: &Words) -> Option<Self> {
        match text::decode(words) {
            (PANIC, piece) => Some(Self::Panic(piece)),
            (EXIT, _) => Some(Self::Exit { code: words[1] }),
            (operation, _) => {
                let order = match operation {
                    START => Order::Start,
                    STOP => Order::Stop,
                    REPORT => Order::Report,
                    _ => return None,
                };
                let number = u16::try_from(words[1]).ok()?;
                Some(Self::Control { number, order })
            }
        }
    }
}

/// The message about a process that the sender controls.
#[must_use]
pub fn control_message(number: u16, order: Order) -> Words {
    let operation = match order {
        Order::Start => START,
        Order::Stop => STOP,
        Order::Report => REPORT,
    };
    [operation, u64::from(number), 0, 0, 0, 0]
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
    fn orders_and_reports_decode_to_what_was_meant() {
        for order in [Order::Start, Order::Stop, Order::Report] {
            let request = Request::decode(&control_message(65_535, order));
            assert_eq!(request, Some(Request::Control { number: 65_535, order }));
        }
        assert_eq!(Request::decode(&[START, 65_536, 0, 0, 0, 0]), None);
        for state in [State::Off, State::Starting, State::Running, State::Ending] {
            for ended in [
                Ended::Never,
                Ended::Exited(7),
                Ended::Faulted(14),
                Ended::Stopped,
                Ended::NotMade,
            ] {
                let report = Report {
                    state,
                    ended,
                    starts: 3,
                };
                assert_eq!(Report::decode(&report.encode()), Some(report));
            }
        }
        assert_eq!(Report::decode(&[NOT_YOURS, 0, 0, 0, 0, 0]), None);
        assert_eq!(Report::decode(&[OK, 4, 0, 0, 0, 0]), None);
    }

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
