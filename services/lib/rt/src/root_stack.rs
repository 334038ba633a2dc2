//! A stack for the root process with nothing mapped below it: root is started by the kernel, and nobody else could make one.
//!
//! Key function: [`enter`]. Called by `guarded_root_entry!`.

use ecusson_abi::{Error, PAGE_BYTES, Rights, root_slots};

use crate::cap::kind::{Memory, ProtectionDomain, Space};
use crate::cap::{Cap, Failure};

/// First page of the stack. What a root process maps by itself lies from 0x20_0000_0000 on, its program far below.
pub const FIRST_PAGE: u64 = 0x10_0000_0000 / PAGE_BYTES;

/// Goes over to a new stack of so many bytes and runs `main` on it. Without memory for it, root ends: nothing works then.
pub fn enter(bytes: u64, main: fn() -> !) -> ! {
    match make(bytes.div_ceil(PAGE_BYTES)) {
        Ok(top) => switch(top, main),
        Err(failure) => {
            crate::println!("root: no memory for its stack: {failure}");
            crate::sys::fault()
        }
    }
}

/// Makes and maps the pages; the address behind the last.
fn make(pages: u64) -> Result<u64, Failure> {
    let memory = Cap::<Memory>::at(root_slots::MEMORY);
    let space = Cap::<Space>::at(root_slots::SPACE);
    // The first slot that the kernel leaves empty; it is empty again before `main` begins.
    let slot = root_slots::MEMORY + root_slots::MEMORY_COUNT;
    let region = memory.create_region(pages, 0, slot)?;
    region.scrub()?;
    let access = Rights::READ.with(Rights::WRITE);
    while let Err(failure) = region.attach(&space, FIRST_PAGE, access) {
        if failure.error != Error::NoMemory {
            return Err(failure);
        }
        space.fund(&memory, failure.argument.max(1))?;
    }
    Cap::<ProtectionDomain>::at(root_slots::SELF).empty(slot)?;
    Ok((FIRST_PAGE + pages) * PAGE_BYTES)
}

#[cfg(target_os = "none")]
fn switch(top: u64, main: fn() -> !) -> ! {
    // SAFETY: below `top` are pages that were made and mapped for this and that nobody can take away: no capability to them is
    // left. The old stack is given up with all that is on it; `main` does not return to it. `top` is page aligned, as it must be before a
    // call (System V ABI, 3.2.2).
    unsafe {
        core::arch::asm!("mov rsp, {top}", "xor ebp, ebp", "call {main}", "ud2",
            top = in(reg) top, main = in(reg) main, options(noreturn));
    }
}

/// Elsewhere it is only type-checked.
#[cfg(not(target_os = "none"))]
fn switch(_top: u64, main: fn() -> !) -> ! {
    main()
}
