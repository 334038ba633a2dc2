//! A vCPU's state page: the guest's registers as its VMM sees them, what to do on the next `VcpuRun`, and why the last one
//! returned. The same for every kind of processor; `specs/vcpu.md` has the meaning.
//!
//! Written by the kernel when `VcpuRun` returns after the guest ran, read by it when the guest is entered. Each word is read
//! once and made harmless: a VMM can spoil its own guest and nothing else.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};

use static_assertions::{const_assert, const_assert_eq};

/// A word that kernel and VMM share.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Word(AtomicU64);

impl Word {
    /// The word.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Changes the word.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The state page.
#[derive(Debug, Default)]
#[repr(C)]
pub struct State {
    /// Groups ([`group`]) that the kernel takes over from here on the next entry. The first entry, and the one after an
    /// [`exit::ENTRY_FAILED`], take all. The kernel sets it to 0.
    pub load: Word,
    /// Groups that the kernel writes here on each return besides `GENERAL` and `CONTROL`.
    pub save: Word,
    /// Event to inject ([`event`]), 0 for none; on return the one whose delivery the exit interrupted. Always taken.
    pub event: Word,
    /// 1 if interrupts are held off for one instruction (after `sti` or a load of SS). Always taken.
    pub shadow: Word,
    /// 1 if the guest executed `HLT`.
    pub halted: Word,
    /// Why `VcpuRun` returned: [`exit`].
    pub reason: Word,
    /// What the exit is about; by reason.
    pub qualification: [Word; 2],
    /// Address of the next instruction, 0 where the processor does not say (known for I/O on every one).
    pub next_rip: Word,
    /// Bits 0 to 7: how many bytes of the instruction follow, 0 where the processor does not say; then up to 15 bytes.
    pub instruction: [Word; 2],
    /// `GENERAL`: rax rcx rdx rbx rsp rbp rsi rdi r8 to r15.
    pub general: [Word; 16],
    /// `GENERAL`: instruction pointer.
    pub rip: Word,
    /// `GENERAL`: flags.
    pub rflags: Word,
    /// `CONTROL`: control registers, and the bits of EFER that the guest may have.
    pub cr0: Word,
    /// See `cr0`.
    pub cr2: Word,
    /// See `cr0`.
    pub cr3: Word,
    /// See `cr0`.
    pub cr4: Word,
    /// See `cr0`.
    pub cr8: Word,
    /// See `cr0`.
    pub efer: Word,
    /// See `cr0`; bits that the machine does not switch are ignored.
    pub xcr0: Word,
    /// `CONTROL`: debug status.
    pub dr6: Word,
    /// `CONTROL`: debug control.
    pub dr7: Word,
    /// `SEGMENTS`: ES CS SS DS FS GS GDTR LDTR IDTR TR; each selector, attributes from bit 16 (type, S, DPL, P, AVL, L, D, G
    /// in 12 bits) and limit from bit 32, then the base. CPL is the DPL of SS.
    pub segments: [[Word; 2]; 10],
    /// `SYSTEM`: STAR LSTAR CSTAR SFMASK KERNEL_GS_BASE SYSENTER_CS SYSENTER_ESP SYSENTER_EIP.
    pub system: [Word; 8],
    /// `SYSTEM`: page attribute table.
    pub pat: Word,
    /// `TIME`: what the guest's time stamp counter is ahead of the machine's.
    pub tsc_offset: Word,
    /// What the guest does about non-maskable interrupts: bits of [`nmi`]. Always taken.
    pub nmi: Word,
}

const_assert_eq!(offset_of!(State, general), 88);
const_assert_eq!(offset_of!(State, rip), 216);
const_assert_eq!(offset_of!(State, cr0), 232);
const_assert_eq!(offset_of!(State, segments), 304);
const_assert_eq!(offset_of!(State, system), 464);
const_assert_eq!(offset_of!(State, tsc_offset), 536);
const_assert_eq!(offset_of!(State, nmi), 544);
const_assert!(size_of::<State>() <= 4096);

/// Groups of state.
pub mod group {
    /// General registers, instruction pointer, flags.
    pub const GENERAL: u64 = 1;
    /// Control and debug registers.
    pub const CONTROL: u64 = 2;
    /// Segments and descriptor tables.
    pub const SEGMENTS: u64 = 4;
    /// Registers of system calls, page attributes.
    pub const SYSTEM: u64 = 8;
    /// Offset of the time stamp counter.
    pub const TIME: u64 = 16;
    /// All of them.
    pub const ALL: u64 = 31;
}

/// Word 0 of `VcpuRun`.
pub mod run {
    /// The guest is halted: wait as if it had just executed `HLT`.
    pub const HALTED: u64 = 1;
    /// Return ([`super::exit::WINDOW`]) as soon as the guest can take an interrupt.
    pub const WINDOW: u64 = 2;
    /// Drop the translations that the processor has of the guest before it runs again.
    pub const FLUSH: u64 = 4;
}

/// The word about non-maskable interrupts.
pub mod nmi {
    /// The guest handles one: until its `IRET`, no other is delivered.
    pub const BLOCKED: u64 = 1;
    /// One is held back until then.
    pub const HELD: u64 = 2;
}

/// Why `VcpuRun` answered `Exit`. The instruction that caused an exit was not executed, but for `HALT`.
pub mod exit {
    /// I/O port. Qualification 0: bit 0 input, bit 2 string, bit 3 repeated, bits 4 to 6 the size (1, 2, 4 bytes), from bit 16
    /// the port; 1: address of the next instruction.
    pub const IO: u64 = 1;
    /// `RDMSR`, or `WRMSR` if qualification 0 is 1.
    pub const MSR: u64 = 2;
    /// `CPUID`.
    pub const CPUID: u64 = 3;
    /// Nothing is mapped at a guest-physical address, or not so. Qualification 0: as a page fault's error code; 1: address.
    pub const MEMORY: u64 = 4;
    /// `HLT` while a window was asked for; the instruction is done.
    pub const HALT: u64 = 5;
    /// The guest can take an interrupt.
    pub const WINDOW: u64 = 6;
    /// Somebody kicked the vCPU.
    pub const KICK: u64 = 7;
    /// Triple fault; the state is lost.
    pub const SHUTDOWN: u64 = 8;
    /// `VMMCALL`.
    pub const HYPERCALL: u64 = 9;
    /// Write to CR8. Qualification 0: bit 63 set: bits 0 to 3 are the register; clear: decode the instruction.
    pub const CR8: u64 = 10;
    /// `XSETBV`.
    pub const XSETBV: u64 = 11;
    /// The processor refuses the state. The page is as the VMM left it.
    pub const ENTRY_FAILED: u64 = 12;
    /// Another instruction that guests may not execute; qualification 0: the processor's number for it.
    pub const INSTRUCTION: u64 = 13;
    /// `INVD` or `WBINVD`: a guest's caches are kept coherent, so that nothing remains to be done.
    pub const CACHES: u64 = 14;
}

/// The event word: bits 0 to 7 vector, 8 to 10 type, 11 error code valid, 31 valid, from 32 the error code.
pub mod event {
    /// External interrupt.
    pub const INTERRUPT: u64 = 0;
    /// Non-maskable interrupt.
    pub const NMI: u64 = 2 << 8;
    /// Exception.
    pub const EXCEPTION: u64 = 3 << 8;
    /// There is an error code.
    pub const HAS_CODE: u64 = 1 << 11;
    /// There is an event.
    pub const VALID: u64 = 1 << 31;
}
