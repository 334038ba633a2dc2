//! Unsafe code has an address: the folders below may hold it, every other crate forbids it.
//!
//! The compiler enforces `#![forbid(unsafe_code)]`; this checks that the line is there, and that no file outside the
//! folders says `unsafe`, whichever crate it is part of.

use std::fs;
use std::path::Path;

use cargo_metadata::TargetKind;

use crate::lines;
use crate::workspace::Workspace;

/// Folders whose crates may hold unsafe code.
const MAY_BE_UNSAFE: [&str; 6] = [
    "kernel/x86",
    "boot/loader",
    "services/lib/rt",
    "services/lib/ring",
    "services/lib/guestmem",
    "drivers/lib",
];

/// Fails with every place that breaks the rule.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let mut faults = missing_forbids(workspace)?;
    for file in lines::rust_files(&workspace.root)? {
        let name = file.strip_prefix(&workspace.root).unwrap_or(&file);
        if !may_be_unsafe(name) {
            let source = lines::blank_comments(&fs::read_to_string(&file)?);
            let places = source.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
            faults
                .extend(places.map(|(at, _)| format!("{}:{}: unsafe code outside its places", name.display(), at + 1)));
        }
    }
    anyhow::ensure!(
        faults.is_empty(),
        "{}\nunsafe code may be in: {}",
        faults.join("\n"),
        MAY_BE_UNSAFE.join(", ")
    );
    Ok(())
}

fn may_be_unsafe(path: &Path) -> bool {
    MAY_BE_UNSAFE.iter().any(|folder| path.starts_with(folder))
}

/// Roots of libraries and programs without the line that forbids unsafe code.
fn missing_forbids(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in workspace.members() {
        if may_be_unsafe(Path::new(&workspace.folder(package))) {
            continue;
        }
        for target in &package.targets {
            let is_root = target
                .kind
                .iter()
                .any(|kind| matches!(kind, TargetKind::Lib | TargetKind::Bin));
            if is_root && !fs::read_to_string(&target.src_path)?.contains("#![forbid(unsafe_code)]") {
                let name = target
                    .src_path
                    .strip_prefix(&workspace.root)
                    .unwrap_or(&target.src_path);
                faults.push(format!("{name}: no #![forbid(unsafe_code)]"));
            }
        }
    }
    Ok(faults)
}

/// Whether `word` stands in `line` on its own: `unsafe`, but not `unsafe_code`.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_counts() {
        assert!(has_word("pub unsafe fn f()", "unsafe"));
        assert!(has_word("#[unsafe(no_mangle)]", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    }

    #[test]
    fn only_the_named_folders() {
        assert!(may_be_unsafe(Path::new("kernel/x86/src/entry.rs")));
        assert!(!may_be_unsafe(Path::new("kernel/x86extra/src/lib.rs")));
        assert!(!may_be_unsafe(Path::new("services/lib/proto/src/lib.rs")));
    }
}
