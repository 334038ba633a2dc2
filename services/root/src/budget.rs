//! How many pages a process takes: page tables, kernel objects, its own memory. Root splits off exactly so much, so that a
//! process can neither run short while it is made nor live at the expense of others.
//!
//! Key functions: [`table_pages`], [`process_pages`]. Called by [`crate::make`].

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use ecusson_abi::{PAGE_BYTES, Rights};
use ecusson_manifest::composition::{Composition, Process, Target};
use ecusson_manifest::layout;

/// A run of virtual pages: the first, how many.
pub type Run = (u64, u64);

/// Address bits that one level of page tables resolves.
const LEVEL_BITS: u32 = 9;
/// Levels below the root table.
const LEVELS: u32 = 3;
/// Objects that fit a page of small objects, at least.
const OBJECTS_PER_PAGE: u64 = 16;
/// Tables for what a process maps by itself besides its quota.
const SPARE_TABLES: u64 = 8;
/// Pages that guard against rounding: half-filled pages of small objects.
const SPARE_PAGES: u64 = 2;

/// Tables below the root table that these runs need at most, each page mapped by itself.
#[must_use]
pub fn table_pages(runs: &[Run]) -> u64 {
    let tables = (1..=LEVELS).map(|level| {
        let spans = runs.iter().filter(|run| run.1 > 0);
        let indices = spans.flat_map(|&(first, pages)| {
            let shift = LEVEL_BITS * level;
            (first >> shift)..=((first + pages - 1) >> shift)
        });
        indices.collect::<BTreeSet<_>>().len() as u64
    });
    tables.sum()
}

/// Whole pages of so many bytes.
#[must_use]
pub const fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES)
}

/// Virtual pages of a thread's stack.
#[must_use]
pub fn stack_run(thread: u16, stack_pages: u32) -> Run {
    let pages = u64::from(stack_pages);
    (layout::stack_top(thread) / PAGE_BYTES - pages, pages)
}

/// What root maps into a process, and places as large as its quota and as each of its data files.
#[must_use]
pub fn runs(composition: &Composition, process: &Process) -> Vec<Run> {
    let segments = process.program.segments.iter();
    let mut runs: Vec<Run> = segments
        .map(|segment| (segment.address / PAGE_BYTES, pages(segment.memory_bytes)))
        .collect();
    runs.push((layout::BOOT_TABLE_ADDRESS / PAGE_BYTES, pages(process.boot_table.bytes)));
    runs.push((layout::TIME_PAGE_ADDRESS / PAGE_BYTES, 1));
    runs.push((layout::FREE_BASE / PAGE_BYTES, u64::from(process.memory_pages)));
    runs.extend(
        (0..)
            .zip(&process.threads)
            .map(|(index, thread)| stack_run(index, thread.stack_pages)),
    );
    runs.extend(
        process
            .capabilities
            .iter()
            .filter_map(|capability| match capability.target {
                Target::SharedRegion { region, address } => {
                    let region = composition.regions.get(usize::from(region))?;
                    Some((address / PAGE_BYTES, u64::from(region.pages)))
                }
                Target::Mmio { pages, address, .. } => Some((address / PAGE_BYTES, u64::from(pages))),
                Target::File { file, address } => {
                    let file = composition.files.get(usize::from(file))?;
                    Some((address / PAGE_BYTES, file.pages()))
                }
                _ => None,
            }),
    );
    runs
}

/// Pages of the bundle, from its first, up to the last of which a process gets a copy.
#[must_use]
pub fn copied_pages(composition: &Composition) -> u64 {
    let programs = composition.processes.iter().map(|process| &process.program);
    let segments = programs.flat_map(|program| &program.segments);
    let copied = segments.filter(|segment| Rights(segment.rights).has(Rights::WRITE));
    copied
        .map(|segment| pages(segment.offset + segment.file_bytes))
        .max()
        .unwrap_or(0)
}

/// Pages to fund a process's space with: for what root maps, the quota, and a few more.
#[must_use]
pub fn funding(composition: &Composition, process: &Process) -> u64 {
    table_pages(&runs(composition, process)) + SPARE_TABLES
}

/// All pages of a process: what root splits off for it.
#[must_use]
pub fn process_pages(composition: &Composition, index: usize) -> u64 {
    let Some(process) = composition.processes.get(index) else {
        return 0;
    };
    let writable = process
        .program
        .segments
        .iter()
        .filter(|segment| Rights(segment.rights).has(Rights::WRITE));
    let data: u64 = writable.map(|segment| pages(segment.memory_bytes)).sum();
    let stacks: u64 = process.threads.iter().map(|thread| u64::from(thread.stack_pages)).sum();
    let threads = process.threads.len() as u64;
    let served = composition.processes.iter().flat_map(|client| &client.capabilities);
    let served = served.filter(|capability| serves(&capability.target, index)).count() as u64;
    // Of each thread: context, stack, fault portal. Of the process: space, quota, supervisor's portal, boot table, time.
    let objects = process.program.segments.len() as u64
        + process.capabilities.len() as u64
        + process.notifications.len() as u64
        + served
        + 3 * threads
        + 5;
    let domain = 1 + u64::from(process.table_pages);
    let space = 1 + funding(composition, process);
    let own = u64::from(process.memory_pages) + data + stacks;
    own + threads + domain + space + objects.div_ceil(OBJECTS_PER_PAGE) + SPARE_PAGES
}

/// Whether a capability is a portal of this server.
fn serves(target: &Target, server: usize) -> bool {
    matches!(target, Target::Portal { process, .. } if usize::from(*process) == server)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_share_tables() {
        assert_eq!(table_pages(&[]), 0);
        assert_eq!(table_pages(&[(0x200, 1)]), 3);
        assert_eq!(table_pages(&[(0x200, 1), (0x3FF, 1)]), 3);
        assert_eq!(table_pages(&[(0x3FF, 2)]), 4, "two tables of the lowest level");
        assert_eq!(table_pages(&[(0, 0)]), 0, "an empty run needs none");
        assert_eq!(
            table_pages(&[(0, 1), (1 << 27, 1)]),
            6,
            "nothing shared but the root table"
        );
    }

    proptest! {
        /// Never more than for each page alone, never fewer than for the largest run.
        #[test]
        fn tables_are_bounded(runs in prop::collection::vec((0_u64..1 << 20, 1_u64..2000), 1..6)) {
            let tables = table_pages(&runs);
            let apart: u64 = runs.iter().map(|run| table_pages(&[*run])).sum();
            let largest = runs.iter().map(|run| run.1.div_ceil(512)).max().unwrap_or(0);
            prop_assert!(tables <= apart && tables >= largest + 2);
        }
    }
}
