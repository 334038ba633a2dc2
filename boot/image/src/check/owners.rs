//! One owner each: interrupt lines, I/O ports, device memory, bits of notifications, the notification of a thread, processes
//! that are started on demand.
//!
//! Called by `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ecusson_manifest::composition::{InterruptLine, Start};
use ecusson_manifest::layout::PAGE_BYTES;

use super::resolve::{Resolved, ResolvedProcess};
use crate::diagnostic::{At, Diagnostic, Span};
use crate::manifest::{Control, Manifest, Process};

/// A range that somebody owns.
struct Owned<'m> {
    range: Range<u64>,
    process: &'m str,
    place: Span,
}

pub(super) fn check(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    interrupts(manifest, problems);
    let ports = collect(manifest, |process| {
        let ranges = process.ports.iter().map(|ports| {
            let first = u64::from(ports.first.value);
            (first..first + u64::from(ports.count.value), ports.first.span.clone())
        });
        ranges.collect()
    });
    overlaps("I/O ports", ports, problems);
    let mmio = collect(manifest, |process| {
        let ranges = process.mmio.iter().map(|mmio| {
            let bytes = u64::from(mmio.pages.value) * PAGE_BYTES;
            (
                mmio.address.value..mmio.address.value.saturating_add(bytes),
                mmio.address.span.clone(),
            )
        });
        ranges.collect()
    });
    overlaps("device memory", mmio, problems);
}

fn interrupts(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<u32, (&str, &Span)> = BTreeMap::new();
    for process in &manifest.processes {
        for interrupt in &process.interrupts {
            let InterruptLine::Gsi { gsi, .. } = interrupt.line.value else {
                continue;
            };
            if let Some((owner, place)) = first.get(&gsi) {
                problems.push(
                    Diagnostic::error(
                        "two-owners",
                        interrupt.line.span.clone(),
                        format!("interrupt {gsi} has two owners, `{owner}` and `{}`", process.name),
                        "let one process own the line and signal the other; or use `msi = true` if the device can",
                    )
                    .context((*place).clone(), format!("owned by `{owner}` here")),
                );
            } else {
                first.insert(gsi, (&process.name, &interrupt.line.span));
            }
        }
    }
}

fn collect(manifest: &Manifest, ranges: impl Fn(&Process) -> Vec<(Range<u64>, Span)>) -> Vec<Owned<'_>> {
    let mut all = Vec::new();
    for process in &manifest.processes {
        let owned = ranges(process).into_iter();
        all.extend(owned.map(|(range, place)| Owned {
            range,
            process: process.name.value.as_str(),
            place,
        }));
    }
    all
}

/// Reports each range that overlaps one that stands before it in the manifest.
fn overlaps(what: &str, owned: Vec<Owned<'_>>, problems: &mut Vec<Diagnostic>) {
    for (index, later) in owned.iter().enumerate() {
        let earlier = owned[..index]
            .iter()
            .find(|earlier| earlier.range.start < later.range.end && later.range.start < earlier.range.end);
        let Some(earlier) = earlier else { continue };
        let from = earlier.range.start.max(later.range.start);
        let to = earlier.range.end.min(later.range.end) - 1;
        problems.push(
            Diagnostic::error(
                "two-owners",
                later.place.clone(),
                format!(
                    "{what} {from:#x} to {to:#x} have two owners, `{}` and `{}`",
                    earlier.process, later.process
                ),
                "give each range to one process, which serves the others by a portal",
            )
            .context(earlier.place.clone(), format!("owned by `{}` here", earlier.process)),
        );
    }
}

/// One source a bit, one notification a thread.
pub(super) fn check_bits(manifest: &Manifest, resolved: &Resolved, problems: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<(usize, usize, u64), Span> = BTreeMap::new();
    for (index, process) in manifest.processes.iter().enumerate() {
        let own = &resolved.processes[index];
        let signals = process.signals.iter().zip(&own.signals);
        let signals = signals.filter_map(|(signal, target)| Some(((*target)?, &signal.bit)));
        let interrupts = process.interrupts.iter().zip(&own.interrupts);
        let interrupts = interrupts.filter_map(|(interrupt, target)| Some(((index, (*target)?), &interrupt.bit)));
        let ends = ends(index, process, own);
        let ends = ends.iter().map(|(target, bit)| (*target, bit));
        for ((owner, notification), bit) in signals.chain(interrupts).chain(ends) {
            if let Some(place) = first.get(&(owner, notification, bit.value)) {
                let owner = &manifest.processes[owner];
                let name = format!("{}.{}", owner.name, owner.notifications[notification].name);
                problems.push(
                    Diagnostic::error(
                        "shared-bit",
                        bit.span.clone(),
                        format!(
                            "bit {bit} of notification `{name}` has two sources: its owner could not tell them apart"
                        ),
                        "use another bit, 0 to 63",
                    )
                    .context(place.clone(), "first used here"),
                );
            } else {
                first.insert((owner, notification, bit.value), bit.span.clone());
            }
        }
        bound_twice(process, &own.notification_threads, problems);
    }
}

/// The bits by which a process hears of the ends of those that it controls.
fn ends(index: usize, process: &Process, own: &ResolvedProcess) -> Vec<((usize, usize), At<u64>)> {
    let controls = process
        .controls
        .iter()
        .zip(&own.controls)
        .zip(&own.control_notifications);
    let bits = controls.filter_map(|((control, controlled), notification)| {
        let target = (index, (*notification)?);
        let bits = (control.bit.value..).take(controlled.len());
        Some(bits.map(move |bit| (target, At::new(bit, control.bit.span.clone()))))
    });
    bits.flatten().collect()
}

/// Who is started on demand has one controller, and who is started at boot has none.
pub(super) fn check_controls(manifest: &Manifest, resolved: &Resolved, problems: &mut Vec<Diagnostic>) {
    let mut controllers: BTreeMap<usize, &Control> = BTreeMap::new();
    for (process, own) in manifest.processes.iter().zip(&resolved.processes) {
        for (control, controlled) in process.controls.iter().zip(&own.controls) {
            let Some(first) = controlled.first().copied() else {
                continue;
            };
            let section = &manifest.processes[first];
            if section.start.value == Start::Boot {
                problems.push(
                    Diagnostic::error(
                        "controls",
                        control.process.span.clone(),
                        format!("`{}` is started at boot: nobody controls it", control.process),
                        "give it `start = \"demand\"`, or leave it out of `controls`",
                    )
                    .context(section.section.span.clone(), "started at boot"),
                );
            } else if let Some(earlier) = controllers.get(&first) {
                problems.push(
                    Diagnostic::error(
                        "two-owners",
                        control.process.span.clone(),
                        format!("`{}` has two controllers", control.process),
                        "let one process control it, and serve the other by a portal",
                    )
                    .context(earlier.process.span.clone(), "controlled here, too"),
                );
            }
            controllers.extend(controlled.iter().map(|process| (*process, control)));
        }
    }
    let mut reported = BTreeSet::new();
    for (index, process) in manifest.processes.iter().enumerate() {
        let is_orphan = process.start.value == Start::Demand && !controllers.contains_key(&index);
        if is_orphan && reported.insert(process.section.value.as_str()) {
            problems.push(Diagnostic::error(
                "controls",
                process.start.span.clone(),
                format!("nobody starts `{}`", process.section),
                "name it in the `controls` of another process, or let it start at boot",
            ));
        }
    }
}

fn bound_twice(process: &Process, threads: &[usize], problems: &mut Vec<Diagnostic>) {
    for (index, thread) in threads.iter().enumerate() {
        let Some(earlier) = threads[..index].iter().position(|other| other == thread) else {
            continue;
        };
        let (this, other) = (&process.notifications[index], &process.notifications[earlier]);
        let thread = &process.threads[*thread].name;
        problems.push(
            Diagnostic::error(
                "bound-twice",
                this.name.span.clone(),
                format!(
                    "thread `{thread}` of `{}` would wait for two notifications",
                    process.name
                ),
                "a thread waits for one: use other bits of the first, or name another thread with `thread = \"...\"`",
            )
            .context(other.name.span.clone(), "the first"),
        );
    }
}
