//! The instructions that touch guest memory, and all unsafe code of this crate.
//!
//! Key function: [`recovery`]. Everything that reads or writes a guest's memory does it between two labels, in leaf
//! routines that use no stack. When one of these instructions faults, because a mapping went away, whoever handles the
//! thread's faults sets its instruction pointer to a third label and resumes it: the routine returns "gone" to its caller.
//! A fault handler that does not know the labels ends the thread, as for every other fault.
//!
//! The routines are assembly for three reasons: the compiler must not move, merge or repeat an access to memory that others
//! change meanwhile; such a race is no undefined behaviour when Rust does not see it; and the place of each access that may
//! fault must be known.

use core::arch::global_asm;

/// Where accesses to guest memory lie in this program, and where a faulting one goes on.
///
/// For the handler of page faults: an instruction pointer in `first..end` is replaced by `resume`, all other registers
/// stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Address of the first instruction that may fault.
    pub first: u64,
    /// Address behind the last.
    pub end: u64,
    /// Address at which the thread goes on.
    pub resume: u64,
}

// System V calling convention: arguments in rdi, rsi, rdx; results in rax (value) and rdx (0, or 1 for "gone"). The
// direction flag is clear on entry. Between `first` and `end` the stack pointer never moves, so that `ret` at `resume`
// returns to the caller whatever instruction faulted. Words of up to 8 bytes are moved by one instruction each, which is
// atomic for aligned addresses, and x86 orders loads as acquire and stores as release.
global_asm!(
    ".pushsection .text.ecusson_guest_access, \"ax\"",
    ".global ecusson_guest_access_first, ecusson_guest_access_end, ecusson_guest_access_resume",
    ".global ecusson_guest_load_16, ecusson_guest_load_32, ecusson_guest_load_64",
    ".global ecusson_guest_store_16, ecusson_guest_store_32, ecusson_guest_store_64",
    ".global ecusson_guest_copy, ecusson_guest_fill, ecusson_guest_exchange_64",
    ".balign 16",
    "ecusson_guest_access_first:",
    "ecusson_guest_load_16:",
    "    movzx eax, word ptr [rdi]",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_load_32:",
    "    mov eax, dword ptr [rdi]",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_load_64:",
    "    mov rax, qword ptr [rdi]",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_store_16:",
    "    mov word ptr [rdi], si",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_store_32:",
    "    mov dword ptr [rdi], esi",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_store_64:",
    "    mov qword ptr [rdi], rsi",
    "    xor edx, edx",
    "    ret",
    // At rdi: rdx if rsi is there; gives what was there.
    "ecusson_guest_exchange_64:",
    "    mov rax, rsi",
    "    lock cmpxchg qword ptr [rdi], rdx",
    "    mov edx, 0",
    "    ret",
    // To rdi, from rsi, rdx bytes: words first, then what is left.
    "ecusson_guest_copy:",
    "    mov rcx, rdx",
    "    shr rcx, 3",
    "    and edx, 7",
    "    rep movsq",
    "    mov ecx, edx",
    "    rep movsb",
    "    xor edx, edx",
    "    ret",
    // To rdi, the byte repeated in rsi, rdx bytes.
    "ecusson_guest_fill:",
    "    mov rax, rsi",
    "    mov rcx, rdx",
    "    shr rcx, 3",
    "    and edx, 7",
    "    rep stosq",
    "    mov ecx, edx",
    "    rep stosb",
    "    xor edx, edx",
    "    ret",
    "ecusson_guest_access_end:",
    "ecusson_guest_access_resume:",
    "    mov edx, 1",
    "    ret",
    ".popsection",
);

/// What a routine returns in rax and rdx.
#[repr(C)]
struct Outcome {
    value: u64,
    gone: u64,
}

unsafe extern "sysv64" {
    static ecusson_guest_access_first: u8;
    static ecusson_guest_access_end: u8;
    static ecusson_guest_access_resume: u8;
    fn ecusson_guest_load_16(from: usize) -> Outcome;
    fn ecusson_guest_load_32(from: usize) -> Outcome;
    fn ecusson_guest_load_64(from: usize) -> Outcome;
    fn ecusson_guest_store_16(to: usize, value: u64) -> Outcome;
    fn ecusson_guest_store_32(to: usize, value: u64) -> Outcome;
    fn ecusson_guest_store_64(to: usize, value: u64) -> Outcome;
    fn ecusson_guest_exchange_64(at: usize, expected: u64, value: u64) -> Outcome;
    fn ecusson_guest_copy(to: usize, from: usize, bytes: usize) -> Outcome;
    fn ecusson_guest_fill(to: usize, pattern: u64, bytes: usize) -> Outcome;
}

/// The labels of this program, for whoever handles its faults.
#[must_use]
pub fn recovery() -> Recovery {
    Recovery {
        first: (&raw const ecusson_guest_access_first).addr() as u64,
        end: (&raw const ecusson_guest_access_end).addr() as u64,
        resume: (&raw const ecusson_guest_access_resume).addr() as u64,
    }
}

/// The mapping was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Outcome {
    fn checked(self) -> Result<u64, Gone> {
        if self.gone == 0 { Ok(self.value) } else { Err(Gone) }
    }
}

/// A piece of guest memory where this process sees it.
///
/// Only [`Place::new`] makes one, so that every other function here may trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    address: usize,
    bytes: usize,
}

impl Place {
    /// # Safety
    /// As long as the place or part of it is used, no object of this program lies in `bytes` bytes from `address`, other
    /// than atomics that nobody borrows as anything else. What is mapped there may change or go away at any time.
    pub(crate) const unsafe fn new(address: usize, bytes: usize) -> Self {
        Self { address, bytes }
    }

    /// Bytes of it.
    pub(crate) const fn bytes(self) -> usize {
        self.bytes
    }

    /// So many bytes from an offset; `None` beyond its end.
    pub(crate) fn part(self, offset: usize, bytes: usize) -> Option<Self> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| Self {
            address: self.address + offset,
            bytes,
        })
    }

    /// Whether its integers lie as aligned here as they do for the guest.
    pub(crate) fn is_aligned(self) -> bool {
        self.address.is_multiple_of(8) && self.bytes.is_multiple_of(8)
    }

    /// An integer of 2, 4 or 8 bytes at its beginning, by one instruction, as acquire.
    pub(crate) fn load<const BYTES: usize>(self) -> Result<u64, Gone> {
        const { assert!(matches!(BYTES, 2 | 4 | 8)) };
        assert!(BYTES <= self.bytes, "the caller cut the place to fit");
        // SAFETY: so many bytes lie in the place, which by `new` holds nothing that Rust knows; the routine only reads
        // them and returns if they are not there.
        let outcome = unsafe {
            match BYTES {
                2 => ecusson_guest_load_16(self.address),
                4 => ecusson_guest_load_32(self.address),
                _ => ecusson_guest_load_64(self.address),
            }
        };
        outcome.checked()
    }

    /// The counterpart of [`Place::load`], as release.
    pub(crate) fn store<const BYTES: usize>(self, value: u64) -> Result<(), Gone> {
        const { assert!(matches!(BYTES, 2 | 4 | 8)) };
        assert!(BYTES <= self.bytes, "the caller cut the place to fit");
        // SAFETY: as in `load`, for writing.
        let outcome = unsafe {
            match BYTES {
                2 => ecusson_guest_store_16(self.address, value),
                4 => ecusson_guest_store_32(self.address, value),
                _ => ecusson_guest_store_64(self.address, value),
            }
        };
        outcome.checked().map(|_| ())
    }

    /// Puts `value` into the eight bytes at its beginning if `expected` is there, in one step; gives what was there.
    pub(crate) fn compare_exchange(self, expected: u64, value: u64) -> Result<u64, Gone> {
        assert!(self.bytes >= 8, "the caller cut the place to fit");
        // SAFETY: as in `load`, for writing.
        unsafe { ecusson_guest_exchange_64(self.address, expected, value) }.checked()
    }

    /// Its bytes into `to`, which has as many.
    pub(crate) fn read(self, to: &mut [u8]) -> Result<(), Gone> {
        assert_eq!(to.len(), self.bytes, "the caller cut the place to fit");
        // SAFETY: the source as in `load`; the target is this program's own, borrowed for writing.
        unsafe { ecusson_guest_copy(to.as_mut_ptr().expose_provenance(), self.address, self.bytes) }
            .checked()
            .map(|_| ())
    }

    /// `from` into it; both are of one length.
    pub(crate) fn write(self, from: &[u8]) -> Result<(), Gone> {
        assert_eq!(from.len(), self.bytes, "the caller cut the place to fit");
        // SAFETY: the target as in `load`; the source is this program's own, borrowed.
        unsafe { ecusson_guest_copy(self.address, from.as_ptr().expose_provenance(), self.bytes) }
            .checked()
            .map(|_| ())
    }

    /// The bytes of another place of the same length into it. Where both show the same memory, the result is some mixture.
    pub(crate) fn copy(self, from: Self) -> Result<(), Gone> {
        assert_eq!(from.bytes, self.bytes, "the caller cut both places to fit");
        // SAFETY: both as in `load`.
        unsafe { ecusson_guest_copy(self.address, from.address, self.bytes) }
            .checked()
            .map(|_| ())
    }

    /// One byte all over it.
    pub(crate) fn fill(self, byte: u8) -> Result<(), Gone> {
        let pattern = u64::from_ne_bytes([byte; 8]);
        // SAFETY: as in `load`, for writing.
        unsafe { ecusson_guest_fill(self.address, pattern, self.bytes) }
            .checked()
            .map(|_| ())
    }
}
