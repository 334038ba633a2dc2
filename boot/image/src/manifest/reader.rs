//! Reads one TOML table key by key: typed values with their places, every mistake collected, no key left unread.
//!
//! Key type: [`TableReader`]. Used by `parse` only. A value of the wrong type is reported once and replaced by a
//! default, so that one mistake does not hide the next.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{At, Diagnostic, Span};

/// The mistakes found so far.
pub(super) type Problems = Vec<Diagnostic>;

/// A table that is being read.
pub(super) struct TableReader<'t> {
    /// What to call the table in messages, such as `[[process]]`.
    what: &'static str,
    /// Where the table begins.
    pub(super) span: Span,
    table: &'t DeTable<'t>,
    read: BTreeSet<&'static str>,
}

impl<'t> TableReader<'t> {
    pub(super) fn new(what: &'static str, span: Span, table: &'t DeTable<'t>) -> Self {
        Self {
            what,
            span,
            table,
            read: BTreeSet::new(),
        }
    }

    /// The raw value of a key, marked as read.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.read.insert(key);
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    /// Whether the key is there; does not mark it as read.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// An optional value, converted by `convert`, which answers `None` for a value of the wrong type.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        problems: &mut Problems,
        convert: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        match convert(value.get_ref()) {
            Some(converted) => Some(At::new(converted, value.span())),
            None => {
                problems.push(wrong_type(self.what, key, expected, value));
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn string(&mut self, key: &'static str, problems: &mut Problems) -> At<String> {
        if !self.has(key) {
            self.missing(key, "a string", problems);
        }
        self.optional_string(key, problems)
            .unwrap_or_else(|| At::new(String::new(), self.span.clone()))
    }

    pub(super) fn optional_string(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<String>> {
        self.optional(key, "a string", problems, |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> At<bool> {
        let span = self.span.clone();
        self.optional(key, "true or false", problems, DeValue::as_bool)
            .unwrap_or(At::new(false, span))
    }

    /// An optional whole number that fits `T`.
    pub(super) fn number<T: TryFrom<u64> + Bounded>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let expected = format!("a whole number from 0 to {}", T::LARGEST);
        self.optional(key, &expected, problems, |value| T::try_from(integer(value)?).ok())
    }

    /// A whole number with a default.
    pub(super) fn number_or<T: TryFrom<u64> + Bounded>(
        &mut self,
        key: &'static str,
        default: T,
        problems: &mut Problems,
    ) -> At<T> {
        let span = self.span.clone();
        self.number(key, problems).unwrap_or(At::new(default, span))
    }

    /// A whole number that must be there.
    pub(super) fn required_number<T: TryFrom<u64> + Bounded + Default>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> At<T> {
        if !self.has(key) {
            self.missing(key, "a whole number", problems);
        }
        self.number_or(key, T::default(), problems)
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = all.join(" or ");
        self.optional(key, &expected, problems, |value| {
            let found = value.as_str()?;
            words
                .iter()
                .find(|(word, _)| *word == found)
                .map(|(_, meaning)| *meaning)
        })
    }

    /// The elements of an array; nothing when the key is absent.
    pub(super) fn array(&mut self, key: &'static str, problems: &mut Problems) -> Vec<&'t Spanned<DeValue<'t>>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => {
                problems.push(wrong_type(self.what, key, "an array", value));
                Vec::new()
            }
        }
    }

    /// The tables of an array of tables (`[[key]]`).
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        what: &'static str,
        problems: &mut Problems,
    ) -> Vec<TableReader<'t>> {
        let elements = self.array(key, problems);
        elements
            .into_iter()
            .filter_map(|element| as_table(what, element, problems))
            .collect()
    }

    /// A table (`[key]`), if it is there.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        what: &'static str,
        problems: &mut Problems,
    ) -> Option<TableReader<'t>> {
        let value = self.value(key)?;
        as_table(what, value, problems)
    }

    /// The tables of a table of tables (`[key.NAME]`), in the order of the file, each with its name.
    pub(super) fn named_tables(
        &mut self,
        key: &'static str,
        what: &'static str,
        problems: &mut Problems,
    ) -> Vec<(At<String>, TableReader<'t>)> {
        let Some(outer) = self.table(key, what, problems) else {
            return Vec::new();
        };
        let named = outer.table.iter().filter_map(|(name, value)| {
            let table = as_table(what, value, problems)?;
            Some((At::new(name.get_ref().to_string(), name.span()), table))
        });
        let mut all: Vec<_> = named.collect();
        all.sort_by_key(|(name, _)| name.span.start);
        all
    }

    /// Reports a key that is absent.
    pub(super) fn missing(&self, key: &str, expected: &str, problems: &mut Problems) {
        problems.push(Diagnostic::error(
            "missing-key",
            self.span.clone(),
            format!("{} needs the key `{key}`", self.what),
            format!("add `{key} = ...`, {expected}"),
        ));
    }

    /// Ends reading: every key that nobody asked for is a mistake.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (name, _) in self
            .table
            .iter()
            .filter(|(name, _)| !self.read.contains(name.get_ref().as_ref()))
        {
            let found = name.get_ref().as_ref();
            let known: Vec<&str> = self.read.iter().copied().collect();
            let remedy = match nearest(found, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are: {}", known.join(", ")),
            };
            problems.push(Diagnostic::error(
                "unknown-key",
                name.span(),
                format!("{} has no key `{found}`", self.what),
                remedy,
            ));
        }
    }
}

/// A value as a table reader, or a mistake.
pub(super) fn as_table<'t>(
    what: &'static str,
    value: &'t Spanned<DeValue<'t>>,
    problems: &mut Problems,
) -> Option<TableReader<'t>> {
    match value.get_ref().as_table() {
        Some(table) => Some(TableReader::new(what, value.span(), table)),
        None => {
            problems.push(Diagnostic::error(
                "wrong-type",
                value.span(),
                format!("{what} must be a table, not {}", value.get_ref().type_str()),
                format!("write {what} as a table of keys"),
            ));
            None
        }
    }
}

fn wrong_type(what: &str, key: &str, expected: &str, value: &Spanned<DeValue<'_>>) -> Diagnostic {
    Diagnostic::error(
        "wrong-type",
        value.span(),
        format!("`{key}` of {what} must be {expected}"),
        format!("write `{key} = ` and {expected}"),
    )
    .label(format!("this is {}", article(value.get_ref().type_str())))
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// A non-negative integer, in any base TOML knows.
fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The largest value of a number type, for messages.
pub(super) trait Bounded {
    const LARGEST: u64;
}

impl Bounded for u8 {
    const LARGEST: u64 = u8::MAX as u64;
}
impl Bounded for u16 {
    const LARGEST: u64 = u16::MAX as u64;
}
impl Bounded for u32 {
    const LARGEST: u64 = u32::MAX as u64;
}
impl Bounded for u64 {
    const LARGEST: u64 = i64::MAX as u64;
}

/// The known name that differs least from what was written, if it is near enough to be a slip.
pub(crate) fn nearest<'n>(found: &str, known: &[&'n str]) -> Option<&'n str> {
    let limit = (found.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (distance(found, name), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edit distance with swaps of neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for line in 0..=left.len() {
        for column in 0..=right.len() {
            rows[line][column] = if line == 0 || column == 0 {
                line + column
            } else {
                let replaced = usize::from(left[line - 1] != right[column - 1]);
                let mut least = (rows[line - 1][column - 1] + replaced)
                    .min(rows[line - 1][column] + 1)
                    .min(rows[line][column - 1] + 1);
                let pair = line > 1 && column > 1;
                if pair && left[line - 1] == right[column - 2] && left[line - 2] == right[column - 1] {
                    least = least.min(rows[line - 2][column - 2] + 1);
                }
                least
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_but_not_other_words() {
        let known = ["memory_pages", "priority", "core"];
        assert_eq!(nearest("memory_page", &known), Some("memory_pages"));
        assert_eq!(nearest("prioirty", &known), Some("priority"));
        assert_eq!(nearest("croe", &known), Some("core"));
        assert_eq!(nearest("colour", &known), None);
    }
}
