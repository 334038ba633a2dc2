//! Rust source seen as lines of code: without comments, blank lines, strings' contents and tests.
//!
//! Called by [`crate::check`] (words that must not be there) and [`crate::bench`] (size of the kernel). A scanner and
//! no parser: it knows comments, strings, characters and braces, which is what these questions need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// All `.rs` files below `folder`, sorted; build output is skipped.
pub(crate) fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The source with comments and the contents of strings and characters blanked, line breaks kept.
pub(crate) fn blank_comments(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut kept = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match skip(source, at) {
            Some(end) => end,
            None => {
                kept.push(char::from(bytes[at]));
                at += 1;
                continue;
            }
        };
        // A string still counts as something that stands there.
        kept.push(if bytes[at] == b'/' { ' ' } else { '"' });
        kept.extend(source[at..end].chars().filter(|&c| c == '\n'));
        at = end;
    }
    kept
}

/// The end of the comment, string or character that begins at byte `at`, if one does.
fn skip(source: &str, at: usize) -> Option<usize> {
    let rest = &source.as_bytes()[at..];
    let to = |length: usize| Some(at + length.min(rest.len()));
    match rest {
        [b'/', b'/', ..] => to(rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => to(block_comment(rest)),
        [b'r', b'"' | b'#', ..] if !continues_word(source, at) => raw_string(rest).and_then(to),
        [b'"', ..] => to(quoted(rest, b'"')),
        // A lifetime has no second quote after one character.
        [b'\'', b'\\', ..] => to(quoted(rest, b'\'')),
        [b'\'', ..] => {
            let character = source[at + 1..].chars().next()?.len_utf8();
            (rest.get(1 + character) == Some(&b'\'')).then_some(at + 2 + character)
        }
        _ => None,
    }
}

fn continues_word(source: &str, at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| source.as_bytes()[before]);
    // `br"..."` is a string too.
    before.is_some_and(|b| b != b'b' && (b.is_ascii_alphanumeric() || b == b'_'))
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None; // `r#name`
    }
    let closing = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(closing.len()).position(|window| window == closing);
    Some(found.map_or(rest.len(), |length| body + length + closing.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The module of the kernel behind the feature `check`, which kernels that are shipped are built without.
pub(crate) const TEST_KERNEL: &str = "kernel/core/src/check.rs";

/// Lines of code of one file.
pub(crate) fn file_lines(file: &Path) -> anyhow::Result<usize> {
    let source = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(count(&source))
}

/// Lines of code of all Rust files below `folder`, tests left out. What only stands in for the machine when tests run on a
/// host (`host.rs`, `host/`, never part of an image) counts as tests, and so does what only kernels for tests have
/// ([`TEST_KERNEL`]).
pub(crate) fn code_lines(folder: &Path) -> anyhow::Result<usize> {
    let mut lines = 0;
    for file in rust_files(folder)? {
        let is_test = |name: &str| matches!(name, "tests" | "tests.rs" | "host" | "host.rs");
        if file.ends_with(TEST_KERNEL) {
            continue;
        }
        let inside = file.strip_prefix(folder).unwrap_or(&file);
        if !inside
            .components()
            .any(|part| part.as_os_str().to_str().is_some_and(is_test))
        {
            lines += file_lines(&file)?;
        }
    }
    Ok(lines)
}

/// Lines with code, without modules and functions under `#[cfg(test)]`.
fn count(source: &str) -> usize {
    let blanked = blank_comments(source);
    let mut lines = blanked.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut count = 0;
    while let Some(line) = lines.next() {
        if !line.starts_with("#[cfg(test)]") {
            count += 1;
            continue;
        }
        // Up to the end of the item: a semicolon, or the brace that closes its first one.
        let mut depth = 0_i64;
        for line in lines.by_ref() {
            depth += line
                .chars()
                .map(|c| i64::from(c == '{') - i64::from(c == '}'))
                .sum::<i64>();
            if depth == 0 && (line.ends_with('}') || line.ends_with(';')) {
                break;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        let kept = blank_comments("a /* unsafe /* x */ unsafe */ b // unsafe\n\"unsafe \\\" unsafe\" 'x' '\\'' c");
        assert!(
            !kept.contains("unsafe") && kept.contains('b') && kept.contains('c'),
            "{kept}"
        );
        assert_eq!(blank_comments("r#\"un\"safe\"# d").trim_end(), "\" d");
        assert_eq!(blank_comments("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn tests_comments_and_blank_lines_do_not_count() {
        let source = "//! x\n\nfn a() {\n    b();\n}\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\nfn c() {}\n";
        assert_eq!(count(source), 4);
        assert_eq!(count("#[cfg(test)]\nmod tests;\nfn c() {}\n"), 1);
    }
}
