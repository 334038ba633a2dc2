//! The heap of a process. It is empty at first: an allocation then fails, which ends the process. A program gives it an
//! arena with `heap!`, and more with [`grow`].
//!
//! Key items: `heap!`, [`grow`]. The allocator is `talc`, in every program (where nothing allocates it is not linked); its
//! lock spins, so that only threads of one priority and core, or of different cores, should allocate: see [`SpinLock`].

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use talc::TalcLock;
use talc::source::Manual;

use crate::lock::SpinLock;
use crate::window::Window;

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap(TalcLock::new(Manual));

/// What the language's allocation calls.
struct Heap(TalcLock<SpinLock, Manual>);

// SAFETY: hands everything to `TalcLock`, whose contract is the same.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the contract.
        unsafe { self.0.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: by the contract.
        unsafe { self.0.realloc(pointer, layout, bytes) }
    }
}

/// Adds a mapped window of memory to the heap, for ever. A window that is read-only or too small to be of use is lost.
pub fn grow(window: Window) {
    if let Some((base, bytes)) = window.leak_writable() {
        // SAFETY: the window was this process's alone and is leaked; `Window` made sure that it was mapped writable
        // where nothing else was.
        let _ = unsafe { HEAP.0.lock().claim(base, bytes) };
    }
}

/// Static memory for the heap; made by `heap!`. All zero, so that it takes no place in the image.
#[derive(Debug)]
pub struct Arena<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    is_taken: AtomicBool,
}

// SAFETY: the bytes are reached by `give` alone, which hands them to the heap once.
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

impl<const BYTES: usize> Arena<BYTES> {
    /// An arena nobody uses yet.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; BYTES]),
            is_taken: AtomicBool::new(false),
        }
    }

    /// Gives it to the heap, the first time.
    pub fn give(&'static self) {
        if !self.is_taken.swap(true, Ordering::Relaxed) {
            // SAFETY: static memory that nothing else can name, claimed once.
            let _ = unsafe { HEAP.0.lock().claim(self.bytes.get().cast(), BYTES) };
        }
    }
}

/// Gives the heap an arena of so many bytes. A statement, at the beginning of `main`.
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {{
        static ARENA: $crate::heap::Arena<{ $bytes }> = $crate::heap::Arena::new();
        ARENA.give();
    }};
}
