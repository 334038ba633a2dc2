//! The checked configuration of a domain, and the border where it is made.
//!
//! Key type: [`DomainConfig`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::cpus::{Affinity, CpuSet, CpuSetError};
use super::diagnostic::{Diagnostic, Place, Severity};
use super::disk::Disk;
use super::identity::{DomainName, Uuid};
use super::reader::Reader;
use super::syntax::{Document, ValueKind};
use super::vif::Vif;

/// Virtual processors of a domain, at most.
pub const MAX_VCPUS: u32 = 64;
/// Weights are 1 to this.
pub const MAX_WEIGHT: u16 = 65535;
/// Less memory than this holds no kernel.
pub const MIN_MEMORY_MIB: u64 = 4;
/// 16 TiB.
const MAX_MEMORY_MIB: i64 = 16 << 20;
/// Memory of domains that do not say how much.
const DEFAULT_MEMORY_MIB: u64 = 128;
const DEFAULT_WEIGHT: u16 = 256;
/// Disks or network cards of a domain, at most.
const MAX_DEVICES: usize = 32;

/// What kind of guest the configuration was written for. The machine is the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DomainType {
    /// Paravirtual; the default, as in `xl`.
    #[default]
    Pv,
    /// Paravirtual devices on hardware virtualization.
    Pvh,
    /// A full machine.
    Hvm,
}

/// What becomes of a domain that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEvent {
    /// It goes away.
    Destroy,
    /// It is made anew.
    Restart,
    /// It stays for inspection under another name, and is made anew.
    RenameRestart,
    /// It stays for inspection.
    Preserve,
    /// As `Destroy`; there are no core dumps.
    CoredumpDestroy,
    /// As `Restart`; there are no core dumps.
    CoredumpRestart,
    /// As `Restart`; no guest can ask for it.
    SoftReset,
}

const ON_EVENT: &[(&str, OnEvent)] = &[
    ("destroy", OnEvent::Destroy),
    ("restart", OnEvent::Restart),
    ("rename-restart", OnEvent::RenameRestart),
    ("preserve", OnEvent::Preserve),
    ("coredump-destroy", OnEvent::CoredumpDestroy),
    ("coredump-restart", OnEvent::CoredumpRestart),
    ("soft-reset", OnEvent::SoftReset),
];

impl OnEvent {
    /// As a configuration has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        ON_EVENT
            .iter()
            .find(|(_, event)| *event == self)
            .map_or("destroy", |(word, _)| word)
    }
}

/// One [`OnEvent`] for each way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// It powered off.
    pub poweroff: OnEvent,
    /// It asked for a reset.
    pub reboot: OnEvent,
    /// Its watchdog ran out.
    pub watchdog: OnEvent,
    /// It crashed, or its VMM died.
    pub crash: OnEvent,
    /// It asked for a soft reset.
    pub soft_reset: OnEvent,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            poweroff: OnEvent::Destroy,
            reboot: OnEvent::Restart,
            watchdog: OnEvent::Destroy,
            crash: OnEvent::Destroy,
            soft_reset: OnEvent::SoftReset,
        }
    }
}

/// What the guest's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClockBase {
    /// UTC.
    #[default]
    Utc,
    /// The host's local time.
    Local,
}

/// Whether the domain may go to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Migration {
    /// It may.
    #[default]
    Allowed,
    /// It may not.
    Forbidden,
}

/// A configuration that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainConfig {
    /// Its name.
    pub name: DomainName,
    /// Its UUID; random if not given.
    pub uuid: Option<Uuid>,
    /// What the configuration was written for.
    pub kind: DomainType,
    /// Memory at the start.
    pub memory_mib: u64,
    /// Memory at the most, not less.
    pub max_memory_mib: u64,
    /// Processors at the start, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// Processors at the most, not fewer.
    pub max_vcpus: u32,
    /// Where they may run.
    pub cpus: Affinity,
    /// Where they had better run.
    pub cpus_soft: Affinity,
    /// Share of processor time among those that want it.
    pub weight: u16,
    /// Percent of one processor, at the most; 0 for no limit.
    pub cap_percent: u32,
    /// Name of the kernel's file.
    pub kernel: Option<String>,
    /// Name of the initial RAM disk's file.
    pub ramdisk: Option<String>,
    /// The kernel's command line.
    pub cmdline: String,
    /// What becomes of it at its end.
    pub on: Policies,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network cards.
    pub vifs: Vec<Vif>,
    /// What its clock shows.
    pub clock: ClockBase,
    /// Added to its clock.
    pub clock_offset_s: i32,
    /// Whether it may leave.
    pub migration: Migration,
}

impl DomainConfig {
    /// The configuration that has nothing but a name.
    #[must_use]
    pub fn new(name: DomainName) -> Self {
        Self {
            name,
            uuid: None,
            kind: DomainType::default(),
            memory_mib: DEFAULT_MEMORY_MIB,
            max_memory_mib: DEFAULT_MEMORY_MIB,
            vcpus: 1,
            max_vcpus: 1,
            cpus: Affinity::default(),
            cpus_soft: Affinity::default(),
            weight: DEFAULT_WEIGHT,
            cap_percent: 0,
            kernel: None,
            ramdisk: None,
            cmdline: String::new(),
            on: Policies::default(),
            disks: Vec::new(),
            vifs: Vec::new(),
            clock: ClockBase::default(),
            clock_offset_s: 0,
            migration: Migration::default(),
        }
    }

    /// The number of a network card: what it asked for, else its place in the list.
    #[must_use]
    pub fn vif_number(&self, index: usize) -> u32 {
        let asked = self.vifs.get(index).and_then(|vif| vif.devid);
        asked.unwrap_or(index as u32)
    }
}

/// Reads and checks a configuration. `file` is what diagnostics call it; `more` are lines that count after it, as words of
/// the command line do.
///
/// # Errors
/// All diagnostics, at least one of which is an error; with success come the warnings.
pub fn parse(file: &str, text: &str, more: &[&str]) -> Result<(DomainConfig, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut whole = text.to_string();
    for line in more {
        whole.push('\n');
        whole.push_str(line);
    }
    let (document, warnings) = Document::parse(file, &whole).map_err(|error| alloc::vec![error])?;
    let mut reader = Reader::new(file, &document, warnings);
    reader.check_keys();
    let config = read(&mut reader);
    let findings = reader.finish();
    match config {
        Some(config) if findings.iter().all(|finding| finding.severity == Severity::Warning) => Ok((config, findings)),
        _ => Err(findings),
    }
}

fn read(reader: &mut Reader<'_>) -> Option<DomainConfig> {
    // A text without a name is still read to its end, for its other faults.
    let name = read_name(reader);
    let placeholder = DomainName::new("unnamed").ok()?;
    let mut config = DomainConfig::new(name.clone().unwrap_or(placeholder));
    config.uuid = read_uuid(reader);
    config.kind = read_kind(reader);
    read_memory(reader, &mut config);
    read_vcpus(reader, &mut config);
    config.cpus = read_affinity(reader, "cpus");
    config.cpus_soft = read_affinity(reader, "cpus_soft");
    read_scheduling(reader, &mut config);
    read_kernel(reader, &mut config);
    read_policies(reader, &mut config.on);
    read_disks(reader, &mut config.disks);
    read_vifs(reader, &mut config);
    if reader.switch("localtime") == Some(true) {
        config.clock = ClockBase::Local;
    }
    if let Some(offset) = reader.number("rtc_timeoffset", i64::from(i32::MIN)..=i64::from(i32::MAX)) {
        config.clock_offset_s = offset as i32;
    }
    if reader.switch("nomigrate") == Some(true) {
        config.migration = Migration::Forbidden;
    }
    name.map(|_| config)
}

fn read_name(reader: &mut Reader<'_>) -> Option<DomainName> {
    if reader.value("name").is_none() {
        reader.refuse(
            None,
            "Domain name must be specified.",
            "add a line like: name = \"web01\"",
        );
        return None;
    }
    let (text, place) = reader.text("name")?;
    DomainName::new(text)
        .inspect_err(|error| reader.refuse(place, format!("Invalid domain name \"{text}\"."), &error.to_string()))
        .ok()
}

fn read_uuid(reader: &mut Reader<'_>) -> Option<Uuid> {
    let (text, place) = reader.text("uuid")?;
    let uuid = Uuid::parse(text);
    if uuid.is_none() {
        let remedy =
            "a UUID is 32 hexadecimal digits like 3e3fce45-4f53-4fa7-bb32-11f34168b82b; without one it is random";
        reader.refuse(place, format!("Failed to parse UUID: {text}"), remedy);
    }
    uuid
}

fn read_kind(reader: &mut Reader<'_>) -> DomainType {
    let invalid = |_: &str, text: &str| format!("Invalid domain type {text}.");
    let types = [
        ("pv", DomainType::Pv),
        ("pvh", DomainType::Pvh),
        ("hvm", DomainType::Hvm),
    ];
    let builders = [
        ("generic", DomainType::Pv),
        ("linux", DomainType::Pv),
        ("hvm", DomainType::Hvm),
    ];
    let builder = reader.choice("builder", &builders, invalid);
    let kind = reader.choice("type", &types, invalid);
    if let Some((pool, place)) = reader.text("pool").filter(|(pool, _)| *pool != "Pool-0") {
        reader.refuse(
            place,
            format!("Unknown cpupool name \"{pool}\""),
            "there is one pool, Pool-0: remove the line",
        );
    }
    kind.or(builder).unwrap_or_default()
}

fn read_memory(reader: &mut Reader<'_>, config: &mut DomainConfig) {
    let bounds = MIN_MEMORY_MIB as i64..=MAX_MEMORY_MIB;
    let (memory, most) = read_with_most(reader, "memory", "maxmem", bounds);
    config.memory_mib = memory.map_or(config.memory_mib, |memory| memory as u64);
    config.max_memory_mib = most.map_or(config.memory_mib, |most| most as u64);
    refuse_below(reader, "memory", "maxmem", config.max_memory_mib < config.memory_mib);
}

fn read_vcpus(reader: &mut Reader<'_>, config: &mut DomainConfig) {
    let (vcpus, most) = read_with_most(reader, "vcpus", "maxvcpus", 1..=i64::from(MAX_VCPUS));
    config.vcpus = vcpus.map_or(config.vcpus, |vcpus| vcpus as u32);
    config.max_vcpus = most.map_or(config.vcpus, |most| most as u32);
    refuse_below(reader, "vcpus", "maxvcpus", config.max_vcpus < config.vcpus);
}

/// What a domain starts with, and the most it may get.
fn read_with_most(
    reader: &mut Reader<'_>,
    key: &str,
    most_key: &str,
    bounds: RangeInclusive<i64>,
) -> (Option<i64>, Option<i64>) {
    (reader.number(key, bounds.clone()), reader.number(most_key, bounds))
}

fn refuse_below(reader: &mut Reader<'_>, key: &str, most_key: &str, is_below: bool) {
    if is_below {
        let place = reader.value(most_key).map(|value| value.place);
        reader.refuse(
            place,
            format!("xl: {most_key} < {key}"),
            &format!("make {most_key} at least as large as {key}, or remove it"),
        );
    }
}

fn read_affinity(reader: &mut Reader<'_>, key: &str) -> Affinity {
    let Some(value) = reader.value(key) else {
        return Affinity::default();
    };
    if !matches!(value.kind, ValueKind::List(_)) {
        let set = reader
            .text(key)
            .and_then(|(text, place)| read_cpus(reader, text, place));
        return set.map(Affinity::Same).unwrap_or_default();
    }
    let texts = reader.texts(key);
    if texts.len() > MAX_VCPUS as usize {
        let message = format!(
            "{}:{}: error: parameter `{key}' has too many entries",
            reader.file(),
            value.place.line
        );
        reader.refuse(
            value.place,
            message,
            &format!("one for each virtual processor, at most {MAX_VCPUS}"),
        );
        return Affinity::default();
    }
    let sets = texts
        .into_iter()
        .filter_map(|(text, place)| read_cpus(reader, text, place));
    let sets: Vec<CpuSet> = sets.collect();
    if sets.is_empty() {
        Affinity::default()
    } else {
        Affinity::Each(sets)
    }
}

fn read_cpus(reader: &mut Reader<'_>, text: &str, place: Place) -> Option<CpuSet> {
    let remedy = |error: &CpuSetError| match error {
        CpuSetError::Range(_) => "processors are 0 to 63, like \"all\", \"0-3,5\" or \"0-7,^1\"; the only node is 0",
        CpuSetError::NotAll => "say which to take away, like \"all,^0\"",
        CpuSetError::Empty => "leave at least one processor",
    };
    CpuSet::parse(text)
        .inspect_err(|error| reader.refuse(place, error.to_string(), remedy(error)))
        .ok()
}

fn read_scheduling(reader: &mut Reader<'_>, config: &mut DomainConfig) {
    if let Some(weight) = reader.number("cpu_weight", 1..=i64::from(MAX_WEIGHT)) {
        config.weight = weight as u16;
    }
    if let Some(cap) = reader.number("cap", 0..=i64::from(MAX_VCPUS) * 100) {
        config.cap_percent = cap as u32;
    }
}

fn read_kernel(reader: &mut Reader<'_>, config: &mut DomainConfig) {
    let mut file = |key| {
        reader
            .text(key)
            .map(|(text, _)| text.to_string())
            .filter(|text| !text.is_empty())
    };
    config.kernel = file("kernel");
    config.ramdisk = file("ramdisk");
    let root = reader.text("root").map(|(text, _)| text);
    let extra = reader.text("extra").map(|(text, _)| text);
    config.cmdline = match (reader.text("cmdline"), root, extra) {
        (Some((cmdline, place)), root, extra) => {
            if root.is_some() || extra.is_some() {
                let message = "Warning: ignoring root= and extra= in favour of cmdline=";
                reader.warn(place, message, "write all in cmdline, and remove root and extra");
            }
            cmdline.to_string()
        }
        (None, Some(root), Some(extra)) => format!("root={root} {extra}"),
        (None, Some(root), None) => format!("root={root}"),
        (None, None, extra) => extra.unwrap_or_default().to_string(),
    };
}

fn read_policies(reader: &mut Reader<'_>, policies: &mut Policies) {
    let unknown = |key: &str, text: &str| format!("Unknown {key} action \"{text}\" specified");
    let places = [
        ("on_poweroff", &mut policies.poweroff),
        ("on_reboot", &mut policies.reboot),
        ("on_watchdog", &mut policies.watchdog),
        ("on_crash", &mut policies.crash),
        ("on_soft_reset", &mut policies.soft_reset),
    ];
    for (key, policy) in places {
        if let Some(event) = reader.choice(key, ON_EVENT, unknown) {
            *policy = event;
        }
    }
}

fn read_disks(reader: &mut Reader<'_>, disks: &mut Vec<Disk>) {
    let texts = bounded(reader, "disk");
    for (text, place) in texts {
        match Disk::parse(text) {
            Ok(disk) if disks.iter().any(|other| other.vdev.number() == disk.vdev.number()) => {
                let message = format!("disk vdev={} is used twice", disk.vdev);
                reader.refuse(place, message, "give each disk a vdev of its own");
            }
            Ok(disk) => disks.push(disk),
            Err(error) => {
                let file = reader.file();
                let message = format!("{file}: config parsing error in disk specification: {}", error.message);
                reader.refuse(place, message, error.remedy);
            }
        }
    }
}

fn read_vifs(reader: &mut Reader<'_>, config: &mut DomainConfig) {
    let texts = bounded(reader, "vif");
    let mut places = Vec::new();
    for (text, place) in texts {
        match Vif::parse(reader.file(), text) {
            Ok(vif) => {
                config.vifs.push(vif);
                places.push(place);
            }
            Err(error) => reader.refuse(place, error.message, error.remedy),
        }
    }
    for (index, &place) in places.iter().enumerate() {
        let (number, mac) = (config.vif_number(index), config.vifs[index].mac);
        let twice =
            |other: usize| config.vif_number(other) == number || (mac.is_some() && config.vifs[other].mac == mac);
        if (0..index).any(twice) {
            let message = format!("vif {number}: devid or mac is used twice");
            reader.refuse(place, message, "give each card a devid and a mac of its own, or none");
        }
    }
}

/// The entries of a list of devices, if they are not too many.
fn bounded<'a>(reader: &mut Reader<'a>, key: &str) -> Vec<(&'a str, Place)> {
    let texts = reader.texts(key);
    let Some(&(_, place)) = texts.get(MAX_DEVICES) else {
        return texts;
    };
    let message = format!(
        "{}:{}: error: parameter `{key}' has too many entries",
        reader.file(),
        place.line
    );
    reader.refuse(place, message, &format!("at most {MAX_DEVICES} are possible"));
    Vec::new()
}
