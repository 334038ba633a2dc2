//! From the thread the core chose to the processor: current thread, address space, FPU, ports.
//!
//! Called by `ecusson` at the end of every kernel entry, under the lock: [`to_current`] on slow paths, [`fast`] on fast ones.
//! The address space is changed before the lock is released: a space that is being destroyed is in no CR3 once the core says
//! that nobody runs in it.

use ecusson_core::name::Ref;
use ecusson_core::percpu::Core;
use ecusson_core::store::{Store, Tag};
use ecusson_core::thread::{Thread, flag};

use crate::fpu::{self, Leaving};
use crate::lock::Guard;
use crate::mitigations::{BARRIER_ON_SWITCH, FILL_RETURNS};
use crate::msr;
use crate::percpu::{CoreBlock, here};
use crate::store::direct;

/// Loads a root table, if it is not loaded, and tells the core, whose shootdowns go to the cores that have a root loaded.
#[inline(always)]
fn load_root(here: &CoreBlock, core: &Core, root: u64) {
    if core.loaded_root.get() == root {
        return;
    }
    core.loaded_root.set(root);
    // SAFETY: the root of a living space (or the kernel's): its upper half is the kernel's, so that code, stack and data
    // stay mapped; its lower half is user mode's business. The core keeps its tables until the space is in no CR3.
    unsafe { x86::controlregs::cr3_write(root) }
    if here.border_work.get() & (BARRIER_ON_SWITCH | FILL_RETURNS) != 0 {
        leave_predictions(here.border_work.get());
    }
}

/// Drops what the predictors learned in another protection domain.
#[cold]
#[inline(never)]
fn leave_predictions(work: u8) {
    if work & BARRIER_ON_SWITCH != 0 {
        // SAFETY: the policy asks for it only where CPUID has IBPB; the command has no other effect.
        unsafe { msr::write(msr::PRED_CMD, 1) }
    }
    if work & FILL_RETURNS != 0 {
        fill_returns();
    }
}

/// Fills the return predictor with 32 harmless targets.
fn fill_returns() {
    // SAFETY: each call pushes an address that the addition at the end drops; the stack has room for 32 words.
    unsafe {
        core::arch::asm!(".rept 32", "call 77f", "int3", "77:", ".endr", "add rsp, 256", "lfence",);
    }
}

/// After a fast path: both threads are of this core, have neither FPU state nor ports, and run next is who the core says.
#[inline(always)]
pub fn fast(kernel: &Guard<'_>) {
    let (here, core) = (here(), kernel.this_core());
    if let Some(name) = core.current.get() {
        here.current.set(direct(name.address()));
        load_root(here, core, kernel.store.thread(name).root.get());
    }
}

/// After a slow path: makes the core's current thread, or nobody, the one that [`crate::entry::exit`] goes to.
pub fn to_current(kernel: &Guard<'_>) {
    let (here, core) = (here(), kernel.this_core());
    let next = core.current.get();
    let address = next.map_or(0, |name| direct(name.address()));
    let thread = next.map(|name| kernel.store.thread(name));
    let has = |flag| thread.is_some_and(|thread| thread.has(flag));
    let fpu_owner = if has(flag::FPU) { address } else { 0 };
    if here.fpu_owner.get() != fpu_owner {
        switch_fpu(kernel, here, fpu_owner);
    }
    if here.current.get() != address {
        here.current.set(address);
        if here.ports_open.get() || has(flag::PORTS) {
            reload_ports(kernel);
        }
    }
    match thread {
        Some(thread) => load_root(here, core, thread.root.get()),
        None => load_root(here, core, here.kernel_root.get()),
    }
}

/// Sets the I/O bitmap to what the current thread may use. Called on a switch, and when the core says that ports changed.
pub fn reload_ports(kernel: &Guard<'_>) {
    let here = here();
    here.tables.close_ports();
    here.ports_open.set(false);
    let Some(name) = kernel
        .this_core()
        .current
        .get()
        .filter(|&name| kernel.store.thread(name).has(flag::PORTS))
    else {
        return;
    };
    for (first, last) in kernel.ports_of(name) {
        here.tables.open_ports(first, last);
        here.ports_open.set(true);
    }
}

#[cold]
fn switch_fpu(kernel: &Guard<'_>, here: &CoreBlock, next: u64) {
    let owner = here.fpu_owner.get();
    // SAFETY: addresses of threads that are or were current; the owner is what was next the last time.
    unsafe { fpu::switch(owner, leaving(kernel, owner), next) }
    here.fpu_owner.set(next);
}

/// Whether the thread at an address is still one: it may have destroyed itself, and its page may have another use.
fn leaving(kernel: &Guard<'_>, owner: u64) -> Leaving {
    if owner == 0 {
        return Leaving::Gone;
    }
    let name = Ref::<Thread>::new(owner.wrapping_sub(direct(0)));
    let exists = name.is_some_and(|name| {
        kernel.store.frame(name.frame()).is(Tag::Thread) && {
            let header = &kernel.store.thread(name).header;
            header.is_alive() || header.is_dying()
        }
    });
    if exists { Leaving::Alive } else { Leaving::Gone }
}
