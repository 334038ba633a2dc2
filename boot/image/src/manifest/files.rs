//! The data files that a manifest names: how long they are, and their bytes.
//!
//! Called by `boot/xtask` between parsing and checking, because addresses and sums depend on the lengths.

use std::collections::BTreeMap;
use std::path::Path;

use super::{File, Manifest};
use crate::diagnostic::Diagnostic;

impl Manifest {
    /// Looks how long each data file is; paths count from `folder`, the manifest's own.
    ///
    /// # Errors
    /// `no-file` for each that is not there or no ordinary file.
    pub fn measure_files(&mut self, folder: &Path) -> Result<(), Vec<Diagnostic>> {
        let mut problems = Vec::new();
        for file in &mut self.files {
            match std::fs::metadata(folder.join(&file.path.value)) {
                Ok(found) if found.is_file() => file.bytes = found.len(),
                Ok(_) => problems.push(no_file(file, "is no ordinary file")),
                Err(why) => problems.push(no_file(file, &format!("cannot be found: {why}"))),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The bytes of each data file, by the file's name.
    ///
    /// # Errors
    /// `no-file` for each that cannot be read, or that has become longer or shorter since it was measured.
    pub fn read_files(&self, folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut contents = BTreeMap::new();
        for file in &self.files {
            match std::fs::read(folder.join(&file.path.value)) {
                Ok(bytes) if bytes.len() as u64 == file.bytes => drop(contents.insert(file.name.value.clone(), bytes)),
                Ok(_) => problems.push(no_file(file, "changed its length while the image was made")),
                Err(why) => problems.push(no_file(file, &format!("cannot be read: {why}"))),
            }
        }
        if problems.is_empty() {
            Ok(contents)
        } else {
            Err(problems)
        }
    }
}

fn no_file(file: &File, why: &str) -> Diagnostic {
    Diagnostic::error(
        "no-file",
        file.path.span.clone(),
        format!("file `{}`: `{}` {why}", file.name, file.path),
        "`path` counts from the folder of the manifest",
    )
}
