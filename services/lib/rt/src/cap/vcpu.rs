//! Guests: vCPUs, guest spaces' doorbells, the state page, and the system call that runs a guest.
//!
//! Key types: [`StatePage`], [`Left`]. Called by VMMs. `specs/vcpu.md` says what the words of the page mean.

use core::ops::Deref;

use ecusson_abi::vcpu::State;
use ecusson_abi::{Event, Kind, ops};

use super::kind::{Memory, Notification, Region, Space, Thread, Vcpu};
use super::{Cap, Failure, checked};
use crate::sys;
use crate::window::{Access, Window};

/// Why [`run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The guest needs something; the reason, of `ecusson_abi::vcpu::exit`. The rest is in the state page.
    Exit(u64),
    /// Signals came.
    Signal(u64),
    /// The deadline passed.
    Deadline,
}

/// Runs this thread's vCPU until an exit, a signal of the thread's notification, or a deadline (absolute ticks). `flags` are of
/// `ecusson_abi::vcpu::run`.
///
/// # Errors
/// `BadState` without a vCPU; `Dead` when the vCPU, its space or its state page ended, before or meanwhile.
pub fn run(deadline: u64, flags: u64) -> Result<Left, Failure> {
    let answer = checked(sys::vcpu_run(deadline, flags))?;
    Ok(match answer.status.event_code() {
        code if code == Event::Exit as u8 => Left::Exit(answer.second),
        code if code == Event::Signal as u8 => Left::Signal(answer.second),
        _ => Left::Deadline,
    })
}

impl Cap<Memory> {
    /// Makes a vCPU of a guest space; the first page of `state` becomes its state page.
    ///
    /// # Errors
    /// `Unsupported` where the processor runs no guests, `BadType` for another space than a guest's, `BadState` for a Region that
    /// is not scrubbed or device memory, `NoMemory`, `Occupied`.
    pub fn create_vcpu(&self, space: &Cap<Space>, state: &Cap<Region>, slot: u64) -> Result<Cap<Vcpu>, Failure> {
        self.create(Kind::Vcpu, slot, [space.slot(), state.slot(), 0])?;
        Ok(Cap::at(slot))
    }
}

impl Cap<Vcpu> {
    /// Gives it the thread that runs it.
    ///
    /// # Errors
    /// `Occupied` when one of the two has a partner.
    pub fn bind(&self, thread: &Cap<Thread>) -> Result<(), Failure> {
        self.operate([ops::vcpu::BIND, thread.slot(), 0, 0, 0, 0]).map(|_| ())
    }

    /// Has the calling thread run it.
    ///
    /// # Errors
    /// As [`Cap::bind`].
    pub fn adopt(&self) -> Result<(), Failure> {
        self.operate([ops::vcpu::BIND, 0, 0, 0, 0, 0]).map(|_| ())
    }

    /// Has its thread's [`run`], or the next one, come back.
    ///
    /// # Errors
    /// `NoRight` without SIGNAL, `Dead`.
    pub fn kick(&self) -> Result<(), Failure> {
        self.operate([ops::vcpu::KICK, 0, 0, 0, 0, 0]).map(|_| ())
    }
}

impl Cap<Space> {
    /// Has the kernel signal a bit when the guest writes to a port.
    ///
    /// # Errors
    /// `BadState` for another space than a guest's, `NoMemory` with the pages to fund, `BadArg`, `Busy` when there are too many.
    pub fn intercept(&self, port: u16, notification: &Cap<Notification>, bit: u8) -> Result<(), Failure> {
        let words = [
            ops::space::INTERCEPT,
            port.into(),
            notification.slot(),
            bit.into(),
            0,
            0,
        ];
        self.operate(words).map(|_| ())
    }
}

/// A vCPU's state page, mapped in this process.
#[derive(Debug)]
pub struct StatePage(Window);

impl StatePage {
    /// Attaches the Region of a vCPU's state page at a virtual page of this process's `space` that nothing else uses.
    ///
    /// # Errors
    /// Those of `attach`.
    pub fn open(region: &Cap<Region>, space: &Cap<Space>, page: u64) -> Result<Self, Failure> {
        Window::open(region, space, page, Access::ReadWrite).map(Self)
    }
}

impl Deref for StatePage {
    type Target = State;
    fn deref(&self) -> &State {
        // SAFETY: the window is at least a page, page aligned, mapped writable, and nothing of this program's overlaps it. All
        // words are atomic, and every value is valid for them. A Region that ended makes this fault, which harms nobody.
        unsafe { &*(self.0.address() as *const State) }
    }
}
