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

/// The universes of a set, or one by its name. `tiny` is part of every test run; `ci` is larger.
#[must_use]
pub fn by_name(name: &str) -> Vec<Universe> {
    let (turns, passive) = (universes::ipc::turns, universes::ipc::passive);
    let common = || {
        vec![
            turns(),
            passive(),
            universes::grants::universe(),
            universes::memory::universe(),
        ]
    };
    let (small, full) = (universes::ipc::universe, universes::ipc::full);
    match name {
        "tiny" => [vec![small()], common()].concat(),
        "ci" => [vec![full()], common()].concat(),
        _ => [vec![small(), full()], common()]
            .concat()
            .into_iter()
            .filter(|universe| universe.name == name)
            .collect(),
    }
}
