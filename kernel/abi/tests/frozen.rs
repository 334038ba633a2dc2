//! The numbers of the interface are frozen (`specs/adr/0008-abi-frozen.md`): what is listed in `frozen.txt` stays as it is; what is new
//! is added to the list.
#![allow(missing_docs)]

use std::collections::BTreeSet;

const SOURCES: [(&str, &str); 8] = [
    ("error", include_str!("../src/error.rs")),
    ("fault", include_str!("../src/fault.rs")),
    ("kind", include_str!("../src/kind.rs")),
    ("ops", include_str!("../src/ops.rs")),
    ("platform", include_str!("../src/platform.rs")),
    ("rights", include_str!("../src/rights.rs")),
    ("syscall", include_str!("../src/syscall.rs")),
    ("vcpu", include_str!("../src/vcpu.rs")),
];
const FROZEN: &str = include_str!("frozen.txt");

/// `file::module::NAME = value` for every public constant, every numbered variant and every word of the state page whose place is
/// asserted.
fn numbers(file: &str, source: &str, into: &mut BTreeSet<String>) {
    let mut group = String::new();
    for line in source.lines() {
        if line == "}" {
            group.clear();
        }
        let words = line.trim().trim_end_matches([',', ';']);
        for opening in ["pub mod ", "pub enum "] {
            if let Some(name) = words.strip_prefix(opening).and_then(|rest| rest.strip_suffix(" {")) {
                group = format!("{name}::");
            }
        }
        let numbered = match words.strip_prefix("pub const ") {
            Some(constant) if !constant.starts_with("fn ") => {
                let (name, rest) = constant.split_once(": ").unwrap_or((constant, ""));
                rest.split_once(" = ").map(|(_, value)| (name, value))
            }
            Some(_) => None,
            None => match words.strip_prefix("const_assert_eq!(offset_of!(State, ") {
                Some(place) => place.trim_end_matches(')').split_once("), "),
                None => words.split_once(" = ").filter(|(name, value)| is_variant(name, value)),
            },
        };
        if let Some((name, value)) = numbered {
            into.insert(format!("{file}::{group}{name} = {value}"));
        }
    }
}

fn is_variant(name: &str, value: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.chars().all(char::is_alphanumeric)
        && value.parse::<u64>().is_ok()
}

#[test]
fn frozen_numbers_stay_and_new_ones_are_listed() {
    let mut found = BTreeSet::new();
    for (file, source) in SOURCES {
        numbers(file, source, &mut found);
    }
    let frozen: BTreeSet<String> = FROZEN.lines().map(str::to_owned).collect();
    let gone: Vec<&String> = frozen.difference(&found).collect();
    let new: Vec<&String> = found.difference(&frozen).collect();
    assert!(gone.is_empty(), "frozen, and changed or gone: {gone:#?}; now: {new:#?}");
    assert!(new.is_empty(), "new, to be added to frozen.txt: {new:#?}");
    assert!(found.len() > 100, "the list is too short to be all: {}", found.len());
}
