//! From a manifest and its programs to the image.
//!
//! Key functions: [`compose`], `outline` (the composition without programs); key type: [`Image`]. Called by `boot/xtask`; calls
//! `check`, `elf`. `bundle` lays out programs and boot tables, `payload` what the loader finds, `outline` what root finds.

pub(crate) mod boot_tables;
mod bundle;
mod outline;
mod payload;

use std::ops::Range;

use ecusson_abi::boot::{KERNEL_BASE, KERNEL_LIMIT, PAGE_BYTES, USER_LIMIT};
use ecusson_manifest::Composition;
use ecusson_manifest::layout::{PROGRAM_BASE, PROGRAM_LIMIT};

pub(crate) use outline::outline;
use payload::Payload;

use crate::artifacts::Artifacts;
use crate::check::{Checked, check, memory};
use crate::diagnostic::{At, Diagnostic};
use crate::elf::flatten::{Flat, flatten};
use crate::elf::write::attach_payload;
use crate::manifest::{File, Manifest};

/// A bootable image and what is in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file: an ELF that `qemu -kernel` loads by its PVH note and GRUB by its multiboot2 header.
    pub elf: Vec<u8>,
    /// What root will read.
    pub composition: Composition,
    /// Bytes of the kernel in the image: code, constants and initial data.
    pub kernel_bytes: u64,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// What is allowed but odd.
    pub warnings: Vec<Diagnostic>,
}

/// Checks the manifest, flattens the programs and writes the image.
///
/// # Errors
/// Every mistake found, in the manifest or in the programs.
pub fn compose(manifest: &Manifest, artifacts: &Artifacts) -> Result<Image, Vec<Diagnostic>> {
    let Checked {
        mut composition,
        boot_tables,
        mut warnings,
    } = check(manifest)?;
    let programs = Programs::flatten(manifest, artifacts)?;
    check_files(manifest, artifacts)?;
    let payload = Payload::new(&programs.kernel, &programs.root);
    let bundle = bundle::build(
        &programs,
        &boot_tables,
        &artifacts.files,
        payload.bundle_offset(),
        &mut composition,
    );
    let encoded = composition
        .encode()
        .map_err(|why| internal(&format!("the composition cannot be encoded: {why}")))?;
    let payload = payload
        .finish(&bundle, &encoded)
        .map_err(|why| internal(&format!("the payload breaks a rule of its own: {why:?}")))?;
    let sizes = memory::Programs {
        payload_pages: payload.len() as u64 / PAGE_BYTES,
        writable_pages: programs.writable_pages(),
    };
    let mut problems = Vec::new();
    memory::check(manifest, &sizes, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let elf = attach_payload(&artifacts.loader, &payload, bundle::alignment(&composition)).map_err(|why| {
        let remedy = "build ecusson-loader with boot/loader/loader.ld; a smaller image if it is too large";
        vec![Diagnostic::error("loader", 0..0, why.to_string(), remedy)]
    })?;
    warnings.sort_by_key(|warning| warning.place.start);
    Ok(Image {
        elf,
        kernel_bytes: programs.kernel.pieces.iter().map(|piece| piece.data.len() as u64).sum(),
        payload_bytes: payload.len() as u64,
        composition,
        warnings,
    })
}

/// A mistake of this tool, not of the manifest.
fn internal(why: &str) -> Vec<Diagnostic> {
    vec![Diagnostic::error(
        "internal",
        0..0,
        why,
        "this is a fault of boot/image: please report it",
    )]
}

/// The bytes that came are of the files that were measured.
fn check_files(manifest: &Manifest, artifacts: &Artifacts) -> Result<(), Vec<Diagnostic>> {
    let is_there = |file: &&File| {
        let content = artifacts.files.get(&file.name.value);
        content.is_some_and(|content| content.len() as u64 == file.bytes)
    };
    match manifest.files.iter().find(|file| !is_there(file)) {
        Some(file) => Err(internal(&format!("file `{}` was measured but not read", file.name))),
        None => Ok(()),
    }
}

/// All programs, flattened.
struct Programs {
    kernel: Flat,
    root: Flat,
    /// Each binary once, in the order of its first use.
    binaries: Vec<(String, Flat)>,
}

impl Programs {
    fn flatten(manifest: &Manifest, artifacts: &Artifacts) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let kernel = flatten(&artifacts.kernel, &(KERNEL_BASE..KERNEL_LIMIT)).map_err(|why| {
            problems.push(Diagnostic::error(
                "program",
                0..0,
                format!("the kernel {why}"),
                why.remedy(),
            ));
        });
        let root = find(
            &manifest.root.binary,
            artifacts,
            &(PAGE_BYTES..USER_LIMIT - PAGE_BYTES),
            &mut problems,
        );
        let mut binaries: Vec<(String, Flat)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for process in &manifest.processes {
            if !seen.insert(process.binary.value.as_str()) {
                continue;
            }
            if let Some(flat) = find(
                &process.binary,
                artifacts,
                &(PROGRAM_BASE..PROGRAM_LIMIT),
                &mut problems,
            ) {
                binaries.push((process.binary.value.clone(), flat));
            }
        }
        match (kernel, root) {
            (Ok(kernel), Some(root)) if problems.is_empty() => Ok(Self { kernel, root, binaries }),
            _ => Err(problems),
        }
    }

    fn writable_pages(&self) -> std::collections::BTreeMap<String, u64> {
        let pages = |flat: &Flat| {
            let writable = flat
                .pieces
                .iter()
                .filter(|piece| piece.flags & ecusson_abi::boot::SEGMENT_WRITE != 0);
            writable.map(|piece| piece.memory_bytes / PAGE_BYTES).sum()
        };
        self.binaries
            .iter()
            .map(|(name, flat)| (name.clone(), pages(flat)))
            .collect()
    }
}

fn find(
    binary: &At<String>,
    artifacts: &Artifacts,
    window: &Range<u64>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Flat> {
    let Some(bytes) = artifacts.binaries.get(&binary.value) else {
        problems.push(Diagnostic::error(
            "no-program",
            binary.span.clone(),
            format!("there is no program `{binary}`"),
            "`binary` is the name of a cargo package of this workspace that has a binary of the same name",
        ));
        return None;
    };
    let flat = flatten(bytes, window);
    flat.map_err(|why| {
        let message = format!("program `{binary}` {why}");
        problems.push(Diagnostic::error("program", binary.span.clone(), message, why.remedy()));
    })
    .ok()
}
