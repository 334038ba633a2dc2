//! `./x bench`: figures from QEMU runs in which one instruction is one nanosecond, each beside its rivals.
//!
//! Groups are the folders of `qemu-tests/` with `purpose = "bench"`; their images print `BENCH key value` lines. Several
//! folders may form one group: the same image with other words on its command line, or under trace.
//! Key type: [`Figures`]. Calls [`crate::image`], the crate `ecusson-qemu-tests`, [`instruction_trace`], [`entry_time`] and
//! [`table`].

mod code;
mod entry_time;
mod instruction_trace;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ecusson_qemu_tests::case;
use ecusson_qemu_tests::description::{self, Case, Purpose, Test};
use ecusson_qemu_tests::machine::{Boot, Clock, ImageFiles};

use crate::workspace::Workspace;
use crate::{build, image, lines};
use code::Code;

/// Figures by key; the units are part of the key or, without one, instructions.
pub(crate) type Figures = BTreeMap<String, u64>;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this group
    #[arg(long, value_name = "GROUP")]
    only: Option<String>,
    /// Also write all figures as one flat JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let asked = |test: &Test| {
        let group = test.description.bench.group.as_ref().unwrap_or(&test.name);
        test.description.purpose == Purpose::Bench && options.only.as_ref().is_none_or(|only| only == group)
    };
    let tests: Vec<Test> = description::discover(&workspace.root)?
        .into_iter()
        .filter(asked)
        .collect();
    anyhow::ensure!(!tests.is_empty(), "there is no such group");
    let mut figures = sizes(workspace)?;
    for test in &tests {
        figures.append(&mut measure(workspace, test)?);
    }
    settle_traced(&mut figures)?;
    print!("{}", table::render(&figures));
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// An image with the unstripped programs that trace and texts need.
struct Built {
    files: ImageFiles,
    programs: Vec<PathBuf>,
    folder: PathBuf,
}

/// Builds the image of a folder and runs its cases.
fn measure(workspace: &Workspace, test: &Test) -> anyhow::Result<Figures> {
    let folder = workspace.output("bench")?;
    let recipe = image::Recipe::load(workspace, &test.manifest)?;
    let programs = build::programs(workspace, &recipe.packages().collect(), build::Kernel::Shipped)?;
    let with_iso = test.description.boot.iter().any(|&boot| boot != Boot::Pvh);
    let image = recipe.compose(&programs, &folder.join(&test.name), with_iso)?;
    let built = Built {
        files: image.files,
        programs: programs.others.into_values().chain([programs.kernel]).collect(),
        folder,
    };
    let options = &test.description.bench;
    let mut figures = Figures::from([("kernel_image_bytes".to_owned(), image.kernel_bytes)]);
    for case in test.cases() {
        eprintln!("--- measuring {}", case.title());
        let found = if options.trace {
            traced(&built, case)?
        } else {
            let mut found = read_figures(&run_case(&case, &built.files, &built.folder)?)?;
            if let Some([since_power_on, since_entry]) = &options.from_entry {
                let began = *found.get(since_power_on).context("no figure since power-on")?;
                found.insert(since_entry.clone(), began - entry_time_of(&built, case)?);
            }
            found
        };
        let wanted = found.into_iter().filter(|(key, _)| key.starts_with(&options.only));
        figures.extend(wanted.map(|(key, value)| (key + &options.suffix, value)));
    }
    Ok(figures)
}

/// Runs a case; what its console said, if nothing was wrong.
fn run_case(case: &Case, files: &ImageFiles, folder: &Path) -> anyhow::Result<String> {
    let outcome = case::run(case, files, folder, Clock::Instructions, 1);
    let faults = outcome.faults.join("; ");
    anyhow::ensure!(
        outcome.passed(),
        "{} failed: {faults}\n{}",
        outcome.title,
        outcome.console
    );
    Ok(outcome.console)
}

/// Runs a case under trace: what was counted in it.
fn traced(built: &Built, mut case: Case) -> anyhow::Result<Figures> {
    let programs: Vec<&Path> = built.programs.iter().map(PathBuf::as_path).collect();
    let mut code = Code::load(&programs)?;
    let log = built.folder.join(format!("{}.instructions.txt", case.file_stem()));
    let arguments = instruction_trace::arguments(&code, &log);
    case.test.description.qemu_args.extend(arguments);
    let console = run_case(&case, &built.files, &built.folder)?;
    let figures = instruction_trace::count(&mut code, &log, &console)?;
    // Some hundred megabytes that nobody reads twice.
    fs::remove_file(&log)?;
    Ok(figures)
}

/// Instructions from power-on to the entry point of the image.
fn entry_time_of(built: &Built, mut case: Case) -> anyhow::Result<u64> {
    case.test.name += "-entry";
    let elf = built.folder.join(format!("{}.elf", case.test.name));
    fs::write(&elf, entry_time::with_clock_at_entry(&fs::read(&built.files.elf)?)?)?;
    let files = ImageFiles { elf, iso: None };
    entry_time::read(&run_case(&case, &files, &built.folder)?)
}

/// Instructions around a measured stretch that the trace counts and the counter does not.
const AROUND: u64 = 16;

/// Holds the instructions of the trace against the counter's: one figure, taken in two ways. The trace's alone knows where an
/// interrupt's first instruction is, and is the one that counts there.
fn settle_traced(figures: &mut Figures) -> anyhow::Result<()> {
    let suffix = "_traced";
    let traced: Vec<String> = figures
        .keys()
        .filter_map(|key| key.strip_suffix(suffix).map(str::to_owned))
        .collect();
    for key in traced {
        let by_trace = figures.remove(&(key.clone() + suffix)).context("it was just there")?;
        let Some(&by_counter) = figures.get(&key) else {
            continue;
        };
        if key == "interrupt_to_user" {
            figures.insert(key, by_trace);
            continue;
        }
        anyhow::ensure!(
            by_trace.abs_diff(by_counter) <= AROUND + by_counter / 50,
            "{key}: {by_counter} instructions by the counter, {by_trace} in the trace"
        );
    }
    Ok(())
}

/// What can be counted without running anything.
fn sizes(workspace: &Workspace) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for (key, folder) in [("kernel_lines", "kernel"), ("loader_lines", "boot/loader")] {
        let folder = workspace.root.join(folder);
        if folder.exists() {
            figures.insert(key.to_owned(), u64::try_from(lines::code_lines(&folder)?)?);
        }
    }
    let more = lines::file_lines(&workspace.root.join(lines::TEST_KERNEL))?;
    figures.insert("kernel_lines_more_in_test_kernels".to_owned(), u64::try_from(more)?);
    Ok(figures)
}

/// The `BENCH key value` lines of a console.
fn read_figures(console: &str) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for line in console.lines() {
        let Some((_, figure)) = line.split_once("BENCH ") else {
            continue;
        };
        let mut words = figure.split_whitespace();
        let (Some(key), Some(value), None) = (words.next(), words.next(), words.next()) else {
            anyhow::bail!("not a figure: {line}");
        };
        let value = value.parse().with_context(|| format!("not a figure: {line}"))?;
        figures.insert(key.to_owned(), value);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_console() {
        let figures = read_figures("boot\r\n[root] BENCH syscall_null 48\r\n").expect("reads");
        assert_eq!(figures["syscall_null"], 48);
        assert!(read_figures("BENCH broken").is_err());
    }

    #[test]
    fn a_trace_that_differs_from_the_counter_is_refused() {
        let with = |counter, trace| {
            let pairs = [("a", counter), ("a_traced", trace)];
            settle_traced(&mut pairs.map(|(key, value)| (key.to_owned(), value)).into())
        };
        assert!(with(200, 201).is_ok() && with(200, 230).is_err());
    }

    #[test]
    fn an_interrupt_is_measured_by_the_trace() {
        let pairs = [("interrupt_to_user", 615), ("interrupt_to_user_traced", 600)];
        let mut figures = pairs.map(|(key, value)| (key.to_owned(), value)).into();
        settle_traced(&mut figures).expect("settles");
        assert_eq!(figures, Figures::from([("interrupt_to_user".to_owned(), 600)]));
    }
}
