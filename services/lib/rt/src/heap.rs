//! The heap of a process: a static arena to begin with, and whatever memory is added later.
//!
//! Key items: [`Heap`], `heap!`. The allocator is `talc`; its lock spins, so that only threads of one priority and core,
//! or of different cores, should allocate: see [`SpinLock`].

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, Ordering};

use talc::TalcLock;
use talc::source::Claim;

/// A lock for moments. A thread that finds it taken yields to others of its priority; a thread of higher priority on the
/// same core would wait for ever, which is why only one of such two may use the heap.
#[derive(Debug)]
pub struct SpinLock(AtomicBool);

// SAFETY: `compare_exchange` with Acquire lets one thread in; `unlock` with Release, called by the holder only, lets the next
// one see what it wrote.
unsafe impl lock_api::RawMutex for SpinLock {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(AtomicBool::new(false));
    type GuardMarker = lock_api::GuardSend;

    fn lock(&self) {
        while !self.try_lock() {
            crate::sys::yield_now();
        }
    }

    fn try_lock(&self) -> bool {
        self.0
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// An allocator; made by `heap!`.
#[allow(missing_debug_implementations)]
pub struct Heap(TalcLock<SpinLock, Claim>);

impl Heap {
    /// A heap over an arena.
    ///
    /// # Safety
    /// The arena is read and written by nobody else, for ever.
    #[must_use]
    pub const unsafe fn new(arena: *mut u8, bytes: usize) -> Self {
        // SAFETY: by the contract.
        Self(TalcLock::new(unsafe { Claim::new(arena, bytes) }))
    }

    /// Adds a mapped window of memory, for ever. A window too small to be of use is lost.
    pub fn grow(&self, window: crate::window::Window) {
        if let Some((base, bytes)) = window.leak_writable() {
            // SAFETY: the window was this process's alone and is leaked; `Window` made sure that it was mapped writable
            // where nothing else was.
            let _ = unsafe { self.0.lock().claim(base, bytes) };
        }
    }
}

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

/// Gives a program a heap, named `HEAP`, with an arena of so many bytes to begin with.
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        #[cfg_attr(target_os = "none", global_allocator)]
        #[allow(dead_code)]
        static HEAP: $crate::heap::Heap = {
            #[repr(align(16))]
            struct Arena(core::cell::UnsafeCell<[u8; $bytes]>);
            // SAFETY: nobody but the heap has its address.
            unsafe impl Sync for Arena {}
            static ARENA: Arena = Arena(core::cell::UnsafeCell::new([0; $bytes]));
            // SAFETY: nothing else can name the arena.
            unsafe { $crate::heap::Heap::new(ARENA.0.get().cast(), $bytes) }
        };
    };
}
