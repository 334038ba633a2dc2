//! `./x test`: check, host tests, conformance, QEMU tests; one closing line for all of them.
//!
//! Called by people and by `.ci/run`. Calls [`crate::check`], cargo, [`crate::conformance`], [`crate::image`]
//! and the crate `ecusson-qemu-tests`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;

use anyhow::Context as _;
use ecusson_qemu_tests::case::Outcome;
use ecusson_qemu_tests::description::{self, Purpose, Test};
use ecusson_qemu_tests::machine::Boot;
use ecusson_qemu_tests::schedule::{self, Job};

use crate::commands::{add_each, cargo};
use crate::report::Report;
use crate::workspace::{RunsOn, Workspace};
use crate::{build, check, conformance, image};

/// Lines of the console that a failed QEMU test shows.
const SHOWN_LINES: usize = 200;

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave out the tests that take long
    #[arg(long)]
    quick: bool,
    /// Only this: "check", "host", a package's folder name, or (part of) the name of a folder in qemu-tests/
    names: Vec<String>,
}

impl Options {
    /// Whether a test of this name was asked for; without names everything is.
    fn wants(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| fits(name))
    }

    /// Whether nothing was left out.
    fn is_full(&self) -> bool {
        self.names.is_empty() && !self.quick
    }

    fn wants_test(&self, test: &Test) -> bool {
        let purpose = test.description.purpose;
        let in_this_run = purpose == Purpose::Test || (purpose == Purpose::LongTest && !self.quick);
        in_this_run && self.wants(|name| test.name.contains(name))
    }
}

/// Runs what was asked for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let mut report = Report::default();
    let tests = description::discover(&workspace.root)?;
    let tests: Vec<Test> = tests.into_iter().filter(|test| options.wants_test(test)).collect();
    let packages = host_packages(workspace, options)?;
    let checks = options.wants(|name| name == "check");
    anyhow::ensure!(
        checks || !packages.is_empty() || !tests.is_empty(),
        "no test is called so"
    );
    if checks {
        check::run(workspace, &mut report);
    }
    if !packages.is_empty() {
        eprintln!("--- tests on the host");
        host_tests(workspace, &packages, &mut report)?;
    }
    if options.is_full() {
        conformance::run(workspace, &mut report);
    }
    if !tests.is_empty() {
        eprintln!("--- tests in QEMU");
        if let Err(error) = qemu_tests(workspace, &tests, &mut report) {
            eprintln!("{error:#}");
            report.fail("images of the QEMU tests");
        }
    }
    report.finish()
}

/// The packages with tests for the host that were asked for.
fn host_packages(workspace: &Workspace, options: &Options) -> anyhow::Result<Vec<String>> {
    let mut names = workspace.names(|place| place != RunsOn::Machine)?;
    let asked = |package: &String| {
        let short = package.strip_prefix("ecusson-").unwrap_or(package).to_owned();
        options.wants(|name| name == "host" || name == short)
    };
    names.retain(asked);
    Ok(names)
}

/// Runs cargo's tests and adds up what it says. A package whose tests do not build counts as one failure.
fn host_tests(workspace: &Workspace, packages: &[String], report: &mut Report) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "test");
    command.args(["--no-fail-fast", "--quiet"]);
    add_each(&mut command, "-p", packages);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (passed, failed) = add_up(&text);
    if output.status.success() {
        println!("ok      {passed} tests on the host");
    } else {
        print!("{text}");
    }
    let mut failures: Vec<String> = failed_names(&text);
    // Something failed that no line tells: a test that does not build, or one that took its process along.
    if !output.status.success() && failures.len() < failed.max(1) {
        failures.push("tests on the host: see above".to_owned());
    }
    report.add(passed, failures);
    Ok(())
}

/// Sums of all `test result:` lines: passed, failed.
fn add_up(text: &str) -> (usize, usize) {
    let count = |line: &str, what: &str| -> usize {
        let number = line.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
        number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    let results = text.lines().filter(|line| line.starts_with("test result:"));
    results.fold((0, 0), |(passed, failed), line| {
        (passed + count(line, "passed"), failed + count(line, "failed"))
    })
}

/// The names that follow `failures:` at the end of a test program's output.
fn failed_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut listing = false;
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(name) if listing && !name.contains(' ') => names.push(format!("host test {name}")),
            // The word stands twice: before what the tests printed, and before the list.
            _ => listing = line == "failures:" || (listing && line.is_empty()),
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Builds the images the tests need, then runs all cases.
fn qemu_tests(workspace: &Workspace, tests: &[Test], report: &mut Report) -> anyhow::Result<()> {
    let folder = workspace.output("tests")?;
    let jobs = prepare(workspace, tests, &folder)?;
    let report = Mutex::new(report);
    schedule::run_all(jobs, &folder, &|outcome| {
        if let Ok(mut report) = report.lock() {
            tell(outcome, &mut report);
        }
    });
    Ok(())
}

/// One image for each manifest, with an ISO where one of its tests boots from it; a job for each case.
fn prepare(workspace: &Workspace, tests: &[Test], folder: &Path) -> anyhow::Result<Vec<Job>> {
    let mut recipes = BTreeMap::new();
    for test in tests {
        test.make_files()?;
        let (_, with_iso) = match recipes.entry(&test.manifest) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert((image::Recipe::load(workspace, &test.manifest)?, false)),
        };
        *with_iso |= test.description.boot.iter().any(|&boot| boot != Boot::Pvh);
    }
    let programs = build::programs(
        workspace,
        &recipes.values().flat_map(|(recipe, _)| recipe.packages()).collect(),
        build::Kernel::Checked,
    )?;
    let mut images = BTreeMap::new();
    for (number, (path, (recipe, with_iso))) in recipes.iter().enumerate() {
        let composed = recipe.compose(&programs, &folder.join(format!("image-{number}")), *with_iso)?;
        images.insert(*path, composed.files);
    }
    let jobs = tests.iter().flat_map(|test| {
        let image = images[&test.manifest].clone();
        test.cases().into_iter().map(move |case| Job {
            case,
            image: image.clone(),
        })
    });
    Ok(jobs.collect())
}

/// A line for a case that passed; reasons and console for one that failed.
fn tell(outcome: &Outcome, report: &mut Report) {
    let seconds = outcome.duration.as_secs_f32();
    if outcome.passed() {
        let parts = if outcome.subtests > 0 {
            format!(", {} sub-tests", outcome.subtests)
        } else {
            String::new()
        };
        report.pass(&format!("{} ({seconds:.1} s{parts})", outcome.title));
        return;
    }
    report.fail(&outcome.title);
    for fault in &outcome.faults {
        println!("        {fault}");
    }
    println!("        --- console of {} ---", outcome.title);
    let lines: Vec<&str> = outcome.console.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    if skipped > 0 {
        println!("        ({skipped} lines before these)");
    }
    for line in &lines[skipped..] {
        println!("        {}", line.trim_end());
    }
    println!("        --- end of console ---");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 2 tests
failures:

---- a::b stdout ----
thread panicked

failures:
    a::b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 3 tests
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_of_all_test_programs_are_added() {
        // "FAILED. 1 passed": the word before must not hide the number.
        assert_eq!(add_up(OUTPUT), (4, 1));
        assert_eq!(failed_names(OUTPUT), ["host test a::b"]);
    }
}
