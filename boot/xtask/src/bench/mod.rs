//! `./x bench`: figures from QEMU runs in which one instruction is one nanosecond, each beside its rivals.
//!
//! Groups are the folders of `qemu-tests/` with `purpose = "bench"`; their images print `BENCH key value` lines.
//! Key type: [`Figures`]. Calls [`crate::image`], the crate `ecusson-qemu-tests` and [`table`].

mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use ecusson_qemu_tests::case;
use ecusson_qemu_tests::description::{self, Purpose, Test};
use ecusson_qemu_tests::machine::{Boot, Clock};

use crate::workspace::Workspace;
use crate::{build, image, lines};

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
        let group = test.name.strip_prefix("bench-").unwrap_or(&test.name);
        test.description.purpose == Purpose::Bench && options.only.as_deref().is_none_or(|only| only == group)
    };
    let groups: Vec<Test> = description::discover(&workspace.root)?
        .into_iter()
        .filter(asked)
        .collect();
    anyhow::ensure!(!groups.is_empty(), "there is no such group");
    let mut figures = sizes(workspace)?;
    for group in &groups {
        figures.append(&mut measure(workspace, group)?);
    }
    print!("{}", table::render(&figures));
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Builds the image of a group and runs its cases.
fn measure(workspace: &Workspace, group: &Test) -> anyhow::Result<Figures> {
    let folder = workspace.output("bench")?;
    let recipe = image::Recipe::load(&group.manifest)?;
    let programs = build::programs(workspace, &recipe.packages().collect())?;
    let with_iso = group.description.boot.iter().any(|&boot| boot != Boot::Pvh);
    let image = recipe.compose(&programs, &folder.join(&group.name), with_iso)?;
    let mut figures = Figures::from([("kernel_image_bytes".to_owned(), image.kernel_bytes)]);
    for case in group.cases() {
        eprintln!("--- measuring {}", case.title());
        let outcome = case::run(&case, &image.files, &folder, Clock::Instructions, 1);
        let faults = outcome.faults.join("; ");
        anyhow::ensure!(
            outcome.passed(),
            "{} failed: {faults}\n{}",
            outcome.title,
            outcome.console
        );
        figures.append(&mut read_figures(&outcome.console)?);
    }
    Ok(figures)
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
}
