//! `./x check`: all that can be said of the source without running it.
//!
//! Each step is a line of the report. Called by `./x check` and, first of all, by [`crate::test`]; calls cargo and the
//! rules in [`dependencies`], [`unsafety`] and [`lengths`].

mod dependencies;
mod lengths;
mod unsafety;

use crate::commands::{add_each, cargo, pass};
use crate::report::Report;
use crate::workspace::{BARE_TARGET, RunsOn, Workspace};

/// Runs every step, whatever became of the one before.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.step("format", || pass(cargo(workspace, "fmt").args(["--all", "--check"])));
    report.step("dependency rules", || dependencies::check(workspace));
    report.step("unsafe only where it may be", || unsafety::check(workspace));
    report.step("file lengths", || lengths::check(workspace));
    report.step("clippy for the host", || clippy_host(workspace));
    report.step("clippy for the machine", || clippy_machine(workspace));
}

fn clippy_host(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "clippy");
    command.args(["--workspace", "--all-targets"]);
    add_each(
        &mut command,
        "--exclude",
        &workspace.names(|place| place == RunsOn::Machine)?,
    );
    pass(command.args(["--", "-D", "warnings"]))
}

fn clippy_machine(workspace: &Workspace) -> anyhow::Result<()> {
    let names = workspace.names(|place| place != RunsOn::Host)?;
    if names.is_empty() {
        return Ok(());
    }
    let mut command = cargo(workspace, "clippy");
    command.args(["--target", BARE_TARGET]);
    add_each(&mut command, "-p", &names);
    pass(command.args(["--", "-D", "warnings"]))
}
