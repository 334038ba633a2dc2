//! Starting other programs: cargo with the workspace's toolchain, and whatever else a step needs.
//!
//! Called by the steps of [`crate::check`], [`crate::test`], [`crate::build`] and [`crate::image`].

use std::process::{Command, Output};

use anyhow::Context as _;

use crate::workspace::{Workspace, cargo_program};

/// A cargo command at the top of the repository.
pub(crate) fn cargo(workspace: &Workspace, verb: &str) -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(&workspace.root).arg(verb);
    command
}

/// Adds `flag NAME` for each name: `-p a -p b`.
pub(crate) fn add_each(command: &mut Command, flag: &str, names: &[String]) {
    for name in names {
        command.args([flag, name]);
    }
}

/// Runs a command whose output the reader sees.
pub(crate) fn pass(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", name(command)))?;
    anyhow::ensure!(status.success(), "{} ended with {status}", name(command));
    Ok(())
}

/// Runs a command and keeps its output; of a failed one the output is in the error.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [output.stdout, output.stderr].concat();
    anyhow::bail!(
        "{} ended with {}\n{}",
        name(command),
        output.status,
        String::from_utf8_lossy(&said).trim_end()
    )
}

/// Program and first argument: enough to know which one it was.
fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(1));
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
