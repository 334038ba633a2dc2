//! The main thread: serves the toolstack.
//!
//! Key function: [`serve`]. Collects the parts of the domain, has `build` put them together, starts the threads of the vCPUs, and
//! says how the guest is.
//!
//! It has a higher priority than the vCPUs' threads, so that the toolstack does not wait for a guest. From the start on it therefore
//! takes no lock that they take, the heap's included.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use ecusson_abi::{Event, NO_DEADLINE, Transfer};
use ecusson_proto::text::{self, PIECE_BYTES};
use ecusson_proto::vmm::{Reply, Request, State};
use ecusson_rt::{println, sys};
use spin::Once;

use super::build::Builder;
use super::guest::Guest;

/// The guest, once it is there.
static GUEST: Once<&'static Guest> = Once::new();

/// The guest, once it is there.
pub(super) fn guest() -> Option<&'static Guest> {
    GUEST.get().copied()
}

/// Serves the toolstack for ever.
pub(crate) fn serve() -> ! {
    // Tables of CPUID, ACPI and PCI, and output that waits for the console.
    ecusson_rt::heap!(1024 * 1024);
    let mut control = match Builder::of_process() {
        Ok(builder) => Control {
            builder: Some(builder),
            trouble: Cow::Borrowed(""),
        },
        Err(trouble) => {
            println!("vmm: {trouble}");
            Control {
                builder: None,
                trouble: trouble.into(),
            }
        }
    };
    let mut reply = Reply::Done;
    loop {
        let mut transfer = Transfer(0);
        if let Some(slot) = control.builder.as_ref().and_then(Builder::receive_slot) {
            transfer.set_receive_slot_plus_one(slot + 1);
        }
        let event = sys::reply_wait_transfer(NO_DEADLINE, transfer, reply.encode());
        if event.failure().is_some() || event.status.event_code() != Event::Done as u8 {
            continue;
        }
        let came = event.status.has_capability();
        reply = match Request::decode(&event.words) {
            Some(request) => control.answer(request, came),
            None => control.refuse("no such request".into()),
        };
    }
}

struct Control {
    /// Until the guest is started.
    builder: Option<Builder>,
    trouble: Cow<'static, str>,
}

impl Control {
    fn answer(&mut self, request: Request, came: bool) -> Reply {
        match request {
            Request::Give(part) => match &mut self.builder {
                Some(builder) if came => match builder.take(part) {
                    Ok(()) => Reply::Done,
                    Err(trouble) => self.refuse(trouble.into()),
                },
                Some(_) => self.refuse("no Region came along".into()),
                None => self.refuse("the guest is started".into()),
            },
            Request::Start => self.start(),
            Request::State => Reply::State(guest().map_or(State::Waiting, Guest::state)),
            Request::Trouble { from } => self.tell(from),
            Request::PressPower => match guest() {
                Some(guest) => {
                    guest.power_pressed.store(true, Ordering::Release);
                    guest.look();
                    Reply::Done
                }
                None => self.refuse("the guest is not started".into()),
            },
        }
    }

    fn refuse(&mut self, why: Cow<'static, str>) -> Reply {
        self.trouble = why;
        Reply::Refused
    }

    fn start(&mut self) -> Reply {
        let Some(builder) = self.builder.take() else {
            return self.refuse("the guest is started".into());
        };
        match builder.build() {
            Ok(guest) => {
                let guest: &'static Guest = Box::leak(Box::new(guest));
                GUEST.call_once(|| guest);
                guest.look();
                Reply::Done
            }
            Err(trouble) => self.refuse(trouble.into()),
        }
    }

    /// A piece of why something failed: of the last request, or of the guest's end.
    fn tell(&self, from: u64) -> Reply {
        let whole = match guest() {
            Some(guest) if guest.state() == State::Crashed => guest.trouble.get().map_or("", |text| text.as_str()),
            Some(_) => "",
            None => &self.trouble,
        };
        let rest = usize::try_from(from).ok().and_then(|from| whole.as_bytes().get(from..));
        let rest = rest.unwrap_or_default();
        let (_, piece) = text::decode(&text::encode(0, rest.get(..PIECE_BYTES).unwrap_or(rest)));
        Reply::Trouble(piece)
    }
}
