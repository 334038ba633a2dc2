//! Memory that the device reaches, in pieces of whole pages.
//!
//! Key type: [`DmaBuffer`]. The pool is filled by `process.rs`; `hal.rs` takes rings from it, drivers their buffers.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

const PAGE: usize = ecusson_abi::PAGE_BYTES as usize;
/// Pages of the pool: one bit each in a word.
pub(crate) const POOL_PAGES: u64 = 64;

pub(crate) static POOL: Pool = Pool {
    claimed: AtomicBool::new(false),
    base: AtomicUsize::new(0),
    bus: AtomicU64::new(0),
    taken: AtomicU64::new(u64::MAX),
};

/// The process's one pool.
pub(crate) struct Pool {
    /// Whether somebody fills it, or has.
    claimed: AtomicBool,
    base: AtomicUsize,
    bus: AtomicU64,
    /// A bit for each page that is taken; all of them before the pool is filled.
    taken: AtomicU64,
}

/// Pages of the pool, out of its bits for as long as this lives.
pub(crate) struct Pages {
    pub(crate) start: NonNull<u8>,
    pub(crate) bus: u64,
}

impl Pool {
    /// The right to fill it; `true` once.
    pub(crate) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// # Safety
    /// Called once, by who has claimed it. `POOL_PAGES` pages are mapped at `base`, writable, for this process alone and for ever; the device sees them at
    /// `bus`.
    pub(crate) unsafe fn fill(&self, base: usize, bus: u64) {
        self.base.store(base, Ordering::Relaxed);
        self.bus.store(bus, Ordering::Relaxed);
        self.taken.store(0, Ordering::Release);
    }

    /// The bits of so many pages in a row.
    fn run(pages: usize) -> Option<u64> {
        match pages {
            1..64 => Some((1 << pages) - 1),
            64 => Some(u64::MAX),
            _ => None,
        }
    }

    /// Takes pages that lie in a row, zeroed.
    pub(crate) fn take(&self, pages: usize) -> Option<Pages> {
        let run = Self::run(pages)?;
        let mut found = 0;
        let choose = |taken: u64| {
            found = (0..=64 - pages).find(|first| taken & (run << first) == 0)?;
            Some(taken | run << found)
        };
        self.taken
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, choose)
            .ok()?;
        let offset = found * PAGE;
        let start = self.base.load(Ordering::Relaxed) + offset;
        let start = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(start))?;
        // SAFETY: pages of the pool (`fill`), which are this caller's since their bits were set.
        unsafe { start.write_bytes(0, pages * PAGE) };
        Some(Pages {
            start,
            bus: self.bus.load(Ordering::Relaxed) + offset as u64,
        })
    }

    /// # Safety
    /// `take` gave these pages, so many of them, and nobody uses them any more, the device included.
    pub(crate) unsafe fn give_back(&self, start: NonNull<u8>, pages: usize) {
        let first = (start.addr().get() - self.base.load(Ordering::Relaxed)) / PAGE;
        let run = Self::run(pages).unwrap_or(0);
        self.taken.fetch_and(!(run << first), Ordering::Release);
    }

    /// Where the device sees bytes of the pool. `None` for others.
    pub(crate) fn bus_address(&self, start: usize, bytes: usize) -> Option<u64> {
        let offset = start.checked_sub(self.base.load(Ordering::Relaxed))?;
        let end = offset.checked_add(bytes)?;
        (end <= POOL_PAGES as usize * PAGE).then(|| self.bus.load(Ordering::Relaxed) + offset as u64)
    }
}

/// The pool has no such run of pages free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Bytes that the device reaches. They go back to the pool when it is dropped; while the device may use them, a
/// [`crate::BufferQueue`] holds it.
#[derive(Debug)]
pub struct DmaBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

impl DmaBuffer {
    /// So many zeroes.
    ///
    /// # Errors
    /// [`NoRoom`], also for no bytes.
    pub fn new(bytes: usize) -> Result<Self, NoRoom> {
        let Pages { start, .. } = POOL.take(bytes.div_ceil(PAGE)).ok_or(NoRoom)?;
        Ok(Self { start, bytes })
    }
}

impl Deref for DmaBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: this buffer's own pages, initialised; borrowed as this is. The device writes only what a queue holds, and a queue
        // gives nobody else a reference meanwhile.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.bytes).as_ref() }
    }
}

impl DerefMut for DmaBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, borrowed mutably.
        unsafe { NonNull::slice_from_raw_parts(self.start, self.bytes).as_mut() }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY: taken by `new`; whoever drops it is its one owner, and a queue drops none that the device may use.
        unsafe { POOL.give_back(self.start, self.bytes.div_ceil(PAGE)) };
    }
}
