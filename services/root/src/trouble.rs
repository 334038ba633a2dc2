//! Why something could not be made: which step, and what the kernel said.

use core::fmt;

use ecusson_manifest::DecodeError;
use ecusson_rt::Failure;

/// What went wrong, with the step at which it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The composition is not one.
    Composition(DecodeError),
    /// An index in the composition leads nowhere.
    Index(&'static str),
    /// Root's capability table is full.
    Slots,
    /// The kernel refused.
    Refused {
        /// What was being done.
        step: &'static str,
        /// What it said.
        failure: Failure,
    },
}

impl Trouble {
    /// The kernel refused a step.
    #[must_use]
    pub const fn new(step: &'static str, failure: Failure) -> Self {
        Self::Refused { step, failure }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Composition(why) => why.fmt(to),
            Self::Index(what) => write!(
                to,
                "the composition names {what} that it does not have; rebuild the image"
            ),
            Self::Slots => to.write_str("root's capability table is full; the image has too many objects"),
            Self::Refused { step, failure } => write!(to, "{step}: {failure}"),
        }
    }
}

impl core::error::Error for Trouble {}

/// Says at which step the kernel refused.
pub(crate) trait During<T> {
    fn during(self, step: &'static str) -> Result<T, Trouble>;
}

impl<T> During<T> for Result<T, Failure> {
    fn during(self, step: &'static str) -> Result<T, Trouble> {
        self.map_err(|failure| Trouble::new(step, failure))
    }
}
