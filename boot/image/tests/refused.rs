//! Every rule of `specs/manifest.md` refuses what it must, at the right place, with the right words, and nothing else does.
//!
//! For each `refused/NAME.toml` there is a `NAME.expected`: first the rules that must refuse it, each as often as listed; then
//! lines that must appear in the rendered message, places included.

use std::path::{Path, PathBuf};

use ecusson_image::diagnostic::{Colour, render};
use ecusson_image::{Diagnostic, Manifest, Source, check};

fn refused() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn diagnose(path: &Path) -> (Source, Vec<Diagnostic>) {
    let mut source = Source::load(path).unwrap();
    source.name = path.file_name().unwrap().to_string_lossy().into_owned();
    let folder = path.parent().unwrap();
    let result = Manifest::parse(&source).and_then(|mut manifest| {
        manifest.measure_files(folder)?;
        check(&manifest).map(drop)
    });
    (source, result.err().unwrap_or_default())
}

#[test]
fn each_refused_manifest_is_refused_as_expected() {
    let mut failures = String::new();
    for path in refused() {
        let (source, mut found) = diagnose(&path);
        found.sort_by_key(|diagnostic| diagnostic.place.start);
        let rules: Vec<&str> = found.iter().map(|diagnostic| diagnostic.rule).collect();
        let text = render(&source, &found, Colour::Never);
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        let mut lines = expected.lines().map(str::trim).filter(|line| !line.is_empty());
        let expected_rules = lines.next().unwrap_or_default();
        let missing: Vec<&str> = lines.filter(|line| !text.contains(line)).collect();
        if rules.join(" ") != expected_rules || !missing.is_empty() {
            failures.push_str(&format!(
                "== {}\nexpected rules: {expected_rules}\nfound rules:    {}\nmissing: {missing:#?}\n{text}\n",
                source.name,
                rules.join(" ")
            ));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn each_expectation_says_a_place_and_a_remedy() {
    for path in refused() {
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(expected.contains(&format!("--> {name}:")), "{name} expects no place");
        assert!(expected.contains("= help: "), "{name} expects no remedy");
    }
}

/// All rules that `check` and `parse` have, so that a new one without a test is noticed.
#[test]
fn every_rule_has_a_refused_manifest() {
    let mut seen = std::collections::BTreeSet::new();
    for path in refused() {
        seen.extend(diagnose(&path).1.iter().map(|diagnostic| diagnostic.rule));
    }
    let all = [
        "backoff",
        "bound-twice",
        "budget",
        "call-cycle",
        "chain-too-deep",
        "controls",
        "dma-statement",
        "duplicate-name",
        "format",
        "guest-freezes-server",
        "interrupt-line",
        "memory-sum",
        "missing-key",
        "name",
        "no-file",
        "no-such-portal",
        "out-of-range",
        "passive-across-cores",
        "platform-right",
        "priority-inversion",
        "shared-bit",
        "slot-range",
        "slot-taken",
        "slots-full",
        "stack",
        "syntax",
        "threads",
        "two-owners",
        "unknown-key",
        "unknown-name",
        "weight",
        "wrong-type",
    ];
    let missing: Vec<&str> = all.into_iter().filter(|rule| !seen.contains(rule)).collect();
    assert!(missing.is_empty(), "no manifest in tests/refused breaks: {missing:?}");
}
