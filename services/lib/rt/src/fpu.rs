//! The FPU registers of this thread as a value: all of x87, MXCSR, XMM and the upper halves of YMM.
//!
//! Programs are compiled without floating point and vectors, so that nothing but these functions touches the registers; a
//! thread that calls them needs the manifest's `fpu = true` (or the flag `USES_FPU`), else it faults. Key type:
//! [`FpuState`]. Used by tests that look for one thread's state in another's registers.

use core::arch::asm;
use core::arch::x86_64::__cpuid;

/// Control word of x87 in its initial state (Intel SDM vol. 1, 8.1.5).
const INITIAL_CONTROL: u64 = 0x037F;
/// MXCSR in its initial state.
const INITIAL_MXCSR: u64 = 0x1F80;
/// Control, status and tag word in the first word of the FXSAVE image. Behind them are the last opcode and, in two more words,
/// the last instruction's and operand's addresses, which processors keep only while an exception is pending.
const CONTROL_STATUS_TAG: u64 = 0x00FF_FFFF_FFFF;

/// What is in the registers, but for the addresses of the last x87 instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct FpuState {
    /// The FXSAVE image (Intel SDM vol. 1, 10.5.1).
    image: [u64; 64],
    /// Bits 128 to 255 of YMM0 to YMM15; zero without AVX.
    upper: [u64; 32],
}

impl FpuState {
    /// Whether this is what a new thread finds: empty x87 registers, all others zero, no exception unmasked.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        let mut image = self.image;
        let (control, modes) = (image[0], image[3] & u64::from(u32::MAX));
        // The upper half of this word says which bits of MXCSR exist.
        (image[0], image[3]) = (0, 0);
        control == INITIAL_CONTROL && modes == INITIAL_MXCSR && image.iter().chain(&self.upper).all(|&word| word == 0)
    }
}

fn has_avx() -> bool {
    /// CPUID leaf 1, ECX: the kernel enabled XSAVE; AVX exists.
    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    __cpuid(1).ecx & OSXSAVE_AND_AVX == OSXSAVE_AND_AVX
}

/// Puts a pattern into every register, and rounding modes that depend on it into the control registers.
pub fn fill(pattern: u64) {
    let control = (INITIAL_CONTROL | (pattern & 3) << 10) as u16;
    let modes = (INITIAL_MXCSR | (pattern & 3) << 13) as u32;
    // SAFETY: reads three variables; what it changes no compiled code uses. Without the right to the FPU the thread faults.
    unsafe {
        asm!(
            "fninit",
            "fldcw word ptr [{control}]",
            "ldmxcsr dword ptr [{modes}]",
            ".rept 8",
            "fild qword ptr [{pattern}]",
            ".endr",
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movddup xmm\\n, qword ptr [{pattern}]",
            ".endr",
            control = in(reg) &raw const control,
            modes = in(reg) &raw const modes,
            pattern = in(reg) &raw const pattern,
            options(nostack, readonly),
        );
    }
    if has_avx() {
        // SAFETY: as above; AVX was asked for.
        unsafe {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "vbroadcastsd ymm\\n, qword ptr [{pattern}]",
                ".endr",
                pattern = in(reg) &raw const pattern,
                options(nostack, readonly),
            );
        }
    }
}

/// Reads the registers and leaves them as they are.
#[must_use]
pub fn read() -> FpuState {
    let mut state = FpuState {
        image: [0; 64],
        upper: [0; 32],
    };
    // SAFETY: writes 512 bytes to the image, which has so many and is aligned to 16.
    unsafe { asm!("fxsave64 [{}]", in(reg) state.image.as_mut_ptr(), options(nostack)) };
    if has_avx() {
        // SAFETY: writes 16 times 16 bytes to the place for them; AVX was asked for.
        unsafe {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "vextractf128 xmmword ptr [{upper} + 16 * \\n], ymm\\n, 1",
                ".endr",
                upper = in(reg) state.upper.as_mut_ptr(),
                options(nostack),
            );
        }
    }
    state.image[0] &= CONTROL_STATUS_TAG;
    (state.image[1], state.image[2]) = (0, 0);
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_in_is_read_and_another_pattern_differs() {
        // On the host the compiler uses these registers, too: only what it leaves alone between two calls is compared.
        fill(0x0123_4567_89AB_CDEF);
        let first = read();
        fill(0x0123_4567_89AB_CDEE);
        let second = read();
        // Its own defaults back, before compiled code computes.
        let modes = INITIAL_MXCSR as u32;
        // SAFETY: the initial state of the x87 and SSE control registers.
        unsafe { asm!("fninit", "ldmxcsr dword ptr [{}]", in(reg) &raw const modes, options(nostack, readonly)) };
        assert_ne!(first.image[0], second.image[0], "the rounding mode");
        assert_eq!(first.image[40], 0x0123_4567_89AB_CDEF, "xmm10");
        assert_eq!(second.image[41], 0x0123_4567_89AB_CDEE);
        assert!(!first.is_initial());
    }

    #[test]
    fn the_initial_state_is_recognised() {
        let mut state = FpuState {
            image: [0; 64],
            upper: [0; 32],
        };
        (state.image[0], state.image[3]) = (INITIAL_CONTROL, 0x0002_FFFF << 32 | INITIAL_MXCSR);
        assert!(state.is_initial());
        state.upper[31] = 1;
        assert!(!state.is_initial());
    }
}
