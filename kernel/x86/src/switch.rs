//! From the thread the core chose to the processor: current thread, address space, FPU, ports.
//!
//! Called by `ecusson` at the end of every kernel entry, under the lock: [`to_current`] on slow paths, [`fast`] and
//! [`to_thread`] on fast ones.
//! The address space is changed before the lock is released: a space that is being destroyed is in no CR3 once the core says
//! that nobody runs in it.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_core::name::Ref;
use ecusson_core::percpu::Core;
use ecusson_core::store::{Store, Tag};
use ecusson_core::thread::{Thread, flag};

use crate::bind::Fast;
use crate::descriptors::{self, Visibility};
use crate::fpu::{self, Leaving};
use crate::lock::Guard;
use crate::mitigations::{BARRIER_ON_SWITCH, FILL_RETURNS};
use crate::msr;
use crate::percpu::{CoreBlock, here};
use crate::store::direct;
use crate::svm;

/// What else a fast path does when it changes the address space: nothing, or what this processor's policy asks for. Entry code
/// knows which, so that the one that most processors need makes no test.
pub trait Border {
    /// Between two protection domains.
    fn cross();
}

/// For processors that have no work there.
#[derive(Debug)]
pub struct Open;

impl Border for Open {
    #[inline(always)]
    fn cross() {}
}

/// For all others, and for whoever does not know.
#[derive(Debug)]
pub struct Guarded;

impl Border for Guarded {
    #[inline(always)]
    fn cross() {
        // Changes no register, so that the fast paths keep theirs over a call that most processors do not need.
        // SAFETY: the stub saves what it uses, aligns the stack itself, and calls `ecusson_leave_predictions`. `nostack` as in
        // `lock::serve_flush`: this target has no red zone.
        #[cfg(target_os = "none")]
        unsafe {
            core::arch::asm!(
                "test byte ptr gs:[{work}], {bits}",
                "jz 2f",
                "call ecusson_predictions_stub",
                "2:",
                work = const crate::percpu::BORDER_WORK,
                bits = const BARRIER_ON_SWITCH | FILL_RETURNS,
                options(nostack),
            );
        }
    }
}

/// Loads a root table, if it is not loaded, and tells the core, whose shootdowns go to the cores that have a root loaded.
#[inline(always)]
fn load_root<B: Border>(core: &Core, root: u64) {
    if core.loaded_root.get() == root {
        return;
    }
    core.loaded_root.set(root);
    // SAFETY: the root of a living space (or the kernel's): its upper half is the kernel's, so that code, stack and data
    // stay mapped; its lower half is user mode's business. The core keeps its tables until the space is in no CR3. Written
    // here and not by `x86::controlregs`, which does not say that it leaves the stack alone: the compiler would align it.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
    B::cross();
}

/// Drops what the predictors learned in another protection domain.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn ecusson_leave_predictions() {
    let work = here().border_work.get();
    if work & BARRIER_ON_SWITCH != 0 {
        // SAFETY: the policy asks for it only where CPUID has IBPB; the command has no other effect.
        unsafe { msr::write(msr::PRED_CMD, 1) }
    }
    if work & FILL_RETURNS != 0 {
        fill_returns();
    }
}

/// Fills the return predictor with 32 harmless targets.
#[cfg(target_os = "none")]
fn fill_returns() {
    // SAFETY: each call pushes an address that the addition at the end drops; the stack has room for 32 words.
    unsafe {
        core::arch::asm!(".rept 32", "call 77f", "int3", "77:", ".endr", "add rsp, 256", "lfence",);
    }
}

/// After a fast path that switched: both threads are of this core and have neither FPU state nor ports; run next is who the
/// core says.
#[inline(always)]
pub fn fast<B: Border>(kernel: &Guard<'_>, core: &Core, second: u64) -> Option<Fast> {
    let name = core.current.get()?;
    let address = direct(name.address());
    // SAFETY: GS points at this core's block; the word is the one that `CoreBlock::current` writes.
    unsafe {
        core::arch::asm!("mov gs:[{}], {}", const crate::percpu::CURRENT, in(reg) address,
            options(nostack, preserves_flags));
    }
    load_root::<B>(core, kernel.store.thread(name).root.get());
    Some(Fast::to(address, second))
}

/// After a fast path that did not switch.
#[inline(always)]
pub fn stay(core: &Core, second: u64) -> Option<Fast> {
    let name = core.current.get()?;
    Some(Fast::to(direct(name.address()), second))
}

/// After entry code has saved all registers of the current thread and the core has noted it: whoever runs next is somebody else.
#[inline(always)]
pub fn registers_are_saved() {
    here().full_context.set(0);
}

/// After entry code has saved all registers of the current thread: notes that in the thread, under the lock, before the core
/// decides about it. Nothing to note when the idle loop was interrupted, or the way into a guest.
#[inline(always)]
pub fn note_full_context(kernel: &Guard<'_>) {
    if here().full_context.take() == 1
        && let Some(name) = kernel.this_core().current.get()
    {
        kernel.store.thread(name).set_flag(flag::FULL_CONTEXT);
    }
}

/// After a fast path behind saved registers, which made a thread this core's current one.
#[inline(always)]
pub fn to_thread(kernel: &Guard<'_>, core: &Core, name: Ref<Thread>) {
    let (here, thread) = (here(), kernel.store.thread(name));
    if here.is_loaded.get() || thread.has(flag::LOADED | flag::GUEST | flag::LEFT_GUEST) {
        return to_loaded(kernel);
    }
    if thread.has(flag::FULL_CONTEXT) {
        thread.clear_flag(flag::FULL_CONTEXT);
        here.full_context.set(1);
    }
    here.current.set(direct(name.address()));
    change_space(core, thread.root.get());
}

#[cold]
#[inline(never)]
fn to_loaded(kernel: &Guard<'_>) {
    to_current(kernel);
}

/// After a slow path: makes the core's current thread, or nobody, the one that [`crate::entry::exit`] goes to, and takes over
/// from the thread's flag which registers are to be loaded.
#[inline(always)]
pub fn to_current(kernel: &Guard<'_>) {
    let (here, core) = (here(), kernel.this_core());
    let mut address = 0;
    if let Some(name) = core.current.get() {
        address = direct(name.address());
        let thread = kernel.store.thread(name);
        if thread.has(flag::FULL_CONTEXT | flag::GUEST | flag::LEFT_GUEST) {
            choose_exit(kernel, name);
        }
    }
    // The same thread goes on: its space, FPU state and ports are loaded. A thread does not change them, but for its ports,
    // of which the core tells.
    if here.current.get() == address {
        return;
    }
    match core.current.get().map(|name| kernel.store.thread(name)) {
        Some(thread) if !here.is_loaded.get() && !thread.has(flag::LOADED | flag::GUEST) => {
            here.current.set(address);
            change_space(core, thread.root.get());
        }
        _ => switch_to(kernel, core, address),
    }
}

/// Which way the current thread leaves the kernel: with all registers, into its guest, or as from a system call.
#[inline(never)]
fn choose_exit(kernel: &Guard<'_>, name: Ref<Thread>) {
    let (here, thread) = (here(), kernel.store.thread(name));
    let enters = thread.has(flag::GUEST) && svm::prepare(kernel, name);
    if thread.has(flag::LEFT_GUEST) {
        thread.clear_flag(flag::LEFT_GUEST);
        svm::save(kernel, thread);
    }
    if enters != (here.guest.block.get() != 0) {
        here.current.set(NOBODY);
    }
    if enters {
        here.full_context.set(2);
    } else if thread.has(flag::FULL_CONTEXT) {
        thread.clear_flag(flag::FULL_CONTEXT);
        here.full_context.set(1);
    }
}

/// No thread's address, nor none: whatever comes next is a switch.
const NOBODY: u64 = 1;

#[inline(never)]
fn switch_to(kernel: &Guard<'_>, core: &Core, address: u64) {
    let here = here();
    let thread = core.current.get().map(|name| kernel.store.thread(name));
    let flags = thread.map_or(0, |thread| thread.run.get());
    here.current.set(address);
    let guest = thread
        .filter(|_| flags & flag::GUEST != 0)
        .and_then(|thread| thread.vcpu.get());
    svm::unload(kernel, guest);
    let fpu_owner = match guest {
        Some(_) => here.guest.block.get(),
        None if flags & flag::FPU != 0 => address,
        None => 0,
    };
    if here.fpu_owner.get() != fpu_owner {
        switch_fpu(kernel, here, fpu_owner);
    }
    svm::load();
    if here.ports_shown.get() || flags & flag::PORTS != 0 {
        set_ports(kernel);
    }
    note_loaded(here);
    let root = thread.map_or(here.kernel_root.get(), |thread| thread.root.get());
    change_space(core, root);
}

fn note_loaded(here: &CoreBlock) {
    here.is_loaded.set(here.fpu_owner.get() != 0 || here.ports_shown.get());
}

/// As [`load_root`], and drops what the last process left in the selectors. The fast paths of calls and faults do not: what a caller
/// leaves gets no further than to its server and back.
#[inline(always)]
fn change_space(core: &Core, root: u64) {
    if core.loaded_root.get() != root {
        descriptors::drop_selectors();
    }
    load_root::<Guarded>(core, root);
}

/// Changes whenever some domain's ports do, on any core: bitmaps filled before are stale. Written and read under the lock.
static PORTS_GENERATION: AtomicU64 = AtomicU64::new(1);

/// The core says that a domain's ports changed: no bitmap of any core counts any more unless it is filled anew.
pub fn ports_changed(kernel: &Guard<'_>) {
    PORTS_GENERATION.fetch_add(1, Ordering::Relaxed);
    set_ports(kernel);
}

/// Has this core's I/O bitmap say what the current thread may use. Filling it takes a thousand instructions, hiding and showing
/// it a few, so it stays filled while others run. Called on a switch from or to a thread with ports, and, by `ecusson`, when
/// another core has this one enter the kernel, for that is how a running thread loses ports.
pub fn set_ports(kernel: &Guard<'_>) {
    let here = here();
    let current = kernel.this_core().current.get();
    let name = current.filter(|&name| kernel.store.thread(name).has(flag::PORTS));
    here.ports_shown.set(name.is_some());
    note_loaded(here);
    let Some(name) = name else {
        here.tables.show_ports(Visibility::Hidden);
        return;
    };
    let domain = kernel.store.thread(name).domain.get().map_or(0, Ref::address);
    let wanted = (domain, PORTS_GENERATION.load(Ordering::Relaxed));
    if here.ports_filled.get() != wanted {
        here.tables.close_ports();
        for (first, last) in kernel.ports_of(name) {
            here.tables.open_ports(first, last);
        }
        here.ports_filled.set(wanted);
    }
    here.tables.show_ports(Visibility::Shown);
}

#[cold]
fn switch_fpu(kernel: &Guard<'_>, here: &CoreBlock, next: u64) {
    let owner = here.fpu_owner.get();
    // SAFETY: addresses of threads that are or were current; the owner is what was next the last time.
    unsafe { fpu::switch(owner, leaving(kernel, owner), next) }
    here.fpu_owner.set(next);
}

/// Whether the thread at an address is still one, or a loaded vCPU's block, which cannot end: the thread may have destroyed itself, and its page may have another use.
fn leaving(kernel: &Guard<'_>, owner: u64) -> Leaving {
    if owner == 0 {
        return Leaving::Gone;
    }
    let name = Ref::<Thread>::new(owner.wrapping_sub(direct(0)));
    let exists = name.is_some_and(|name| {
        kernel.store.frame(name.frame()).is(Tag::Vcpu)
            || kernel.store.frame(name.frame()).is(Tag::Thread) && {
                let header = &kernel.store.thread(name).header;
                header.is_alive() || header.is_dying()
            }
    });
    if exists { Leaving::Alive } else { Leaving::Gone }
}
