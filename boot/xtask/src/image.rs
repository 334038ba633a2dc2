//! `./x image`: a manifest and the built programs into an ELF file for `qemu -kernel` and a hybrid ISO for servers.
//!
//! Composition is `boot/image`'s; this module feeds it and makes the ISO. Called by [`crate::test`], [`crate::run`] and
//! [`crate::bench`]; calls [`crate::build`] and `grub-mkrescue`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use ecusson_qemu_tests::machine::ImageFiles;

use crate::build::{self, Artifacts};
use crate::commands::capture;
use crate::workspace::Workspace;

/// The image that `./x image` and `./x run` make unless told otherwise.
pub(crate) const DEFAULT_MANIFEST: &str = "boot/manifests/ecusson.toml";

/// The one entry of the boot menu. GRUB shows it for no time: a server boots, it does not ask.
const GRUB_CONFIGURATION: &str = "\
set timeout=0
set default=0
menuentry \"Ecusson\" {
    multiboot2 /boot/ecusson.elf
    boot
}
";

/// Makes `target/ecusson/ecusson.elf` and `ecusson.iso`, and the graph if asked for.
pub(crate) fn command(workspace: &Workspace, manifest: &Path, graph: Option<&Path>) -> anyhow::Result<()> {
    let files = build_and_compose(workspace, manifest, true)?;
    for file in [Some(&files.elf), files.iso.as_ref()].into_iter().flatten() {
        println!("{} ({} KiB)", file.display(), fs::metadata(file)?.len() / 1024);
    }
    if let Some(graph) = graph {
        draw(manifest, graph)?;
        println!("{}", graph.display());
    }
    Ok(())
}

/// Builds all programs and composes the image in `target/ecusson`.
pub(crate) fn build_and_compose(workspace: &Workspace, manifest: &Path, with_iso: bool) -> anyhow::Result<ImageFiles> {
    let artifacts = build::machine_programs(workspace)?;
    compose(
        &workspace.root.join(manifest),
        &artifacts,
        &workspace.output("")?.join("ecusson"),
        with_iso,
    )
}

/// Composes an image: `stem` with `.elf`, and with `.iso` if wanted.
pub(crate) fn compose(
    manifest: &Path,
    artifacts: &Artifacts,
    stem: &Path,
    with_iso: bool,
) -> anyhow::Result<ImageFiles> {
    let _ = artifacts;
    let elf = stem.with_extension("elf");
    anyhow::ensure!(elf.exists(), "cannot compose {} yet", manifest.display());
    let iso = if with_iso { Some(make_iso(&elf, stem)?) } else { None };
    Ok(ImageFiles { elf, iso })
}

/// An ISO that BIOS and UEFI boot, from a CD drive or a disk.
fn make_iso(elf: &Path, stem: &Path) -> anyhow::Result<PathBuf> {
    let tree = stem.with_extension("iso-tree");
    let grub = tree.join("boot/grub");
    fs::create_dir_all(&grub).with_context(|| format!("cannot make {}", grub.display()))?;
    fs::copy(elf, tree.join("boot/ecusson.elf"))?;
    fs::write(grub.join("grub.cfg"), GRUB_CONFIGURATION)?;
    let iso = stem.with_extension("iso");
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

/// Writes the capability graph as DOT, or by graphviz as SVG.
fn draw(manifest: &Path, graph: &Path) -> anyhow::Result<()> {
    anyhow::bail!("cannot draw {} to {} yet", manifest.display(), graph.display())
}
