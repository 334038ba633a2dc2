//! The first instructions of a thread, as macros that a program's `main.rs` uses once.
//!
//! Calls the program's `main`; called by the kernel, where root (or, for root itself, the kernel) said a thread begins.

/// Makes a function the entry point of all threads of a process that root starts: `fn main(thread: u16) -> !`. Root has set
/// the stack and given the thread's index in the manifest's order; [`crate::environment`] tells the rest.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            extern "C" fn begin(argument: u64) -> ! {
                let main: fn(u16) -> ! = $main;
                main($crate::environment::set_up(argument))
            }
            /// The first instruction: the stack is page aligned, as before a call (System V ABI, 3.2.2).
            #[cfg(target_os = "none")]
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "C" fn _start() -> ! {
        core::arch::naked_asm!("xor ebp, ebp", "call {begin}", "ud2", begin = sym begin)
            }
            // Elsewhere it is only type-checked.
            #[cfg(not(target_os = "none"))]
            const _: extern "C" fn(u64) -> ! = begin;
        };
    };
}

/// Makes a function the entry point of a root process, which the kernel starts without a stack: `fn main() -> !`. The stack,
/// so many bytes, is a part of the image.
#[macro_export]
macro_rules! root_entry {
    ($main:path, stack: $bytes:expr) => {
        const _: () = {
            #[repr(align(4096))]
            struct Stack(#[allow(dead_code)] core::cell::UnsafeCell<[u8; $bytes]>);
            // SAFETY: only the first thread's stack pointer leads there; no reference to the bytes is ever made.
            unsafe impl Sync for Stack {}
            #[allow(dead_code)]
            static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; $bytes]));
            extern "C" fn begin() -> ! {
                let main: fn() -> ! = $main;
                main()
            }
            /// The first instruction: there is no stack yet.
            #[cfg(target_os = "none")]
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "C" fn _start() -> ! {
                core::arch::naked_asm!(
                    "lea rsp, [{stack} + {bytes}]",
                    "xor ebp, ebp",
                    "call {begin}",
                    "ud2",
                    stack = sym STACK,
                    bytes = const $bytes,
                    begin = sym begin,
                )
            }
            // Elsewhere it is only type-checked.
            #[cfg(not(target_os = "none"))]
            const _: extern "C" fn() -> ! = begin;
        };
    };
}

/// As [`root_entry!`], for a root process that serves for long: before `main` it goes over to a stack of so many bytes in pages of
/// its own, with nothing mapped below. A stack that ends there is a page fault, not a damaged image.
#[macro_export]
macro_rules! guarded_root_entry {
    ($main:path, stack: $bytes:expr) => {
        const _: () = {
            fn enter() -> ! {
                $crate::root_stack::enter($bytes, $main)
            }
    $crate::root_entry!(enter, stack: 16384);
        };
    };
}
