//! Sections with `instances = N`: one process each, called `section.0` to `section.N-1`.
//!
//! Key function: [`expand`]. Called by `parse` when everything is read, so that all rules see what will really run.

use super::Process;
use super::reader::Problems;
use crate::diagnostic::Diagnostic;

/// Most instances of a section: their ends are told by the bits of one notification.
const INSTANCES_MAX: u16 = 64;

/// The processes that a section stands for. They are alike but for their names and the bits that they signal.
pub(super) fn expand(section: Process, problems: &mut Problems) -> Vec<Process> {
    let Some(count) = &section.instances else {
        return vec![section];
    };
    if count.value == 0 || count.value > INSTANCES_MAX {
        problems.push(Diagnostic::error(
            "out-of-range",
            count.span.clone(),
            format!("`instances = {count}`"),
            format!("a process has 1 to {INSTANCES_MAX} instances"),
        ));
        return vec![section];
    }
    (0..count.value).map(|number| instance(&section, number)).collect()
}

fn instance(section: &Process, number: u16) -> Process {
    let mut process = section.clone();
    process.name.value = format!("{}.{number}", section.name);
    for signal in &mut process.signals {
        signal.bit.value = signal.bit.value.saturating_add(u64::from(number));
    }
    process
}
