//! Disk specifications: `target, format, vdev, access`, then `key=value`; and the forms of 2008.
//!
//! Key types: [`Disk`], [`VirtualDevice`].

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// What kind of image the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DiskFormat {
    /// The disk's bytes.
    #[default]
    Raw,
    /// qcow.
    Qcow,
    /// qcow2.
    Qcow2,
    /// vhd.
    Vhd,
    /// qed.
    Qed,
}

/// What the guest may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// What the guest takes it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Medium {
    /// A disk.
    #[default]
    Disk,
    /// A disc that may be absent.
    Cdrom,
}

/// Which program of a Xen host would serve it. Here the block service serves all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// phy
    Phy,
    /// qdisk
    Qdisk,
    /// tap
    Tap,
    /// standalone
    Standalone,
}

/// Whether the guest may give blocks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Discard {
    /// As the target can.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Whether the guest trusts the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Trust {
    /// It does.
    #[default]
    Trusted,
    /// It does not.
    Untrusted,
}

/// Protocol between guest and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Specification {
    /// The default; here it is virtio all the same.
    #[default]
    Xen,
    /// virtio
    Virtio,
}

/// Kinds of names of disks in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bus {
    Xvd,
    Hd,
    Sd,
}

/// `xvda`, `hdc`, `sda2`, `xvdaa`, `d3p1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualDevice {
    bus: Bus,
    disk: u32,
    partition: u32,
}

impl VirtualDevice {
    /// Its number, as `block-list` shows it (xen-vbd-interface(7)).
    #[must_use]
    pub fn number(self) -> u32 {
        let Self { bus, disk, partition } = self;
        match bus {
            Bus::Xvd if disk < 16 && partition < 16 => 202 << 8 | disk << 4 | partition,
            Bus::Xvd => 1 << 28 | disk << 8 | partition,
            Bus::Hd if disk < 2 => 3 << 8 | disk << 6 | partition,
            Bus::Hd => 22 << 8 | (disk - 2) << 6 | partition,
            Bus::Sd => 8 << 8 | disk << 4 | partition,
        }
    }
}

impl FromStr for VirtualDevice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (bus, rest) = match text {
            _ if text.starts_with("xvd") => (Bus::Xvd, &text[3..]),
            _ if text.starts_with("hd") => (Bus::Hd, &text[2..]),
            _ if text.starts_with("sd") => (Bus::Sd, &text[2..]),
            _ => return numbered(text).ok_or(()),
        };
        let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = &rest[letters.len()..];
        let (disks, partitions) = match bus {
            Bus::Xvd => (1 << 20, 256),
            Bus::Hd => (4, 64),
            Bus::Sd => (16, 16),
        };
        let disk = disk_of_letters(letters).filter(|&disk| disk < disks).ok_or(())?;
        let partition = if digits.is_empty() {
            Some(0)
        } else {
            small_number(digits).filter(|&one| one > 0)
        };
        let partition = partition.filter(|&partition| partition < partitions).ok_or(())?;
        Ok(Self { bus, disk, partition })
    }
}

/// `dDpP`.
fn numbered(text: &str) -> Option<VirtualDevice> {
    let (disk, partition) = text.strip_prefix('d')?.split_once('p')?;
    let (disk, partition) = (small_number(disk)?, small_number(partition)?);
    (disk < 1 << 20 && partition < 256).then_some(VirtualDevice {
        bus: Bus::Xvd,
        disk,
        partition,
    })
}

/// Decimal, without sign or needless zeros.
fn small_number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// `a` is 0, `z` 25, `aa` 26.
fn disk_of_letters(letters: &str) -> Option<u32> {
    if letters.is_empty() || letters.len() > 5 {
        return None;
    }
    let mut number = 0_u32;
    for letter in letters.bytes() {
        if !letter.is_ascii_lowercase() {
            return None;
        }
        number = number * 26 + u32::from(letter - b'a') + 1;
    }
    Some(number - 1)
}

impl fmt::Display for VirtualDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = String::new();
        let mut rest = self.disk + 1;
        while rest > 0 {
            let letter = b'a' + ((rest - 1) % 26) as u8;
            letters.insert(0, char::from(letter));
            rest = (rest - 1) / 26;
        }
        let bus = match self.bus {
            Bus::Xvd => "xvd",
            Bus::Hd => "hd",
            Bus::Sd => "sd",
        };
        write!(f, "{bus}{letters}")?;
        if self.partition > 0 {
            write!(f, "{}", self.partition)
        } else {
            Ok(())
        }
    }
}

/// A disk that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Name of a volume or path of an image; empty only for a drive without a disc.
    pub target: String,
    /// What it holds.
    pub format: DiskFormat,
    /// Its name in the guest.
    pub vdev: VirtualDevice,
    /// What the guest may do.
    pub access: Access,
    /// Disk or drive.
    pub medium: Medium,
    /// Name of the domain that serves it.
    pub backend: Option<String>,
    /// Which program would serve it.
    pub backendtype: Option<Backend>,
    /// Script that would make the target available.
    pub script: Option<String>,
    /// See [`Discard`].
    pub discard: Discard,
    /// Whether the target may be written past the host's cache.
    pub direct_io_safe: bool,
    /// See [`Trust`].
    pub trust: Trust,
    /// See [`Specification`].
    pub specification: Specification,
}

/// What is wrong with a disk specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskError {
    /// As it follows `config parsing error in disk specification:`.
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Draft {
    target: Option<String>,
    format: Option<DiskFormat>,
    vdev: Option<VirtualDevice>,
    access: Option<Access>,
    medium: Medium,
    backend: Option<String>,
    backendtype: Option<Backend>,
    script: Option<String>,
    discard: Discard,
    direct_io_safe: bool,
    trust: Trust,
    specification: Specification,
    /// A prefix of old: the format is not positional.
    old_prefix: bool,
    /// Positional parameters read.
    positional: usize,
}

type Fault = (&'static str, &'static str);

const NAMES_VDEV: &str = "vdev is the disk's name in the guest: xvda, xvdb1, hdc, sda";

impl Disk {
    /// Parses one entry of `disk`.
    pub(super) fn parse(spec: &str) -> Result<Self, DiskError> {
        let fail = |near: Option<&str>, (message, remedy): Fault| DiskError {
            message: match near {
                Some(near) => format!("{message}: near `{near}' in `{spec}'"),
                None => format!("{message} in `{spec}'"),
            },
            remedy,
        };
        let mut draft = Draft::default();
        let mut rest = draft
            .strip_prefixes(spec.trim_start())
            .map_err(|fault| fail(Some(spec), fault))?;
        loop {
            if let Some(target) = rest.trim_start().strip_prefix("target=") {
                draft.set_target(target).map_err(|fault| fail(Some(target), fault))?;
                break;
            }
            let (part, more) = match rest.split_once(',') {
                Some((part, more)) => (part, Some(more)),
                None => (rest, None),
            };
            draft
                .part(part.trim())
                .map_err(|fault| fail(Some(part.trim()), fault))?;
            let Some(more) = more else { break };
            rest = more;
        }
        draft.finish().map_err(|fault| fail(None, fault))
    }
}

impl Draft {
    /// What follows the prefixes of old.
    fn strip_prefixes<'a>(&mut self, spec: &'a str) -> Result<&'a str, Fault> {
        let mut rest = spec;
        // Each turn takes a prefix away.
        while let Some((prefix, more)) = rest.split_once(':') {
            match prefix {
                "phy" | "file" | "tap" | "tap2" | "aio" | "ioemu" => {}
                "raw" | "qcow" | "qcow2" | "vhd" => self.format = Some(format_of(prefix)?),
                "iscsi" | "nbd" | "enbd" | "drbd" => {
                    self.script = Some(format!("block-{prefix}"));
                    self.old_prefix = true;
                    return Ok(more);
                }
                _ => return Ok(rest),
            }
            self.old_prefix = true;
            rest = more;
        }
        Ok(rest)
    }

    fn part(&mut self, part: &str) -> Result<(), Fault> {
        match part.split_once('=') {
            Some((key, value)) => self.key(key.trim(), value.trim()),
            None if self.flag(part) => Ok(()),
            None => self.positional(part),
        }
    }

    fn positional(&mut self, part: &str) -> Result<(), Fault> {
        // The second parameter of old is the third of today.
        if self.old_prefix && self.positional == 1 {
            self.positional = 2;
        }
        self.positional += 1;
        if part.is_empty() {
            return Ok(());
        }
        match self.positional {
            1 => self.set_target(part),
            2 => self.key("format", part),
            3 => self.key("vdev", part),
            4 => self.key("access", part),
            _ => Err((
                "too many positional parameters",
                "the order is target, format, vdev, access; the rest is key=value",
            )),
        }
    }

    fn flag(&mut self, part: &str) -> bool {
        match part {
            "cdrom" => self.medium = Medium::Cdrom,
            "discard" => self.discard = Discard::On,
            "no-discard" => self.discard = Discard::Off,
            "direct-io-safe" => self.direct_io_safe = true,
            "trusted" => self.trust = Trust::Trusted,
            "untrusted" => self.trust = Trust::Untrusted,
            _ => return false,
        }
        true
    }

    fn key(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        match key {
            "format" => once(&mut self.format, format_of(value)?),
            "vdev" => {
                let (name, cdrom) = value.strip_suffix(":cdrom").map_or((value, false), |name| (name, true));
                let vdev = name.parse().map_err(|()| ("unknown value for vdev", NAMES_VDEV))?;
                if cdrom {
                    self.medium = Medium::Cdrom;
                }
                once(&mut self.vdev, vdev)
            }
            "access" => once(&mut self.access, access_of(value)?),
            "devtype" => {
                self.medium = match value {
                    "disk" => Medium::Disk,
                    "cdrom" => Medium::Cdrom,
                    _ => return Err(("unknown value for type", "devtype is disk or cdrom")),
                };
                Ok(())
            }
            "backend" => once(&mut self.backend, value.to_string()),
            "backendtype" => once(&mut self.backendtype, backend_of(value)?),
            "script" => once(&mut self.script, value.to_string()),
            "specification" => {
                self.specification = match value {
                    "xen" => Specification::Xen,
                    "virtio" => Specification::Virtio,
                    _ => return Err(("unknown value for specification", "specification is xen or virtio")),
                };
                Ok(())
            }
            _ => Err((
                "unknown parameter",
                "known are format, vdev, access, devtype, backend, backendtype, script, specification, target",
            )),
        }
    }

    fn set_target(&mut self, target: &str) -> Result<(), Fault> {
        once(&mut self.target, target.to_string())
    }

    fn finish(self) -> Result<Disk, Fault> {
        let vdev = self.vdev.ok_or(("no vdev specified", NAMES_VDEV))?;
        let target = self.target.unwrap_or_default();
        if target.is_empty() && self.medium == Medium::Disk {
            return Err((
                "no target specified",
                "name a volume or an image first; only a cdrom may be empty",
            ));
        }
        let usual = match self.medium {
            Medium::Disk => Access::ReadWrite,
            Medium::Cdrom => Access::ReadOnly,
        };
        if self.medium == Medium::Cdrom && self.access == Some(Access::ReadWrite) {
            return Err(("a cdrom can't be written", "leave access away, or make it a disk"));
        }
        Ok(Disk {
            target,
            format: self.format.unwrap_or_default(),
            vdev,
            access: self.access.unwrap_or(usual),
            medium: self.medium,
            backend: self.backend,
            backendtype: self.backendtype,
            script: self.script,
            discard: self.discard,
            direct_io_safe: self.direct_io_safe,
            trust: self.trust,
            specification: self.specification,
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    if place.is_some() {
        return Err(("parameter specified more than once", "name each parameter once"));
    }
    *place = Some(value);
    Ok(())
}

fn format_of(text: &str) -> Result<DiskFormat, Fault> {
    match text {
        "raw" => Ok(DiskFormat::Raw),
        "qcow" => Ok(DiskFormat::Qcow),
        "qcow2" => Ok(DiskFormat::Qcow2),
        "vhd" => Ok(DiskFormat::Vhd),
        "qed" => Ok(DiskFormat::Qed),
        _ => Err((
            "unknown value for format",
            "the order is target, format, vdev, access; format is raw, qcow, qcow2, vhd or qed",
        )),
    }
}

fn access_of(text: &str) -> Result<Access, Fault> {
    match text {
        "r" | "ro" => Ok(Access::ReadOnly),
        "w" | "rw" => Ok(Access::ReadWrite),
        _ => Err(("unknown value for access", "access is ro or rw (r and w are taken too)")),
    }
}

fn backend_of(text: &str) -> Result<Backend, Fault> {
    match text {
        "phy" => Ok(Backend::Phy),
        "qdisk" => Ok(Backend::Qdisk),
        "tap" => Ok(Backend::Tap),
        "standalone" => Ok(Backend::Standalone),
        _ => Err((
            "unknown value for backendtype",
            "backendtype is phy, qdisk, tap or standalone; leave it away",
        )),
    }
}

impl Access {
    /// `ro` or `rw`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

impl DiskFormat {
    /// `raw`, `qcow2`, ...
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow => "qcow",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Qed => "qed",
        }
    }
}

impl Backend {
    /// `phy`, `qdisk`, ...
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Phy => "phy",
            Self::Qdisk => "qdisk",
            Self::Tap => "tap",
            Self::Standalone => "standalone",
        }
    }
}

impl fmt::Display for Disk {
    /// As a configuration has it; what is as usual is left away, the target stands last, so that it may hold commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "format={},vdev={},access={}",
            self.format.word(),
            self.vdev,
            self.access.word()
        )?;
        if self.medium == Medium::Cdrom {
            f.write_str(",devtype=cdrom")?;
        }
        if let Some(backend) = &self.backend {
            write!(f, ",backend={backend}")?;
        }
        if let Some(backendtype) = self.backendtype {
            write!(f, ",backendtype={}", backendtype.word())?;
        }
        if let Some(script) = &self.script {
            write!(f, ",script={script}")?;
        }
        match self.discard {
            Discard::Auto => {}
            Discard::On => f.write_str(",discard")?,
            Discard::Off => f.write_str(",no-discard")?,
        }
        if self.direct_io_safe {
            f.write_str(",direct-io-safe")?;
        }
        if self.trust == Trust::Untrusted {
            f.write_str(",untrusted")?;
        }
        if self.specification == Specification::Virtio {
            f.write_str(",specification=virtio")?;
        }
        write!(f, ",target={}", self.target)
    }
}
