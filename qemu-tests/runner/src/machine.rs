//! The emulated machine as a QEMU command line.
//!
//! [`Machine`] says what is wanted, [`Machine::command`] how QEMU is told. Called by [`crate::case`] and by xtask's `run`
//! and `bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The firmware that boots an ISO by UEFI.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// The way into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// `qemu -kernel`, by the PVH note of the ELF file.
    Pvh,
    /// The ISO by GRUB and SeaBIOS.
    IsoBios,
    /// The ISO by GRUB and OVMF.
    IsoUefi,
}

impl Boot {
    /// The name in `test.toml` and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pvh => "pvh",
            Self::IsoBios => "iso-bios",
            Self::IsoUefi => "iso-uefi",
        }
    }
}

/// How virtual time passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// With the host; cores run in parallel.
    #[default]
    Host,
    /// One instruction is one nanosecond, the same in every run; one host thread for all cores.
    Instructions,
}

/// The two files of a composed image.
#[derive(Debug, Clone)]
pub struct ImageFiles {
    /// For `-kernel`.
    pub elf: PathBuf,
    /// For a CD drive; only made where a case boots from it.
    pub iso: Option<PathBuf>,
}

/// Where the two serial ports go.
#[derive(Debug, Clone)]
pub enum Serial {
    /// The text console into this file.
    File(PathBuf),
    /// The text console to standard input and output.
    Terminal,
}

/// An emulated machine before it is started.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Number of cores, 1 to 64.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The way into the image.
    pub boot: Boot,
    /// QEMU's name and flags of the processor.
    pub cpu: String,
    /// How virtual time passes.
    pub clock: Clock,
    /// The console: first serial port.
    pub console: Serial,
    /// The trace frames: second serial port.
    pub trace: PathBuf,
    /// The kernel's command line, with [`Boot::Pvh`] only: an ISO has its own in `grub.cfg`.
    pub command_line: Option<String>,
    /// Further arguments as they are.
    pub extra: Vec<String>,
}

/// The processor of the tests: SVM with nested paging. What the emulator lacks is left out by name, or it warns.
pub const TEST_CPU: &str = "EPYC,+svm,+npt,-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,\
    -nrip-save,-xsavec";

impl Machine {
    /// QEMU's command for this machine and this image.
    ///
    /// # Errors
    /// If the boot method wants an ISO that was not made, or OVMF is not installed.
    pub fn command(&self, image: &ImageFiles) -> anyhow::Result<Command> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            accelerator(self.clock, self.cores),
            "-machine",
            "q35",
            "-cpu",
            &self.cpu,
        ])
        .args(["-smp", &self.cores.to_string(), "-m", &format!("{}M", self.memory_mib)])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        // Ends a run: the process exits with twice the written value plus one.
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        if self.clock == Clock::Instructions {
            qemu.args(["-icount", "shift=0,sleep=off"]);
        }
        match &self.console {
            Serial::File(path) => qemu.arg("-serial").arg(file_argument(path)),
            Serial::Terminal => qemu.args(["-chardev", "stdio,id=console,signal=on", "-serial", "chardev:console"]),
        };
        qemu.arg("-serial").arg(file_argument(&self.trace));
        self.add_boot(&mut qemu, image)?;
        qemu.args(&self.extra);
        Ok(qemu)
    }

    fn add_boot(&self, qemu: &mut Command, image: &ImageFiles) -> anyhow::Result<()> {
        if self.boot == Boot::Pvh {
            qemu.arg("-kernel").arg(&image.elf);
            if let Some(words) = &self.command_line {
                qemu.args(["-append", words]);
            }
            return Ok(());
        }
        let Some(iso) = &image.iso else {
            anyhow::bail!("{} wants an ISO, and none was made", self.boot.name());
        };
        qemu.arg("-cdrom").arg(iso).args(["-boot", "d"]);
        // A display adapter: GRUB and firmware look for one.
        qemu.args(["-vga", "std"]);
        if self.boot == Boot::IsoUefi {
            anyhow::ensure!(Path::new(OVMF).exists(), "{OVMF} is missing (package ovmf)");
            qemu.args(["-bios", OVMF]);
        }
        Ok(())
    }
}

/// `-icount` excludes one host thread per core.
fn accelerator(clock: Clock, cores: u32) -> &'static str {
    match clock {
        Clock::Host if cores > 1 => "tcg,thread=multi",
        Clock::Host | Clock::Instructions => "tcg,thread=single",
    }
}

/// QEMU splits its arguments at commas; two stand for one.
fn file_argument(path: &Path) -> String {
    format!("file:{}", path.display().to_string().replace(',', ",,"))
}
