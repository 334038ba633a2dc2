//! When a process that ended is started again: the manifest's policy and its growing pauses.
//!
//! Key types: [`Backoff`], [`End`], [`Decision`]. Asked by [`crate::supervise`] at every end.

use ecusson_manifest::composition::{Restart, RestartPolicy};
use ecusson_proto::supervisor::Ended;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a fault, a panic, a failure's exit code, or because it could not be made.
    Failure,
    /// It said that it was finished, with success.
    Finished,
}

impl End {
    /// What an end counts as.
    #[must_use]
    pub fn of(ended: Ended) -> Self {
        match ended {
            Ended::Exited(0) => Self::Finished,
            _ => Self::Failure,
        }
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is started again after a pause.
    Restart {
        /// The pause.
        after_ms: u64,
    },
    /// It is not: the policy says so.
    Stay,
    /// It is not: it failed too often.
    GiveUp {
        /// How often it was started again in a row.
        restarts: u32,
    },
}

/// Restarts in a row of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    restarts: u32,
}

impl Backoff {
    /// Decides at an end, after the process ran so long.
    pub fn decide(&mut self, restart: &Restart, end: End, ran_ms: u64) -> Decision {
        let wanted = match restart.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => end == End::Failure,
            RestartPolicy::Never => false,
        };
        if !wanted {
            return Decision::Stay;
        }
        if ran_ms >= u64::from(restart.backoff_max_ms) {
            self.restarts = 0;
        }
        if restart.give_up_after != 0 && self.restarts >= restart.give_up_after {
            return Decision::GiveUp {
                restarts: self.restarts,
            };
        }
        let doubled = u64::from(restart.backoff_ms) << self.restarts.min(31);
        self.restarts = self.restarts.saturating_add(1);
        Decision::Restart {
            after_ms: doubled.min(u64::from(restart.backoff_max_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTART: Restart = Restart {
        policy: RestartPolicy::OnFailure,
        backoff_ms: 50,
        backoff_max_ms: 1000,
        give_up_after: 6,
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_gives_up() {
        let mut backoff = Backoff::default();
        for after_ms in [50, 100, 200, 400, 800, 1000] {
            assert_eq!(
                backoff.decide(&RESTART, End::Failure, 1),
                Decision::Restart { after_ms }
            );
        }
        assert_eq!(
            backoff.decide(&RESTART, End::Failure, 1),
            Decision::GiveUp { restarts: 6 }
        );
    }

    #[test]
    fn a_process_that_ran_long_starts_over() {
        let mut backoff = Backoff { restarts: 6 };
        assert_eq!(
            backoff.decide(&RESTART, End::Failure, 1000),
            Decision::Restart { after_ms: 50 }
        );
    }

    #[test]
    fn the_policy_decides_first() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.decide(&RESTART, End::Finished, 0), Decision::Stay);
        let never = Restart {
            policy: RestartPolicy::Never,
            ..RESTART
        };
        assert_eq!(backoff.decide(&never, End::Failure, 0), Decision::Stay);
        let always = Restart {
            policy: RestartPolicy::Always,
            give_up_after: 0,
            ..RESTART
        };
        for _ in 0..100 {
            assert!(matches!(
                backoff.decide(&always, End::Finished, 0),
                Decision::Restart { .. }
            ));
        }
    }
}
