//! What is known of one domain.
//!
//! Key types: [`Domain`], [`Phase`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::restart::History;
use super::scheduling::VcpuTime;
use crate::config::DomainConfig;

/// A domain's number. Not given again while it may still be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(pub u16);

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the world says when something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the host started, never falling.
    pub now_ms: u64,
    /// Seconds since 1970, UTC.
    pub wall_s: u64,
    /// Fresh random bytes.
    pub random: [u8; 16],
}

/// How a domain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// It powered off.
    PowerOff,
    /// It asked for a reset.
    Reboot,
    /// It was suspended.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog ran out.
    Watchdog,
}

impl EndReason {
    /// The number that `list -v` and `shutdown -w` show.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::PowerOff => 0,
            Self::Reboot => 1,
            Self::Suspend => 2,
            Self::Crash => 3,
            Self::Watchdog => 4,
        }
    }

    /// The letter in the state column.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::PowerOff => '-',
            Self::Reboot => 'r',
            Self::Suspend => 's',
            Self::Crash => 'c',
            Self::Watchdog => 'w',
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Suspend => "suspend",
            Self::Crash => "crash",
            Self::Watchdog => "watchdog",
        })
    }
}

/// Whether a domain that is made begins to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// At once.
    Running,
    /// When it is unpaused.
    Paused,
}

/// Whether the administrator holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its processors may run.
    Free,
    /// They may not.
    Paused,
}

/// Where a domain is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its VMM is being made.
    Building,
    /// It lives.
    Alive,
    /// It ended and is kept for inspection.
    Preserved(EndReason),
    /// It is being taken down.
    Dying(Option<EndReason>),
}

/// What the administrator asked the guest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To power off.
    PowerOff,
    /// To start again: its power-off counts as a reboot.
    Reboot,
}

/// What follows when a dying domain is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing.
    Vanish,
    /// It is made anew, not before the given time.
    Restart { at_ms: u64 },
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// Its configuration; UUID and MAC addresses are filled in.
    pub config: DomainConfig,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether the administrator holds it.
    pub hold: Hold,
    /// When it was made.
    pub created_ms: u64,
    /// When it began to live.
    pub(super) alive_ms: u64,
    pub(super) asked: Option<Asked>,
    pub(super) after: After,
    pub(super) history: History,
    /// Time for its processors.
    pub vcpus: Vec<VcpuTime>,
    /// What it is made with the next time, if that was changed.
    pub(super) next_config: Option<DomainConfig>,
}

/// What its processors do, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// One of them runs or wants to.
    Running,
    /// All of them wait.
    Blocked,
}

impl Domain {
    /// Six letters: `r`unning, `b`locked, `p`aused, `s`hut down, why, `d`ying.
    #[must_use]
    pub fn state_letters(&self, activity: Activity) -> String {
        let held = self.hold == Hold::Paused || self.phase == Phase::Building;
        let lives = matches!(self.phase, Phase::Alive) && !held;
        let ended = match self.phase {
            Phase::Preserved(reason) | Phase::Dying(Some(reason)) => Some(reason),
            _ => None,
        };
        let flag = |set: bool, letter: char| if set { letter } else { '-' };
        let letters = [
            flag(lives && activity == Activity::Running, 'r'),
            flag(lives && activity == Activity::Blocked, 'b'),
            flag(held, 'p'),
            flag(ended.is_some(), 's'),
            ended.map_or('-', EndReason::letter),
            flag(matches!(self.phase, Phase::Dying(_)), 'd'),
        ];
        letters.iter().collect()
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<EndReason> {
        match self.phase {
            Phase::Preserved(reason) | Phase::Dying(Some(reason)) => Some(reason),
            _ => None,
        }
    }
}
