//! System calls: one thin function each, over three assembly stubs. Registers are those of `ecusson_abi::syscall`.
//!
//! Key type: [`Answer`]. Called by [`crate::cap`] and by programs that try the kernel itself; calls the kernel. Nothing here
//! interprets an answer. On the host the functions compile, but must not be called.
//!
//! Message words 4 and 5 travel in rbx and rbp, which an `asm!` operand can't name: the stubs save them on the stack. The
//! target has no red zone (`disable-redzone`), so that pushing inside a leaf function overwrites nothing.

use core::arch::asm;

use ecusson_abi::{Error, Event, Status, Syscall, Transfer, Words};

/// What a system call brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Error, event, whether a capability came.
    pub status: Status,
    /// Label, signal bits, result, or the argument at fault.
    pub second: u64,
    /// Message words.
    pub words: Words,
}

impl Answer {
    /// The failure, if it is one.
    #[must_use]
    #[inline(always)]
    pub fn failure(&self) -> Option<Error> {
        self.status.failure()
    }

    /// Whether the operation did a part of its work only and wants to be repeated.
    #[must_use]
    #[inline(always)]
    pub fn is_progress(&self) -> bool {
        self.failure().is_none() && self.status.event_code() == Event::Progress as u8
    }
}

/// Six words there and back: 9 instructions.
#[inline(always)]
fn six_words(number: u64, first: u64, second: u64, mut words: Words) -> Answer {
    let status: u64;
    let result: u64;
    // SAFETY: the kernel reads and writes registers only, follows no pointer, and keeps rsp; what it changes is named
    // below or, for rbx and rbp, saved around the call. Another thread of this process may write memory meanwhile, so
    // memory counts as clobbered.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbx, r8",
            "mov rbp, r9",
            "syscall",
            "mov r8, rbx",
            "mov r9, rbp",
            "pop rbp",
            "pop rbx",
            inlateout("rax") number => status,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            lateout("rdx") result,
            inlateout("r12") words[0],
            inlateout("r13") words[1],
            inlateout("r14") words[2],
            inlateout("r15") words[3],
            inlateout("r8") words[4],
            inlateout("r9") words[5],
            lateout("rcx") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    Answer {
        status: Status(status),
        second: result,
        words,
    }
}

/// One word there, the others zero; two words back: 7 instructions.
#[inline(always)]
fn one_word(number: Syscall, first: u64, second: u64, word: u64) -> (Status, u64, u64) {
    let status: u64;
    let result: u64;
    let reply: u64;
    // SAFETY: as in `six_words`.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "xor ebx, ebx",
            "xor ebp, ebp",
            "syscall",
            "pop rbp",
            "pop rbx",
            inlateout("rax") number as u64 => status,
            inlateout("rdi") first => _,
            inlateout("rsi") second => _,
            lateout("rdx") result,
            inlateout("r12") word => reply,
            inlateout("r13") 0_u64 => _,
            inlateout("r14") 0_u64 => _,
            inlateout("r15") 0_u64 => _,
            lateout("rcx") _,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    (Status(status), result, reply)
}

/// For calls that read word 0 at most and whose answer has no words: the kernel gives all words back as they were, so that the
/// others need not be set or saved.
#[inline(always)]
fn kept_words(number: Syscall, first: u64, word: u64) -> (Status, u64) {
    let status: u64;
    let result: u64;
    // SAFETY: as in `six_words`; `specs/abi.md` promises that these calls keep the words.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as u64 => status,
            inlateout("rdi") first => _,
            inlateout("rsi") 0_u64 => _,
            lateout("rdx") result,
            in("r12") word,
            lateout("rcx") _,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    (Status(status), result)
}

/// Calls a portal.
#[inline(always)]
#[must_use]
pub fn call(slot: u64, words: Words) -> Answer {
    six_words(Syscall::Call as u64, slot, 0, words)
}

/// Calls a portal with one word, the others zero; only the first word of the reply is looked at.
#[inline(always)]
#[must_use]
pub fn call_one(slot: u64, word: u64) -> (Status, u64) {
    let (status, _, reply) = one_word(Syscall::Call, slot, 0, word);
    (status, reply)
}

/// Calls a portal; a capability goes or comes with the message.
#[inline(always)]
#[must_use]
pub fn call_transfer(slot: u64, transfer: Transfer, words: Words) -> Answer {
    six_words(Syscall::Call as u64, slot, transfer.0, words)
}

/// Replies to the caller being served, if any, and waits for a call, a signal or a deadline (absolute TSC).
#[inline(always)]
#[must_use]
pub fn reply_wait(deadline: u64, reply: Words) -> Answer {
    six_words(Syscall::ReplyWait as u64, deadline, 0, reply)
}

/// Replies with one word, the others zero, and waits; of a call only the label and the first word are looked at.
#[inline(always)]
#[must_use]
pub fn reply_wait_one(deadline: u64, reply: u64) -> (Status, u64, u64) {
    one_word(Syscall::ReplyWait, deadline, 0, reply)
}

/// As [`reply_wait`]; a capability goes with the reply or comes with the next call.
#[inline(always)]
#[must_use]
pub fn reply_wait_transfer(deadline: u64, transfer: Transfer, reply: Words) -> Answer {
    six_words(Syscall::ReplyWait as u64, deadline, transfer.0, reply)
}

/// Any system call number at all, for programs that try what the kernel makes of it.
#[inline(always)]
#[must_use]
pub fn raw(number: u64, first: u64, second: u64, words: Words) -> Answer {
    six_words(number, first, second, words)
}

/// Executes a breakpoint: an exception after which the thread goes on behind the instruction.
#[inline(always)]
pub fn breakpoint() {
    // SAFETY: the exception is the fault handler's business; registers and memory stay.
    unsafe { asm!("int3", options(nomem, nostack)) }
}

/// Signals a notification.
#[inline(always)]
#[must_use]
pub fn signal(slot: u64, bits: u64) -> Answer {
    without_words(kept_words(Syscall::Signal, slot, bits))
}

/// Waits for signals of the bound notification or a deadline (absolute TSC).
#[inline(always)]
#[must_use]
pub fn wait(deadline: u64) -> Answer {
    without_words(kept_words(Syscall::Wait, deadline, 0))
}

/// Runs this thread's vCPU until an exit, a signal or a deadline (absolute TSC); `flags` are of `ecusson_abi::vcpu::run`.
#[inline(always)]
#[must_use]
pub fn vcpu_run(deadline: u64, flags: u64) -> Answer {
    without_words(kept_words(Syscall::VcpuRun, deadline, flags))
}

/// Operates on an object; word 0 is the operation.
#[inline(always)]
#[must_use]
pub fn invoke(slot: u64, words: Words) -> Answer {
    six_words(Syscall::Invoke as u64, slot, 0, words)
}

/// Operates on an object; the operation has no arguments and its result is in the second word.
#[inline(always)]
#[must_use]
pub fn invoke_one(slot: u64, operation: u64) -> (Status, u64) {
    kept_words(Syscall::Invoke, slot, operation)
}

/// Lets the next thread of the same priority run.
#[inline(always)]
pub fn yield_now() {
    let _ = kept_words(Syscall::Yield, 0, 0);
}

/// Writes bytes to the kernel's log, 40 at a time. Kernels without that system call ignore it.
pub fn log(text: &[u8]) {
    for chunk in text.chunks(LOG_BYTES) {
        let mut words = [chunk.len() as u64, 0, 0, 0, 0, 0];
        pack(chunk, &mut words[1..]);
        let _ = six_words(Syscall::Log as u64, 0, 0, words);
    }
}

/// Bytes that one `Log` takes.
const LOG_BYTES: usize = 40;

/// Puts bytes into words, the first byte lowest.
pub(crate) fn pack(bytes: &[u8], words: &mut [u64]) {
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut room = [0; 8];
        for (to, from) in room.iter_mut().zip(chunk) {
            *to = *from;
        }
        *word = u64::from_le_bytes(room);
    }
}

/// The time-stamp counter: the unit of all deadlines.
#[inline(always)]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: reads a counter that user mode may read (CR4.TSD is clear).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Writes a byte to an I/O port. Without the right to the port the thread faults.
#[inline(always)]
pub fn out_byte(port: u16, value: u8) {
    // SAFETY: the kernel lets through only ports that were given to this process; what a device does with memory is
    // settled where the device was given.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags));
    }
}

/// Reads a byte from an I/O port. Without the right to the port the thread faults.
#[inline(always)]
#[must_use]
pub fn in_byte(port: u16) -> u8 {
    let value: u8;
    // SAFETY: as in `out_byte`.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags));
    }
    value
}

/// Writes 32 bits to an I/O port, which must be given with the three behind it.
#[inline(always)]
pub fn out_long(port: u16, value: u32) {
    // SAFETY: as in `out_byte`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
    }
}

/// Reads 32 bits from an I/O port, which must be given with the three behind it.
#[inline(always)]
#[must_use]
pub fn in_long(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as in `out_byte`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags));
    }
    value
}

/// What the processor says of itself: EAX, EBX, ECX, EDX of CPUID for a leaf and a subleaf.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let result = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [result.eax, result.ebx, result.ecx, result.edx]
}

/// Ends the thread by an invalid instruction: its fault handler hears of it.
pub fn fault() -> ! {
    // SAFETY: `ud2` raises an exception and never goes on.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Reads a byte at an address and forgets it: nothing happens, or the thread faults if nothing is mapped there.
pub fn touch(address: u64) {
    // SAFETY: the value goes nowhere, so that no rule about it can be broken; of device memory, of which a read could
    // change the state, a process has only what it was given.
    unsafe {
        asm!("mov {value}, byte ptr [{address}]", value = out(reg_byte) _, address = in(reg) address,
            options(nostack, preserves_flags, readonly));
    }
}

/// Goes on at an address, whatever is there.
pub fn jump(address: u64) -> ! {
    // SAFETY: for programs that try what the kernel makes of it: at the addresses that they try is no code, so that the
    // thread faults.
    unsafe { asm!("jmp {}", in(reg) address, options(noreturn)) }
}

/// Puts a selector into the data segment registers DS, ES, FS and GS. The thread faults if it names no segment for user mode.
pub fn set_selectors(selector: u16) {
    // SAFETY: in 64-bit mode DS and ES mean nothing, and every segment that user mode may load has base 0, as FS and GS have.
    unsafe {
        asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", "mov gs, {0:e}", in(reg) u32::from(selector),
            options(nomem, nostack, preserves_flags));
    }
}

/// The selectors in DS, ES, FS and GS, the first lowest.
#[must_use]
pub fn selectors() -> u64 {
    let (ds, es, fs, gs): (u64, u64, u64, u64);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", "mov {:e}, gs", out(reg) ds, out(reg) es, out(reg) fs,
            out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    ds | es << 16 | fs << 32 | gs << 48
}

#[inline(always)]
fn without_words((status, second): (Status, u64)) -> Answer {
    Answer {
        status,
        second,
        words: Words::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_packed_lowest_first_and_padded_with_zero() {
        let mut words = [u64::MAX; 2];
        pack(b"abcdefghi", &mut words);
        assert_eq!(words, [u64::from_le_bytes(*b"abcdefgh"), u64::from(b'i')]);
    }
}
