//! What is said about a configuration: a first line as administrators know it from `xl`, a second with place and remedy.
//!
//! Key type: [`Diagnostic`].

use alloc::string::String;
use core::fmt;

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Whether the configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is not.
    Warning,
    /// It is.
    Error,
}

/// One finding, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it refuses the configuration.
    pub severity: Severity,
    /// The name of the text, as the administrator gave it.
    pub file: String,
    /// Where; `None` where something is missing.
    pub place: Option<Place>,
    /// The first line, complete.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    /// Two lines, without the last line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.message, self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.remedy)
    }
}
