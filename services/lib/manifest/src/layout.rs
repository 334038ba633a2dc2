//! Addresses and slots that `boot/image`, root and `rt` agree on without telling each other.
//!
//! Key items: the fixed slots of [`slots`], and the map of a process's address space below. `boot/image` refuses a
//! program, a stack or a region that does not fit its window, so root and `rt` need no checks of their own.
//!
//! | from | what | who maps it |
//! |---|---|---|
//! | [`PROGRAM_BASE`] | the program's segments, linked there | root |
//! | [`BOOT_TABLE_ADDRESS`] | the boot table, read-only | root |
//! | [`TIME_PAGE_ADDRESS`] | the kernel's time page, read-only | root |
//! | [`STACKS_BASE`] | one window of [`STACK_STRIDE_BYTES`] for each thread | root |
//! | [`REGIONS_BASE`] | shared regions and device memory, in the manifest's order | root |
//! | behind them | places kept for data files | the process, if it wants |
//! | [`FREE_BASE`] | nothing: `rt` maps the heap and received regions here | `rt` |

/// Bytes in a page, as the layout counts them.
pub const PAGE_BYTES: u64 = ecusson_abi::PAGE_BYTES;

/// Lowest address of a program's segments.
pub const PROGRAM_BASE: u64 = 0x1000;
/// First address behind the program's window: within reach of the static code model (below 2 GiB).
pub const PROGRAM_LIMIT: u64 = 0x4000_0000;

/// Where the boot table is mapped, read-only.
pub const BOOT_TABLE_ADDRESS: u64 = 0x4000_0000;
/// Room for the boot table, in pages.
pub const BOOT_TABLE_PAGES_MAX: u64 = 16;
/// Where the kernel's time page is mapped, read-only.
pub const TIME_PAGE_ADDRESS: u64 = 0x4010_0000;

/// Where the stack windows begin.
pub const STACKS_BASE: u64 = 0x5000_0000;
/// Distance between the stack tops of two threads. The stack fills the window's upper end, the rest guards it.
pub const STACK_STRIDE_BYTES: u64 = 0x10_0000;
/// Largest stack: the window less one guard page.
pub const STACK_PAGES_MAX: u64 = STACK_STRIDE_BYTES / PAGE_BYTES - 1;
/// Most threads of one process.
pub const THREADS_MAX: usize = 64;

/// Where shared regions and device memory begin, with the places for data files behind them.
pub const REGIONS_BASE: u64 = 0x10_0000_0000;
/// Alignment of each of them, so that large pages are possible; at least one page behind each stays unmapped.
pub const REGION_ALIGN_BYTES: u64 = 0x20_0000;
/// First address behind them, and the first that `rt` may map as it likes.
pub const FREE_BASE: u64 = 0x100_0000_0000;

/// Initial stack pointer of the thread with this index (page aligned; the last page below it is mapped).
#[must_use]
pub const fn stack_top(thread: u16) -> u64 {
    STACKS_BASE + (thread as u64 + 1) * STACK_STRIDE_BYTES
}

/// Slots that mean the same in every process that root starts.
pub mod slots {
    /// The process's own host Space (MANAGE), to map what it receives and its heap.
    pub const SPACE: u16 = 1;
    /// Its memory quota (Memory: MANAGE, READ); empty when the manifest gives none.
    pub const MEMORY: u16 = 2;
    /// A portal to root (CALL), for panics and requests to the supervisor; the label is the process's index plus one.
    pub const SUPERVISOR: u16 = 3;
    /// Its own ProtectionDomain (MANAGE), only with `manage_self = true`.
    pub const PROTECTION_DOMAIN: u16 = 4;
    /// The first slot that the manifest may name or that is assigned automatically. 5 to 15 are kept for the future.
    pub const FIRST_ASSIGNED: u16 = 16;
}
