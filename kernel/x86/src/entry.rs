//! Entry and exit code: system calls, interrupts, exceptions, the idle loop. Everything that runs between user mode and the
//! first line of Rust, and back.
//!
//! Registers of the thread that leaves user mode go straight into its [`Context`]; the message words stay in their
//! registers through the fast path, whose Rust functions preserve them as the C calling convention demands. The functions
//! that this code calls are bound by [`crate::bind_kernel`] in `ecusson`.
//!
//! GS: in user mode GS_BASE is 0 and KERNEL_GS_BASE this core's block; every entry from ring 3 swaps them first, every exit
//! to ring 3 last. NMI, double fault and machine check can come between the two, so they look at GS_BASE itself
//! (`ecusson_paranoid_entry`); user mode cannot put a kernel address there, because FSGSBASE is off, there is no local
//! descriptor table, and the bases of the global one's user segments are 0. So are the bases of FS and GS in user mode, always:
//! they are nobody's state. The selectors are dropped by [`crate::switch`].
//!
//! Instruction pointers: `sysretq` with one that is not canonical faults on Intel in ring 0 and on the user's stack. It only
//! ever gets what SYSCALL stored, which is canonical because no space maps the last page of the lower half (`USER_PAGES`), or
//! what START and POKE checked. `iretq` may get one that is not: the processor may store such a one with a fault. It then faults
//! itself, on the kernel's stack, and that becomes a fault of the thread (`ecusson_iret`).

use core::mem::offset_of;

#[cfg(target_os = "none")]
use ecusson_abi::boot::USER_LIMIT;
use ecusson_core::thread::{Context, Thread};
use static_assertions::const_assert;

/// Flags that the kernel runs with behind `SYSCALL`: all that user mode may have set is cleared.
pub(crate) const SYSCALL_FLAG_MASK: u64 = 0x0000_0000_003F_7FD5;
/// Flags of user mode that survive an interrupt: CF PF AF ZF SF TF DF OF AC ID.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
const USER_FLAGS: u32 = 0x0024_0DD5;

// The order that `ecusson_place` below counts in.
const_assert!(offset_of!(Context, rax) == 48 && offset_of!(Context, r8) == 80 && offset_of!(Context, rcx) == 112);
const_assert!(offset_of!(Context, r12) == 0 && offset_of!(Context, rip) == 128 && offset_of!(Context, rsp) == 136);

/// Bytes between two of the 256 interrupt stubs.
const STUB_BYTES: usize = 16;

/// What interrupted kernel code left on the stack: all registers but rsp, and what the processor and the stub pushed.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs)]
pub struct KernelFrame {
    pub registers: [u64; 15],
    pub vector: u64,
    pub code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

unsafe extern "C" {
    fn ecusson_vectors();
    fn ecusson_syscall();
    fn ecusson_syscall_guarded();
    fn ecusson_exit() -> !;
}

/// Address of the stub of a vector.
pub(crate) fn vector_address(vector: usize) -> u64 {
    ecusson_vectors as *const () as u64 + (vector * STUB_BYTES) as u64
}

/// Points SYSCALL of this core at the entry code: the plain one, or the one that also does the border work that some
/// processors need at every crossing.
///
/// # Safety
/// This core's tables are loaded and EFER.SCE is set.
pub(crate) unsafe fn set_up_syscall(border_work: u8) {
    let entry = if border_work != 0 {
        ecusson_syscall_guarded as *const ()
    } else {
        ecusson_syscall as *const ()
    };
    let selectors =
        u64::from(crate::descriptors::KERNEL_CODE) << 32 | u64::from(crate::descriptors::KERNEL_DATA | 3) << 48;
    // SAFETY: by the contract; the registers exist on every 64-bit processor with SYSCALL.
    unsafe {
        crate::msr::write(crate::msr::STAR, selectors);
        crate::msr::write(crate::msr::LSTAR, entry as u64);
        crate::msr::write(crate::msr::FMASK, SYSCALL_FLAG_MASK);
    }
}

/// Leaves the kernel: to this core's current thread, or to the idle loop. The stack is abandoned.
pub fn exit() -> ! {
    // SAFETY: the caller is at the end of an entry or of the start of a core and holds no lock; the code below uses this
    // core's block only, which says whose registers to load (`switch`).
    unsafe { ecusson_exit() }
}

/// An exception in the kernel itself: a probe of a register that does not exist goes on; everything else is a bug.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn ecusson_kernel_fault(frame: &mut KernelFrame) {
    const GENERAL_PROTECTION: u64 = 13;
    if frame.vector == GENERAL_PROTECTION
        && let Some(rip) = crate::msr::recovery(frame.rip)
    {
        frame.rip = rip;
        return;
    }
    // SAFETY: reading CR2 has no effect.
    let address = unsafe { x86::controlregs::cr2() };
    panic!(
        "exception {} in the kernel: rip {:#x} rsp {:#x} code {:#x} address {address:#x}",
        frame.vector, frame.rip, frame.rsp, frame.code
    );
}

/// NMI, double fault, machine check: on their own stacks, with GS right.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn ecusson_paranoid(frame: &mut KernelFrame) {
    match frame.vector {
        2 => {
            crate::machine_check::non_maskable(frame);
            // A thread that was about to fault at an address that is not canonical, which `iretq` refuses here as well,
            // faults in the page that no space maps instead.
            if frame.cs & 3 != 0 && frame.rip >= USER_LIMIT {
                frame.rip = USER_LIMIT - 1;
            }
        }
        18 => crate::machine_check::machine_check(frame),
        _ => panic!("double fault: rip {:#x} rsp {:#x}", frame.rip, frame.rsp),
    }
}

// The stubs of the 256 vectors.
#[cfg(target_os = "none")]
core::arch::global_asm!(
    // The 256 stubs: a zero where the processor pushes no error code, then the vector.
    ".pushsection .text.entry, \"ax\"",
    ".p2align 6",
    ".global ecusson_vectors",
    "ecusson_vectors:",
    ".set ecusson_vector, 0",
    ".rept 256",
    ".p2align 4",
    ".if ecusson_vector == 8 || (ecusson_vector >= 10 && ecusson_vector <= 14) || ecusson_vector == 17 || ecusson_vector == 21 || ecusson_vector == 29 || ecusson_vector == 30",
    ".else",
    "push 0",
    ".endif",
    ".byte 0x68", // push imm32
    ".long ecusson_vector",
    ".if ecusson_vector == 2 || ecusson_vector == 8 || ecusson_vector == 18",
    "jmp ecusson_paranoid_entry",
    ".else",
    "jmp ecusson_trap_entry",
    ".endif",
    ".set ecusson_vector, ecusson_vector + 1",
    ".endr",
    ".popsection",
);

// System calls. On entry: rcx = rip, r11 = rflags, rsp the user's, all flags clear. Two versions of the same code: the
// second one does the work at the border that some processors need.
#[cfg(target_os = "none")]
core::arch::global_asm!(
    // Where a thread's registers are, in the order of `Context`.
    ".set ecusson_place, {context}",
    ".irp register, r12, r13, r14, r15, rbx, rbp, rax, rdx, rdi, rsi, r8, r9, r10, r11, rcx, rflags, rip, rsp",
    ".set ecusson_\\register, ecusson_place",
    ".set ecusson_place, ecusson_place + 8",
    ".endr",
    ".macro ECUSSON_SAVE registers:vararg",
    ".irp register, \\registers",
    "mov [r8 + ecusson_\\register], \\register",
    ".endr",
    ".endm",
    ".macro ECUSSON_LOAD registers:vararg",
    ".irp register, \\registers",
    "mov \\register, [r8 + ecusson_\\register]",
    ".endr",
    ".endm",
    ".macro ECUSSON_SYSCALL name, barrier, clear, variant",
    ".p2align 6",
    ".global \\name",
    "\\name:",
    "swapgs",
    "mov r8, gs:[{current}]",
    "mov [r8 + ecusson_rsp], rsp",
    "mov [r8 + ecusson_rip], rcx",
    "mov rsp, gs:[{stack_top}]",
    "\\barrier",
    "cmp rax, 1",
    "ja 3f",
    "je 2f",
    "test rsi, rsi", // a capability goes with the message
    "jnz 7f",
    "push rdi", // for the slow path
    "call ecusson_fast_call\\variant",
    "test rax, rax",
    "jz 6f",
    "1:", // rax = thread, rdx = second word, message words in their registers
    "mov rcx, [rax + ecusson_rip]",
    "mov rsp, [rax + ecusson_rsp]",
    "\\clear",
    "xor eax, eax",
    "xor edi, edi",
    "xor esi, esi",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "mov r11d, 0x202",
    "swapgs",
    "sysretq",
    "2:",
    "lea r9, [rdi + 1]", // neither a deadline (all ones) nor a capability
    "or r9, rsi",
    "jnz 7f",
    "call ecusson_fast_reply_wait\\variant",
    "test rax, rax",
    "jnz 1b",
    "mov eax, 1",
    "mov rdi, -1",
    "xor esi, esi",
    "jmp ecusson_slow",
    "3:",
    "cmp rax, 4",
    "je 4f",
    "cmp rax, 2",
    "jne 7f",
    "push rdi",
    "mov rsi, r12",
    "call ecusson_fast_signal",
    "test rax, rax",
    "jnz 1b",
    "mov eax, 2",
    "jmp 8f",
    "4:", // `Invoke`
    "cmp r12, {identify}",
    "jne 5f",
    "push rdi",
    "call ecusson_fast_identify",
    "12:",
    "test rax, rax",
    "jnz 1b",
    "mov eax, 4",
    "jmp 8f",
    "5:",
    "cmp r12, {attach}", // other kinds use the number too: the function looks
    "jne 7f",
    "push rdi",
    "mov rsi, r13",
    "mov rdx, r14",
    "mov rcx, r15",
    "call ecusson_fast_attach",
    "jmp 12b",
    "6:",
    "xor eax, eax",
    "8:",
    "pop rdi",
    "xor esi, esi", // `Call` had none, the others use none
    "7:",
    "jmp ecusson_slow",
    ".endm",
    ".macro ECUSSON_NOTHING",
    ".endm",
    ".macro ECUSSON_BARRIER", // IBPB, if this processor's policy asks for it; r9, r10 are free
    "test byte ptr gs:[{border_work}], {barrier_bit}",
    "jz 9f",
    "mov r9, rax",
    "mov ecx, 0x49",
    "mov eax, 1",
    "xor edx, edx",
    "wrmsr",
    "mov rax, r9",
    "9:",
    ".endm",
    ".macro ECUSSON_CLEAR", // VERW with a memory operand clears the buffers
    "verw word ptr [rip + ecusson_verw_selector]",
    ".endm",
    ".macro ECUSSON_CLEAR_IF_ASKED",
    "test byte ptr gs:[{border_work}], {clear_bit}",
    "jz 11f",
    "ECUSSON_CLEAR",
    "11:",
    ".endm",
    // All registers but rsp, in the order of `KernelFrame`.
    ".macro ECUSSON_PUSH",
    ".irp register, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15",
    "push \\register",
    ".endr",
    ".endm",
    ".macro ECUSSON_POP",
    ".irp register, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax",
    "pop \\register",
    ".endr",
    "add rsp, 16",
    ".endm",
    ".pushsection .text.entry, \"ax\"",
    ".global ecusson_trap_entry, ecusson_paranoid_entry",
    "ECUSSON_SYSCALL ecusson_syscall, ECUSSON_NOTHING, ECUSSON_NOTHING",
    "ECUSSON_SYSCALL ecusson_syscall_guarded, ECUSSON_BARRIER, ECUSSON_CLEAR_IF_ASKED, _guarded",
    // The slow path: rax = number, rdi and rsi as the caller had them, message words in their registers.
    "ecusson_slow:",
    "mov r8, gs:[{current}]",
    "ECUSSON_SAVE rsi, rdi, rax, r12, r13, r14, r15, rbx, rbp",
    "call ecusson_system_call",
    // Falls into the exit: to the current thread, or to the idle loop.
    ".global ecusson_exit",
    "ecusson_exit:",
    "mov r8, gs:[{current}]",
    "test r8, r8",
    "jz ecusson_idle",
    "test dword ptr gs:[{border_work}], {clear_bit} | 0xFF00", // the second byte is `full`
    "jnz 2f",
    "1:",
    "ECUSSON_LOAD r12, r13, r14, r15, rbx, rbp, rax, rdx",
    "mov rcx, [r8 + ecusson_rip]",
    "mov rsp, [r8 + ecusson_rsp]",
    "xor edi, edi",
    "xor esi, esi",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "mov r11d, 0x202",
    "swapgs",
    "sysretq",
    "2:",
    "ECUSSON_CLEAR_IF_ASKED",
    "cmp byte ptr gs:[{full}], 1",
    "jb 1b",
    "ja ecusson_enter_guest",
    "mov byte ptr gs:[{full}], 0",
    "mov rsp, gs:[{stack_top}]",
    "push {user_data}",
    "push qword ptr [r8 + ecusson_rsp]",
    "mov eax, [r8 + ecusson_rflags]",
    "and eax, {user_flags}",
    "or eax, 0x202",
    "push rax",
    "push {user_code}",
    "push qword ptr [r8 + ecusson_rip]",
    "ECUSSON_LOAD r12, r13, r14, r15, rbx, rbp, rax, rcx, rdx, rsi, rdi, r9, r10, r11, r8",
    "swapgs",
    "ecusson_iret:",
    "iretq",
    // Idle: an interrupt here never returns, its frame is dropped; an NMI does, to the jump.
    "ecusson_idle:",
    "mov rsp, gs:[{stack_top}]",
    "1:",
    "sti",
    "hlt",
    "jmp 1b",
    // Interrupts and exceptions; on the stack: vector, code, rip, cs, rflags, rsp, ss.
    "ecusson_trap_entry:",
    "test byte ptr [rsp + 24], 3",
    "jz ecusson_kernel_entry",
    "swapgs",
    "lfence", // no speculation with the user's GS
    "push r8",
    "mov r8, gs:[{current}]",
    "ECUSSON_SAVE rax, rcx, rdx, rbx, rbp, rsi, rdi, r9, r10, r11, r12, r13, r14, r15",
    "pop qword ptr [r8 + ecusson_r8]",
    "pop rdi",
    "pop rsi",
    "pop qword ptr [r8 + ecusson_rip]",
    "pop rax",
    "pop qword ptr [r8 + ecusson_rflags]",
    "pop qword ptr [r8 + ecusson_rsp]",
    "mov byte ptr gs:[{full}], 1",
    "mov rsp, gs:[{stack_top}]", // leaves the debug stack, if it is that
    "push 2", // clears DF, AC and the rest
    "popfq",
    "call ecusson_trap",
    "jmp ecusson_exit",
    "ecusson_kernel_entry:",
    "lfence",
    "cmp dword ptr [rsp], 32",
    "jb 2f",
    "pop rdi", // an interrupt: the kernel enables them in the idle loop only
    "pop rsi",
    "mov rsp, gs:[{stack_top}]",
    "call ecusson_trap",
    "jmp ecusson_exit",
    "2:",
    "cmp dword ptr [rsp], 1",
    "jne 3f",
    // A single step that the user began and that is reported in the kernel: step no further.
    "and dword ptr [rsp + 32], ~0x100",
    "add rsp, 16",
    "iretq",
    "3:",
    "ECUSSON_PUSH",
    "mov rdi, rsp",
    "lea rax, [rip + ecusson_iret]",
    "cmp rax, [rsp + {frame_rip}]",
    "je 6f",
    "call ecusson_kernel_fault",
    "ECUSSON_POP",
    "iretq",
    "6:", // GS is the user's already, and the context still holds all registers
    "swapgs",
    "mov rdi, [rsp + {frame_vector}]",
    "mov rsi, [rsp + {frame_code}]",
    "mov byte ptr gs:[{full}], 1",
    "mov rsp, gs:[{stack_top}]",
    "call ecusson_trap",
    "jmp ecusson_exit",
    // NMI, double fault and machine check, on stacks of their own.
    "ecusson_paranoid_entry:",
    "ECUSSON_PUSH",
    "push 2",
    "popfq",
    "xor ebx, ebx",
    "mov ecx, 0xC0000101",
    "rdmsr",
    "test edx, edx",
    "js 4f",
    "swapgs",
    "inc ebx",
    "4:",
    "lfence",
    "mov rdi, rsp",
    "mov rbp, rsp",
    "and rsp, -16",
    "call ecusson_paranoid",
    "mov rsp, rbp",
    "test ebx, ebx",
    "jz 5f",
    "swapgs",
    "5:",
    "ECUSSON_CLEAR", // needed if it came in user mode, and nothing else costs more here
    "ECUSSON_POP",
    "iretq",
    ".popsection",
    ".pushsection .rodata",
    ".p2align 3",
    "ecusson_verw_selector: .quad {kernel_data}",
    ".popsection",
    context = const offset_of!(Thread, context),
    identify = const ecusson_abi::ops::IDENTIFY,
    attach = const ecusson_abi::ops::region::ATTACH,
    current = const crate::percpu::CURRENT,
    stack_top = const crate::percpu::STACK_TOP,
    border_work = const crate::percpu::BORDER_WORK,
    barrier_bit = const crate::mitigations::BARRIER_ON_ENTRY,
    clear_bit = const crate::mitigations::CLEAR_BUFFERS,
    full = const crate::percpu::FULL,
    frame_vector = const offset_of!(KernelFrame, vector),
    frame_code = const offset_of!(KernelFrame, code),
    frame_rip = const offset_of!(KernelFrame, rip),
    user_flags = const USER_FLAGS,
    user_data = const crate::descriptors::USER_DATA,
    user_code = const crate::descriptors::USER_CODE,
    kernel_data = const crate::descriptors::KERNEL_DATA,
);
