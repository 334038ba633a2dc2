//! One case: starts QEMU, waits for its end or the timeout, judges exit status and console.
//!
//! Key type: [`Outcome`]. Called by [`crate::schedule`] and xtask's `bench`; calls [`crate::machine`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::description::{Case, Description};
use crate::machine::{Clock, ImageFiles, Machine, Serial};

/// No console may ever say this, in whatever case of letters.
const ALWAYS_FORBIDDEN: &str = "kernel panic";

/// An image's own sub-tests announce themselves in lines that begin so.
const SUBTEST_PASSED: &str = "TEST ok ";
const SUBTEST_FAILED: &str = "TEST failed ";

/// What became of a case.
#[derive(Debug)]
pub struct Outcome {
    /// [`Case::title`].
    pub title: String,
    /// Why it failed, each reason in a line; empty if it passed.
    pub faults: Vec<String>,
    /// What the console said.
    pub console: String,
    /// Sub-tests the image reported as passed.
    pub subtests: usize,
    /// Real time.
    pub duration: Duration,
}

impl Outcome {
    /// Nothing was wrong.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Runs a case; files of the run go into `folder`.
///
/// `patience` stretches the timeout where other work shares the machine.
#[must_use]
pub fn run(case: &Case, image: &ImageFiles, folder: &Path, clock: Clock, patience: u32) -> Outcome {
    let started = Instant::now();
    let (faults, console) = match try_run(case, image, folder, clock, patience) {
        Ok(judged) => judged,
        Err(error) => (vec![format!("{error:#}")], String::new()),
    };
    let subtests = console.lines().filter(|line| line.contains(SUBTEST_PASSED)).count();
    Outcome {
        title: case.title(),
        faults,
        console,
        subtests,
        duration: started.elapsed(),
    }
}

fn try_run(
    case: &Case,
    image: &ImageFiles,
    folder: &Path,
    clock: Clock,
    patience: u32,
) -> anyhow::Result<(Vec<String>, String)> {
    let description = &case.test.description;
    let path = |suffix: &str| -> PathBuf { folder.join(format!("{}.{suffix}", case.file_stem())) };
    let machine = Machine {
        cores: case.cores,
        memory_mib: description.memory_mib,
        boot: case.boot,
        cpu: description.cpu.clone(),
        clock,
        console: Serial::File(path("console.txt")),
        trace: path("trace.bin"),
        command_line: description.command_line.clone(),
        extra: description.qemu_args.clone(),
    };
    // An old console must not be taken for this run's.
    fs::write(path("console.txt"), "").with_context(|| format!("cannot write to {}", folder.display()))?;
    let limit = Duration::from_secs(description.timeout_s) * patience;
    let (status, complaint) = run_limited(machine.command(image)?, limit, &path("qemu.txt"))?;
    let console = String::from_utf8_lossy(&fs::read(path("console.txt"))?).into_owned();
    let mut faults = judge(description, status, limit, &console);
    if !faults.is_empty() && !complaint.trim().is_empty() {
        faults.push(format!("QEMU says: {}", complaint.trim()));
    }
    Ok((faults, console))
}

/// Runs `command`, ended after `limit`. Returns its exit status (`None` after a timeout) and what it complained of.
fn run_limited(
    mut command: Command,
    limit: Duration,
    complaints: &Path,
) -> anyhow::Result<(Option<ExitStatus>, String)> {
    let sink = fs::File::create(complaints)?;
    command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink);
    let mut child = Ended(command.spawn().context("cannot start qemu-system-x86_64")?);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > limit {
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(child);
    Ok((status, fs::read_to_string(complaints).unwrap_or_default()))
}

/// A process that does not outlive its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is wrong with a run; empty if nothing.
fn judge(description: &Description, status: Option<ExitStatus>, limit: Duration, console: &str) -> Vec<String> {
    let mut faults = Vec::new();
    match status {
        None => faults.push(format!("no end after {} s", limit.as_secs())),
        Some(status) if status.code() != Some(description.exit) => {
            faults.push(format!(
                "QEMU ended with {status}, expected exit status {}",
                description.exit
            ));
        }
        Some(_) => {}
    }
    for wanted in &description.expect {
        if !console.lines().any(|line| line.contains(wanted.as_str())) {
            faults.push(format!("expected on the console, not seen: {wanted}"));
        }
    }
    for line in console.lines() {
        let forbidden = description.forbid.iter().any(|words| line.contains(words.as_str()));
        if forbidden || line.to_lowercase().contains(ALWAYS_FORBIDDEN) || line.contains(SUBTEST_FAILED) {
            faults.push(format!("the console says: {}", line.trim()));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn description(extra: &str) -> Description {
        toml::from_str(&format!("manifest = 'm'\n{extra}")).expect("parses")
    }

    fn faults(extra: &str, code: i32, console: &str) -> usize {
        let status = ExitStatus::from_raw(code << 8);
        judge(&description(extra), Some(status), Duration::from_secs(1), console).len()
    }

    #[test]
    fn success_needs_the_exit_status_and_the_lines() {
        assert_eq!(faults("expect = ['hello']", 33, "root: hello\r\n"), 0);
        assert_eq!(faults("expect = ['hello']", 33, "root: goodbye\n"), 1);
        assert_eq!(faults("expect = ['hello']", 35, "root: hello\n"), 1);
    }

    #[test]
    fn forbidden_lines_panics_and_failed_subtests_fail() {
        assert_eq!(faults("forbid = ['fault']", 33, "page fault at 0\n"), 1);
        assert_eq!(faults("", 33, "Kernel panic: no\n"), 1);
        assert_eq!(faults("", 33, "TEST failed revoke: still alive\n"), 1);
    }

    #[test]
    fn a_run_without_end_fails() {
        assert_eq!(judge(&description(""), None, Duration::from_secs(1), "").len(), 1);
    }
}
