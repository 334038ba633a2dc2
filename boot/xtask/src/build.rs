//! Builds what runs on the machine: kernel, loader, services, drivers, test programs.
//!
//! Key type: [`Programs`]. Called by [`crate::image`] and [`crate::test`]; calls cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use cargo_metadata::{Message, Package};

use crate::commands::{add_each, cargo};
use crate::workspace::{BARE_TARGET, Workspace, has_binary};

/// Folders of the two programs that every image has.
const LOADER: &str = "boot/loader";
const KERNEL: &str = "kernel/ecusson";

/// Built programs: unstripped ELF files.
pub(crate) struct Programs {
    /// `boot/loader`.
    pub(crate) loader: PathBuf,
    /// `kernel/ecusson`; the texts of the trace lie in it.
    pub(crate) kernel: PathBuf,
    /// The others, by the name of their package.
    pub(crate) others: BTreeMap<String, PathBuf>,
}

/// Which kernel an image gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one that is shipped, run and measured.
    Shipped,
    /// The same, and it can check the invariants of its state (feature `check`): for tests.
    Checked,
}

/// Builds loader, kernel and the named packages for the bare machine, optimised.
///
/// One cargo call for all of them: features are then the same in every program of an image.
pub(crate) fn programs(
    workspace: &Workspace,
    packages: &BTreeSet<String>,
    variant: Kernel,
) -> anyhow::Result<Programs> {
    let (loader, kernel) = (in_folder(workspace, LOADER)?, in_folder(workspace, KERNEL)?);
    for name in packages {
        let known = workspace
            .members()
            .any(|package| *package.name == *name && has_binary(package));
        anyhow::ensure!(
            known,
            "a manifest names the program {name}, and no package with a program is called so"
        );
    }
    let mut command = cargo(workspace, "build");
    command.args([
        "--release",
        "--bins",
        "--target",
        BARE_TARGET,
        "--message-format=json-render-diagnostics",
    ]);
    if variant == Kernel::Checked {
        command.args(["--features", &format!("{kernel}/check")]);
    }
    let names: Vec<String> = packages
        .iter()
        .cloned()
        .chain([loader.clone(), kernel.clone()])
        .collect();
    add_each(&mut command, "-p", &names);
    let mut built = run(workspace, &mut command)?;
    let mut take = |name: &str| {
        built
            .remove(name)
            .with_context(|| format!("cargo built no program of {name}"))
    };
    Ok(Programs {
        loader: take(&loader)?,
        kernel: take(&kernel)?,
        others: built,
    })
}

/// The name of the package in a folder.
fn in_folder(workspace: &Workspace, folder: &str) -> anyhow::Result<String> {
    let found = workspace.members().find(|package| workspace.folder(package) == folder);
    Ok(found
        .with_context(|| format!("no package lies in {folder}"))?
        .name
        .to_string())
}

/// Runs cargo and reads which program belongs to which package.
fn run(workspace: &Workspace, command: &mut Command) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(std::io::BufReader::new(messages)) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(executable) = artifact.executable
            && let Some(package) = workspace
                .members()
                .find(|package: &&Package| package.id == artifact.package_id)
        {
            built.insert(package.name.to_string(), executable.into_std_path_buf());
        }
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "the programs of the machine do not build");
    Ok(built)
}
