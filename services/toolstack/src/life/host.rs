//! The host's own start and stop: domains that start with it, one after the other, and the order in which they stop.

use alloc::format;

use super::action::{Action, HostPower};
use super::machine::Domains;
use super::state::{Asked, DomId, Hold, Moment, Phase, StartMode};
use crate::config::DomainConfig;

/// How long a guest may take to power off when the host stops.
pub const STOP_TIMEOUT_MS: u64 = 60_000;

/// The host is being stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stopping {
    power: HostPower,
    /// Who was asked last.
    asked: Option<DomId>,
    /// When it is taken down without asking.
    pub(super) deadline_ms: Option<u64>,
    /// Whether the last action was given.
    done: bool,
}

impl Domains {
    /// Makes domains in this order, each when the one before it is made or has failed.
    pub fn start_in_order(&mut self, configs: impl IntoIterator<Item = DomainConfig>, moment: &Moment) {
        self.autostart.extend(configs);
        self.next_autostart(moment);
    }

    pub(super) fn next_autostart(&mut self, moment: &Moment) {
        while !self.domains.values().any(|domain| domain.phase == Phase::Building) {
            let Some(config) = self.autostart.pop_front() else {
                return;
            };
            let name = config.name.clone();
            if let Err(refusal) = self.create(config, StartMode::Running, moment) {
                let text = format!("domain {name}: not started with the host: {refusal}");
                self.log(text);
            }
        }
    }

    /// Stops all domains, the youngest first, one at a time; then the host. A second call only changes what follows.
    pub fn stop_host(&mut self, power: HostPower, moment: &Moment) {
        self.autostart.clear();
        self.pending.clear();
        let fresh = Stopping {
            power,
            asked: None,
            deadline_ms: None,
            done: false,
        };
        self.stopping.get_or_insert(fresh).power = power;
        self.go_on_stopping(moment);
    }

    /// Whether the host is being stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn go_on_stopping(&mut self, moment: &Moment) {
        let Some(mut stopping) = self.stopping.take() else {
            return;
        };
        self.pending.clear();
        match self.domains.keys().next_back().copied() {
            None if !stopping.done => {
                stopping.done = true;
                stopping.deadline_ms = None;
                self.actions.push_back(Action::Power(stopping.power));
            }
            None => {}
            Some(id) if stopping.asked == Some(id) => {
                if stopping.deadline_ms.is_some_and(|deadline| deadline <= moment.now_ms) {
                    stopping.deadline_ms = None;
                    self.log(format!("domain {id}: does not power off, it is destroyed"));
                    self.take_down(id, None);
                }
            }
            Some(id) => {
                stopping.asked = Some(id);
                stopping.deadline_ms = self
                    .begin_to_stop(id)
                    .then(|| moment.now_ms.saturating_add(STOP_TIMEOUT_MS));
            }
        }
        self.stopping = Some(stopping);
    }

    /// Presses the button of a domain that can hear it, takes others down. Whether it is to be waited for.
    fn begin_to_stop(&mut self, id: DomId) -> bool {
        let Some(domain) = self.domains.get_mut(&id) else {
            return false;
        };
        if domain.phase != Phase::Alive {
            self.take_down(id, None);
            return false;
        }
        domain.asked = Some(Asked::PowerOff);
        if domain.hold == Hold::Paused {
            domain.hold = Hold::Free;
            self.actions.push_back(Action::Run { domain: id });
        }
        self.actions.push_back(Action::PowerButton { domain: id });
        true
    }
}
