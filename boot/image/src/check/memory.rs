//! Whether everything fits into the memory that the manifest states.
//!
//! Key type: [`Programs`]. Called by `check` (without programs) and by `compose` (with them).

use std::collections::BTreeMap;

use ecusson_abi::SLOTS_PER_PAGE;
use ecusson_manifest::layout::PAGE_BYTES;

use crate::diagnostic::Diagnostic;
use crate::manifest::{Manifest, Process};

const PAGES_PER_MIB: u64 = 0x10_0000 / PAGE_BYTES;
/// Pages that root spends on a process besides its stacks and tables: space, page tables, protection domain, portals.
const PAGES_PER_PROCESS: u64 = 32;
/// Pages of kernel objects for a thread and its scheduling context.
const PAGES_PER_THREAD: u64 = 2;
/// Pages of a file that a page table serves.
const PAGES_PER_TABLE: u64 = 512;

/// What is known of the programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    /// Pages of the payload, which stay in memory.
    pub(crate) payload_pages: u64,
    /// For each binary, the pages that every process running it needs for itself: those of its writable segments.
    pub(crate) writable_pages: BTreeMap<String, u64>,
}

pub(crate) fn check(manifest: &Manifest, programs: &Programs, problems: &mut Vec<Diagnostic>) {
    let memory = u64::from(manifest.machine.memory_mib.value) * PAGES_PER_MIB;
    let mut items = items(manifest, programs);
    let sum: u64 = items.iter().map(|(_, pages)| pages).sum();
    if sum <= memory {
        return;
    }
    let mut problem = Diagnostic::error(
        "memory-sum",
        manifest.machine.memory_mib.span.clone(),
        format!(
            "everything together needs {sum} pages ({} MiB), but the machine is said to have {memory} ({} MiB)",
            sum.div_ceil(PAGES_PER_MIB),
            manifest.machine.memory_mib
        ),
        format!(
            "raise `memory_mib` to at least {}, or lower the largest below",
            sum.div_ceil(PAGES_PER_MIB)
        ),
    );
    items.sort_by_key(|(_, pages)| std::cmp::Reverse(*pages));
    for (what, pages) in items.iter().take(6).filter(|(_, pages)| *pages > 0) {
        problem = problem.note(format!("{pages:>8} pages: {what}"));
    }
    problems.push(problem);
}

/// What takes memory, and how many pages.
fn items(manifest: &Manifest, programs: &Programs) -> Vec<(String, u64)> {
    let mut items = vec![
        (
            "loader, kernel and root (`reserve_mib`)".to_owned(),
            u64::from(manifest.machine.reserve_mib.value) * PAGES_PER_MIB,
        ),
        ("the image".to_owned(), programs.payload_pages),
    ];
    for region in &manifest.regions {
        items.push((format!("region `{}`", region.name), u64::from(region.pages.value)));
    }
    // The image that is measured has them already.
    if programs.payload_pages == 0 {
        items.extend(
            manifest
                .files
                .iter()
                .map(|file| (format!("file `{}`", file.name), file.pages())),
        );
    }
    for process in &manifest.processes {
        let stacks: u64 = process
            .threads
            .iter()
            .map(|thread| u64::from(thread.stack_pages.value))
            .sum();
        let kernel = PAGES_PER_PROCESS
            + PAGES_PER_THREAD * process.threads.len() as u64
            + u64::from(process.capability_slots.value) / SLOTS_PER_PAGE
            + file_tables(manifest, process);
        let program = programs.writable_pages.get(&process.binary.value).copied().unwrap_or(0);
        let quota = u64::from(process.memory_pages.value);
        let pages = quota + stacks + kernel + program;
        items.push((
            format!(
                "process `{}`: quota {quota} + stacks {stacks} + program {program} + kernel {kernel}",
                process.name
            ),
            pages,
        ));
    }
    items
}

/// Page tables for the files that a process holds.
fn file_tables(manifest: &Manifest, process: &Process) -> u64 {
    let held = process.files.iter().filter_map(|used| {
        let mut files = manifest.files.iter();
        files.find(|file| file.name.value == used.file.value)
    });
    held.map(|file| file.pages().div_ceil(PAGES_PER_TABLE) + 1).sum()
}
