//! Breadth first over all states, level by level, on as many threads as the machine has cores.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ecusson_core::host::fingerprint;

use crate::action::Action;
use crate::judge::{Finding, Judge, Step};
use crate::packed::Packed;
use crate::report::{Report, Violation};
use crate::universe::Universe;

/// Fingerprints are as random as any hash of theirs would be.
#[derive(Clone, Copy, Debug, Default)]
struct Folded(u64);
impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64 ^ (value >> 64) as u64;
    }
}
type Fingerprints = HashSet<u128, BuildHasherDefault<Folded>>;

/// How a state was first reached.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    action: u16,
}

/// A state that is new to the worker that found it.
struct Found {
    fingerprint: u128,
    node: Node,
    words: Packed,
}

/// What a worker brings back from a level.
#[derive(Default)]
struct Harvest {
    found: Vec<Found>,
    raw: Fingerprints,
    transitions: u64,
    violation: Option<(Node, Finding)>,
}

/// Explores a universe to its end, its limit, or its first violation.
#[must_use]
pub fn explore(universe: &Universe) -> Report {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut report = Report {
        universe: universe.name,
        ..Report::default()
    };
    let first = Judge::new(universe);
    let mut visited = Fingerprints::default();
    let mut raw = Fingerprints::default();
    let mut nodes = vec![Node {
        parent: 0,
        action: u16::MAX,
    }];
    visited.insert(fingerprint(&first.source));
    raw.insert(fingerprint(&first.source));
    let mut frontier = vec![(0u32, Packed::new(&first.source))];
    if let Err((check, detail)) = first.first() {
        report.violation = Some(Violation {
            check,
            detail,
            trace: Vec::new(),
        });
        return report;
    }
    while !frontier.is_empty() && nodes.len() < universe.limit && report.violation.is_none() {
        let harvests = level(universe, &frontier, &visited, workers, &mut report);
        frontier.clear();
        for harvest in harvests {
            report.transitions += harvest.transitions;
            raw.extend(harvest.raw);
            for found in harvest.found {
                if visited.insert(found.fingerprint) {
                    frontier.push((nodes.len() as u32, found.words));
                    nodes.push(found.node);
                }
            }
            if let (None, Some((node, finding))) = (&report.violation, harvest.violation) {
                report.violation = Some(violation(universe, &nodes, node, finding));
            }
        }
        report.depth += usize::from(!frontier.is_empty());
    }
    report.is_complete = frontier.is_empty() && report.violation.is_none();
    report.states = nodes.len();
    report.raw_states = raw.len();
    if report.violation.is_none() {
        report.missing = universe
            .required
            .iter()
            .filter(|cell| !report.matrix.contains_key(cell))
            .copied()
            .collect();
    }
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Explores the states of a level, shared out in small portions.
fn level(
    universe: &Universe,
    frontier: &[(u32, Packed)],
    visited: &Fingerprints,
    workers: usize,
    report: &mut Report,
) -> Vec<Harvest> {
    let next = AtomicUsize::new(0);
    let results: Vec<(Harvest, Judge<'_>)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers.min(frontier.len()))
            .map(|_| scope.spawn(|| work(universe, frontier, visited, &next)))
            .collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    let mut harvests = Vec::new();
    for (harvest, judge) in results {
        report.fast_steps += judge.fast_steps;
        for (cell, count) in judge.matrix {
            *report.matrix.entry(cell).or_default() += count;
        }
        harvests.push(harvest);
    }
    harvests
}

fn work<'u>(
    universe: &'u Universe,
    frontier: &[(u32, Packed)],
    visited: &Fingerprints,
    next: &AtomicUsize,
) -> (Harvest, Judge<'u>) {
    const PORTION: usize = 16;
    let mut judge = Judge::new(universe);
    let mut harvest = Harvest::default();
    let mut known = Fingerprints::default();
    loop {
        let begin = next.fetch_add(PORTION, Ordering::Relaxed);
        let Some(portion) = frontier
            .get(begin..frontier.len().min(begin + PORTION))
            .filter(|part| !part.is_empty())
        else {
            return (harvest, judge);
        };
        for (parent, words) in portion {
            words.unpack(&mut judge.source);
            judge.begin();
            if let Err(guilty) = state(universe, &mut judge, *parent, visited, &mut known, &mut harvest) {
                harvest.violation = Some(guilty);
                return (harvest, judge);
            }
        }
    }
}

/// Takes every action from one state.
fn state(
    universe: &Universe,
    judge: &mut Judge<'_>,
    parent: u32,
    visited: &Fingerprints,
    known: &mut Fingerprints,
    harvest: &mut Harvest,
) -> Result<(), (Node, Finding)> {
    for (number, action) in universe.actions.iter().enumerate() {
        let node = Node {
            parent,
            action: number as u16,
        };
        match judge.step(action).map_err(|finding| (node, finding))? {
            Step::Impossible => continue,
            Step::Same => {}
            Step::New => {
                harvest.raw.insert(fingerprint(&judge.raw));
                let fingerprint = fingerprint(&judge.next);
                if !visited.contains(&fingerprint) && known.insert(fingerprint) {
                    harvest.found.push(Found {
                        fingerprint,
                        node,
                        words: Packed::new(&judge.next),
                    });
                }
            }
        }
        harvest.transitions += 1;
    }
    Ok(())
}

fn violation(universe: &Universe, nodes: &[Node], last: Node, (check, detail): Finding) -> Violation {
    let mut trace = Vec::new();
    let mut node = last;
    while let Some(action) = universe.actions.get(usize::from(node.action)) {
        trace.push(describe(action));
        match nodes.get(node.parent as usize) {
            Some(&parent) => node = parent,
            None => break,
        }
    }
    trace.reverse();
    Violation { check, detail, trace }
}

fn describe(action: &Action) -> String {
    format!("core {}: {} {:x?}", action.core, action.row, action.entry)
}
