//! Settings to checked values. Each fault is noted with its place and remedy and reading goes on, so that an
//! administrator sees all of them at once.
//!
//! Key type: [`Reader`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::diagnostic::{Diagnostic, Place, Severity};
use super::keys::{self, Known};
use super::syntax::{Document, Setting, Value, ValueKind};

/// Reads the settings of a document.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a str,
    document: &'a Document,
    findings: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, document: &'a Document, warnings: Vec<Diagnostic>) -> Self {
        Self {
            file,
            document,
            findings: warnings,
        }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// All that was found.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.findings
    }

    fn say(&mut self, severity: Severity, place: Option<Place>, message: String, remedy: &str) {
        let (file, remedy) = (self.file.to_string(), remedy.to_string());
        self.findings.push(Diagnostic {
            severity,
            file,
            place,
            message,
            remedy,
        });
    }

    /// Refuses, with a first line that is complete.
    pub(super) fn refuse(&mut self, place: impl Into<Option<Place>>, message: impl Into<String>, remedy: &str) {
        self.say(Severity::Error, place.into(), message.into(), remedy);
    }

    /// Warns, with a first line that is complete.
    pub(super) fn warn(&mut self, place: impl Into<Option<Place>>, message: impl Into<String>, remedy: &str) {
        self.say(Severity::Warning, place.into(), message.into(), remedy);
    }

    /// Refuses a setting: `FILE:LINE: error: parameter `x' ...`.
    fn refuse_parameter(&mut self, place: Place, key: &str, what: &str, remedy: &str) {
        let message = format!("{}:{}: error: parameter `{key}' {what}", self.file, place.line);
        self.refuse(place, message, remedy);
    }

    /// Warns of names that mean nothing.
    pub(super) fn check_keys(&mut self) {
        for Setting { key, place, .. } in &self.document.settings {
            let line = place.line;
            match keys::look_up(key) {
                Known::Supported => {}
                Known::Ignored => {
                    let message = format!("{}:{line}: warning: parameter `{key}' has no effect here", self.file);
                    self.warn(
                        *place,
                        message,
                        "it is one of Xen's that this platform does not have: remove it",
                    );
                }
                Known::Unknown(near) => {
                    let remedy = near.map_or("remove it".to_string(), |near| format!("did you mean `{near}'?"));
                    let message = format!("{}:{line}: warning: unknown parameter `{key}' is ignored", self.file);
                    self.warn(*place, message, &remedy);
                }
            }
        }
    }

    /// The value of a setting.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.document.get(key).map(|setting| &setting.value)
    }

    /// A text or number, as text.
    pub(super) fn text(&mut self, key: &str) -> Option<(&'a str, Place)> {
        let value = self.value(key)?;
        match &value.kind {
            ValueKind::Text(text) | ValueKind::Number(text) => Some((text, value.place)),
            ValueKind::List(_) => {
                let what = "is a list but should be a single value";
                self.refuse_parameter(value.place, key, what, "remove the brackets");
                None
            }
        }
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, key: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let (text, place) = self.text(key)?;
        let (first, last) = (*bounds.start(), *bounds.end());
        let Some(number) = parse_number(text) else {
            let what = format!("could not be parsed as a number: `{text}'");
            let remedy = format!("write a whole number from {first} to {last}, decimal, or 0x and hexadecimal");
            self.refuse_parameter(place, key, &what, &remedy);
            return None;
        };
        if !bounds.contains(&number) {
            let what = format!("is out of range: {text}");
            self.refuse_parameter(place, key, &what, &format!("it can be {first} to {last}"));
            return None;
        }
        Some(number)
    }

    /// 0 or 1.
    pub(super) fn switch(&mut self, key: &str) -> Option<bool> {
        self.number(key, 0..=1).map(|number| number == 1)
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        words: &[(&str, T)],
        message: fn(&str, &str) -> String,
    ) -> Option<T> {
        let (text, place) = self.text(key)?;
        if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(place, message(key, text), &format!("it can be {}", known.join(", ")));
        None
    }

    /// A list of texts, each with its place. A single text is refused.
    pub(super) fn texts(&mut self, key: &str) -> Vec<(&'a str, Place)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let ValueKind::List(values) = &value.kind else {
            let what = "is a single value but should be a list";
            self.refuse_parameter(value.place, key, what, "put it in brackets: [ \"...\" ]");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for value in values {
            match &value.kind {
                ValueKind::Text(text) | ValueKind::Number(text) => texts.push((text.as_str(), value.place)),
                ValueKind::List(_) => {
                    let Place { line, column } = value.place;
                    let message = format!("{}:{line}:{column}: error: value is not a string", self.file);
                    self.refuse(
                        value.place,
                        message,
                        "lists do not nest here: remove the inner brackets",
                    );
                }
            }
        }
        texts
    }
}

/// Decimal, octal with a 0 in front, hexadecimal with 0x; a sign may stand before.
fn parse_number(text: &str) -> Option<i64> {
    let (digits, negative) = text.strip_prefix('-').map_or((text, false), |digits| (digits, true));
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}
