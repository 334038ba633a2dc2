//! Whatever the text, reading it ends without a panic; what is printed reads as what it was.

use ecusson_toolstack::config::{
    self, Access, Affinity, Backend, ClockBase, CpuSet, Discard, Disk, DiskFormat, Document, DomainConfig, DomainName,
    DomainType, MacAddress, Medium, Migration, OnEvent, Place, Policies, Rate, RateUnit, Specification, Trust, Uuid,
    Value, ValueKind, Vif, VifKind, Vlan,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn without_places(value: &Value) -> Value {
    let kind = match &value.kind {
        ValueKind::List(values) => ValueKind::List(values.iter().map(without_places).collect()),
        other => other.clone(),
    };
    Value {
        place: Place::default(),
        kind,
    }
}

fn shape(document: &Document) -> Vec<(String, Value)> {
    let settings = document.settings.iter();
    settings
        .map(|setting| (setting.key.clone(), without_places(&setting.value)))
        .collect()
}

/// Texts near the grammar: pieces of it in any order.
fn near_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("name = 'a'\n".to_string()),
        Just("disk = [ 'vg/a,raw,xvda,rw' ]".to_string()),
        Just("vif = [ 'rate=10Mb/s@20ms,vlan=10p/20-30' ]".to_string()),
        prop::sample::select(vec![
            "=",
            "+=",
            "[",
            "]",
            ",",
            "\n",
            ";",
            "#",
            "'",
            "\"",
            "\\",
            "\\x4",
            " ",
            "memory",
            "vcpus",
            "cpus",
            "disk",
            "vif",
            "name",
            "on_crash",
            "0x",
            "512",
            "0-3,^1",
            "^all",
            "xvda",
            "phy:",
            "target=",
            "mac=",
            "é",
            "\r",
            "\t",
            "99999999999999999999",
        ])
        .prop_map(ToString::to_string),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Texts that the grammar's quotes can hold: everything but NUL.
fn quotable() -> impl Strategy<Value = String> {
    let character = any::<char>().prop_map(|c| if c == '\0' { '\u{1}' } else { c });
    vec(character, 0..20).prop_map(String::from_iter)
}

fn value() -> impl Strategy<Value = Value> {
    let single = prop_oneof![quotable().prop_map(Value::text), any::<u32>().prop_map(Value::number)];
    single.prop_recursive(3, 20, 4, |inner| vec(inner, 0..4).prop_map(Value::list))
}

/// A word without separators.
fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z][-a-zA-Z0-9_/]{0,12}"
}

fn cpu_set() -> impl Strategy<Value = CpuSet> {
    prop_oneof![Just(CpuSet::ALL), (1..=u64::MAX).prop_map(CpuSet::from_bits)]
}

fn affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![
        cpu_set().prop_map(Affinity::Same),
        vec(cpu_set(), 1..5).prop_map(Affinity::Each)
    ]
}

fn on_event() -> impl Strategy<Value = OnEvent> {
    prop::sample::select(vec![
        OnEvent::Destroy,
        OnEvent::Restart,
        OnEvent::RenameRestart,
        OnEvent::Preserve,
        OnEvent::CoredumpDestroy,
        OnEvent::CoredumpRestart,
        OnEvent::SoftReset,
    ])
}

fn policies() -> impl Strategy<Value = Policies> {
    (on_event(), on_event(), on_event(), on_event(), on_event()).prop_map(
        |(poweroff, reboot, watchdog, crash, soft_reset)| Policies {
            poweroff,
            reboot,
            watchdog,
            crash,
            soft_reset,
        },
    )
}

prop_compose! {
    fn disk()(
        target in "[^\0]{1,20}",
        format in prop::sample::select(vec![DiskFormat::Raw, DiskFormat::Qcow, DiskFormat::Qcow2, DiskFormat::Vhd, DiskFormat::Qed]),
        vdev in (0_u32..100, 0_u32..256),
        read_only in any::<bool>(),
        cdrom in any::<bool>(),
        backend in option::of(word()),
        backendtype in option::of(prop::sample::select(vec![Backend::Phy, Backend::Qdisk, Backend::Tap, Backend::Standalone])),
        script in option::of(word()),
        discard in prop::sample::select(vec![Discard::Auto, Discard::On, Discard::Off]),
        (direct_io_safe, untrusted, virtio) in any::<(bool, bool, bool)>(),
    ) -> Disk {
        Disk {
            target,
            format,
            vdev: format!("d{}p{}", vdev.0, vdev.1).parse().unwrap(),
            access: if read_only || cdrom { Access::ReadOnly } else { Access::ReadWrite },
            medium: if cdrom { Medium::Cdrom } else { Medium::Disk },
            backend, backendtype, script, discard, direct_io_safe,
            trust: if untrusted { Trust::Untrusted } else { Trust::Trusted },
            specification: if virtio { Specification::Virtio } else { Specification::Xen },
        }
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    (1..=4_000_u32, 0_u8..=3, any::<bool>(), 1..=1_000_000_u32).prop_map(|(number, thousands, bytes, interval)| {
        let rate = Rate::new(number, RateUnit { thousands, bytes }, interval);
        rate.unwrap_or_else(|_| Rate::new(number, RateUnit { thousands: 0, bytes }, interval).unwrap())
    })
}

fn vlan() -> impl Strategy<Value = Vlan> {
    prop::sample::select(vec!["10", "10p/20", "10pu", "10p/100+10x4", "1-4094", "5u/7"])
        .prop_map(|text| Vlan::parse(text).unwrap())
}

prop_compose! {
    fn vif()(
        mac in option::of(any::<[u8; 3]>().prop_map(MacAddress::from_random)),
        (bridge, gatewaydev, model, vifname) in (option::of("[a-z]{1,8}"), option::of(word()), option::of(word()), option::of(word())),
        kind in option::of(prop::sample::select(vec![VifKind::Ioemu, VifKind::Vif])),
        (script, backend) in (option::of(word()), option::of(word())),
        ip in vec(any::<std::net::IpAddr>(), 0..3),
        rate in option::of(rate()),
        mtu in option::of(68_u16..),
        vlan in option::of(vlan()),
        trust in option::of(prop::sample::select(vec![Trust::Trusted, Trust::Untrusted])),
    ) -> Vif {
        Vif { mac, bridge, gatewaydev, kind, model, vifname, script, ip, backend, rate, devid: None, mtu, vlan, trust }
    }
}

prop_compose! {
    fn domain()(
        name in "[a-zA-Z_][-a-zA-Z0-9_.:/+]{0,63}",
        uuid in option::of(any::<[u8; 16]>().prop_map(Uuid)),
        kind in prop::sample::select(vec![DomainType::Pv, DomainType::Pvh, DomainType::Hvm]),
        (memory_mib, more_mib) in (4_u64..1 << 20, 0_u64..1 << 20),
        (vcpus, more_vcpus) in (1_u32..=32, 0_u32..=32),
        (cpus, cpus_soft) in (affinity(), affinity()),
        (weight, cap_percent) in (1_u16.., 0_u32..=6400),
        (kernel, ramdisk, cmdline) in (option::of("[^\0]{1,20}"), option::of("[^\0]{1,20}"), quotable()),
        on in policies(),
        disks in vec(disk(), 0..4),
        mut vifs in vec(vif(), 0..4),
        (local, forbidden, clock_offset_s) in any::<(bool, bool, i32)>(),
    ) -> DomainConfig {
        let mut different: Vec<Disk> = Vec::new();
        for disk in disks {
            if different.iter().all(|other| other.vdev.number() != disk.vdev.number()) {
                different.push(disk);
            }
        }
        vifs.dedup_by_key(|vif| vif.mac);
        DomainConfig {
            name: DomainName::new(&name).unwrap(), uuid, kind, memory_mib, max_memory_mib: memory_mib + more_mib,
            vcpus, max_vcpus: vcpus + more_vcpus, cpus, cpus_soft, weight, cap_percent, kernel, ramdisk, cmdline, on,
            disks: different, vifs,
            clock: if local { ClockBase::Local } else { ClockBase::Utc },
            clock_offset_s,
            migration: if forbidden { Migration::Forbidden } else { Migration::Allowed },
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = config::parse("f", &text, &[]);
    }

    #[test]
    fn no_text_near_the_grammar_makes_the_reader_panic(text in near_text()) {
        let _ = config::parse("f", &text, &[]);
    }

    #[test]
    fn no_device_makes_the_reader_panic(spec in "[ a-z0-9=:,/@.+^-]{0,60}") {
        let text = format!("name = 'a'\ndisk = [ '{spec}' ]\nvif = [ '{spec}' ]\ncpus = '{spec}'\nuuid = '{spec}'");
        let _ = config::parse("f", &text, &[]);
    }

    #[test]
    fn printed_documents_read_as_what_they_were(values in vec(value(), 0..6)) {
        let mut document = Document::default();
        for (index, value) in values.into_iter().enumerate() {
            document.push(&format!("k{index}"), value);
        }
        let (read, warnings) = Document::parse("f", &document.to_string()).unwrap();
        prop_assert!(warnings.is_empty());
        prop_assert_eq!(shape(&read), shape(&document));
    }

    #[test]
    fn printed_configurations_read_as_what_they_were(config in domain()) {
        let text = config.print();
        let (read, warnings) = config::parse("f", &text, &[]).expect(&text);
        prop_assert!(warnings.is_empty());
        prop_assert_eq!(read, config, "{}", text);
    }
}
