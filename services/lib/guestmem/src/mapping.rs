//! Where a range of guest memory comes from.
//!
//! Key type: [`Mapping`]. Made by whoever sets a guest's backend up, consumed by `GuestMemory::new`.

use alloc::boxed::Box;
use core::sync::atomic::AtomicU64;

use ecusson_rt::window;

use crate::routine::Place;
use crate::{Access, Gpa};

/// A range of guest-physical addresses, and the memory of this process that shows it.
#[derive(Debug)]
pub struct Mapping {
    pub(crate) guest: Gpa,
    pub(crate) place: Place,
    pub(crate) access: Access,
    /// Keeps the place what it is.
    _backing: Backing,
}

#[derive(Debug)]
enum Backing {
    /// A Region attached to this process. Held, so that nobody writes by it or closes it.
    Window { _window: window::Window },
    /// Memory of this process's own heap; as atomics, because it is changed through a shared reference.
    Own { _words: Box<[AtomicU64]> },
}

impl Mapping {
    /// A Region of the guest's memory that is attached here, for as long as its owner leaves it; the guest sees its first
    /// byte at `guest`. `None` for a window that is longer than the address space.
    ///
    /// The place of the window must stay the guest's: nothing else may be attached there while the mapping is used.
    #[must_use]
    pub fn of_window(guest: Gpa, window: window::Window) -> Option<Self> {
        let bytes = usize::try_from(window.bytes()).ok()?;
        let address = usize::try_from(window.address()).ok()?;
        let access = match window.access() {
            window::Access::ReadOnly => Access::Read,
            window::Access::ReadWrite => Access::Write,
        };
        // SAFETY: a window overlays nothing of this program's (`Window::open`), and the one owner of this one is consumed.
        let place = unsafe { Place::new(address, bytes) };
        Some(Self {
            guest,
            place,
            access,
            _backing: Backing::Window { _window: window },
        })
    }

    /// Memory of this process's own, zeroes at first, that the guest would see at `guest`: for tests and for programs that
    /// are their own guest. `bytes` is rounded up to a multiple of 8.
    #[must_use]
    pub fn own(guest: Gpa, bytes: usize) -> Self {
        let words: Box<[AtomicU64]> = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
        let address = words.as_ptr().expose_provenance();
        // SAFETY: the words are atomics on the heap, which the mapping keeps and nobody else borrows.
        let place = unsafe { Place::new(address, words.len() * 8) };
        Self {
            guest,
            place,
            access: Access::Write,
            _backing: Backing::Own { _words: words },
        }
    }

    /// The same, for looking only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    /// Memory at an address of this process.
    ///
    /// # Safety
    /// While the mapping exists, `address` and `bytes` behind it hold no object that this program uses otherwise. It need
    /// not be mapped.
    #[must_use]
    pub unsafe fn at(guest: Gpa, address: usize, bytes: usize, access: Access) -> Self {
        // SAFETY: by the contract.
        let place = unsafe { Place::new(address, bytes) };
        Self {
            guest,
            place,
            access,
            _backing: Backing::Own { _words: Box::default() },
        }
    }
}
