//! The kernel's state and the one lock around it.
//!
//! Key types: [`KernelLock`], [`Guard`]. Every entry into the core goes through [`KERNEL`]`.lock()`.
//!
//! # No deadlock
//! * The lock is taken with interrupts off, once an entry, and released before the entry ends; nothing taken inside
//!   waits for another core: a ring of output is taken for a moment and in bounds, and whoever asks for a TLB shootdown waits for the answers
//!   after releasing ([`crate::tlb::wait`]).
//! * Whoever spins on the lock has interrupts off and could not take the shootdown interrupt. It therefore polls its own
//!   flush counters in the wait loop ([`serve_flush`]), so that an initiator is answered by cores that run user code
//!   (interrupt), that idle (interrupt), that hold the lock (they release it in bounded time and then either wait here or
//!   leave the kernel and take the interrupt), and that wait here (polling). The initiator itself polls its own counters
//!   while it waits, so two initiators answer each other.
//! * Serving a flush takes no lock: it reads one counter, reloads CR3 and writes the other. NMI and machine check
//!   handlers take no lock either.

use core::cell::UnsafeCell;
use core::ops::Deref;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::MAX_CORES;
use ecusson_core::kernel::Kernel;
use ecusson_core::percpu::Core;

use crate::store::PhysStore;

/// The kernel's state behind its lock: whoever comes draws a ticket and waits until it is served.
pub struct KernelLock {
    next_ticket: AtomicU64,
    serving: AtomicU64,
    state: UnsafeCell<Kernel<PhysStore>>,
}

// SAFETY: the state is reached by `lock`, which one core holds at a time, except for the two atomic counters of each core,
// which `flush_counters` reaches by their address without making a reference to anything else.
unsafe impl Sync for KernelLock {}

/// The kernel.
pub static KERNEL: KernelLock = KernelLock {
    next_ticket: AtomicU64::new(0),
    serving: AtomicU64::new(0),
    state: UnsafeCell::new(Kernel::new(PhysStore::new())),
};

/// What a core does while it waits for the lock. A call that changes no register: what the waiting function has in registers
/// stays there, so that the fast paths save none for a call they hardly ever make.
#[inline(always)]
fn serve_flush() {
    // SAFETY: the stub saves what it uses, aligns the stack itself, and calls `ecusson_serve_flush`. `nostack`, because
    // this target has no red zone: nobody owns what lies below the stack pointer.
    #[cfg(target_os = "none")]
    unsafe {
        core::arch::asm!("call ecusson_wait_stub", options(nostack, preserves_flags));
    }
}

#[cfg(target_os = "none")]
core::arch::global_asm!(
    // Calls a function of C convention, all registers preserved; the stack is aligned here, for the caller does not.
    ".macro ECUSSON_QUIET_CALL function",
    "pushfq",
    "push rbp",
    "mov rbp, rsp",
    "push rax",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r11",
    "and rsp, -16",
    "call \\function",
    "lea rsp, [rbp - 72]",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rax",
    "pop rbp",
    "popfq",
    "ret",
    ".endm",
    ".pushsection .text.entry, \"ax\"",
    ".global ecusson_wait_stub, ecusson_predictions_stub",
    "ecusson_wait_stub:",
    "ECUSSON_QUIET_CALL ecusson_serve_flush",
    "ecusson_predictions_stub:",
    "ECUSSON_QUIET_CALL ecusson_leave_predictions",
    ".popsection",
);

#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn ecusson_serve_flush() {
    core::hint::spin_loop();
    crate::tlb::serve();
}

/// The lock, held.
pub struct Guard<'a>(&'a KernelLock);

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Only the holder writes this word.
        let served = self.0.serving.load(Ordering::Relaxed);
        self.0.serving.store(served.wrapping_add(1), Ordering::Release);
    }
}

impl Deref for Guard<'_> {
    type Target = Kernel<PhysStore>;
    #[inline(always)]
    fn deref(&self) -> &Kernel<PhysStore> {
        // SAFETY: while the guard lives no other core has a reference to the state; shared references of this core may
        // coexist, for everything that changes is in cells.
        unsafe { &*self.0.state.get() }
    }
}

impl KernelLock {
    /// Waits for the lock, first come first served.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            serve_flush();
        }
        Guard(self)
    }

    /// Where a core's part of the state is; for entry code, which uses it under the lock.
    pub(crate) fn core_address(&self, index: usize) -> *const Core {
        // SAFETY: only addresses are computed, inside the array.
        unsafe { addr_of!((*self.state.get()).cores[index % MAX_CORES]) }
    }

    /// A core's flush counters, wanted and done, without the lock.
    pub(crate) fn flush_counters(&self, core: *const Core) -> (&AtomicU64, &AtomicU64) {
        // SAFETY: `core` comes from `core_address`; both fields are atomics that live as long as the static, and no
        // reference to the cells beside them is made. A guard's holder has shared references only.
        unsafe { (&*addr_of!((*core).flush_wanted), &*addr_of!((*core).flush_done)) }
    }
}

impl Guard<'_> {
    /// The part of the state that belongs to the core that executes this.
    #[inline(always)]
    #[must_use]
    pub fn this_core(&self) -> &Core {
        let core: *const Core;
        // SAFETY: GS points at this core's block; the address in it was computed by `core_address`; the lock is held by this
        // guard.
        unsafe {
            core::arch::asm!("mov {}, gs:[{}]", out(reg) core, const crate::percpu::CORE,
                options(nostack, preserves_flags, readonly, pure));
            &*core
        }
    }

    /// As [`Guard::this_core`], in an entry from user mode: the core has a current thread.
    #[inline(always)]
    #[must_use]
    pub fn user_core(&self) -> &Core {
        let core = self.this_core();
        // SAFETY: a core leaves for user mode only with a thread that is current (`entry`: else it idles), and no other core
        // changes whom this one has as its current thread.
        unsafe { core::hint::assert_unchecked(core.current.get().is_some()) };
        core
    }
}
