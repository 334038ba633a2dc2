//! Decides whether a manifest makes sense. All rules run, so that all mistakes are shown at once.
//!
//! Key function: [`check()`]; key type: [`Checked`]. Called by `compose` and by tools that want the graph without building
//! the programs. One module a subject: `names` (duplicates), `resolve` (names to indices), `values` (ranges), `owners` (one owner
//! each), `calls` (what calls may do to each other), `memory` (the sum).

mod calls;
pub(crate) mod memory;
mod names;
mod owners;
pub(crate) mod resolve;
mod values;

use ecusson_manifest::{Composition, layout};

use crate::compose::boot_tables::encode as encode_boot_table;
use crate::compose::outline;
use crate::diagnostic::{Diagnostic, Severity};
use crate::manifest::Manifest;
use crate::slots;

/// A manifest that passed every check that needs no programs.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Everything but the programs and boot tables, which are empty.
    pub composition: Composition,
    /// The encoded boot table of each process.
    pub boot_tables: Vec<Vec<u8>>,
    /// What is allowed but odd.
    pub warnings: Vec<Diagnostic>,
}

/// Checks a manifest without its programs.
///
/// # Errors
/// Every mistake found, warnings included.
pub fn check(manifest: &Manifest) -> Result<Checked, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    names::check(manifest, &mut problems);
    values::check(manifest, &mut problems);
    owners::check(manifest, &mut problems);
    let resolved = resolve::resolve(manifest, &mut problems);
    owners::check_bits(manifest, &resolved, &mut problems);
    owners::check_controls(manifest, &resolved, &mut problems);
    calls::check(manifest, &resolved, &mut problems);
    let slots = slots::assign(manifest, &mut problems);
    memory::check(manifest, &memory::Programs::default(), &mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let composition = outline(manifest, &resolved, &slots);
    let boot_tables = boot_tables(manifest, &resolved, &slots, &composition)?;
    Ok(Checked {
        composition,
        boot_tables,
        warnings: problems,
    })
}

fn boot_tables(
    manifest: &Manifest,
    resolved: &resolve::Resolved,
    slots: &[slots::ProcessSlots],
    composition: &Composition,
) -> Result<Vec<Vec<u8>>, Vec<Diagnostic>> {
    let mut tables = Vec::new();
    for (index, process) in manifest.processes.iter().enumerate() {
        let room = usize::try_from(layout::BOOT_TABLE_PAGES_MAX * layout::PAGE_BYTES).unwrap_or(usize::MAX);
        match encode_boot_table(manifest, resolved, slots, composition, index) {
            Ok(table) if table.len() <= room => tables.push(table),
            _ => {
                return Err(vec![Diagnostic::error(
                    "boot-table",
                    process.name.span.clone(),
                    format!(
                        "the boot table of `{}` is larger than its window of {room} bytes",
                        process.name
                    ),
                    "give the process fewer edges, or shorter names",
                )]);
            }
        }
    }
    Ok(tables)
}
