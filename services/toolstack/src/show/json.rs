//! `list -l`: configurations as JSON, with the names of libxl's `domain_config`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::config::{Access, Disk, DomainConfig, DomainType, Medium, OnEvent, Vif};
use crate::life::DomId;

#[derive(Serialize)]
struct Listed {
    domid: u16,
    config: Config,
}

#[derive(Serialize)]
struct Config {
    c_info: CreateInfo,
    b_info: BuildInfo,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disks: Vec<JsonDisk>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nics: Vec<JsonNic>,
    on_poweroff: String,
    on_reboot: String,
    on_watchdog: String,
    on_crash: String,
    on_soft_reset: String,
}

#[derive(Serialize)]
struct CreateInfo {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
}

#[derive(Serialize)]
struct BuildInfo {
    max_vcpus: u32,
    avail_vcpus: Vec<u32>,
    vcpu_hard_affinity: Vec<Vec<String>>,
    vcpu_soft_affinity: Vec<Vec<String>>,
    max_memkb: u64,
    target_memkb: u64,
    sched_params: SchedParams,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramdisk: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    cmdline: String,
}

#[derive(Serialize)]
struct SchedParams {
    sched: &'static str,
    weight: u16,
    cap: u32,
}

#[derive(Serialize)]
struct JsonDisk {
    pdev_path: String,
    vdev: String,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'static str>,
    readwrite: u8,
    is_cdrom: u8,
}

#[derive(Serialize)]
struct JsonNic {
    devid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    bridge: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_bytes_per_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_interval_usecs: Option<u32>,
}

/// Domains and their configurations, as an array.
#[must_use]
pub fn list_json<'a>(domains: impl Iterator<Item = (DomId, &'a DomainConfig)>) -> String {
    let listed: Vec<Listed> = domains
        .map(|(id, config)| Listed {
            domid: id.0,
            config: config_of(config),
        })
        .collect();
    print(&listed)
}

/// One configuration.
#[must_use]
pub fn domain_json(config: &DomainConfig) -> String {
    print(&config_of(config))
}

/// Indented by four blanks, as libxl's library prints it. The serializer indents by two; in its output a line begins with
/// nothing else, since line feeds within texts are escaped.
fn print(value: &impl Serialize) -> String {
    // Texts, numbers and lists: it cannot fail.
    let narrow = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut text = String::with_capacity(narrow.len() * 3 / 2);
    for line in narrow.lines() {
        let content = line.trim_start_matches(' ');
        text.extend(core::iter::repeat_n(' ', 2 * (line.len() - content.len())));
        text.push_str(content);
        text.push('\n');
    }
    text
}

fn config_of(config: &DomainConfig) -> Config {
    let on = |event: OnEvent| event.word().to_string();
    let nic = |(index, vif): (usize, &Vif)| nic_of(config.vif_number(index), vif);
    Config {
        c_info: CreateInfo {
            kind: match config.kind {
                DomainType::Pv => "pv",
                DomainType::Pvh => "pvh",
                DomainType::Hvm => "hvm",
            },
            name: config.name.to_string(),
            uuid: config.uuid.map(|uuid| uuid.to_string()),
        },
        b_info: build_info(config),
        disks: config.disks.iter().map(disk_of).collect(),
        nics: config.vifs.iter().enumerate().map(nic).collect(),
        on_poweroff: on(config.on.poweroff),
        on_reboot: on(config.on.reboot),
        on_watchdog: on(config.on.watchdog),
        on_crash: on(config.on.crash),
        on_soft_reset: on(config.on.soft_reset),
    }
}

fn build_info(config: &DomainConfig) -> BuildInfo {
    let affinity = |affinity: &crate::config::Affinity| -> Vec<Vec<String>> {
        (0..config.max_vcpus)
            .map(|vcpu| alloc::vec![format!("{}", affinity.of(vcpu))])
            .collect()
    };
    BuildInfo {
        max_vcpus: config.max_vcpus,
        avail_vcpus: (0..config.vcpus).collect(),
        vcpu_hard_affinity: affinity(&config.cpus),
        vcpu_soft_affinity: affinity(&config.cpus_soft),
        max_memkb: config.max_memory_mib * 1024,
        target_memkb: config.memory_mib * 1024,
        sched_params: SchedParams {
            sched: "credit2",
            weight: config.weight,
            cap: config.cap_percent,
        },
        kernel: config.kernel.clone(),
        ramdisk: config.ramdisk.clone(),
        cmdline: config.cmdline.clone(),
    }
}

fn disk_of(disk: &Disk) -> JsonDisk {
    JsonDisk {
        pdev_path: disk.target.clone(),
        vdev: disk.vdev.to_string(),
        format: disk.format.word(),
        backend: disk.backendtype.map(crate::config::Backend::word),
        readwrite: u8::from(disk.access == Access::ReadWrite),
        is_cdrom: u8::from(disk.medium == Medium::Cdrom),
    }
}

fn nic_of(devid: u32, vif: &Vif) -> JsonNic {
    JsonNic {
        devid,
        mac: vif.mac.map(|mac| mac.to_string()),
        bridge: vif.bridge_or_default().to_string(),
        script: vif.script.clone(),
        mtu: vif.mtu,
        vlan: vif.vlan.as_ref().map(ToString::to_string),
        rate_bytes_per_interval: vif.rate.as_ref().map(crate::config::Rate::bytes_per_interval),
        rate_interval_usecs: vif.rate.as_ref().map(crate::config::Rate::interval_us),
    }
}
