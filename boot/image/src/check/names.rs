//! No name twice where names must tell things apart.
//!
//! Called by `check`.

use std::collections::BTreeMap;

use crate::diagnostic::{At, Diagnostic, Span};
use crate::manifest::{self, Manifest, Process};

pub(super) fn check(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    unique(
        "process",
        None,
        manifest
            .processes
            .chunk_by(|left, right| left.section.span == right.section.span)
            .filter_map(|section| section.first())
            .map(|process| &process.section),
        problems,
    );
    unique(
        "region",
        None,
        manifest.regions.iter().map(|region| &region.name),
        problems,
    );
    unique("file", None, manifest.files.iter().map(|file| &file.name), problems);
    let sections = manifest
        .processes
        .chunk_by(|left, right| left.section.span == right.section.span);
    for process in sections.filter_map(<[Process]>::first) {
        if process.name.value == "root" {
            problems.push(Diagnostic::error(
                "duplicate-name",
                process.name.span.clone(),
                "the name `root` belongs to the first process",
                "choose another name; root itself is described by [root]",
            ));
        }
        inside(process, problems);
    }
}

fn inside(process: &Process, problems: &mut Vec<Diagnostic>) {
    let of = Some(process.name.value.as_str());
    unique(
        "thread",
        of,
        process.threads.iter().map(|thread| &thread.name),
        problems,
    );
    unique(
        "portal",
        of,
        process.portals.iter().map(|portal| &portal.name),
        problems,
    );
    unique(
        "notification",
        of,
        process.notifications.iter().map(|notification| &notification.name),
        problems,
    );
    unique(
        "interrupt",
        of,
        process.interrupts.iter().map(|interrupt| &interrupt.name),
        problems,
    );
    unique(
        "port range",
        of,
        process.ports.iter().map(|ports| &ports.name),
        problems,
    );
    unique(
        "device memory",
        of,
        process.mmio.iter().map(|mmio| &mmio.name),
        problems,
    );
    unique(
        "mapped region",
        of,
        process.maps.iter().map(|map| &map.region),
        problems,
    );
    unique(
        "data file",
        of,
        process.files.iter().map(manifest::FileUse::local_name),
        problems,
    );
    let calls = process
        .calls
        .iter()
        .map(|call| call.alias.as_ref().unwrap_or(&call.portal));
    unique("call", of, calls, problems);
    let signals = process
        .signals
        .iter()
        .map(|signal| signal.alias.as_ref().unwrap_or(&signal.notification));
    unique("signal", of, signals, problems);
}

fn unique<'m>(
    what: &str,
    of: Option<&str>,
    names: impl Iterator<Item = &'m At<String>>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut first: BTreeMap<&str, &Span> = BTreeMap::new();
    let place = of.map(|process| format!(" of process `{process}`")).unwrap_or_default();
    let many = if what == "process" {
        "processes".to_owned()
    } else {
        format!("{what}s")
    };
    let remedy = match what {
        "call" | "signal" => "give one of them another local name with `as = \"...\"`".to_owned(),
        "mapped region" => "map it once, with the wider access".to_owned(),
        _ => format!("rename one {what}"),
    };
    for name in names.filter(|name| !name.is_empty()) {
        if let Some(earlier) = first.get(name.value.as_str()) {
            problems.push(
                Diagnostic::error(
                    "duplicate-name",
                    name.span.clone(),
                    format!("two {many}{place} have the name `{name}`"),
                    remedy.clone(),
                )
                .context((*earlier).clone(), "first here"),
            );
        } else {
            first.insert(&name.value, &name.span);
        }
    }
}
