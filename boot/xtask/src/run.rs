//! `./x run`: the image in QEMU, console and trace on one terminal.
//!
//! The console is QEMU's standard output, passed through; trace frames come by a file that is read while it grows.
//! Calls [`crate::image`], `ecusson-qemu-tests::machine` and [`crate::trace`].

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use ecusson_qemu_tests::machine::{Boot, Clock, Machine, Serial, TEST_CPU};

use crate::trace::Decoder;
use crate::workspace::Workspace;
use crate::{build, image};

/// How to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The image's description
    #[arg(long, default_value = image::DEFAULT_MANIFEST)]
    manifest: PathBuf,
    /// Number of cores
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cores: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// QEMU's processor
    #[arg(long, default_value = TEST_CPU)]
    cpu: String,
    /// Boot the ISO instead of the ELF file
    #[arg(long, value_enum)]
    iso: Option<Firmware>,
    /// Show the console only
    #[arg(long)]
    no_trace: bool,
    /// Arguments for QEMU, after "--"
    #[arg(last = true)]
    qemu: Vec<String>,
}

/// What boots an ISO.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Firmware {
    /// SeaBIOS
    Bios,
    /// OVMF
    Uefi,
}

/// Builds, starts, shows until QEMU ends.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let boot = match options.iso {
        None => Boot::Pvh,
        Some(Firmware::Bios) => Boot::IsoBios,
        Some(Firmware::Uefi) => Boot::IsoUefi,
    };
    let recipe = image::Recipe::load(workspace, &options.manifest)?;
    let programs = build::programs(workspace, &recipe.packages().collect(), build::Kernel::Shipped)?;
    let image = recipe
        .compose(&programs, &workspace.output("run")?.join("ecusson"), boot != Boot::Pvh)?
        .files;
    let trace = workspace.output("run")?.join("trace.bin");
    File::create(&trace).with_context(|| format!("cannot write {}", trace.display()))?;
    let machine = Machine {
        cores: options.cores,
        memory_mib: options.memory,
        boot,
        cpu: options.cpu.clone(),
        clock: Clock::Host,
        console: Serial::Terminal,
        trace: trace.clone(),
        command_line: None,
        extra: options.qemu.clone(),
    };
    eprintln!("--- {} cores, {} MiB; Ctrl-C ends it", options.cores, options.memory);
    let mut qemu = machine.command(&image)?;
    let decoder = if options.no_trace {
        None
    } else {
        Decoder::load(&programs.kernel)?
    };
    let ended = AtomicBool::new(false);
    let status = thread::scope(|scope| {
        scope.spawn(|| follow(&trace, decoder.as_ref(), &ended));
        let status = qemu.status().context("cannot start qemu-system-x86_64");
        ended.store(true, Ordering::Release);
        status
    })?;
    eprintln!("--- QEMU ended with {status}");
    Ok(())
}

/// Shows frames as they come, and once more after the end what came last.
fn follow(trace: &Path, decoder: Option<&Decoder>, ended: &AtomicBool) {
    let (Some(decoder), Ok(mut file)) = (decoder, File::open(trace)) else {
        return;
    };
    let mut stream = decoder.stream();
    loop {
        // Asked before reading: what was written before the end is still read.
        let last = ended.load(Ordering::Acquire);
        let mut bytes = Vec::new();
        if file.read_to_end(&mut bytes).is_err() {
            return;
        }
        for line in stream.lines(&bytes) {
            // On its own line in the midst of the console's: a terminal in raw mode wants the return too.
            eprint!("{line}\r\n");
        }
        if last {
            return;
        }
        thread::sleep(Duration::from_millis(30));
    }
}
