//! What calls may do to each other: priority inversion, passive calls across cores, guests that freeze a shared server,
//! circles and chains that are too long.
//!
//! Called by `check`. Reasons on a graph of threads: an entry of `calls` without `thread` counts for all threads of its process.

use std::collections::BTreeMap;

use ecusson_abi::{MAX_CALL_DEPTH, PRIORITIES};
use ecusson_manifest::composition::PortalMode;

use super::resolve::{Edge, Resolved, ThreadRef};
use crate::diagnostic::{Diagnostic, Span};
use crate::manifest::{Manifest, Portal, Thread};

/// The graph with what the rules ask about it.
struct Graph<'m> {
    manifest: &'m Manifest,
    edges: Vec<Edge>,
}

pub(super) fn check(manifest: &Manifest, resolved: &Resolved, problems: &mut Vec<Diagnostic>) {
    let graph = Graph {
        manifest,
        edges: resolved.edges(),
    };
    let ceilings = graph.ceilings();
    let mut reported = std::collections::BTreeSet::new();
    for edge in &graph.edges {
        let passive = graph.portal(edge).mode.value == PortalMode::Passive;
        let problem = if passive {
            graph.across_cores(edge)
        } else {
            graph.inversion(edge, &ceilings)
        };
        // One entry of `calls` is reported once, however many threads use it.
        if let Some(problem) = problem
            && reported.insert((edge.from.0, edge.call))
        {
            problems.push(problem);
        }
    }
    graph.guests(problems);
    if !graph.cycles(problems) {
        graph.depth(problems);
    }
    supervisor(manifest, problems);
}

/// Root's own portal is active: with a lower priority than its callers, everyone's panic would wait.
fn supervisor(manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    let root = manifest.root.priority.value;
    for process in &manifest.processes {
        // A priority that does not exist was reported as such.
        let above = |thread: &&Thread| thread.priority.value > root && thread.priority.value < PRIORITIES;
        let Some(thread) = process.threads.iter().find(above) else {
            continue;
        };
        problems.push(
            Diagnostic::error(
                "priority-inversion",
                thread.priority.span.clone(),
                format!(
                    "thread `{}` of `{}` runs before root, which supervises it",
                    thread.name, process.name
                ),
                format!("use at most root's priority, {root}, or raise that in [root]"),
            )
            .context(manifest.root.priority.span.clone(), "root's priority"),
        );
    }
}

impl<'m> Graph<'m> {
    fn thread(&self, (process, thread): ThreadRef) -> &'m Thread {
        &self.manifest.processes[process].threads[thread]
    }

    fn portal(&self, edge: &Edge) -> &'m Portal {
        &self.manifest.processes[edge.to.0].portals[edge.portal]
    }

    /// Where the edge is written.
    fn place(&self, edge: &Edge) -> Span {
        self.manifest.processes[edge.from.0].calls[edge.call]
            .portal
            .span
            .clone()
    }

    fn name(&self, (process, thread): ThreadRef) -> String {
        let owner = &self.manifest.processes[process];
        if owner.threads.len() == 1 {
            format!("`{}`", owner.name)
        } else {
            format!("`{}` (thread `{}`)", owner.name, owner.threads[thread].name)
        }
    }

    /// The highest priority each thread may run at: its own, or what callers of its passive portals lend it.
    fn ceilings(&self) -> BTreeMap<ThreadRef, u8> {
        let mut ceilings = BTreeMap::new();
        for (index, process) in self.manifest.processes.iter().enumerate() {
            for (thread, own) in process.threads.iter().enumerate() {
                ceilings.insert((index, thread), own.priority.value);
            }
        }
        let passive = |edge: &&Edge| self.portal(edge).mode.value == PortalMode::Passive;
        // Each round carries donations one call further, and ceilings only rise: it ends.
        loop {
            let mut risen = false;
            for edge in self.edges.iter().filter(passive) {
                let lent = ceilings[&edge.from];
                let own = ceilings.entry(edge.to).or_default();
                risen |= *own < lent;
                *own = (*own).max(lent);
            }
            if !risen {
                return ceilings;
            }
        }
    }

    fn across_cores(&self, edge: &Edge) -> Option<Diagnostic> {
        let (from, to) = (self.thread(edge.from), self.thread(edge.to));
        if from.core.value == to.core.value {
            return None;
        }
        let call = &self.manifest.processes[edge.from.0].calls[edge.call].portal;
        Some(
            Diagnostic::error(
                "passive-across-cores",
                self.place(edge),
                format!(
                    "{} on core {} calls the passive portal `{call}` on core {}",
                    self.name(edge.from),
                    from.core,
                    to.core
                ),
                "make the portal `mode = \"active\"`: processor time cannot be lent to another core; or move one of them",
            )
            .context(self.portal(edge).mode.span.clone(), "passive here")
            .context(from.core.span.clone(), format!("the caller is on core {}", from.core))
            .context(to.core.span.clone(), format!("the server is on core {}", to.core)),
        )
    }

    fn inversion(&self, edge: &Edge, ceilings: &BTreeMap<ThreadRef, u8>) -> Option<Diagnostic> {
        let (from, to) = (self.thread(edge.from), self.thread(edge.to));
        let ceiling = ceilings[&edge.from];
        if ceiling <= to.priority.value {
            return None;
        }
        let call = &self.manifest.processes[edge.from.0].calls[edge.call].portal;
        let mut problem = Diagnostic::error(
            "priority-inversion",
            self.place(edge),
            format!(
                "{} at priority {ceiling} would wait for {} at priority {}: `{call}` is active, so nothing is donated",
                self.name(edge.from),
                self.name(edge.to),
                to.priority
            ),
            format!("make the portal `mode = \"passive\"` (same core), or give the server at least priority {ceiling}"),
        )
        .context(self.portal(edge).mode.span.clone(), "active here")
        .context(
            to.priority.span.clone(),
            format!("the server's priority is {}", to.priority),
        );
        if ceiling > from.priority.value {
            problem = problem.note(format!(
                "its own priority is {}, but callers of its passive portals lend it up to {ceiling}",
                from.priority
            ));
        }
        Some(problem)
    }

    /// A capped guest must not freeze a server that others use: such a server is active.
    fn guests(&self, problems: &mut Vec<Diagnostic>) {
        for (index, process) in self.manifest.processes.iter().enumerate() {
            for (number, portal) in process.portals.iter().enumerate() {
                if portal.mode.value == PortalMode::Active {
                    continue;
                }
                let calls_portal = |edge: &&Edge| edge.to.0 == index && edge.portal == number;
                let guest = self
                    .edges
                    .iter()
                    .filter(calls_portal)
                    .find(|edge| self.is_guest(edge.from));
                let shared = guest.is_some_and(|guest| {
                    self.edges
                        .iter()
                        .any(|other| other.to == guest.to && other.from.0 != guest.from.0)
                });
                if !portal.guests.value && !shared {
                    continue;
                }
                let who = guest.map_or_else(|| "guests'".to_owned(), |guest| format!("{}'s", self.name(guest.from)));
                let mut problem = Diagnostic::error(
                    "guest-freezes-server",
                    portal.mode.span.clone(),
                    format!(
                        "`{}.{}` is passive and runs on {who} time: a capped guest could freeze it for the others",
                        process.name, portal.name
                    ),
                    "make the portal `mode = \"active\"`",
                );
                if let Some(guest) = guest {
                    problem = problem.context(self.place(guest), "called for a guest here");
                }
                problems.push(problem);
            }
        }
    }

    /// Whether the thread's processor time is a guest's.
    fn is_guest(&self, thread: ThreadRef) -> bool {
        self.manifest.processes[thread.0].guest.value || self.thread(thread).weight.is_some()
    }

    /// Reports each circle of calls once, where it closes. Answers whether there is any.
    fn cycles(&self, problems: &mut Vec<Diagnostic>) -> bool {
        let mut done = BTreeMap::new();
        let mut path: Vec<&Edge> = Vec::new();
        let before = problems.len();
        let starts: Vec<ThreadRef> = self.edges.iter().map(|edge| edge.from).collect();
        for start in starts {
            self.walk(start, &mut path, &mut done, problems);
        }
        problems.len() > before
    }

    /// Depth-first; `done` is false for threads on the path and true for those left behind.
    fn walk<'g>(
        &'g self,
        at: ThreadRef,
        path: &mut Vec<&'g Edge>,
        done: &mut BTreeMap<ThreadRef, bool>,
        problems: &mut Vec<Diagnostic>,
    ) {
        if done.contains_key(&at) {
            return;
        }
        done.insert(at, false);
        for edge in self.edges.iter().filter(|edge| edge.from == at) {
            path.push(edge);
            if done.get(&edge.to) == Some(&false) {
                problems.push(self.circle(path, edge.to));
            } else {
                self.walk(edge.to, path, done, problems);
            }
            path.pop();
        }
        done.insert(at, true);
    }

    fn circle(&self, path: &[&Edge], closes_at: ThreadRef) -> Diagnostic {
        let begin = path.iter().position(|edge| edge.from == closes_at).unwrap_or(0);
        let circle = &path[begin..];
        let mut names: Vec<String> = circle.iter().map(|edge| self.name(edge.from)).collect();
        names.push(self.name(closes_at));
        let last = circle.last().map_or(0..0, |edge| self.place(edge));
        let problem = Diagnostic::error(
            "call-cycle",
            last,
            format!(
                "these calls go in a circle, so that all would wait for ever: {}",
                names.join(" -> ")
            ),
            "turn one call into a signal; or serve and call on different threads, and say so with `thread = \"...\"`",
        )
        .label("closes the circle");
        let others = circle.iter().rev().skip(1).rev();
        others.fold(problem, |problem, edge| problem.context(self.place(edge), "on the way"))
    }

    /// Longest chain, without circles. The kernel answers `TooDeep` beyond its limit.
    fn depth(&self, problems: &mut Vec<Diagnostic>) {
        let mut longest: BTreeMap<ThreadRef, Vec<&Edge>> = BTreeMap::new();
        let mut worst: Vec<&Edge> = Vec::new();
        for edge in &self.edges {
            let chain = self.chain(edge.from, &mut longest);
            if chain.len() > worst.len() {
                worst = chain;
            }
        }
        let threads = worst.len() + 1;
        if worst.is_empty() || threads <= usize::from(MAX_CALL_DEPTH) {
            return;
        }
        let mut names: Vec<String> = worst.iter().map(|edge| self.name(edge.from)).collect();
        names.extend(worst.last().map(|edge| self.name(edge.to)));
        problems.push(
            Diagnostic::error(
                "chain-too-deep",
                worst.last().map_or(0..0, |edge| self.place(edge)),
                format!("a chain of calls has {threads} threads: {}", names.join(" -> ")),
                format!("the kernel carries at most {MAX_CALL_DEPTH}: hand over by a ring and a signal somewhere"),
            )
            .label("the call too many"),
        );
    }

    fn chain<'g>(&'g self, at: ThreadRef, longest: &mut BTreeMap<ThreadRef, Vec<&'g Edge>>) -> Vec<&'g Edge> {
        if let Some(known) = longest.get(&at) {
            return known.clone();
        }
        let mut best: Vec<&Edge> = Vec::new();
        for edge in self.edges.iter().filter(|edge| edge.from == at) {
            let rest = self.chain(edge.to, longest);
            if rest.len() + 1 > best.len() {
                best = std::iter::once(edge).chain(rest).collect();
            }
        }
        longest.insert(at, best.clone());
        best
    }
}
