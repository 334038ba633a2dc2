//! Configurations that are accepted, and what they mean.

use ecusson_toolstack::config::{
    self, Access, Affinity, CpuSet, Discard, DiskFormat, DomainConfig, DomainType, MacAddress, Medium, OnEvent,
    VirtualDevice,
};

#[track_caller]
fn read(text: &str) -> DomainConfig {
    let (config, warnings) = config::parse("web.cfg", text, &[]).unwrap_or_else(|findings| {
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{}", said.join("\n"));
    });
    assert_eq!(warnings, [], "warnings");
    config
}

fn disk(spec: &str) -> config::Disk {
    read(&format!("name = 'a'; disk = [ '{spec}' ]")).disks.remove(0)
}

fn vif(spec: &str) -> config::Vif {
    read(&format!("name = 'a'; vif = [ '{spec}' ]")).vifs.remove(0)
}

#[test]
fn a_whole_configuration_is_read() {
    let config = read(
        "# Web server\nname = \"web01\"; type = 'pvh'\nmemory = 512\nmaxmem = 0x400\nvcpus = 2\nmaxvcpus = 4\n\
         cpus = [ '0', '1-3,^2', ]\ncpu_weight = 512\ncap = 150\nkernel = '/boot/vmlinuz'\nramdisk = 'initrd'\n\
         root = '/dev/xvda1 ro'\nextra = 'quiet'\non_crash = \"restart\"\n\
         uuid = '3e3fce45-4f53-4fa7-bb32-11f34168b82b'\n\
         disk = [\n  'phy:/dev/vg/web01,xvda,w',\n  '/iso/debian.iso,raw,hdc,ro,cdrom',\n]\n\
         vif = [ 'bridge=xenbr0,mac=00:16:3e:aa:bb:cc', '' ]\nrtc_timeoffset = '-3600'\nlocaltime = 1\n",
    );
    assert_eq!(config.name.as_str(), "web01");
    assert_eq!(
        (config.kind, config.memory_mib, config.max_memory_mib),
        (DomainType::Pvh, 512, 1024)
    );
    assert_eq!((config.vcpus, config.max_vcpus), (2, 4));
    assert_eq!(
        config.cpus,
        Affinity::Each(vec![CpuSet::from_bits(1), CpuSet::from_bits(0b1010)])
    );
    assert_eq!(config.cpus.of(3), CpuSet::ALL);
    assert_eq!((config.weight, config.cap_percent), (512, 150));
    assert_eq!(config.cmdline, "root=/dev/xvda1 ro quiet");
    assert_eq!(
        (config.on.crash, config.on.poweroff),
        (OnEvent::Restart, OnEvent::Destroy)
    );
    assert_eq!(config.uuid.unwrap().to_string(), "3e3fce45-4f53-4fa7-bb32-11f34168b82b");
    assert_eq!(config.disks[0].target, "/dev/vg/web01");
    assert_eq!(
        (config.disks[1].medium, config.disks[1].access),
        (Medium::Cdrom, Access::ReadOnly)
    );
    assert_eq!(config.vifs.len(), 2);
    assert_eq!(config.clock_offset_s, -3600);
}

#[test]
fn appending_and_words_of_the_command_line_count_after_the_file() {
    let text =
        "name = 'a'\nextra = 'quiet'\nextra += ' ro'\ndisk = [ 'vg/a,raw,xvda,rw' ]\ndisk += [ 'vg/b,raw,xvdb,rw' ]\n";
    let (config, warnings) = config::parse("a.cfg", text, &["memory=512", "vcpus = 2"]).unwrap();
    assert_eq!((config.memory_mib, config.vcpus, config.disks.len()), (512, 2, 2));
    assert_eq!(config.cmdline, "quiet ro");
    assert_eq!(warnings, []);
    let (config, warnings) = config::parse("a.cfg", "name='a'\nmemory=64", &["memory=512"]).unwrap();
    assert_eq!(config.memory_mib, 512);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn octal_and_quoted_numbers_are_numbers() {
    let config = read("name = 'a'\nmemory = 01000\nvcpus = '2'");
    assert_eq!((config.memory_mib, config.vcpus), (512, 2));
}

#[test]
fn disks_of_2008_and_of_today_mean_the_same() {
    let today = disk("/dev/vg/lv,raw,xvda,rw");
    assert_eq!(disk("phy:/dev/vg/lv,xvda,w"), today);
    assert_eq!(disk("vdev=xvda, access=w, target=/dev/vg/lv"), today);
    assert_eq!(disk("/dev/vg/lv,,xvda"), today);
    assert_eq!(disk("file:/a.img,hda1,r").target, "/a.img");
    let qcow = disk("tap:qcow2:/a.qcow2,xvdb,w");
    assert_eq!((qcow.format, qcow.target.as_str()), (DiskFormat::Qcow2, "/a.qcow2"));
    let nbd = disk("nbd:server:10809,xvda,w");
    assert_eq!(
        (nbd.script.as_deref(), nbd.target.as_str()),
        (Some("block-nbd"), "server:10809")
    );
    let cdrom = disk("file:/d.iso,hdc:cdrom,r");
    assert_eq!((cdrom.medium, cdrom.access), (Medium::Cdrom, Access::ReadOnly));
    assert_eq!(disk(",,hdc,,cdrom").target, "");
    assert_eq!(disk("vdev=xvda,discard,target=/a,b=c,d").target, "/a,b=c,d");
    assert_eq!(disk("a,raw,xvda,rw,no-discard").discard, Discard::Off);
}

#[test]
fn virtual_devices_have_xens_numbers() {
    for (name, number) in [
        ("xvda", 51712),
        ("xvda1", 51713),
        ("xvdp15", 202 << 8 | 15 << 4 | 15),
        ("xvdq", 1 << 28 | 16 << 8),
        ("xvda16", 1 << 28 | 16),
        ("xvdaa", 1 << 28 | 26 << 8),
        ("hda", 768),
        ("hdb1", 3 << 8 | 1 << 6 | 1),
        ("hdc", 5632),
        ("hdd63", 22 << 8 | 1 << 6 | 63),
        ("sda", 2048),
        ("sdp15", 8 << 8 | 15 << 4 | 15),
    ] {
        let device: VirtualDevice = name.parse().unwrap();
        assert_eq!(device.number(), number, "{name}");
        assert_eq!(device.to_string(), name);
    }
    assert_eq!("d1p2".parse::<VirtualDevice>().unwrap().to_string(), "xvdb2");
    for wrong in [
        "",
        "xvd",
        "xvd1",
        "xvdA",
        "hde",
        "sdq",
        "sda16",
        "hda64",
        "xvda0",
        "xvda01",
        "xvda256",
        "xvdzzzzzz",
        "vda",
    ] {
        assert!(wrong.parse::<VirtualDevice>().is_err(), "{wrong}");
    }
}

#[test]
fn network_cards_are_read() {
    let card =
        vif("mac=00:16:3E:a:0b:0c, bridge=br1, ip=10.0.0.2 fe80::1, script=vif-route, vlan=10p/20u/30-40/100+10x4");
    assert_eq!(card.mac, Some(MacAddress([0, 0x16, 0x3e, 0x0a, 0x0b, 0x0c])));
    assert_eq!(card.ip.len(), 2);
    assert_eq!(card.vlan.as_ref().unwrap().to_string(), "10p/20u/30-40/100+10x4");
    assert_eq!(
        card.to_string(),
        "mac=00:16:3e:0a:0b:0c,bridge=br1,script=vif-route,ip=10.0.0.2 fe80::1,vlan=10p/20u/30-40/100+10x4"
    );
    assert_eq!(vif("").bridge_or_default(), "xenbr0");
    assert_eq!(vif("bridge=ovsbr0.10").vlan.unwrap().access(), Some(10));
    assert_eq!(vif("vlan=10").vlan.unwrap().access(), Some(10));
    assert_eq!(vif("bridge=ovsbr0:42:43").vlan.unwrap().to_string(), "42/43");
}

#[test]
fn rates_become_bytes_in_an_interval() {
    for (text, per_second, interval_us, per_interval) in [
        ("10Mb/s", 1_250_000, 50_000, 62_500),
        ("10Mb/s@20ms", 1_250_000, 20_000, 25_000),
        ("500KB/s@1", 500_000, 1_000_000, 500_000),
        ("8b/s@1s", 1, 1_000_000, 1),
        ("1GB/s@10u", 1_000_000_000, 10, 10_000),
    ] {
        let rate = vif(&format!("rate={text}")).rate.unwrap();
        let found = (rate.bytes_per_second(), rate.interval_us(), rate.bytes_per_interval());
        assert_eq!(found, (per_second, interval_us, per_interval), "{text}");
    }
}
