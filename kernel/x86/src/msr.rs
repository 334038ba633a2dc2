//! Model specific registers: plain access for those that exist by CPUID, and probes that survive those that do not.
//!
//! Called by every module that sets up the processor. The probes work from [`crate::descriptors`]'s tables on: a
//! general protection fault at their one instruction goes on at their second exit (`kernel_fault` in [`crate::entry`]).

/// Extended features (AMD APM vol. 2, 3.1.7).
pub const EFER: u32 = 0xC000_0080;
/// Segment selectors of `SYSCALL` and `SYSRET`.
pub const STAR: u32 = 0xC000_0081;
/// Entry point of `SYSCALL`.
pub const LSTAR: u32 = 0xC000_0082;
/// Flags that `SYSCALL` clears.
pub const FMASK: u32 = 0xC000_0084;
/// Base of GS.
pub const GS_BASE: u32 = 0xC000_0101;
/// The other base of GS, exchanged by `SWAPGS`.
pub const KERNEL_GS_BASE: u32 = 0xC000_0102;
/// Base of FS.
pub const FS_BASE: u32 = 0xC000_0100;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// Base and mode of the local APIC.
pub const APIC_BASE: u32 = 0x1B;
/// Deadline of the local APIC's timer in TSC ticks.
pub const TSC_DEADLINE: u32 = 0x6E0;
/// First of the x2APIC's registers.
pub const X2APIC: u32 = 0x800;
/// Speculation control.
pub const SPEC_CTRL: u32 = 0x48;
/// Prediction command.
pub const PRED_CMD: u32 = 0x49;
/// What Intel processors say of their own weaknesses.
pub const ARCH_CAPABILITIES: u32 = 0x10A;
/// SVM: whether the firmware lets it be switched on (AMD APM vol. 2, 15.30.1).
pub const VM_CR: u32 = 0xC001_0114;
/// SVM: where `VMRUN` saves the host.
pub const VM_HSAVE_PA: u32 = 0xC001_0117;
/// Machine check: capabilities.
pub const MCG_CAP: u32 = 0x179;
/// Machine check: state.
pub const MCG_STATUS: u32 = 0x17A;
/// Machine check: bank 0, control; four registers a bank.
pub const MC0_CTL: u32 = 0x400;

/// Reads a register.
///
/// # Safety
/// The register exists on this processor (else: general protection fault).
#[inline]
#[must_use]
pub unsafe fn read(register: u32) -> u64 {
    // SAFETY: the kernel runs in ring 0, and the register exists by this function's contract. Reading has no effect
    // on memory.
    unsafe { x86::msr::rdmsr(register) }
}

/// Writes a register.
///
/// # Safety
/// The register exists, the value has no reserved bit set, and what the register controls stays sound for the code
/// that runs after it.
#[inline]
pub unsafe fn write(register: u32, value: u64) {
    // SAFETY: by this function's contract.
    unsafe { x86::msr::wrmsr(register, value) }
}

#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".pushsection .text, \"ax\"",
    ".global ecusson_probe_rdmsr, ecusson_probe_wrmsr",
    ".global ecusson_probe_rdmsr_at, ecusson_probe_wrmsr_at, ecusson_probe_failed",
    "ecusson_probe_rdmsr:", // edi = register, rsi = where the value goes; 1 = read, 0 = no such register
    "mov ecx, edi",
    "ecusson_probe_rdmsr_at:",
    "rdmsr",
    "shl rdx, 32",
    "or rax, rdx",
    "mov [rsi], rax",
    "mov eax, 1",
    "ret",
    "ecusson_probe_wrmsr:", // edi = register, rsi = value; 1 = written, 0 = refused
    "mov ecx, edi",
    "mov eax, esi",
    "mov rdx, rsi",
    "shr rdx, 32",
    "ecusson_probe_wrmsr_at:",
    "wrmsr",
    "mov eax, 1",
    "ret",
    "ecusson_probe_failed:",
    "xor eax, eax",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn ecusson_probe_rdmsr(register: u32, value: &mut u64) -> u32;
    fn ecusson_probe_wrmsr(register: u32, value: u64) -> u32;
    fn ecusson_probe_rdmsr_at();
    fn ecusson_probe_wrmsr_at();
    fn ecusson_probe_failed();
}

/// Reads a register that may not exist.
#[must_use]
pub fn probe(register: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: reading an MSR has no effect on memory; if it does not exist, the fault is recovered.
    let read = unsafe { ecusson_probe_rdmsr(register, &mut value) };
    (read == 1).then_some(value)
}

/// Writes a register that may not exist or may refuse the value; says whether it took it.
///
/// # Safety
/// What the register controls stays sound for the code that runs after it.
pub unsafe fn probe_write(register: u32, value: u64) -> bool {
    // SAFETY: by this function's contract; a refusal is recovered.
    unsafe { ecusson_probe_wrmsr(register, value) == 1 }
}

/// Where a general protection fault of the kernel at `rip` goes on, if it is one of the probes.
#[must_use]
pub(crate) fn recovery(rip: u64) -> Option<u64> {
    let probes = [
        ecusson_probe_rdmsr_at as *const () as u64,
        ecusson_probe_wrmsr_at as *const () as u64,
    ];
    probes
        .contains(&rip)
        .then_some(ecusson_probe_failed as *const () as u64)
}
