//! `specs/invariants.toml` names exactly the invariants that the core and the judge check, and the theorems about the model.
//!
//! Catches: an invariant or a theorem that was added or renamed on one side only; a row of the ledger that cites a theorem there is none of.
#![allow(missing_docs)]

use std::collections::BTreeSet;

const LEDGER: &str = include_str!("../../invariants.toml");

/// Identifiers of the tables of a kind.
fn listed(kind: &str) -> BTreeSet<String> {
    let header = format!("[[{kind}]]");
    let tables = LEDGER
        .split("\n[[")
        .filter_map(|table| format!("[[{table}").strip_prefix(&header).map(ToOwned::to_owned));
    tables
        .filter_map(|table| table.split('"').nth(1).map(ToOwned::to_owned))
        .collect()
}

/// String literals of a source that look like identifiers of invariants.
fn literals(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let is_name =
        |text: &&str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    code.split('"')
        .skip(1)
        .step_by(2)
        .filter(is_name)
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_core_checks_what_the_ledger_lists() {
    assert_eq!(
        listed("state"),
        literals(include_str!("../../../kernel/core/src/check.rs"))
    );
}

#[test]
fn the_judge_checks_what_the_ledger_lists() {
    let rows = ["call", "reply-wait", "wait", "panic"].map(ToOwned::to_owned);
    let mut checked = literals(include_str!("../src/judge.rs"));
    rows.iter().for_each(|row| assert!(checked.remove(row), "{row}"));
    assert_eq!(listed("step"), checked);
}

/// Names of the theorems that the model's last file states.
fn theorems() -> BTreeSet<String> {
    let source = include_str!("../../coq/Theorems.v");
    let statements = source.lines().filter_map(|line| line.strip_prefix("Theorem "));
    statements
        .filter_map(|rest| rest.split([' ', ':']).next())
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_model_proves_what_the_ledger_lists() {
    assert_eq!(listed("theorem"), theorems());
}

#[test]
fn the_readme_cites_theorems_that_exist() {
    let readme = include_str!("../../README.md");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("proved"));
    let mut cited = BTreeSet::new();
    for row in rows {
        let names = row
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains('_') && !name.contains(['/', ' ']));
        let names: BTreeSet<String> = names.map(ToOwned::to_owned).collect();
        assert!(!names.is_empty(), "no theorem: {row}");
        cited.extend(names);
    }
    assert_eq!(cited, theorems());
}
