//! What crosses the kernel's boundary: object kinds, rights, system calls, operations, errors and the
//! boot hand-over. Types only; the one rule of each is written beside it and in `specs/abi.md`.
//!
//! Used by the kernel (`ecusson-core`, `ecusson-x86`), by every user process through `rt`, and by the
//! loader and the image tool ([`boot`]).
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod error;
pub mod fault;
pub mod kind;
pub mod ops;
pub mod platform;
pub mod rights;
pub mod syscall;
pub mod time;
pub mod vcpu;

pub use error::Error;
pub use kind::Kind;
pub use rights::Rights;
pub use syscall::{Event, Status, Syscall, Transfer};

/// Words in a message. Word 0 is the operation.
pub const MESSAGE_WORDS: usize = 6;

/// The words of a message, in register order r12, r13, r14, r15, rbx, rbp.
pub type Words = [u64; MESSAGE_WORDS];

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;

/// Capability slots in one page of a protection domain's capability table.
pub const SLOTS_PER_PAGE: u64 = 256;

/// Priorities; a higher number runs first.
pub const PRIORITIES: u8 = 32;

/// The priority level that is shared by weight (virtual time) instead of by arrival.
pub const FAIR_PRIORITY: u8 = 1;

/// Threads in a chain of nested calls, the first caller included.
pub const MAX_CALL_DEPTH: u8 = 8;

/// Nesting of slices below a root Region.
pub const MAX_SLICE_DEPTH: u8 = 8;

/// Processors the kernel can run.
pub const MAX_CORES: usize = 64;

/// A deadline that never comes.
pub const NO_DEADLINE: u64 = u64::MAX;

/// First user page that may not be mapped: one page below the canonical limit, so that the return address
/// of a `syscall` instruction in the last page is canonical (SYSRET to a non-canonical address faults in
/// ring 0 on Intel processors; Intel SDM vol. 2, SYSRET).
pub const USER_PAGES: u64 = 0x7_FFFF_FFFF;

/// Slots that the kernel fills in root's capability table.
pub mod root_slots {
    /// Root's own protection domain.
    pub const SELF: u64 = 1;
    /// Root's own space.
    pub const SPACE: u64 = 2;
    /// Root's first thread.
    pub const THREAD: u64 = 3;
    /// The scheduling context of root's first thread.
    pub const SCHED_CONTEXT: u64 = 4;
    /// The Platform object with every right.
    pub const PLATFORM: u64 = 5;
    /// The boot information pages (Region, read-only).
    pub const BOOT_INFO: u64 = 6;
    /// The bundle: the other processes' segments (Region, read-only, executable).
    pub const BUNDLE: u64 = 7;
    /// The composition the image tool wrote (Region, read-only).
    pub const COMPOSITION: u64 = 8;
    /// The time page (Region, read-only).
    pub const TIME_PAGE: u64 = 9;
    /// Notification bound to root's first thread.
    pub const NOTIFICATION: u64 = 10;
    /// First of the Regions of root's own image, in the order of its segments; at most [`SEGMENT_COUNT`].
    pub const SEGMENTS: u64 = 16;
    /// Segments root's image may have.
    pub const SEGMENT_COUNT: u64 = 8;
    /// First of the Memory capabilities, one for each free range, largest first.
    pub const MEMORY: u64 = 32;
    /// Slots the kernel may use for Memory capabilities, from [`MEMORY`].
    pub const MEMORY_COUNT: u64 = 64;
    /// Pages of root's capability table.
    pub const TABLE_PAGES: u64 = 4;
}
