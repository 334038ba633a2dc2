//! How the loader speaks: a [`Fault`] stops it, a line through [`Report`] tells of something that was left out.
//!
//! Used by every module; the binary prints both on COM1 behind `ecusson loader: `.

use core::fmt;

/// Why the machine cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is missing or wrong.
    pub what: &'static str,
    /// What the administrator can do.
    pub remedy: &'static str,
}

impl Fault {
    /// Both halves of the line.
    #[must_use]
    pub const fn new(what: &'static str, remedy: &'static str) -> Self {
        Fault { what, remedy }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}; {}", self.what, self.remedy)
    }
}

/// Takes lines for the administrator.
pub trait Report {
    /// Prints one line; the implementation puts the name of the loader before it.
    fn line(&mut self, line: fmt::Arguments<'_>);
}
