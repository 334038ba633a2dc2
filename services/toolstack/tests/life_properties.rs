//! Any verbs and events in any order: what must always hold.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use ecusson_toolstack::config::{CpuSet, DomainName, OnEvent};
use ecusson_toolstack::life::{Action, DomId, EndReason, Event, Hold, HostPower, PERIOD_US, Phase, StartMode};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Host, RESOURCES, config};

#[derive(Clone, Debug)]
enum Step {
    Create(u8, OnEvent, u64, bool),
    Pause(u16),
    Unpause(u16),
    Shutdown(u16),
    Reboot(u16),
    Destroy(u16),
    Rename(u16, u8),
    Weigh(u16, u16, u32),
    Pin(u16, u32, u64),
    Update(u16, u64),
    Cancel(u8),
    Happens(Event),
    Wait(u64),
    StopHost,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1_u16..12;
    let domain = || (1_u16..12).prop_map(DomId);
    let reason = prop::sample::select(vec![
        EndReason::PowerOff,
        EndReason::Reboot,
        EndReason::Suspend,
        EndReason::Crash,
        EndReason::Watchdog,
    ]);
    let on = prop::sample::select(vec![
        OnEvent::Destroy,
        OnEvent::Restart,
        OnEvent::RenameRestart,
        OnEvent::Preserve,
    ]);
    prop_oneof![
        4 => (0_u8..6, on, 4_u64..500, any::<bool>()).prop_map(|(a, b, c, d)| Step::Create(a, b, c, d)),
        1 => id().prop_map(Step::Pause),
        1 => id().prop_map(Step::Unpause),
        1 => id().prop_map(Step::Shutdown),
        1 => id().prop_map(Step::Reboot),
        1 => id().prop_map(Step::Destroy),
        1 => (id(), 0_u8..6).prop_map(|(id, name)| Step::Rename(id, name)),
        1 => (id(), any::<u16>(), 0_u32..400).prop_map(|(id, weight, cap)| Step::Weigh(id, weight, cap)),
        1 => (id(), 0_u32..4, any::<u64>()).prop_map(|(id, vcpu, bits)| Step::Pin(id, vcpu, bits)),
        1 => (id(), 4_u64..500).prop_map(|(id, memory)| Step::Update(id, memory)),
        1 => (0_u8..6).prop_map(Step::Cancel),
        5 => domain().prop_map(|id| Step::Happens(Event::Built(id))),
        1 => domain().prop_map(|id| Step::Happens(Event::BuildFailed(id, "why".to_string()))),
        4 => (domain(), reason).prop_map(|(id, reason)| Step::Happens(Event::Ended(id, reason))),
        1 => domain().prop_map(|id| Step::Happens(Event::VmmDied(id, "why".to_string()))),
        4 => domain().prop_map(|id| Step::Happens(Event::Gone(id))),
        3 => (0_u64..70_000).prop_map(Step::Wait),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    (vec(step(), 0..60), any::<bool>(), vec(step(), 0..40)).prop_map(|(mut steps, stops, more)| {
        if stops {
            steps.push(Step::StopHost);
        }
        steps.extend(more);
        steps
    })
}

fn name(number: u8) -> String {
    format!("d{number}")
}

fn take(host: &mut Host, step: Step) {
    let moment = host.moment;
    // A verb may be refused; that it is refused without a change is what the invariants see.
    let _ = match step {
        Step::Create(number, on, memory, paused) => {
            let word = on.word();
            let text =
                format!("memory = {memory}\nvcpus = 2\non_crash = '{word}'\non_reboot = '{word}'\nvif = [ '', '' ]");
            let start = if paused { StartMode::Paused } else { StartMode::Running };
            host.domains
                .create(config(&name(number), &text), start, &moment)
                .map(|_| ())
        }
        Step::Pause(id) => host.domains.pause(DomId(id)),
        Step::Unpause(id) => host.domains.unpause(DomId(id)),
        Step::Shutdown(id) => host.domains.shutdown(DomId(id)),
        Step::Reboot(id) => host.domains.reboot(DomId(id)),
        Step::Destroy(id) => host.domains.destroy(DomId(id)),
        Step::Rename(id, number) => host.domains.rename(DomId(id), DomainName::new(&name(number)).unwrap()),
        Step::Weigh(id, weight, cap) => host.domains.set_scheduling(DomId(id), Some(weight), Some(cap)),
        Step::Pin(id, vcpu, bits) => host
            .domains
            .pin(DomId(id), Some(vcpu), Some(CpuSet::from_bits(bits)), None),
        Step::Update(id, memory) => host
            .domains
            .update_config(DomId(id), config("x", &format!("memory = {memory}"))),
        Step::Cancel(number) => {
            host.domains.cancel_restart(&name(number));
            Ok(())
        }
        Step::Happens(event) => {
            host.happens(event);
            Ok(())
        }
        Step::Wait(ms) => {
            host.wait(ms);
            Ok(())
        }
        Step::StopHost => {
            host.domains.stop_host(HostPower::Off, &moment);
            Ok(())
        }
    };
}

/// What the platform knows of a domain by the actions it got.
#[derive(Default)]
struct Seen {
    destroyed: bool,
    runs: bool,
}

#[derive(Default)]
struct World {
    domains: BTreeMap<DomId, Seen>,
    off: bool,
}

impl World {
    fn sees(&mut self, action: Action) {
        assert!(!self.off, "nothing comes after the end: {action:?}");
        match action {
            Action::Build { domain, config } => {
                assert!(config.uuid.is_some() && config.vifs.iter().all(|vif| vif.mac.is_some()));
                assert!(self.domains.insert(domain, Seen::default()).is_none(), "{domain} twice");
            }
            Action::Schedule { domain, vcpus } => {
                self.living(domain);
                assert!(vcpus.iter().all(|time| time.core < RESOURCES.cpus && time.weight > 0));
                assert!(
                    vcpus
                        .iter()
                        .all(|time| time.budget_us > 0 && time.budget_us <= PERIOD_US)
                );
            }
            Action::Run { domain } => {
                let seen = self.living(domain);
                assert!(!seen.runs, "{domain} runs already");
                seen.runs = true;
            }
            Action::Stop { domain } => self.living(domain).runs = false,
            Action::PowerButton { domain } => {
                self.living(domain);
            }
            Action::Destroy { domain } => self.living(domain).destroyed = true,
            Action::Log(_) => {}
            Action::Power(_) => self.off = true,
        }
    }

    fn living(&mut self, domain: DomId) -> &mut Seen {
        let seen = self
            .domains
            .get_mut(&domain)
            .expect("an action for a domain that was never made");
        assert!(!seen.destroyed, "an action for {domain}, which was destroyed");
        seen
    }
}

fn check(host: &Host, world: &World) {
    let domains = &host.domains;
    let mut names: Vec<String> = domains.iter().map(|domain| domain.config.name.to_string()).collect();
    names.extend(domains.waiting().map(|(name, _)| name.to_string()));
    let different: BTreeSet<&String> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "names are taken twice: {names:?}");
    assert!(domains.used_kib() <= RESOURCES.memory_kib);
    for domain in domains.iter() {
        let seen = &world.domains[&domain.id];
        assert_eq!(matches!(domain.phase, Phase::Dying(_)), seen.destroyed);
        let should_run = domain.phase == Phase::Alive && domain.hold == Hold::Free;
        assert_eq!(should_run, seen.runs && !seen.destroyed, "{domain:?}");
        assert_eq!(
            domain.vcpus.is_empty(),
            domain.vcpus.len() != domain.config.vcpus as usize
        );
    }
    for (_, at_ms) in domains.waiting() {
        assert!(at_ms > host.moment.now_ms, "a time that came was not used");
    }
    if world.off {
        assert_eq!(domains.iter().count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_must_always_hold_holds(steps in steps()) {
        let mut host = Host::new();
        let mut world = World::default();
        for step in steps {
            take(&mut host, step);
            for action in host.take() {
                world.sees(action);
            }
            check(&host, &world);
        }
    }

    #[test]
    fn a_host_that_stops_comes_to_its_end(steps in vec(step(), 0..60)) {
        let mut host = Host::new();
        for step in steps {
            take(&mut host, step);
        }
        host.take();
        host.domains.stop_host(HostPower::Off, &host.moment);
        // Guests that hear nothing, a platform that answers nothing but Gone.
        for _ in 0..100 {
            host.wait(60_000);
            let dying: Vec<DomId> = host.domains.iter().filter(|one| matches!(one.phase, Phase::Dying(_))).map(|one| one.id).collect();
            for id in dying {
                host.happens(Event::Gone(id));
            }
        }
        prop_assert_eq!(host.domains.iter().count(), 0);
        let last = host.take();
        prop_assert_eq!(last.last(), Some(&Action::Power(HostPower::Off)));
    }
}
