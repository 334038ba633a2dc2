//! The event loop: one thread, one place to wait, for calls, signals and deadlines.
//!
//! Key trait: [`Server`]; key function: [`serve`]. Called by a service's `main`; calls the kernel's `ReplyWait`.

use ecusson_abi::{Event, NO_DEADLINE, Words};

use crate::sys::{self, Answer};

/// What a thread does about what may come to it.
pub trait Server {
    /// Answers a call. The label, set by whoever drew the edge, says who calls; what the caller says is not to be trusted.
    fn call(&mut self, label: u64, words: Words) -> Words;

    /// Takes signals of the bound notification: all bits since the last time, at once.
    fn signals(&mut self, bits: u64) {
        let _ = bits;
    }

    /// The deadline passed, or there is something to do between events. Called with the time at each turn of the loop at
    /// which the deadline has come.
    fn deadline(&mut self, now: u64) {
        let _ = now;
    }

    /// Until when to wait (absolute ticks). A time that has passed makes the loop turn at once, after signals and calls.
    fn next_deadline(&self) -> u64 {
        NO_DEADLINE
    }
}

/// Serves for ever.
pub fn serve(server: &mut impl Server) -> ! {
    let mut reply = Words::default();
    loop {
        let event = sys::reply_wait(server.next_deadline(), reply);
        reply = dispatch(server, &event);
    }
}

/// Hands one event to the server. The result is the reply if it was a call; else nobody gets it.
#[inline]
pub fn dispatch(server: &mut impl Server, event: &Answer) -> Words {
    if event.failure().is_some() {
        return Words::default();
    }
    match event.status.event_code() {
        code if code == Event::Done as u8 => return server.call(event.second, event.words),
        code if code == Event::Signal as u8 => server.signals(event.second),
        code if code == Event::Deadline as u8 => server.deadline(sys::now()),
        _ => {}
    }
    Words::default()
}

#[cfg(test)]
mod tests {
    use ecusson_abi::{Error, Status};

    use super::*;

    #[derive(Default)]
    struct Recorder {
        calls: u32,
        bits: u64,
        deadlines: u32,
    }

    impl Server for Recorder {
        fn call(&mut self, label: u64, words: Words) -> Words {
            self.calls += 1;
            [label, words[0], 0, 0, 0, 0]
        }
        fn signals(&mut self, bits: u64) {
            self.bits |= bits;
        }
        fn deadline(&mut self, _now: u64) {
            self.deadlines += 1;
        }
    }

    fn answer(status: Status) -> Answer {
        Answer {
            status,
            second: 7,
            words: [9; 6],
        }
    }

    #[test]
    fn each_event_goes_to_its_handler() {
        let mut server = Recorder::default();
        assert_eq!(dispatch(&mut server, &answer(Status::DONE)), [7, 9, 0, 0, 0, 0]);
        for event in [Event::Signal, Event::Deadline, Event::Progress] {
            assert_eq!(dispatch(&mut server, &answer(Status::event(event))), [0; 6]);
        }
        assert_eq!(dispatch(&mut server, &answer(Status::error(Error::BadCap))), [0; 6]);
        assert_eq!((server.calls, server.bits, server.deadlines), (1, 7, 1));
    }
}
