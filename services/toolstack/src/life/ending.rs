//! Events: domains that come to life, end, and go.

use alloc::format;
use alloc::string::String;

use super::action::{Action, Event, HostPower};
use super::machine::{Domains, Pending};
use super::memory::footprint_kib;
use super::restart::{Cause, Verdict};
use super::state::{After, Asked, DomId, EndReason, Hold, Moment, Phase, StartMode};
use crate::config::{DomainConfig, DomainName, OnEvent, Uuid};

impl Domains {
    /// Takes note of an event. One that does not fit (of a domain that is gone, or ended before) changes nothing.
    pub fn handle(&mut self, event: Event, moment: &Moment) {
        match event {
            Event::Built(id) => self.built(id, moment),
            Event::BuildFailed(id, why) => self.build_failed(id, &why),
            Event::Ended(id, reason) => self.ended(id, reason, moment),
            Event::VmmDied(id, why) => {
                if self
                    .domains
                    .get(&id)
                    .is_some_and(|domain| domain.phase == Phase::Building)
                {
                    self.build_failed(id, &why);
                } else if let Ok(domain) = self.alive(id) {
                    let text = format!("domain {id} ({}): its VMM died: {why}", domain.config.name);
                    self.log(text);
                    self.ended(id, EndReason::Crash, moment);
                }
            }
            Event::Gone(id) => self.gone(id),
            Event::Tick => {}
            Event::HostPowerButton => self.stop_host(HostPower::Off, moment),
        }
        self.make_pending(moment);
        self.next_autostart(moment);
        self.go_on_stopping(moment);
    }

    /// When `Tick` is due, if it is at all.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let restart = self.pending.iter().map(|pending| pending.at_ms).min();
        let stop = self.stopping.as_ref().and_then(|stopping| stopping.deadline_ms);
        restart.into_iter().chain(stop).min()
    }

    fn built(&mut self, id: DomId, moment: &Moment) {
        let Some(domain) = self
            .domains
            .get_mut(&id)
            .filter(|domain| domain.phase == Phase::Building)
        else {
            return;
        };
        domain.phase = Phase::Alive;
        domain.alive_ms = moment.now_ms;
        let hold = domain.hold;
        self.balance();
        if hold == Hold::Free {
            self.actions.push_back(Action::Run { domain: id });
        }
    }

    fn build_failed(&mut self, id: DomId, why: &str) {
        let Some(domain) = self.domains.get(&id).filter(|domain| domain.phase == Phase::Building) else {
            return;
        };
        let text = format!("domain {id} ({}): cannot be made: {why}", domain.config.name);
        self.log(text);
        self.take_down(id, None);
    }

    /// A domain ended: its policy decides what follows.
    fn ended(&mut self, id: DomId, reason: EndReason, moment: &Moment) {
        let stopping = self.stopping.is_some();
        let Ok(domain) = self.alive(id) else { return };
        // The power button has one meaning for the guest; what the administrator meant is known here.
        let asked = domain
            .asked
            .filter(|_| matches!(reason, EndReason::PowerOff | EndReason::Reboot));
        let reason = match (asked, reason) {
            (Some(Asked::Reboot), EndReason::PowerOff) => EndReason::Reboot,
            _ => reason,
        };
        let on = &domain.config.on;
        let policy = match reason {
            _ if stopping => OnEvent::Destroy,
            EndReason::PowerOff | EndReason::Suspend => on.poweroff,
            EndReason::Reboot => on.reboot,
            EndReason::Crash => on.crash,
            EndReason::Watchdog => on.watchdog,
        };
        let text = format!("domain {id} ({}): {reason}, {}", domain.config.name, policy.word());
        let cause = if asked.is_some() { Cause::Asked } else { Cause::Own };
        self.log(text);
        match policy {
            OnEvent::Destroy | OnEvent::CoredumpDestroy => self.take_down(id, Some(reason)),
            OnEvent::Preserve => self.preserve(id, reason),
            OnEvent::Restart | OnEvent::CoredumpRestart | OnEvent::SoftReset => self.restart(id, reason, cause, moment),
            OnEvent::RenameRestart => self.rename_and_restart(id, reason, cause, moment),
        }
        self.balance();
    }

    fn preserve(&mut self, id: DomId, reason: EndReason) {
        if let Some(domain) = self.domains.get_mut(&id) {
            domain.phase = Phase::Preserved(reason);
            domain.vcpus.clear();
            self.actions.push_back(Action::Stop { domain: id });
        }
    }

    /// When a domain may be made anew; `None` if its lives are too short for that.
    fn judge(&mut self, id: DomId, cause: Cause, moment: &Moment) -> Option<u64> {
        let domain = self.domains.get_mut(&id)?;
        let life_ms = moment.now_ms.saturating_sub(domain.alive_ms);
        match domain.history.judge(life_ms, cause) {
            Verdict::After { delay_ms } => Some(moment.now_ms.saturating_add(delay_ms)),
            Verdict::Never => {
                let text = format!(
                    "domain {id} ({}): ended too soon too often, it is not made anew",
                    domain.config.name
                );
                self.log(text);
                None
            }
        }
    }

    fn restart(&mut self, id: DomId, reason: EndReason, cause: Cause, moment: &Moment) {
        let at_ms = self.judge(id, cause, moment);
        if let Some(domain) = self.domains.get_mut(&id) {
            domain.after = at_ms.map_or(After::Vanish, |at_ms| After::Restart { at_ms });
        }
        self.take_down(id, Some(reason));
    }

    /// The old one stays under a name with the time in it, the new one has the name. Without memory for both it only stays.
    fn rename_and_restart(&mut self, id: DomId, reason: EndReason, cause: Cause, moment: &Moment) {
        let at_ms = self.judge(id, cause, moment);
        self.preserve(id, reason);
        let (Some(at_ms), Some(domain)) = (at_ms, self.domains.get(&id)) else {
            return;
        };
        let config = domain.next_config.clone().unwrap_or_else(|| domain.config.clone());
        let (history, free_kib) = (domain.history, self.free_kib());
        let needed_kib = footprint_kib(&config, &self.host);
        let name = self.preserved_name(&config.name, moment);
        let (true, Some(name)) = (needed_kib <= free_kib, name) else {
            let text = format!("domain {id} ({}): no memory for another one beside it", config.name);
            self.log(text);
            return;
        };
        if let Some(domain) = self.domains.get_mut(&id) {
            domain.config.name = name;
            domain.config.uuid = Some(Uuid::from_random(moment.random));
        }
        self.pending.push(Pending { config, at_ms, history });
    }

    /// `NAME-20080102T0304Z`, with a number behind it if that is taken.
    fn preserved_name(&self, name: &DomainName, moment: &Moment) -> Option<DomainName> {
        let time = time_suffix(moment.wall_s);
        let kept = name.as_str().get(..name.as_str().len().min(40))?;
        (0..1000_u32).find_map(|number| {
            let text = if number == 0 {
                format!("{kept}-{time}")
            } else {
                format!("{kept}-{time}-{number}")
            };
            let free = self.find(&text).is_none() && self.pending.iter().all(|one| one.config.name.as_str() != text);
            DomainName::new(&text).ok().filter(|_| free)
        })
    }

    fn gone(&mut self, id: DomId) {
        let dying = |domain: &super::state::Domain| matches!(domain.phase, Phase::Dying(_));
        if !self.domains.get(&id).is_some_and(dying) {
            return;
        }
        let Some(domain) = self.domains.remove(&id) else { return };
        if let After::Restart { at_ms } = domain.after {
            let config = self.config_of_next_life(domain.config, domain.next_config);
            self.pending.push(Pending {
                config,
                at_ms,
                history: domain.history,
            });
        }
        self.balance();
    }

    /// The changed configuration, if there is still memory for it.
    fn config_of_next_life(&mut self, config: DomainConfig, next: Option<DomainConfig>) -> DomainConfig {
        let Some(next) = next else { return config };
        if footprint_kib(&next, &self.host) <= self.free_kib() {
            return next;
        }
        let text = format!(
            "domain {}: no memory for its new configuration, it keeps the old one",
            config.name
        );
        self.log(text);
        config
    }

    /// Makes those anew whose time has come. Their memory was kept for them.
    fn make_pending(&mut self, moment: &Moment) {
        while let Some(index) = self.pending.iter().position(|pending| pending.at_ms <= moment.now_ms) {
            let Pending { config, history, .. } = self.pending.remove(index);
            self.make(config, StartMode::Running, history, moment);
        }
    }
}

/// `20080102T0304Z`: days to a date after Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn time_suffix(wall_s: u64) -> String {
    let (days, seconds) = (wall_s / 86400, wall_s % 86400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}Z",
        seconds / 3600,
        seconds / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::time_suffix;

    #[test]
    fn times_are_dates() {
        assert_eq!(time_suffix(0), "19700101T0000Z");
        assert_eq!(time_suffix(951_825_599), "20000229T1159Z");
        assert_eq!(time_suffix(1_735_689_600), "20250101T0000Z");
    }
}
