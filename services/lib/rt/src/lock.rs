//! Mutual exclusion between the threads of a process.
//!
//! Key type: [`Mutex`]. Used by the heap, and by processes with several threads.

use core::sync::atomic::{AtomicBool, Ordering};

/// A value that one thread at a time uses, for moments: see [`SpinLock`] for which threads may share one.
pub type Mutex<T> = lock_api::Mutex<SpinLock, T>;

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
