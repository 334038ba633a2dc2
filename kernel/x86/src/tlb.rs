//! TLB shootdown: serving requests of other cores and waiting for their answers. The argument why it cannot deadlock is in
//! [`crate::lock`].
//!
//! A request is a generation written by the core under the lock (`flush_wanted`); the answer is that the target's
//! `flush_done` reaches it. A target that never loads the space again but has it in its TLB under another root cannot exist:
//! without PCID every CR3 load flushes all user translations, so only cores whose CR3 holds the space are asked.

use core::sync::atomic::Ordering;

use crate::apic;
use crate::lock::{Guard, KERNEL};
use crate::percpu::{self, here};

/// Drops all user translations of this core. Kernel mappings are global and never change.
#[inline]
fn flush() {
    // SAFETY: ring 0; the value is the one CR3 holds.
    unsafe { x86::controlregs::cr3_write(x86::controlregs::cr3()) }
}

/// Answers a shootdown request, if one waits for this core. Takes no lock; called with interrupts off, so a core cannot
/// serve itself twice at once.
pub fn serve() {
    let (wanted, done) = KERNEL.flush_counters(here().core.get());
    let generation = wanted.load(Ordering::Acquire);
    if generation > done.load(Ordering::Relaxed) {
        // The flush stands between the two counters in program order, and CR3 loads are serialising: translations used
        // after `done` is seen were made from tables as they were after `wanted` was written.
        flush();
        crate::svm::flush_loaded();
        done.store(generation, Ordering::Release);
    }
}

/// The cores that have not yet answered a request, as a mask; collected under the lock.
#[must_use]
pub fn pending(kernel: &Guard<'_>) -> u64 {
    let count = kernel.core_count();
    let waiting = kernel
        .cores
        .iter()
        .take(count)
        .enumerate()
        .filter(|(_, core)| core.needs_flush());
    waiting.fold(0, |mask, (index, _)| mask | 1 << index)
}

/// Has the cores of a mask enter the kernel and choose anew.
pub fn interrupt(mask: u64) {
    for index in bits(mask) {
        apic::send(percpu::block(index).apic_id(), apic::RESCHEDULE_VECTOR);
    }
}

/// After the lock was released: has the cores of a mask flush, this one among them, and waits until each has answered.
pub fn wait(mask: u64) {
    serve();
    let others = mask & !(1 << here().index());
    if others == 0 {
        return;
    }
    for index in bits(others) {
        apic::send(percpu::block(index).apic_id(), apic::FLUSH_VECTOR);
    }
    for index in bits(others) {
        let (wanted, done) = KERNEL.flush_counters(percpu::block(index).core.get());
        let generation = wanted.load(Ordering::Acquire);
        while done.load(Ordering::Acquire) < generation {
            core::hint::spin_loop();
            serve();
            if crate::smp::is_stopping() {
                crate::smp::halt();
            }
        }
    }
}

/// Indices of the set bits.
pub(crate) fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |index| mask >> index & 1 != 0)
}
