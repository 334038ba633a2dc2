//! Single ways through a domain's life.

mod support;

use ecusson_toolstack::config::CpuSet;
use ecusson_toolstack::life::{
    Action, Activity, DomId, EndReason, Event, HostPower, PERIOD_US, Phase, Refusal, STOP_TIMEOUT_MS, StartMode,
};
use support::{Host, config};

#[test]
fn a_domain_is_made_runs_and_goes() {
    let mut host = Host::new();
    let id = host
        .domains
        .create(config("web01", ""), StartMode::Running, &host.moment)
        .unwrap();
    let built = host.take();
    assert!(matches!(&built[..], [Action::Build { domain, config }] if *domain == id && config.uuid.is_some()));
    assert_eq!(host.letters(id), "--p---");
    host.happens(Event::Built(id));
    let actions = host.take();
    assert!(
        matches!(&actions[..], [Action::Schedule { .. }, Action::Run { .. }]),
        "{actions:?}"
    );
    assert_eq!(host.letters(id), "r-----");
    assert_eq!(host.domains.get(id).unwrap().state_letters(Activity::Blocked), "-b----");
    host.domains.shutdown(id).unwrap();
    assert_eq!(host.take(), [Action::PowerButton { domain: id }]);
    host.happens(Event::Ended(id, EndReason::PowerOff));
    assert_eq!(host.letters(id), "---s-d");
    let log = Action::Log("domain 1 (web01): poweroff, destroy".to_string());
    assert_eq!(host.take(), [log, Action::Destroy { domain: id }]);
    host.happens(Event::Gone(id));
    assert_eq!(host.domains.iter().count(), 0);
    assert_eq!(host.domains.used_kib(), 0);
}

#[test]
fn a_paused_domain_waits() {
    let mut host = Host::new();
    let id = host
        .domains
        .create(config("a", ""), StartMode::Paused, &host.moment)
        .unwrap();
    host.happens(Event::Built(id));
    assert!(!host.take().contains(&Action::Run { domain: id }));
    assert_eq!(host.letters(id), "--p---");
    host.domains.unpause(id).unwrap();
    host.domains.unpause(id).unwrap();
    assert_eq!(host.take(), [Action::Run { domain: id }]);
    host.domains.pause(id).unwrap();
    host.domains.pause(id).unwrap();
    assert_eq!(host.take(), [Action::Stop { domain: id }]);
}

#[test]
fn refusals_change_nothing_and_say_why() {
    let mut host = Host::new();
    let id = host.start("a", "");
    host.take();
    let create = |host: &mut Host, text: &str, more: &str| {
        let refusal = host
            .domains
            .create(config(text, more), StartMode::Running, &host.moment)
            .unwrap_err();
        assert_eq!(host.take(), []);
        refusal.to_string()
    };
    assert_eq!(create(&mut host, "a", ""), "Domain with name \"a\" already exists.");
    assert_eq!(
        create(&mut host, "Domain-0", ""),
        "Domain with name \"Domain-0\" already exists."
    );
    assert_eq!(
        create(&mut host, "b", "memory = 4096"),
        "failed to free memory for the domain\n\
         hint: it needs 4106 MiB, overhead included, and 894 MiB are free: lower memory, or destroy another domain"
    );
    assert!(create(&mut host, "b", "cpus = '7'").starts_with("Invalid pcpu range: 7."));
    assert_eq!(host.domains.shutdown(DomId(9)), Err(Refusal::NoSuchDomain));
    assert_eq!(host.domains.pin(id, Some(1), None, None), Err(Refusal::NoSuchVcpu(1)));
    let nowhere = CpuSet::from_bits(1 << 40);
    assert_eq!(
        host.domains.pin(id, None, Some(nowhere), None),
        Err(Refusal::NoSuchCpu(nowhere))
    );
    assert_eq!(host.take(), []);
}

#[test]
fn a_reboot_makes_a_new_domain_with_the_same_name() {
    let mut host = Host::new();
    let old = host.start("a", "");
    let uuid = host.domains.get(old).unwrap().config.uuid;
    host.happens(Event::Ended(old, EndReason::Reboot));
    host.happens(Event::Gone(old));
    // The first life was quick: the second waits.
    assert_eq!(host.domains.find("a"), None);
    assert_eq!(host.domains.next_deadline_ms(), Some(host.moment.now_ms + 1000));
    assert!(
        host.domains
            .create(config("a", ""), StartMode::Running, &host.moment)
            .is_err()
    );
    host.wait(1000);
    let new = host.domains.find("a").unwrap();
    assert_eq!((new.id, new.phase, new.config.uuid), (DomId(2), Phase::Building, uuid));
}

#[test]
fn a_domain_that_is_destroyed_on_its_way_to_another_life_has_none() {
    let mut host = Host::new();
    let id = host.start("a", "");
    host.happens(Event::Ended(id, EndReason::Reboot));
    host.domains.destroy(id).unwrap();
    host.happens(Event::Gone(id));
    assert_eq!((host.domains.iter().count(), host.domains.waiting().count()), (0, 0));
}

#[test]
fn a_reboot_that_was_asked_for_is_one_even_if_the_guest_powers_off() {
    let mut host = Host::new();
    let old = host.start("a", "");
    host.domains.reboot(old).unwrap();
    host.happens(Event::Ended(old, EndReason::PowerOff));
    host.happens(Event::Gone(old));
    assert_eq!(host.domains.find("a").unwrap().id, DomId(2));
}

#[test]
fn a_domain_that_ends_at_once_again_and_again_is_given_up() {
    let mut host = Host::new();
    let mut id = host.start("a", "on_crash = 'restart'");
    let mut delays = Vec::new();
    loop {
        host.happens(Event::VmmDied(id, "page fault at 0".to_string()));
        host.happens(Event::Gone(id));
        let Some(at_ms) = host.domains.next_deadline_ms() else {
            break;
        };
        delays.push(at_ms - host.moment.now_ms);
        host.wait(at_ms - host.moment.now_ms);
        id = host.domains.find("a").unwrap().id;
        host.happens(Event::Built(id));
    }
    assert_eq!(delays, [1000, 2000, 4000, 8000, 16000]);
    let logs = host.take();
    let last = logs.iter().rfind(|action| matches!(action, Action::Log(_)));
    let expected = "domain 6 (a): ended too soon too often, it is not made anew";
    assert_eq!(last, Some(&Action::Log(expected.to_string())));
    assert_eq!(host.domains.used_kib(), 0);
}

#[test]
fn a_long_life_is_forgiven() {
    let mut host = Host::new();
    let mut id = host.start("a", "");
    for _ in 0..20 {
        host.wait(20_000);
        host.happens(Event::Ended(id, EndReason::Reboot));
        host.happens(Event::Gone(id));
        id = host.domains.find("a").unwrap().id;
        host.happens(Event::Built(id));
    }
}

#[test]
fn preserve_and_rename_restart_keep_the_old_one() {
    let mut host = Host::new();
    let kept = host.start("a", "on_crash = 'preserve'");
    host.happens(Event::Ended(kept, EndReason::Crash));
    assert_eq!(host.letters(kept), "---sc-");
    host.domains.destroy(kept).unwrap();
    assert_eq!(host.letters(kept), "---scd");

    let old = host.start("b", "on_watchdog = 'rename-restart'");
    host.wait(60_000);
    host.happens(Event::Ended(old, EndReason::Watchdog));
    let new = host.domains.find("b").unwrap();
    assert_ne!(new.id, old);
    let old = host.domains.get(old).unwrap();
    assert_eq!(old.config.name.as_str(), "b-19700101T0001Z");
    assert_eq!(old.phase, Phase::Preserved(EndReason::Watchdog));
    assert_ne!(old.config.uuid, new.config.uuid);
}

#[test]
fn rename_restart_without_memory_for_both_only_keeps() {
    let mut host = Host::new();
    let id = host.start("a", "memory = 600; on_crash = 'rename-restart'");
    host.happens(Event::Ended(id, EndReason::Crash));
    assert_eq!(
        host.domains.find("a").unwrap().phase,
        Phase::Preserved(EndReason::Crash)
    );
    assert_eq!(host.domains.iter().count(), 1);
}

#[test]
fn a_changed_configuration_counts_from_the_next_life_on() {
    let mut host = Host::new();
    let id = host.start("a", "memory = 128");
    host.domains
        .update_config(id, config("other", "memory = 256; vcpus = 2"))
        .unwrap();
    assert_eq!(host.domains.get(id).unwrap().config.memory_mib, 128);
    host.domains.reboot(id).unwrap();
    host.happens(Event::Ended(id, EndReason::PowerOff));
    host.happens(Event::Gone(id));
    let new = host.domains.find("a").unwrap();
    assert_eq!((new.config.memory_mib, new.config.vcpus), (256, 2));
    assert!(matches!(
        host.domains.update_config(new.id, config("a", "memory = 4000")),
        Err(Refusal::NoMemory { .. })
    ));
}

#[test]
fn a_domain_whose_vmm_cannot_be_made_goes() {
    let mut host = Host::new();
    let id = host
        .domains
        .create(config("a", ""), StartMode::Running, &host.moment)
        .unwrap();
    host.take();
    host.happens(Event::BuildFailed(id, "no kernel vmlinuz".to_string()));
    let log = Action::Log("domain 1 (a): cannot be made: no kernel vmlinuz".to_string());
    assert_eq!(host.take(), [log, Action::Destroy { domain: id }]);
    host.happens(Event::Built(id));
    assert_eq!(host.take(), []);
}

#[test]
fn weights_caps_and_pinning_take_effect_at_once() {
    let mut host = Host::new();
    let id = host.start("a", "vcpus = 2");
    host.take();
    host.domains.set_scheduling(id, Some(512), Some(50)).unwrap();
    let actions = host.take();
    let [Action::Schedule { vcpus, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(
        vcpus
            .iter()
            .all(|time| time.weight == 256 && time.budget_us == PERIOD_US / 4)
    );
    host.domains.pin(id, None, Some(CpuSet::from_bits(0b10)), None).unwrap();
    let actions = host.take();
    let [Action::Schedule { vcpus, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert!(vcpus.iter().all(|time| time.core == 1));
}

#[test]
fn domains_start_with_the_host_one_after_the_other() {
    let mut host = Host::new();
    let configs = [config("a", ""), config("a", ""), config("b", "")];
    host.domains.start_in_order(configs, &host.moment);
    assert_eq!(host.domains.iter().count(), 1);
    host.happens(Event::Built(DomId(1)));
    assert_eq!(host.domains.find("b").unwrap().id, DomId(2));
    let text = "domain a: not started with the host: Domain with name \"a\" already exists.";
    assert!(host.take().contains(&Action::Log(text.to_string())));
}

#[test]
fn the_host_stops_its_domains_first_the_youngest_first() {
    let mut host = Host::new();
    let (a, b, c) = (
        host.start("a", ""),
        host.start("b", ""),
        host.start("c", "on_poweroff = 'restart'"),
    );
    host.domains.pause(b).unwrap();
    host.take();
    host.domains.stop_host(HostPower::Reboot, &host.moment);
    assert_eq!(host.take(), [Action::PowerButton { domain: c }]);
    let refusal = host.domains.create(config("d", ""), StartMode::Running, &host.moment);
    assert_eq!(refusal, Err(Refusal::HostStops));
    host.happens(Event::Ended(c, EndReason::PowerOff));
    host.take();
    host.happens(Event::Gone(c));
    assert_eq!(
        host.take(),
        [Action::Run { domain: b }, Action::PowerButton { domain: b }]
    );
    host.wait(STOP_TIMEOUT_MS);
    let log = Action::Log("domain 2: does not power off, it is destroyed".to_string());
    assert_eq!(host.take(), [log, Action::Destroy { domain: b }]);
    host.happens(Event::Gone(b));
    assert_eq!(host.take(), [Action::PowerButton { domain: a }]);
    host.happens(Event::VmmDied(a, "killed".to_string()));
    host.take();
    host.happens(Event::Gone(a));
    host.happens(Event::Tick);
    assert_eq!(host.take(), [Action::Power(HostPower::Reboot)]);
}
