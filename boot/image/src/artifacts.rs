//! The programs that go into an image, as the linker wrote them.
//!
//! Key type: [`Artifacts`]. Filled by `boot/xtask` after it built what [`binaries`] lists, consumed by `compose`.

use std::collections::BTreeMap;

use crate::manifest::Manifest;

/// ELF files.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// `boot/loader`, linked with its own script.
    pub loader: Vec<u8>,
    /// `kernel/ecusson`.
    pub kernel: Vec<u8>,
    /// Root and the processes' programs, by the name of their cargo package.
    pub binaries: BTreeMap<String, Vec<u8>>,
    /// The data files, by their names in the manifest; see [`Manifest::read_files`].
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Cargo packages that must be built for this manifest besides loader and kernel: root first, each once.
#[must_use]
pub fn binaries(manifest: &Manifest) -> Vec<String> {
    let mut all = vec![manifest.root.binary.value.clone()];
    for process in &manifest.processes {
        if !all.contains(&process.binary.value) {
            all.push(process.binary.value.clone());
        }
    }
    all
}
