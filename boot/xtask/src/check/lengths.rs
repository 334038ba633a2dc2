//! No file is longer than a reader takes in. (Functions are measured by clippy, with the limit in `clippy.toml`.)

use std::fs;

use crate::lines;
use crate::workspace::Workspace;

/// Lines of a file, all counted.
const LONGEST_FILE: usize = 600;

/// Fails with the list of the files that are too long.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let mut too_long = Vec::new();
    for file in lines::rust_files(&workspace.root)? {
        let length = fs::read_to_string(&file)?.lines().count();
        if length > LONGEST_FILE {
            let name = file.strip_prefix(&workspace.root).unwrap_or(&file);
            too_long.push(format!(
                "{}: {length} lines, at most {LONGEST_FILE}: split it",
                name.display()
            ));
        }
    }
    anyhow::ensure!(too_long.is_empty(), "{}", too_long.join("\n"));
    Ok(())
}
