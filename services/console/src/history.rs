//! Lines that were entered before.
//!
//! Key type: [`History`].

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};

/// Lines that are kept.
pub const MAX_HISTORY: usize = 200;

/// The latest lines, and where the administrator is among them.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The oldest first.
    lines: VecDeque<String>,
    /// Place of the line that is shown; `None` for the new one.
    shown: Option<usize>,
    /// The new line, while an old one is shown.
    draft: String,
}

impl History {
    /// Keeps a line; blank ones and repetitions are not kept.
    pub fn push(&mut self, line: &str) {
        self.shown = None;
        self.draft.clear();
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX_HISTORY {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_string());
    }

    /// The lines, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The line before the one that is shown; `current` is kept if it is the new one.
    pub(crate) fn older(&mut self, current: &str) -> Option<String> {
        let place = match self.shown {
            None => {
                let place = self.lines.len().checked_sub(1)?;
                self.draft = current.to_string();
                place
            }
            Some(place) => place.checked_sub(1)?,
        };
        self.shown = Some(place);
        self.lines.get(place).cloned()
    }

    /// The line after the one that is shown; in the end the new one again.
    pub(crate) fn newer(&mut self) -> Option<String> {
        let place = self.shown? + 1;
        if let Some(line) = self.lines.get(place) {
            self.shown = Some(place);
            return Some(line.clone());
        }
        self.shown = None;
        Some(core::mem::take(&mut self.draft))
    }

    /// The latest line before `place` with this text in it, and its place.
    pub(crate) fn search(&self, text: &str, place: usize) -> Option<(usize, &str)> {
        let lines = self.lines.iter().enumerate().take(place);
        let mut found = lines
            .filter(|(_, line)| line.contains(text))
            .map(|(place, line)| (place, line.as_str()));
        found.next_back()
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }
}
