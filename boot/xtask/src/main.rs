//! The developer's commands behind `./x`.
//!
//! * [`workspace`]: what cargo says of the packages, and where each one runs.
//! * [`build`]: bare-metal programs; [`image`]: those and a manifest into ELF and ISO.
//! * [`guests`]: kernels and RAM disks of guests, from Debian.
//! * [`check`]: format, clippy, dependency rules, unsafe, lengths; [`test`]: that, host tests, QEMU tests.
//! * [`conformance`]: the proofs, the exploration of the core, the ledger.
//! * [`run`]: the image in QEMU with its decoded [`trace`]; [`bench`]: figures and their rivals.
//!
//! The script `x` starts it with a toolchain in the environment that every cargo below takes.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod check;
mod commands;
mod conformance;
mod guests;
mod image;
mod lines;
mod report;
mod run;
mod test;
mod trace;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Ecusson: build, look at, test and measure it.
#[derive(Parser)]
#[command(name = "./x", bin_name = "./x", disable_help_subcommand = false)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the image and start it in QEMU; Ctrl-C ends it
    Run(run::Options),
    /// Check, host tests and QEMU tests
    Test(test::Options),
    /// Format, clippy for host and machine, dependency rules, where unsafe may be, lengths
    Check,
    /// Check the proofs, explore the kernel's core, print the ledger of what is claimed
    Conformance,
    /// Measure, and print each figure beside its rivals
    Bench(bench::Options),
    /// Make target/ecusson/ecusson.elf and ecusson.iso
    Image(ImageOptions),
}

#[derive(clap::Args)]
struct ImageOptions {
    /// The image's description
    #[arg(long, default_value = image::DEFAULT_MANIFEST)]
    manifest: PathBuf,
    /// Also draw who may talk to whom, as .svg or .dot
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> anyhow::Result<()> {
    let workspace = workspace::Workspace::load()?;
    match verb {
        Verb::Run(options) => run::run(&workspace, &options),
        Verb::Test(options) => test::run(&workspace, &options),
        Verb::Check => {
            let mut report = report::Report::default();
            check::run(&workspace, &mut report);
            report.finish()
        }
        Verb::Conformance => {
            let mut report = report::Report::default();
            conformance::run(&workspace, &mut report);
            report.finish()
        }
        Verb::Bench(options) => bench::run(&workspace, &options),
        Verb::Image(options) => image::command(&workspace, &options.manifest, options.graph.as_deref()),
    }
}
