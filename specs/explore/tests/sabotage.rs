//! Every check must be able to fail: for each kind of check, damage that it must report, with a trace that ends in the damage.
#![allow(missing_docs)]

use ecusson_abi::{Rights, Syscall};
use ecusson_core::Store;
use ecusson_core::cap::Capability;
use ecusson_core::thread::flag;
use ecusson_explore::machine::{self, CORES, Machine};
use ecusson_explore::{Action, Entry, Outcome, Violation, search, universe};

fn explore(name: &str, sabotage: fn(&Machine, &Action)) -> Violation {
    let mut universe = universe::by_name(name).pop().expect("the universe exists");
    universe.sabotage = Some(sabotage);
    search::explore(&universe).violation.expect("the damage is reported")
}

/// Changes a word that no invariant looks at.
fn scratch(machine: &Machine) {
    machine.core(0).fair_floor.set(machine.core(0).fair_floor.get() + 1);
}

#[test]
fn a_link_with_one_end() {
    let found = explore("ipc", |machine, action| {
        if action.row == "yield" {
            machine::threads(machine).for_each(|name| machine.store.thread(name).notification.set(None));
        }
    });
    assert_eq!(found.check, "notification-link");
    assert!(
        found.trace.last().is_some_and(|line| line.contains("yield")),
        "{found:?}"
    );
}

#[test]
fn a_forgotten_flag() {
    let found = explore("ipc", |machine, action| {
        if action.row == "signal" {
            machine::threads(machine).for_each(|name| machine.store.thread(name).clear_flag(flag::SIGNALS));
        }
    });
    assert_eq!(found.check, "signals-flag");
}

#[test]
fn a_panic() {
    let found = explore("ipc", |_, action| assert_ne!(action.row, "thread.stop", "sabotage"));
    assert_eq!(found.check, "no-panic");
}

#[test]
fn a_failure_that_leaves_something() {
    let found = explore("ipc", |machine, action| {
        if matches!(action.entry, Entry::Call(Syscall::Call, 30, ..)) {
            scratch(machine);
        }
    });
    assert_eq!(found.check, "failure-changes-nothing");
}

#[test]
fn a_question_that_leaves_something() {
    let found = explore("ipc", |machine, action| {
        if action.row == "thread.info" {
            scratch(machine);
        }
    });
    assert_eq!(found.check, "query-changes-nothing");
}

#[test]
fn a_slow_path_that_differs() {
    let found = explore("ipc", |machine, action| {
        let current = machine.core(0).current.get().map(|name| machine.store.thread(name));
        let was_delivered =
            current.is_some_and(|server| server.caller.get().is_some() && server.context.rdx.get() == 7);
        if matches!(action.entry, Entry::Call(Syscall::Call, 17, ..)) && was_delivered {
            scratch(machine);
        }
    });
    assert_eq!(found.check, "fast-path-agrees");
}

#[test]
fn an_interrupt_that_is_not_sent() {
    let found = explore("ipc", |machine, _| {
        (0..CORES).for_each(|core| machine.core(core).ipi_mask.set(0));
    });
    assert_eq!(found.check, "told-to-choose");
}

#[test]
fn rights_that_grow() {
    let found = explore("grants", |machine, action| {
        if action.row != "domain.grant" {
            return;
        }
        let all: Vec<_> = machine::capabilities(machine)
            .filter(|(_, _, capability)| !capability.is_none())
            .collect();
        for &(page, slot, capability) in &all {
            let is_managed = |other: &Capability| other.epoch == capability.epoch && other.rights().has(Rights::MANAGE);
            if !all.iter().any(|(_, _, other)| is_managed(other)) {
                let word = capability.word | u64::from(Rights::ALL.0) << 4;
                machine
                    .store
                    .slot(ecusson_core::Frame(page), slot)
                    .set(Capability { word, ..capability });
            }
        }
    });
    assert_eq!(found.check, "rights-never-grow");
}

#[test]
fn a_required_cell_that_stays_empty() {
    let mut universe = universe::by_name("memory").pop().expect("the universe exists");
    universe.actions.retain(|action| action.row != "space.fund");
    let report = search::explore(&universe);
    assert!(
        !report.is_clean() && report.missing.contains(&("space.fund", Outcome::Done)),
        "{report}"
    );
}
