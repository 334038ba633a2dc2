//! What tests of the life cycle share: configurations, and a host whose platform only notes what it is told.

#![allow(dead_code, reason = "each test program uses its own part")]

use ecusson_toolstack::config::{self, DomainConfig};
use ecusson_toolstack::life::{Action, Activity, DomId, Domains, Event, HostResources, Moment, Platform, StartMode};

/// A configuration with this name, and more lines.
pub(crate) fn config(name: &str, more: &str) -> DomainConfig {
    config::parse("test.cfg", &format!("name = '{name}'\n{more}\n"), &[])
        .unwrap()
        .0
}

/// Two processors, 1 GiB for domains.
pub(crate) const RESOURCES: HostResources = HostResources {
    cpus: 2,
    memory_kib: 1 << 20,
    overhead_kib: 1024,
    overhead_per_vcpu_kib: 64,
};

#[derive(Default)]
struct Notes(Vec<Action>);

impl Platform for Notes {
    fn perform(&mut self, action: Action) {
        self.0.push(action);
    }
}

/// Domains and a clock.
pub(crate) struct Host {
    pub(crate) domains: Domains,
    pub(crate) moment: Moment,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            domains: Domains::new(RESOURCES),
            moment: Moment {
                now_ms: 0,
                wall_s: 0,
                random: [7; 16],
            },
        }
    }

    /// What is to be done, all of it.
    pub(crate) fn take(&mut self) -> Vec<Action> {
        let mut notes = Notes::default();
        self.domains.carry_out(&mut notes);
        notes.0
    }

    pub(crate) fn happens(&mut self, event: Event) {
        self.moment.random[0] = self.moment.random[0].wrapping_add(1);
        self.domains.handle(event, &self.moment);
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.moment.now_ms += ms;
        self.moment.wall_s = self.moment.now_ms / 1000;
        self.happens(Event::Tick);
    }

    /// A domain that lives.
    pub(crate) fn start(&mut self, name: &str, more: &str) -> DomId {
        let id = self
            .domains
            .create(config(name, more), StartMode::Running, &self.moment)
            .unwrap();
        self.happens(Event::Built(id));
        id
    }

    /// Its state, if its processors run.
    pub(crate) fn letters(&self, id: DomId) -> String {
        self.domains.get(id).unwrap().state_letters(Activity::Running)
    }
}
