//! What an exploration found: numbers, the operation x result matrix, or the first violation with its trace.

use std::collections::BTreeMap;
use std::fmt;

use ecusson_abi::{Error, Event, Status};

/// What a thread was told: a column of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Success.
    Done,
    /// Success, and a capability came.
    Capability,
    /// Signals came.
    Signal,
    /// The deadline passed.
    Deadline,
    /// A part is done.
    Progress,
    /// No answer yet: the thread waits, or it did not ask.
    Silent,
    /// An error, by its number.
    Failed(u8),
}

impl Outcome {
    /// An error as a column.
    #[must_use]
    pub const fn error(error: Error) -> Self {
        Self::Failed(error as u8)
    }

    /// The column of a status.
    #[must_use]
    pub fn of(status: Option<Status>) -> Self {
        let Some(status) = status else { return Self::Silent };
        match (status.failure(), status.event_code()) {
            (Some(error), _) => Self::error(error),
            (None, event) if event == Event::Signal as u8 => Self::Signal,
            (None, event) if event == Event::Deadline as u8 => Self::Deadline,
            (None, event) if event == Event::Progress as u8 => Self::Progress,
            (None, _) if status.has_capability() => Self::Capability,
            (None, _) => Self::Done,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(code) => match Error::from_code(*code) {
                Some(error) => write!(f, "{error:?}"),
                None => write!(f, "error {code}"),
            },
            other => write!(f, "{other:?}"),
        }
    }
}

/// How often an operation had a result.
pub type Matrix = BTreeMap<(&'static str, Outcome), u64>;

/// A step that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which check failed.
    pub check: &'static str,
    /// What it saw.
    pub detail: String,
    /// The steps from the first state on, the guilty one last.
    pub trace: Vec<String>,
}

/// The result of exploring a universe.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name of the universe.
    pub universe: &'static str,
    /// Different canonical states.
    pub states: usize,
    /// Different states that were seen before they were made canonical (a lower bound of those there are).
    pub raw_states: usize,
    /// Actions taken.
    pub transitions: u64,
    /// Steps on which a fast path took the case and was compared.
    pub fast_steps: u64,
    /// Longest shortest trace.
    pub depth: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Whether every reachable state was explored.
    pub is_complete: bool,
    /// Operation x result.
    pub matrix: Matrix,
    /// Required cells that are empty.
    pub missing: Vec<(&'static str, Outcome)>,
    /// The first violation by number of steps.
    pub violation: Option<Violation>,
}

impl Report {
    /// Whether everything that was claimed holds.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_complete && self.violation.is_none() && self.missing.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_complete {
            "fixpoint reached"
        } else {
            "not complete"
        };
        writeln!(
            f,
            "{}: {} states ({} before reduction), {} transitions, {} on fast paths, depth {}, {:.1} s, {end}",
            self.universe, self.states, self.raw_states, self.transitions, self.fast_steps, self.depth, self.seconds,
        )?;
        let mut row = "";
        for ((operation, outcome), count) in &self.matrix {
            if *operation != row {
                write!(f, "{}  {operation:24}", if row.is_empty() { "" } else { "\n" })?;
                row = operation;
            }
            write!(f, " {outcome} {count}")?;
        }
        writeln!(f)?;
        for (operation, outcome) in &self.missing {
            writeln!(f, "  EMPTY: {operation} never answered {outcome}")?;
        }
        let Some(violation) = &self.violation else {
            return Ok(());
        };
        writeln!(f, "  VIOLATED: {}: {}", violation.check, violation.detail)?;
        violation
            .trace
            .iter()
            .enumerate()
            .try_for_each(|(step, line)| writeln!(f, "  {:3}. {line}", step + 1))
    }
}
