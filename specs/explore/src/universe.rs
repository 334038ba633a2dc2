//! Small worlds by name.

use crate::action::Action;
use crate::machine::Machine;
use crate::report::Outcome;
use crate::universes;

/// A first state and everything that may happen in it and after it.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Its name.
    pub name: &'static str,
    /// Makes its first state.
    pub start: fn() -> Machine,
    /// What may happen.
    pub actions: Vec<Action>,
    /// Cells of the matrix that must not stay empty.
    pub required: Vec<(&'static str, Outcome)>,
    /// States to stop at, in case it is larger than thought.
    pub limit: usize,
    /// Damage done after each entry, to see that the checks find it.
    pub sabotage: Option<fn(&Machine, &Action)>,
}

/// The universes of a set: `tiny` is part of every test run.
#[must_use]
pub fn by_name(name: &str) -> Vec<Universe> {
    let all = [
        universes::ipc::universe(),
        universes::ipc::turns(),
        universes::grants::universe(),
        universes::memory::universe(),
    ];
    all.into_iter().filter(|universe| name == "tiny" || universe.name == name).collect()
}
