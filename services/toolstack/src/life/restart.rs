//! Whether and when a domain that ended is made anew. A domain that ends again and again soon after its start is made anew
//! ever later, and in the end not at all.
//!
//! Key type: [`History`].

/// A life shorter than this counts as quick.
pub const QUICK_LIFE_MS: u64 = 20_000;
/// Quick lives in a row, after which a domain is not made anew.
pub const MAX_QUICK_RESTARTS: u32 = 5;
/// Delay after the first quick life; doubled with each further one.
pub const FIRST_DELAY_MS: u64 = 1_000;

/// What is remembered of a domain's earlier lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct History {
    /// Quick lives in a row.
    quick: u32,
}

/// Who wanted the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The administrator.
    Asked,
    /// The guest, or a fault.
    Own,
}

/// When to make a domain anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// After so long.
    After { delay_ms: u64 },
    /// Never: it would only end again.
    Never,
}

impl History {
    /// Counts a life that is over.
    pub(super) fn judge(&mut self, life_ms: u64, cause: Cause) -> Verdict {
        if cause == Cause::Asked {
            return Verdict::After { delay_ms: 0 };
        }
        if life_ms >= QUICK_LIFE_MS {
            self.quick = 0;
            return Verdict::After { delay_ms: 0 };
        }
        self.quick += 1;
        if self.quick > MAX_QUICK_RESTARTS {
            return Verdict::Never;
        }
        Verdict::After {
            delay_ms: FIRST_DELAY_MS << (self.quick - 1),
        }
    }
}
