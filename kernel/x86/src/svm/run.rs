//! Into the guest and out of it (AMD APM vol. 2, 15.5 and 15.6).
//!
//! [`crate::entry`] comes to `ecusson_enter_guest` instead of leaving for user mode, on an empty stack, with interrupts off.
//! First they are on for a moment: whatever is pending is taken there, as in the idle loop, and never returns; else a pending
//! interrupt would end each turn of the guest before its first instruction. Then nothing gets through (`CLGI`) until the host's
//! registers are back; `RFLAGS.IF` is set meanwhile, for it lets physical interrupts end the guest's turn. The guest's values are
//! cleared from the registers before the first branch that depends on memory.

use ecusson_abi::vcpu::{event, exit};
use ecusson_core::vcpu::GuestExit;

use super::control::{Block, Control, WRITE_CR8, word};
use super::nmi::{self, Step};
use super::{DECODE_ASSISTS, has};
use crate::percpu::here;

#[cfg(target_os = "none")]
core::arch::global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".global ecusson_enter_guest",
    "ecusson_enter_guest:",
    "mov rsp, gs:[{stack_top}]",
    "sti; nop; cli",
    "mov byte ptr gs:[{full}], 0",
    "mov r8, gs:[{block}]",
    "push qword ptr gs:[{host_area}]",
    "push r8",
    "mov rax, [r8 + 128]",
    "clgi",
    "sti",
    "mov rcx, [r8 + 8]; mov rdx, [r8 + 16]; mov rbx, [r8 + 24]; mov rbp, [r8 + 40]; mov rsi, [r8 + 48]",
    "mov rdi, [r8 + 56]; mov r9, [r8 + 72]; mov r10, [r8 + 80]; mov r11, [r8 + 88]; mov r12, [r8 + 96]",
    "mov r13, [r8 + 104]; mov r14, [r8 + 112]; mov r15, [r8 + 120]; mov r8, [r8 + 64]",
    "vmload rax",
    "vmrun rax",
    "vmsave rax",
    "xchg r8, [rsp]",
    "mov [r8 + 8], rcx; mov [r8 + 16], rdx; mov [r8 + 24], rbx; mov [r8 + 40], rbp; mov [r8 + 48], rsi",
    "mov [r8 + 56], rdi; mov [r8 + 72], r9; mov [r8 + 80], r10; mov [r8 + 88], r11; mov [r8 + 96], r12",
    "mov [r8 + 104], r13; mov [r8 + 112], r14; mov [r8 + 120], r15",
    "pop qword ptr [r8 + 64]",
    "pop rax",
    "vmload rax",
    "cli",
    "stgi",
    "xor ebx, ebx; xor ebp, ebp; xor esi, esi; xor edi, edi; xor r9d, r9d; xor r10d, r10d",
    "xor r11d, r11d; xor r12d, r12d; xor r13d, r13d; xor r14d, r14d; xor r15d, r15d",
    "test byte ptr gs:[{border_work}], {barrier}", // IBPB, as on entry from user mode
    "jz 1f",
    "mov ecx, 0x49; mov eax, 1; xor edx, edx; wrmsr",
    "1:",
    "xor ecx, ecx; xor edx, edx",
    "call ecusson_guest_exit",
    "jmp ecusson_exit",
    ".popsection",
    stack_top = const crate::percpu::STACK_TOP,
    full = const crate::percpu::FULL,
    border_work = const crate::percpu::BORDER_WORK,
    block = const crate::percpu::GUEST,
    host_area = const crate::percpu::HOST_AREA,
    barrier = const crate::mitigations::BARRIER_ON_ENTRY,
);

/// `EXITINFO1` of I/O.
const IO_INPUT: u64 = 1 << 0;
const IO_STRING: u64 = 1 << 2;
/// Bytes of `HLT`, where the processor does not tell the next instruction.
const HALT_BYTES: u64 = 1;

/// Why guests leave (appendix C).
pub(super) mod code {
    pub(super) const WRITE_CR8: u64 = 0x18;
    pub(super) const DEBUG_REGISTERS: core::ops::RangeInclusive<u64> = 0x20..=0x33;
    pub(crate) const DEBUG: u64 = 0x41;
    pub(super) const ALIGNMENT: u64 = 0x51;
    pub(super) const MACHINE_CHECK: u64 = 0x52;
    pub(super) const PHYSICAL: core::ops::RangeInclusive<u64> = 0x60..=0x63;
    pub(super) const WINDOW: u64 = 0x64;
    pub(super) const CPUID: u64 = 0x72;
    pub(crate) const IRET: u64 = 0x74;
    pub(super) const INVD: u64 = 0x76;
    pub(super) const HALT: u64 = 0x78;
    pub(crate) const IO: u64 = 0x7B;
    pub(super) const MSR: u64 = 0x7C;
    pub(super) const SHUTDOWN: u64 = 0x7F;
    pub(super) const HYPERCALL: u64 = 0x81;
    pub(super) const WBINVD: u64 = 0x89;
    pub(super) const XSETBV: u64 = 0x8D;
    pub(super) const MEMORY: u64 = 0x400;
    /// The low half of the code of a `VMRUN` that failed.
    pub(super) const FAILED: u64 = 0xFFFF_FFFF;
}

/// The loaded guest left the processor. `None` if it is to go on at once: for a physical interrupt that is taken on the way
/// back in, an exception that is passed on, the end of an NMI's handler, debug registers that it may use from now on. Needs no lock.
pub fn left() -> Option<GuestExit> {
    let here = here();
    let block = here.guest.loaded()?;
    let control = block.control();
    let exit = control.get(word::EXIT_CODE);
    if exit & 0xFFFF_FFFF != code::FAILED {
        // Of an entry that failed nobody says whether it flushed: it is owed still.
        here.guest.owes_flush.set(false);
        control.set(word::IDENTIFIER, control.get(word::IDENTIFIER) & 0xFFFF_FFFF);
    }
    control.set(word::EVENT, interrupted_event(control.get(word::EXIT_EVENT)));
    if here.guest.xcr0.get() != 0 {
        // QEMU has the guest change it without an exit, to what the host's does not have too.
        // SAFETY: OSXSAVE is set.
        let components = unsafe { x86::controlregs::xcr0() }.bits();
        block.xcr0.set(components & here.guest.xcr0.get());
    }
    let is_own_step = nmi::after_exit(block, control) == Step::Kernel;
    match exit {
        code::DEBUG if is_own_step => {}
        code::DEBUG => control.set(word::EVENT, event::VALID | event::EXCEPTION | 1),
        code::ALIGNMENT => control.set(word::EVENT, event::VALID | event::EXCEPTION | event::HAS_CODE | 17),
        _ if code::DEBUG_REGISTERS.contains(&exit) => {
            control.set(word::REGISTER_INTERCEPTS, WRITE_CR8);
            block.has_debug.set(true);
            super::load();
        }
        code::IRET => {}
        _ if code::PHYSICAL.contains(&exit) => {}
        // SAFETY: the handler has a stack of its own, tells of the error and stops the machine.
        code::MACHINE_CHECK => unsafe { core::arch::asm!("int 18") },
        _ => return Some(reported(block, control, exit)),
    }
    nmi::before_entry(block, control);
    here.full_context.set(2);
    None
}

/// What the core and the VMM call an exit.
fn reported(block: &Block, control: &Control, exit: u64) -> GuestExit {
    let info = control.get(word::EXIT_INFO);
    GuestExit::Report(match exit {
        code::HALT => return GuestExit::Halt,
        code::IO if info & (IO_INPUT | IO_STRING) == 0 => return GuestExit::PortWrite((info >> 16) as u16),
        code::IO => exit::IO,
        code::MSR => exit::MSR,
        code::CPUID => exit::CPUID,
        code::MEMORY => exit::MEMORY,
        code::WINDOW => exit::WINDOW,
        code::SHUTDOWN => exit::SHUTDOWN,
        code::HYPERCALL => exit::HYPERCALL,
        code::XSETBV => exit::XSETBV,
        code::INVD | code::WBINVD => exit::CACHES,
        code::WRITE_CR8 => {
            control.set(word::EXIT_INFO, if has(DECODE_ASSISTS) { info } else { 0 });
            exit::CR8
        }
        _ if exit & 0xFFFF_FFFF == code::FAILED => {
            block.is_valid.set(false);
            exit::ENTRY_FAILED
        }
        _ => {
            control.set(word::EXIT_INFO, exit);
            exit::INSTRUCTION
        }
    })
}

/// What was being delivered when the guest left (15.7.2): to be injected again. Software interrupts and breakpoints are not:
/// their instruction is repeated.
fn interrupted_event(information: u64) -> u64 {
    let (kind, vector) = (information & 0x700, information & 0xFF);
    let is_software = kind == 0x400 || kind == event::EXCEPTION && matches!(vector, 3 | 4);
    if information & event::VALID == 0 || is_software {
        0
    } else {
        information
    }
}

/// Goes on behind the instruction that the loaded guest left for.
pub fn skip() {
    if let Some(block) = here().guest.loaded() {
        let control = block.control();
        let next = match control.next_rip() {
            0 => control.get(word::RIP).wrapping_add(HALT_BYTES),
            next => next,
        };
        control.set(word::RIP, next);
        control.set(word::SHADOW, 0);
    }
}
