//! Builds what runs on the machine: kernel, loader, services, drivers, test programs.
//!
//! Key type: [`Artifacts`]. Called by [`crate::image`] and [`crate::test`]; calls cargo.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use cargo_metadata::Message;

use crate::commands::{add_each, cargo};
use crate::workspace::{BARE_TARGET, RunsOn, Workspace, has_binary, runs_on};

/// Programs for the bare machine: name of the binary, unstripped ELF file.
pub(crate) type Artifacts = BTreeMap<String, PathBuf>;

/// Builds every bare-metal program of the workspace, optimised.
///
/// One cargo call for all: its own bookkeeping is quicker than ours, and features are the same in every image.
pub(crate) fn machine_programs(workspace: &Workspace) -> anyhow::Result<Artifacts> {
    let mut names = Vec::new();
    for package in workspace.members() {
        if runs_on(package)? == RunsOn::Machine && has_binary(package) {
            names.push(package.name.to_string());
        }
    }
    anyhow::ensure!(
        !names.is_empty(),
        "no member of the workspace says runs-on = \"machine\""
    );
    let mut command = cargo(workspace, "build");
    command.args([
        "--release",
        "--bins",
        "--target",
        BARE_TARGET,
        "--message-format=json-render-diagnostics",
    ]);
    add_each(&mut command, "-p", &names);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let mut artifacts = Artifacts::new();
    for message in Message::parse_stream(std::io::BufReader::new(messages)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(executable) = artifact.executable
        {
            artifacts.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the programs of the machine do not build");
    Ok(artifacts)
}
