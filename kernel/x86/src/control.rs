//! Control registers of a core: what is switched on, in one place (Intel SDM vol. 3, 2.5; AMD APM vol. 2, 3.1).
//!
//! Called by [`crate::boot`] on the booting core and by [`crate::smp`] on the others, after the core's descriptor
//! tables are loaded (so that a refused bit is reported and not a triple fault).

use x86::controlregs::{Cr0, Cr4, Xcr0, cr0, cr0_write, cr4, cr4_write, xcr0_write};

use crate::features::Features;
use crate::mitigations::Policy;
use crate::{fpu, msr};

/// EFER: SYSCALL enabled, no-execute enabled, automatic IBRS (AMD).
const EFER_SCE: u64 = 1 << 0;
const EFER_NXE: u64 = 1 << 11;
const EFER_AIBRSE: u64 = 1 << 21;

/// Page attributes: entries 0 to 3 as after reset (write-back, write-through, uncached-minus, uncached), entry 4
/// write-combining, entry 5 write-protected, 6 and 7 as 2 and 3.
const PAGE_ATTRIBUTES: u64 = 0x0007_0501_0007_0406;

/// Sets up this core's control registers.
///
/// # Safety
/// This core's descriptor tables are loaded, its page tables map the kernel without user pages, and no thread runs yet.
pub unsafe fn set_up(features: &Features, policy: &Policy) {
    // SAFETY: ring 0. Every bit written is defined, and its feature is in CPUID or was asked for by
    // `Features::missing`; none changes the meaning of a mapping the kernel uses (the PAT entries in use keep theirs).
    unsafe {
        let ibrs = if policy.automatic_ibrs { EFER_AIBRSE } else { 0 };
        msr::write(msr::EFER, msr::read(msr::EFER) | EFER_SCE | EFER_NXE | ibrs);
        msr::write(msr::PAT, PAGE_ATTRIBUTES);
        set_cr4(features);
        let cleared = Cr0::CR0_EMULATE_COPROCESSOR
            | Cr0::CR0_TASK_SWITCHED
            | Cr0::CR0_CACHE_DISABLE
            | Cr0::CR0_NOT_WRITE_THROUGH
            | Cr0::CR0_ALIGNMENT_MASK;
        let set = Cr0::CR0_WRITE_PROTECT | Cr0::CR0_NUMERIC_ERROR | Cr0::CR0_MONITOR_COPROCESSOR;
        cr0_write(cr0() & !cleared | set);
        if features.xsave {
            xcr0_write(state_components(features));
        }
        if policy.speculation_control != 0 {
            // The register came with the bits that CPUID announced; a microcode that refuses one is not worth a panic.
            let _ = msr::probe_write(msr::SPEC_CTRL, policy.speculation_control);
        }
    }
    fpu::set_up_core(features);
}

/// SAFETY of the caller: as [`set_up`].
unsafe fn set_cr4(features: &Features) {
    let mut wanted = Cr4::CR4_ENABLE_PAE | Cr4::CR4_ENABLE_SSE | Cr4::CR4_UNMASKED_SSE;
    let options = [
        (features.global_pages, Cr4::CR4_ENABLE_GLOBAL_PAGES),
        (features.machine_check, Cr4::CR4_ENABLE_MACHINE_CHECK),
        (features.xsave, Cr4::CR4_ENABLE_OS_XSAVE),
        (features.smep, Cr4::CR4_ENABLE_SMEP),
        (features.smap, Cr4::CR4_ENABLE_SMAP),
        (features.umip, Cr4::CR4_ENABLE_UMIP),
    ];
    for (has, bit) in options {
        if has {
            wanted |= bit;
        }
    }
    // FSGSBASE stays off: user mode cannot give GS a kernel address, on which the paranoid entries rely. PCID stays off:
    // one CR3 load then is one complete flush of user translations. Debug extensions, VMX and LA57 keep their value.
    // SAFETY: reading CR4 has no effect; each bit written was checked above.
    unsafe {
        let kept = cr4() & (Cr4::CR4_ENABLE_LA57 | Cr4::CR4_ENABLE_VMX);
        cr4_write(kept | wanted);
    }
}

/// The state components that threads may use: x87, SSE, and AVX, AVX-512 and protection keys where present. They fit the save area that
/// a thread has ([`fpu::AREA_BYTES`]), which `fpu::set_up_core` checks.
fn state_components(features: &Features) -> Xcr0 {
    let mut components = Xcr0::XCR0_FPU_MMX_STATE | Xcr0::XCR0_SSE_STATE;
    if features.avx {
        components |= Xcr0::XCR0_AVX_STATE;
    }
    if features.avx512 {
        components |= Xcr0::XCR0_OPMASK_STATE | Xcr0::XCR0_ZMM_HI256_STATE | Xcr0::XCR0_HI16_ZMM_STATE;
    }
    if features.protection_keys {
        // Guests may use them; switched with the rest, no guest sees another's.
        components |= Xcr0::XCR0_PKRU_STATE;
    }
    components
}
