//! What a process was given: the boot table that root mapped, decoded once.
//!
//! Key functions: [`environment`], [`file`], [`argument`]. Root calls [`argument`] to make what a thread gets in rdi; `entry!` takes
//! it apart again.

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::PAGE_BYTES;
use ecusson_manifest::layout::{BOOT_TABLE_ADDRESS, BOOT_TABLE_PAGES_MAX};
use ecusson_manifest::{BootTable, Entry};

use crate::file::File;

/// Pages of the boot table; 0 until the first thread ran.
static TABLE_PAGES: AtomicU64 = AtomicU64::new(0);

/// What a thread gets in rdi: its index below, the pages of the mapped boot table above.
#[must_use]
pub const fn argument(thread: u16, table_pages: u64) -> u64 {
    thread as u64 | table_pages << 16
}

/// Takes rdi apart: notes the pages of the boot table, answers the thread's index. Called by `entry!`.
#[doc(hidden)]
#[must_use]
pub fn set_up(argument: u64) -> u16 {
    TABLE_PAGES.store((argument >> 16).min(BOOT_TABLE_PAGES_MAX), Ordering::Relaxed);
    argument as u16
}

/// The boot table of this process. Decoding looks through all entries: keep what you need.
///
/// `None` in a process that root did not start (root itself, or a program of another runtime).
#[must_use]
pub fn environment() -> Option<BootTable<'static>> {
    let pages = TABLE_PAGES.load(Ordering::Relaxed);
    if pages == 0 {
        return None;
    }
    let bytes = (pages * PAGE_BYTES) as usize;
    // SAFETY: `TABLE_PAGES` is set by `set_up` alone, from what root passed: it mapped so many pages there, read-only,
    // before the first thread began, and never takes them back. Nobody can write them: the bundle has no writable
    // capability.
    let table = unsafe { core::slice::from_raw_parts(BOOT_TABLE_ADDRESS as *const u8, bytes) };
    BootTable::decode(table).ok()
}

/// The data file with this local name; `None` if the manifest gives none of that name.
#[must_use]
pub fn file(name: &str) -> Option<File> {
    File::of(&environment()?.file(name)?)
}

/// The words of a shared region that this process may write. Whoever else has the region may change them at any time.
///
/// `None` without such a region, or for one that is mapped read-only.
#[must_use]
pub fn shared_words(region: &str) -> Option<&'static [AtomicU64]> {
    let Entry::Region {
        address,
        pages,
        writable: true,
        ..
    } = environment()?.region(region)?
    else {
        return None;
    };
    let words = usize::try_from(u64::from(pages) * (PAGE_BYTES / 8)).ok()?;
    // SAFETY: the boot table is root's and constant: it has mapped so many pages there, writable, for the life of this
    // process; the address is page aligned, and atomics may be changed by others.
    Some(unsafe { core::slice::from_raw_parts(address as *const AtomicU64, words) })
}
