//! From names to indices: who is called, signalled, mapped and bound.
//!
//! Key type: [`Resolved`]. Called by `check`; its result is read by the other checks and by `compose`.

use crate::diagnostic::{At, Diagnostic};
use crate::manifest::reader_nearest as nearest;
use crate::manifest::{Call, Manifest, Process};

/// A thread of the whole system.
pub(crate) type ThreadRef = (usize, usize);

/// What the names of one process mean. A name that means nothing was reported and is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResolvedProcess {
    /// For each call: server process and its portal.
    pub(crate) calls: Vec<Option<(usize, usize)>>,
    /// For each call: the threads that use it.
    pub(crate) call_threads: Vec<Vec<usize>>,
    /// For each portal: the serving thread.
    pub(crate) portal_threads: Vec<usize>,
    /// For each notification: the thread it is bound to.
    pub(crate) notification_threads: Vec<usize>,
    /// For each signal edge: owner process and its notification.
    pub(crate) signals: Vec<Option<(usize, usize)>>,
    /// For each mapping: the region.
    pub(crate) maps: Vec<Option<usize>>,
    /// For each data file held: the file.
    pub(crate) files: Vec<Option<usize>>,
    /// For each entry of `controls`: the processes of its section.
    pub(crate) controls: Vec<Vec<usize>>,
    /// For each entry of `controls`: the own notification.
    pub(crate) control_notifications: Vec<Option<usize>>,
    /// For each interrupt: the own notification.
    pub(crate) interrupts: Vec<Option<usize>>,
}

/// What all names mean.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// In the manifest's order.
    pub(crate) processes: Vec<ResolvedProcess>,
}

/// One call edge from thread to thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// Who calls.
    pub(crate) from: ThreadRef,
    /// Which entry of the caller's `calls`.
    pub(crate) call: usize,
    /// Who serves.
    pub(crate) to: ThreadRef,
    /// Which of the server's portals.
    pub(crate) portal: usize,
}

impl Resolved {
    /// All call edges between threads.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (client, process) in self.processes.iter().enumerate() {
            for (call, target) in process.calls.iter().enumerate() {
                let Some((server, portal)) = *target else { continue };
                let to = (server, self.processes[server].portal_threads[portal]);
                let threads = process.call_threads[call].iter();
                edges.extend(threads.map(|thread| Edge {
                    from: (client, *thread),
                    call,
                    to,
                    portal,
                }));
            }
        }
        edges
    }

    /// Client numbers: for each call of each process, its place among all calls to that portal.
    pub(crate) fn client_numbers(&self) -> Vec<Vec<u16>> {
        let mut next = std::collections::BTreeMap::new();
        let number = |target: &Option<(usize, usize)>, next: &mut std::collections::BTreeMap<_, u16>| {
            let count: &mut u16 = next.entry(*target).or_default();
            let mine = *count;
            *count = count.saturating_add(1);
            mine
        };
        self.processes
            .iter()
            .map(|process| process.calls.iter().map(|target| number(target, &mut next)).collect())
            .collect()
    }
}

pub(crate) fn resolve(manifest: &Manifest, problems: &mut Vec<Diagnostic>) -> Resolved {
    let processes = manifest
        .processes
        .iter()
        .map(|process| resolve_process(manifest, process, problems))
        .collect();
    Resolved { processes }
}

fn resolve_process(manifest: &Manifest, process: &Process, problems: &mut Vec<Diagnostic>) -> ResolvedProcess {
    let mut resolved = ResolvedProcess::default();
    for portal in &process.portals {
        resolved
            .portal_threads
            .push(own_thread(process, portal.thread.as_ref(), problems));
    }
    for notification in &process.notifications {
        resolved
            .notification_threads
            .push(own_thread(process, notification.thread.as_ref(), problems));
    }
    for call in &process.calls {
        resolved.calls.push(find_portal(manifest, process, call, problems));
        resolved.call_threads.push(match &call.thread {
            Some(thread) => vec![own_thread(process, Some(thread), problems)],
            None => (0..process.threads.len()).collect(),
        });
    }
    for signal in &process.signals {
        resolved
            .signals
            .push(find_notification(manifest, &signal.notification, problems));
    }
    for map in &process.maps {
        let known: Vec<&str> = manifest
            .regions
            .iter()
            .map(|region| region.name.value.as_str())
            .collect();
        let remedy = "declare it with [[region]]";
        resolved
            .maps
            .push(find(&map.region, "region", &known, remedy, problems));
    }
    for used in &process.files {
        let known: Vec<&str> = manifest.files.iter().map(|file| file.name.value.as_str()).collect();
        let remedy = format!("declare it with [file.{}]", used.file);
        resolved.files.push(find(&used.file, "file", &known, &remedy, problems));
    }
    for control in &process.controls {
        resolved
            .controls
            .push(find_section(manifest, &control.process, problems));
        resolved
            .control_notifications
            .push(own_notification(process, &control.notification, problems));
    }
    for interrupt in &process.interrupts {
        resolved
            .interrupts
            .push(own_notification(process, &interrupt.notification, problems));
    }
    resolved
}

/// Index of a notification of this process.
fn own_notification(process: &Process, wanted: &At<String>, problems: &mut Vec<Diagnostic>) -> Option<usize> {
    let own = process.notifications.iter();
    let known: Vec<&str> = own.map(|own| own.name.value.as_str()).collect();
    let remedy = format!("declare it with [[process.notification]] in process `{}`", process.name);
    find(wanted, "own notification", &known, &remedy, problems)
}

/// The processes of a section, in their order.
fn find_section(manifest: &Manifest, wanted: &At<String>, problems: &mut Vec<Diagnostic>) -> Vec<usize> {
    let sections = manifest.processes.iter().map(|process| process.section.value.as_str());
    let known: Vec<&str> = sections.collect();
    let remedy = "declare it with [[process]]; an instance is controlled with all of its section";
    if find(wanted, "process section", &known, remedy, problems).is_none() {
        return Vec::new();
    }
    let numbered = known.iter().enumerate();
    let fitting = numbered.filter(|(_, section)| **section == wanted.value);
    fitting.map(|(index, _)| index).collect()
}

/// Index of a thread of this process; the first when none is named.
fn own_thread(process: &Process, wanted: Option<&At<String>>, problems: &mut Vec<Diagnostic>) -> usize {
    let Some(wanted) = wanted else { return 0 };
    let known: Vec<&str> = process
        .threads
        .iter()
        .map(|thread| thread.name.value.as_str())
        .collect();
    let remedy = format!("declare it with [[process.thread]] in process `{}`", process.name);
    find(wanted, "thread", &known, &remedy, problems).unwrap_or(0)
}

fn find(
    wanted: &At<String>,
    what: &str,
    known: &[&str],
    remedy: &str,
    problems: &mut Vec<Diagnostic>,
) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    let found = known.iter().position(|name| *name == wanted.value);
    if found.is_none() {
        let remedy = match nearest(wanted, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => remedy.to_owned(),
        };
        problems.push(Diagnostic::error(
            "unknown-name",
            wanted.span.clone(),
            format!("there is no {what} `{wanted}`"),
            remedy,
        ));
    }
    found
}

/// Finds `process.thing`'s process and the rest of the name.
fn find_owner<'n>(
    manifest: &Manifest,
    name: &'n At<String>,
    form: &str,
    problems: &mut Vec<Diagnostic>,
) -> Option<(usize, &'n str)> {
    if name.is_empty() {
        return None;
    }
    let Some((owner, thing)) = name.value.rsplit_once('.') else {
        problems.push(Diagnostic::error(
            "unknown-name",
            name.span.clone(),
            format!("`{name}` does not say whose"),
            format!("write \"{form}\""),
        ));
        return None;
    };
    let known: Vec<&str> = manifest
        .processes
        .iter()
        .map(|process| process.name.value.as_str())
        .collect();
    let owner = At::new(owner.to_owned(), name.span.clone());
    let is_section = |process: &Process| process.section.value == owner.value && process.instances.is_some();
    let remedy = if manifest.processes.iter().any(is_section) {
        format!("`{owner}` has instances: write `{owner}.0`, and so on")
    } else {
        "declare it with [[process]]; what the manifest does not name is not in the image".to_owned()
    };
    Some((find(&owner, "process", &known, &remedy, problems)?, thing))
}

fn find_portal(
    manifest: &Manifest,
    client: &Process,
    call: &Call,
    problems: &mut Vec<Diagnostic>,
) -> Option<(usize, usize)> {
    let (server, portal) = find_owner(manifest, &call.portal, "process.portal", problems)?;
    let process = &manifest.processes[server];
    if let Some(found) = process.portals.iter().position(|own| own.name.value == portal) {
        return Some((server, found));
    }
    let known: Vec<&str> = process.portals.iter().map(|own| own.name.value.as_str()).collect();
    let remedy = match (nearest(portal, &known), known.as_slice()) {
        (Some(near), _) => format!("did you mean `{}.{near}`?", process.name),
        (None, []) => {
            format!(
                "`{0}` offers no portal at all: add [[process.portal]] `{portal}` to process `{0}`",
                process.name
            )
        }
        (None, _) => format!("`{}` offers: {}", process.name, known.join(", ")),
    };
    problems.push(
        Diagnostic::error(
            "no-such-portal",
            call.portal.span.clone(),
            format!(
                "`{}` calls `{}`, but process `{}` has no portal `{portal}`",
                client.name, call.portal, process.name
            ),
            remedy,
        )
        .context(process.name.span.clone(), "the server"),
    );
    None
}

fn find_notification(manifest: &Manifest, name: &At<String>, problems: &mut Vec<Diagnostic>) -> Option<(usize, usize)> {
    let (owner, notification) = find_owner(manifest, name, "process.notification", problems)?;
    let process = &manifest.processes[owner];
    let known: Vec<&str> = process
        .notifications
        .iter()
        .map(|own| own.name.value.as_str())
        .collect();
    let wanted = At::new(notification.to_owned(), name.span.clone());
    let what = format!("notification of process `{}` called", process.name);
    let remedy = format!("declare it with [[process.notification]] in process `{}`", process.name);
    Some((owner, find(&wanted, &what, &known, &remedy, problems)?))
}
