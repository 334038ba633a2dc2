//! System calls: numbers, registers, results.
//!
//! | register | on entry | on return |
//! |---|---|---|
//! | rax | system call number | [`Status`] |
//! | rdi | slot, or deadline (absolute TSC) | 0 |
//! | rsi | [`Transfer`]; 0 for none | 0 |
//! | rdx | - | label, signal bits, result or the argument at fault |
//! | r12 r13 r14 r15 rbx rbp | message words 0 to 5 | message words 0 to 5 |
//! | rsp | kept | kept |
//! | rcx r8 r9 r10 r11 | - | rcx = rip, r11 = rflags, the others 0 |
//!
//! `Signal` takes the bits in word 0. `Invoke` takes the operation in word 0 and its arguments in words 1
//! to 5. Segment bases are zero and stay so; RFLAGS is reset to interrupts on, everything else off.

use bitfield::bitfield;

use crate::Error;

/// System call numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Syscall {
    /// Call a portal: rdi slot, rsi transfer, six words. Returns the reply's words.
    Call = 0,
    /// Reply to the caller being served, if any, and wait for a call, a signal or a deadline (rdi).
    ReplyWait = 1,
    /// Signal the notification in slot rdi with the bits of word 0.
    Signal = 2,
    /// Wait for signals of the bound notification only, or a deadline (rdi).
    Wait = 3,
    /// Operate on the object in slot rdi.
    Invoke = 4,
    /// Run the bound vCPU until an exit, a signal or a deadline (rdi). Word 0 is of [`crate::vcpu::run`].
    VcpuRun = 5,
    /// Let the next thread of the same priority run.
    Yield = 6,
    /// Write the bytes of words 1 to 5 to the console; word 0 is their number, 40 at most. In every build until a driver
    /// process owns the serial port.
    Log = 7,
}

impl Syscall {
    /// The system call with this number.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Call,
            1 => Self::ReplyWait,
            2 => Self::Signal,
            3 => Self::Wait,
            4 => Self::Invoke,
            5 => Self::VcpuRun,
            6 => Self::Yield,
            7 => Self::Log,
            _ => return None,
        })
    }
}

/// What a waiting system call returned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// The operation is done; for `ReplyWait`: a call came, rdx is its label.
    Done = 0,
    /// Signals came; rdx has their bits.
    Signal = 1,
    /// The deadline passed.
    Deadline = 2,
    /// The guest left (`VcpuRun`); rdx is the reason, of [`crate::vcpu::exit`].
    Exit = 3,
    /// The operation did a bounded part of its work; repeat it with the same arguments. rdx says how many
    /// pages or steps remain at most, or 0 if that is not known.
    Progress = 4,
}

bitfield! {
    /// The status word in rax: bits 0..8 error (0: none), bits 8..16 [`Event`], bit 16: a capability came
    /// with the message.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Status(pub u64);
    impl Debug;
    u8;
    /// Number of the [`Error`], 0 for success.
    pub error_code, set_error_code: 7, 0;
    /// Number of the [`Event`].
    pub event_code, set_event_code: 15, 8;
    /// Whether the message brought a capability into the receive slot.
    pub has_capability, set_has_capability: 16;
}

impl Status {
    /// Success, nothing else to say.
    pub const DONE: Self = Self(0);

    /// A success with an event.
    #[must_use]
    pub const fn event(event: Event) -> Self {
        Self((event as u64) << 8)
    }

    /// A failure.
    #[must_use]
    pub const fn error(error: Error) -> Self {
        Self(error as u64)
    }

    /// The failure, if it is one.
    #[must_use]
    pub fn failure(self) -> Option<Error> {
        Error::from_code(self.error_code())
    }
}

bitfield! {
    /// The transfer word in rsi: at most one capability each way.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Transfer(pub u64);
    impl Debug;
    /// Slot to send plus one; 0 sends none.
    pub u16, send_slot_plus_one, set_send_slot_plus_one: 15, 0;
    /// Rights the sent capability keeps at most.
    pub u8, send_rights, set_send_rights: 23, 16;
    /// Empty slot to receive into plus one; 0 receives none.
    pub u16, receive_slot_plus_one, set_receive_slot_plus_one: 47, 32;
}

static_assertions::const_assert_eq!(core::mem::size_of::<Status>(), 8);
static_assertions::const_assert_eq!(core::mem::size_of::<Transfer>(), 8);
