//! `./x image`: a manifest and the built programs into an ELF file for `qemu -kernel` and a hybrid ISO for servers.
//!
//! Composition is `boot/image`'s; this module feeds it, shows what it refuses, and makes the ISO. Key types: [`Recipe`],
//! [`Composed`]. Called by [`crate::test`], [`crate::run`] and
//! [`crate::bench`]; calls [`crate::build`] and `grub-mkrescue`.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use ecusson_image::diagnostic::{Colour, render};
use ecusson_image::{Artifacts, Diagnostic, Manifest, Source, graph};
use ecusson_qemu_tests::machine::ImageFiles;

use crate::build::{self, Programs};
use crate::commands::capture;
use crate::guests;
use crate::workspace::Workspace;

/// The image that `./x image` and `./x run` make unless told otherwise.
pub(crate) const DEFAULT_MANIFEST: &str = "boot/manifests/default.toml";

/// The one entry of the boot menu. GRUB shows it for no time: a server boots, it does not ask.
const GRUB_CONFIGURATION: &str = "\
set timeout=0
set default=0
menuentry \"Ecusson\" {
    multiboot2 /boot/ecusson.elf
    boot
}
";

/// A composed image.
#[derive(Clone)]
pub(crate) struct Composed {
    /// What QEMU boots.
    pub(crate) files: ImageFiles,
    /// Bytes of the kernel's segments in memory.
    pub(crate) kernel_bytes: u64,
}

/// A manifest that was read.
pub(crate) struct Recipe {
    source: Source,
    manifest: Manifest,
    /// Where the manifest is: the paths of its data files count from there.
    folder: PathBuf,
}

impl Recipe {
    /// Reads a manifest and looks for its data files; mistakes of form and missing files are the error.
    pub(crate) fn load(workspace: &Workspace, path: &Path) -> anyhow::Result<Self> {
        let source = Source::load(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut manifest = Manifest::parse(&source).map_err(|mistakes| refused(&source, &mistakes))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let paths: Vec<PathBuf> = manifest
            .files
            .iter()
            .map(|file| folder.join(&file.path.value))
            .collect();
        guests::provide(workspace, &paths)?;
        manifest
            .measure_files(&folder)
            .map_err(|mistakes| refused(&source, &mistakes))?;
        Ok(Self {
            source,
            manifest,
            folder,
        })
    }

    /// The packages whose programs it names.
    pub(crate) fn packages(&self) -> impl Iterator<Item = String> {
        ecusson_image::artifacts::binaries(&self.manifest).into_iter()
    }

    /// Composes the image: `stem` with `.elf`, and with `.iso` if wanted.
    pub(crate) fn compose(&self, programs: &Programs, stem: &Path, with_iso: bool) -> anyhow::Result<Composed> {
        let files = self.manifest.read_files(&self.folder);
        let files = files.map_err(|mistakes| refused(&self.source, &mistakes))?;
        let artifacts = read_artifacts(programs, files)?;
        let image = ecusson_image::compose(&self.manifest, &artifacts).map_err(|all| refused(&self.source, &all))?;
        if !image.warnings.is_empty() {
            eprint!("{}", render(&self.source, &image.warnings, colour()));
        }
        let elf = suffixed(stem, "elf");
        fs::write(&elf, &image.elf).with_context(|| format!("cannot write {}", elf.display()))?;
        let iso = if with_iso { Some(make_iso(&elf, stem)?) } else { None };
        Ok(Composed {
            files: ImageFiles { elf, iso },
            kernel_bytes: image.kernel_bytes,
        })
    }

    /// Writes who may talk to whom: SVG, or DOT if the file is called so.
    fn draw(&self, file: &Path) -> anyhow::Result<()> {
        let checked = ecusson_image::check(&self.manifest).map_err(|mistakes| refused(&self.source, &mistakes))?;
        let extension = file.extension().and_then(|extension| extension.to_str());
        let drawing = match extension {
            Some("svg") => graph::svg(&checked.composition),
            Some("dot") => graph::dot(&checked.composition),
            _ => anyhow::bail!("{}: the graph is written as .svg or .dot", file.display()),
        };
        fs::write(file, drawing).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Makes `target/ecusson/ecusson.elf` and `ecusson.iso`, and the graph if asked for.
pub(crate) fn command(workspace: &Workspace, manifest: &Path, drawing: Option<&Path>) -> anyhow::Result<()> {
    let recipe = Recipe::load(workspace, manifest)?;
    if let Some(file) = drawing {
        // First, because it needs no programs: people look at it to find out why an image is refused.
        recipe.draw(file)?;
        println!("{}", file.display());
    }
    let programs = build::programs(workspace, &recipe.packages().collect(), build::Kernel::Shipped)?;
    let files = recipe
        .compose(&programs, &workspace.output("")?.join("ecusson"), true)?
        .files;
    for file in [Some(&files.elf), files.iso.as_ref()].into_iter().flatten() {
        println!("{} ({} KiB)", file.display(), fs::metadata(file)?.len() / 1024);
    }
    Ok(())
}

fn read_artifacts(programs: &Programs, files: BTreeMap<String, Vec<u8>>) -> anyhow::Result<Artifacts> {
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut binaries = BTreeMap::new();
    for (name, path) in &programs.others {
        binaries.insert(name.clone(), read(path)?);
    }
    Ok(Artifacts {
        loader: read(&programs.loader)?,
        kernel: read(&programs.kernel)?,
        binaries,
        files,
    })
}

/// The mistakes of a manifest as an error that shows its lines.
fn refused(source: &Source, mistakes: &[Diagnostic]) -> anyhow::Error {
    anyhow::anyhow!(
        "this image is refused\n\n{}",
        render(source, mistakes, colour()).trim_end()
    )
}

fn colour() -> Colour {
    if std::io::stderr().is_terminal() {
        Colour::Always
    } else {
        Colour::Never
    }
}

/// `stem.suffix`, whatever dots the stem has.
fn suffixed(stem: &Path, suffix: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// An ISO that BIOS and UEFI boot, from a CD drive or a disk.
fn make_iso(elf: &Path, stem: &Path) -> anyhow::Result<PathBuf> {
    let tree = suffixed(stem, "iso-tree");
    let grub = tree.join("boot/grub");
    fs::create_dir_all(&grub).with_context(|| format!("cannot make {}", grub.display()))?;
    fs::copy(elf, tree.join("boot/ecusson.elf"))?;
    fs::write(grub.join("grub.cfg"), GRUB_CONFIGURATION)?;
    let iso = suffixed(stem, "iso");
    let mut command = Command::new("grub-mkrescue");
    // Only what the menu above uses: a smaller file, made sooner.
    command.args([
        "--locales=",
        "--fonts=",
        "--themes=",
        "--install-modules=normal multiboot2 iso9660 part_gpt part_msdos",
    ]);
    capture(command.arg("-o").arg(&iso).arg(&tree)).context("no ISO")?;
    fs::remove_dir_all(&tree)?;
    Ok(iso)
}
