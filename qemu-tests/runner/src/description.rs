//! `qemu-tests/NAME/test.toml`: what a test is and the cases it stands for.
//!
//! ```toml
//! manifest = "manifest.toml"       # beside test.toml, or from the top of the repository with a leading "/"
//! cores = [1, 2, 4]                # one case for each, times each way to boot
//! boot = ["pvh", "iso-bios"]
//! expect = ["root: hello"]         # each must be part of some line on the serial port
//! forbid = ["unexpected fault"]    # none may be
//! ```
//!
//! A benchmark (`purpose = "bench"`) may have a table `[bench]`: [`BenchOptions`].
//!
//! Called by xtask's `test` and `bench`; a [`Case`] goes to [`crate::case::run`].

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::machine::{Boot, Clock, TEST_CPU};

/// Exit status of QEMU after the image wrote 0x10 to the exit port: twice that, plus one.
pub const EXIT_SUCCESS: i32 = 33;

/// What a folder in `qemu-tests/` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Run by `./x test`.
    #[default]
    Test,
    /// Run by `./x test`, but not with `--quick`.
    LongTest,
    /// Run by `./x bench` as the group of the folder's name.
    Bench,
}

/// The contents of a `test.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// Which command runs it.
    #[serde(default)]
    pub purpose: Purpose,
    /// The image's manifest: beside the file, or from the top of the repository with a leading `/`.
    pub manifest: String,
    /// Numbers of cores, a case for each.
    #[serde(default = "one_core")]
    pub cores: Vec<u32>,
    /// Ways to boot, a case for each.
    #[serde(default = "by_pvh")]
    pub boot: Vec<Boot>,
    /// Memory in MiB.
    #[serde(default = "default_memory_mib")]
    pub memory_mib: u32,
    /// QEMU's processor.
    #[serde(default = "default_cpu")]
    pub cpu: String,
    /// The kernel's command line (PVH only).
    pub command_line: Option<String>,
    /// How time passes: `"host"` or `"instructions"`.
    #[serde(default)]
    pub clock: Clock,
    /// Further QEMU arguments.
    #[serde(default)]
    pub qemu_args: Vec<String>,
    /// Each must be part of some line of the console.
    #[serde(default)]
    pub expect: Vec<String>,
    /// None may be part of any line of the console.
    #[serde(default)]
    pub forbid: Vec<String>,
    /// After this many seconds of real time the case has failed. Counted for an idle machine; see [`crate::case`].
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
    /// QEMU's exit status: 33 after the image wrote 0x10 to the exit port, 0 after it switched the machine off.
    #[serde(default = "default_exit")]
    pub exit: i32,
    /// Files that the manifest names and that are too large to be kept: made beside `test.toml` before the image is.
    #[serde(default)]
    pub made_files: Vec<MadeFile>,
    /// What `./x bench` makes of the figures.
    #[serde(default)]
    pub bench: BenchOptions,
}

/// A file of so many bytes: as little-endian words, the multiples of [`MadeFile::STEP`], the last one cut off.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MadeFile {
    /// Its name, which begins with `made-`, as the folder's `.gitignore` says.
    pub name: String,
    /// Its length.
    pub bytes: usize,
}

impl MadeFile {
    /// The first word.
    pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// What is in it.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let words = (1_u64..).map(|number| number.wrapping_mul(Self::STEP));
        words.flat_map(u64::to_le_bytes).take(self.bytes).collect()
    }
}

/// The table `[bench]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BenchOptions {
    /// The group it belongs to, if not that of its folder's name.
    pub group: Option<String>,
    /// Figures whose keys begin otherwise are left out.
    #[serde(default)]
    pub only: String,
    /// Appended to each key.
    #[serde(default)]
    pub suffix: String,
    /// Whether each instruction is traced: the figures are then loads, stores and serialising instructions.
    #[serde(default)]
    pub trace: bool,
    /// A figure in instructions since power-on, and the key of the same since the image's first instruction (PVH only).
    pub from_entry: Option<[String; 2]>,
}

fn one_core() -> Vec<u32> {
    vec![1]
}
fn by_pvh() -> Vec<Boot> {
    vec![Boot::Pvh]
}
fn default_memory_mib() -> u32 {
    256
}
fn default_cpu() -> String {
    TEST_CPU.to_owned()
}
fn default_timeout_s() -> u64 {
    60
}
fn default_exit() -> i32 {
    EXIT_SUCCESS
}

/// A folder of `qemu-tests/` that holds a `test.toml`.
#[derive(Debug, Clone)]
pub struct Test {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Full path of the manifest.
    pub manifest: PathBuf,
    /// What the file says.
    pub description: Description,
}

/// One run of QEMU.
#[derive(Debug, Clone)]
pub struct Case {
    /// The test it belongs to.
    pub test: Test,
    /// Number of cores.
    pub cores: u32,
    /// The way to boot.
    pub boot: Boot,
}

impl Test {
    /// Makes the files that its manifest needs, unless they are there.
    ///
    /// # Errors
    /// What the file system says; the message names the file.
    pub fn make_files(&self) -> anyhow::Result<()> {
        for made in &self.description.made_files {
            anyhow::ensure!(
                made.name.starts_with("made-"),
                "{}: made files are called made-*",
                self.name
            );
            let path = self.folder.join(&made.name);
            if fs::metadata(&path).is_ok_and(|found| found.len() == made.bytes as u64) {
                continue;
            }
            fs::write(&path, made.content()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The runs of QEMU that this test stands for.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let ways = &self.description.boot;
        let one = |&cores: &u32| {
            ways.iter().map(move |&boot| Case {
                test: self.clone(),
                cores,
                boot,
            })
        };
        self.description.cores.iter().flat_map(one).collect()
    }
}

impl Case {
    /// As reports name it: `ipc [pvh, 2 cores]`.
    #[must_use]
    pub fn title(&self) -> String {
        let noun = if self.cores == 1 { "core" } else { "cores" };
        format!("{} [{}, {} {noun}]", self.test.name, self.boot.name(), self.cores)
    }

    /// A file name of its own among all cases.
    #[must_use]
    pub fn file_stem(&self) -> String {
        format!("{}-{}-{}", self.test.name, self.boot.name(), self.cores)
    }
}

/// All tests in `qemu-tests/` below `root`, by name.
///
/// # Errors
/// If a `test.toml` cannot be read or says something that makes no sense; the message names the file.
pub fn discover(root: &Path) -> anyhow::Result<Vec<Test>> {
    let folder = root.join("qemu-tests");
    let mut tests = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let file = entry.path().join("test.toml");
        if file.exists() {
            tests.push(read(root, &file, entry.file_name().to_string_lossy().into_owned())?);
        }
    }
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

fn read(root: &Path, file: &Path, name: String) -> anyhow::Result<Test> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let description: Description = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let manifest = match description.manifest.strip_prefix('/') {
        Some(from_top) => root.join(from_top),
        None => file.with_file_name(&description.manifest),
    };
    anyhow::ensure!(
        manifest.exists(),
        "{}: no manifest at {}",
        file.display(),
        manifest.display()
    );
    let sensible = description.cores.iter().all(|cores| (1..=64).contains(cores));
    anyhow::ensure!(
        sensible && !description.cores.is_empty(),
        "{}: cores must be 1 to 64",
        file.display()
    );
    anyhow::ensure!(!description.boot.is_empty(), "{}: no way to boot", file.display());
    Ok(Test {
        name,
        folder: file.parent().unwrap_or(root).to_owned(),
        manifest,
        description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_for_each_core_count_and_boot_method() {
        let text = "manifest = 'm.toml'\ncores = [1, 4]\nboot = ['pvh', 'iso-uefi']";
        let description: Description = toml::from_str(text).expect("parses");
        let test = Test {
            name: "t".into(),
            folder: "qemu-tests/t".into(),
            manifest: "m.toml".into(),
            description,
        };
        let titles: Vec<_> = test.cases().iter().map(Case::title).collect();
        assert_eq!(
            titles,
            [
                "t [pvh, 1 core]",
                "t [iso-uefi, 1 core]",
                "t [pvh, 4 cores]",
                "t [iso-uefi, 4 cores]"
            ]
        );
    }

    #[test]
    fn made_files_are_cut_where_they_end() {
        let made = MadeFile {
            name: "made-x".into(),
            bytes: 10,
        };
        let content = made.content();
        assert_eq!(content[..8], MadeFile::STEP.to_le_bytes());
        assert_eq!(content[8..], (2_u64.wrapping_mul(MadeFile::STEP)).to_le_bytes()[..2]);
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(toml::from_str::<Description>("manifest = 'm'\nexpct = []").is_err());
    }
}
