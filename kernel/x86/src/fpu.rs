//! FPU state: the registers hold the state of the thread that runs, or the initial state, never another thread's
//! (Intel SDM vol. 1, chapter 13; AMD APM vol. 2, 11.5).
//!
//! A thread with the FPU flag has a save area in the upper 3 KiB of its page. It is saved, and the registers are reset, when
//! the thread is switched away from. While a thread without the flag runs, CR0.TS makes every use fault. Called by
//! [`crate::switch`] only when one of the two threads of a switch has the flag; such threads never take the fast paths.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use x86::controlregs::{Cr0, cr0, cr0_write};

use crate::features::{Features, Vendor, xsave_bytes};

/// Offset of the save area in a thread's page.
pub const AREA_OFFSET: usize = 1024;
/// Bytes of the save area.
pub const AREA_BYTES: u32 = 3072;

const FCW_OFFSET: usize = 0;
const MXCSR_OFFSET: usize = 24;
const MXCSR_MASK_OFFSET: usize = 28;
const INITIAL_FCW: u16 = 0x037F;
const INITIAL_MXCSR: u32 = 0x1F80;

static SAVE: AtomicU32 = AtomicU32::new(Save::Fxsave as u32);
static CLEAR_POINTERS: AtomicBool = AtomicBool::new(false);

/// Which instruction saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Save {
    Fxsave,
    Xsave,
    Xsaveopt,
}

/// A save area that was never used: what an empty one in a fresh page is not, because a zero MXCSR unmasks exceptions.
#[repr(C, align(64))]
struct Area([u32; AREA_BYTES as usize / 4]);

static INITIAL: Area = {
    let mut area = [0; AREA_BYTES as usize / 4];
    area[FCW_OFFSET / 4] = INITIAL_FCW as u32;
    area[MXCSR_OFFSET / 4] = INITIAL_MXCSR;
    Area(area)
};

/// Chooses the instructions, checks that the state fits, and leaves the registers in the initial state with TS set.
pub(crate) fn set_up_core(features: &Features) {
    let save = if !features.xsave {
        Save::Fxsave
    } else if features.xsaveopt {
        Save::Xsaveopt
    } else {
        Save::Xsave
    };
    SAVE.store(save as u32, Ordering::Relaxed);
    CLEAR_POINTERS.store(
        features.vendor == Vendor::Amd && !features.restores_error_pointers,
        Ordering::Relaxed,
    );
    assert!(
        !features.xsave || xsave_bytes() <= AREA_BYTES,
        "the processor's FPU state does not fit a thread"
    );
    set_task_switched(Use::Allowed);
    restore(core::ptr::from_ref(&INITIAL).cast());
    set_task_switched(Use::Faults);
}

/// Whether user mode may use the FPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Allowed,
    Faults,
}

fn set_task_switched(wanted: Use) {
    // SAFETY: TS makes FPU instructions fault and has no other effect; the kernel itself is built without them.
    unsafe {
        match wanted {
            Use::Allowed => core::arch::asm!("clts", options(nomem, nostack, preserves_flags)),
            Use::Faults => cr0_write(cr0() | Cr0::CR0_TASK_SWITCHED),
        }
    }
}

fn save(area: *mut u8) {
    // SAFETY: callers pass the area of a thread: 3072 bytes, 64-byte aligned, and nobody's reference goes there. The areas
    // are only ever written by these instructions (or as below), so that a later restore accepts them. XSAVEOPT may rely on
    // the last restore of this core having been from the same area: every switch away ends with a restore from another one.
    unsafe {
        if SAVE.load(Ordering::Relaxed) == Save::Xsaveopt as u32 {
            core::arch::asm!("xsaveopt64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        } else if SAVE.load(Ordering::Relaxed) == Save::Xsave as u32 {
            core::arch::asm!("xsave64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
        } else {
            core::arch::asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
    }
}

fn restore(area: *const u8) {
    // SAFETY: as in `save`; user mode's FPU registers change, which is the purpose, and the kernel's code uses none.
    unsafe {
        if CLEAR_POINTERS.load(Ordering::Relaxed) {
            // These processors restore the pointers to the last x87 instruction and operand only when an exception is
            // pending; loading something makes them point into the kernel's image instead of showing the last owner's.
            core::arch::asm!("fnclex", "ffree st(7)", "fild dword ptr [{}]", in(reg) &raw const INITIAL,
                options(nostack, readonly));
        }
        if SAVE.load(Ordering::Relaxed) == Save::Fxsave as u32 {
            core::arch::asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly));
        } else {
            core::arch::asm!("xrstor64 [{}]", in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
                options(nostack, readonly));
        }
    }
}

/// What a thread whose FPU state is in the registers is worth when it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It exists: save.
    Alive,
    /// It was destroyed: forget.
    Gone,
}

/// Makes the registers those of `next` (virtual address of a thread with the FPU flag, 0 for none), saving those of
/// `owner` (likewise) if it is still there.
///
/// # Safety
/// Both are addresses of threads' pages, or 0; the kernel lock is held; `owner` is what the last call had as `next`.
pub(crate) unsafe fn switch(owner: u64, leaving: Leaving, next: u64) {
    if owner != 0 {
        if leaving == Leaving::Alive {
            save((owner as usize + AREA_OFFSET) as *mut u8);
        }
        if next == 0 {
            restore(core::ptr::from_ref(&INITIAL).cast());
            set_task_switched(Use::Faults);
            return;
        }
    } else if next != 0 {
        set_task_switched(Use::Allowed);
    }
    if next != 0 {
        let area = (next as usize + AREA_OFFSET) as *mut u8;
        // SAFETY: inside the thread's page, by the contract. The mask of MXCSR is not zero once an area was saved to.
        unsafe {
            if area.add(MXCSR_MASK_OFFSET).cast::<u32>().read() == 0 {
                area.add(FCW_OFFSET).cast::<u16>().write(INITIAL_FCW);
                area.add(MXCSR_OFFSET).cast::<u32>().write(INITIAL_MXCSR);
            }
        }
        restore(area);
    }
}
