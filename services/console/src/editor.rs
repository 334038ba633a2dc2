//! One line, edited in place.
//!
//! Key type: [`LineEditor`]. Arrows, Home, End, Delete, `^A ^E ^B ^F ^D ^H ^K ^U ^W ^L ^P ^N ^T`, tab completion, `^R` for a
//! search backwards. A line that is longer than the terminal is shown in part.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::complete::{Complete, common_beginning};
use crate::history::History;
use crate::keys::Key;

/// Characters of a line, at most; more are not taken.
pub const MAX_LINE_CHARACTERS: usize = 1024;
/// Candidates that a tab lists, at most.
const MAX_LISTED: usize = 60;

/// What a key led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// The line is being edited.
    More,
    /// It was entered.
    Line(String),
    /// It was given up, by `^C`.
    Given,
    /// `^D` on an empty line.
    End,
}

/// A search backwards.
#[derive(Clone, Debug)]
struct Search {
    text: String,
    /// Where the line was found; the number of all lines before the first find.
    place: usize,
    /// What was being edited before.
    before: Vec<char>,
}

/// The line and everything around it.
#[derive(Clone, Debug)]
pub struct LineEditor {
    prompt: String,
    columns: usize,
    line: Vec<char>,
    cursor: usize,
    history: History,
    search: Option<Search>,
}

impl LineEditor {
    /// An empty line behind a prompt, on a terminal of so many columns.
    #[must_use]
    pub fn new(prompt: &str, columns: usize) -> Self {
        Self {
            prompt: prompt.to_string(),
            columns: columns.max(prompt.len() + 10),
            line: Vec::new(),
            cursor: 0,
            history: History::default(),
            search: None,
        }
    }

    /// Lines entered before.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Shows the line anew, at the beginning of the terminal's line.
    pub fn redraw(&self, out: &mut Vec<u8>) {
        let (prompt, text, cursor) = match &self.search {
            Some(search) => {
                let found: String = self.line.iter().collect();
                (format!("(reverse-i-search)`{}': ", search.text), found, self.line.len())
            }
            None => (self.prompt.clone(), self.line.iter().collect(), self.cursor),
        };
        let room = self.columns.saturating_sub(prompt.chars().count() + 1).max(1);
        // The cursor is always in what is shown.
        let first = cursor.saturating_sub(room);
        let shown: String = text.chars().skip(first).take(room).collect();
        let behind = shown.chars().count().saturating_sub(cursor - first);
        out.extend_from_slice(format!("\r{prompt}{shown}\x1b[K").as_bytes());
        if behind > 0 {
            out.extend_from_slice(format!("\x1b[{behind}D").as_bytes());
        }
    }

    /// Takes a key; what the terminal is to show goes to `out`.
    pub fn key(&mut self, key: Key, completer: &impl Complete, out: &mut Vec<u8>) -> Edited {
        if self.search.is_some() && self.search_key(key, out) {
            return Edited::More;
        }
        match key {
            Key::Enter => return self.enter(out),
            Key::Control('c') => {
                self.line.clear();
                self.cursor = 0;
                self.history.push("");
                out.extend_from_slice(b"^C\r\n");
                return Edited::Given;
            }
            Key::Control('d') if self.line.is_empty() => {
                out.extend_from_slice(b"\r\n");
                return Edited::End;
            }
            Key::Character(character) => {
                self.insert(character, out);
                return Edited::More;
            }
            Key::Tab => self.complete(completer, out),
            Key::Control('l') => out.extend_from_slice(b"\x1b[2J\x1b[H"),
            Key::Control('r') => {
                let (place, before) = (self.history.len(), self.line.clone());
                self.search = Some(Search {
                    text: String::new(),
                    place,
                    before,
                });
            }
            _ => self.edit(key),
        }
        self.redraw(out);
        Edited::More
    }

    fn enter(&mut self, out: &mut Vec<u8>) -> Edited {
        let line: String = self.line.drain(..).collect();
        self.cursor = 0;
        self.history.push(&line);
        out.extend_from_slice(b"\r\n");
        Edited::Line(line)
    }

    fn insert(&mut self, character: char, out: &mut Vec<u8>) {
        if self.line.len() >= MAX_LINE_CHARACTERS {
            out.push(0x07);
            return;
        }
        self.line.insert(self.cursor, character);
        self.cursor += 1;
        // The usual case costs one character on the line.
        let fits = self.prompt.chars().count() + self.line.len() < self.columns;
        if self.cursor == self.line.len() && fits {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.redraw(out);
        }
    }

    /// Keys that only change the line.
    fn edit(&mut self, key: Key) {
        match key {
            Key::Left | Key::Control('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Control('f') => self.cursor = (self.cursor + 1).min(self.line.len()),
            Key::Home | Key::Control('a') => self.cursor = 0,
            Key::End | Key::Control('e') => self.cursor = self.line.len(),
            Key::WordLeft => self.cursor = self.word_left(),
            Key::WordRight => self.cursor = self.word_right(),
            Key::Backspace | Key::Control('h') if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            Key::Delete | Key::Control('d') if self.cursor < self.line.len() => {
                self.line.remove(self.cursor);
            }
            Key::Control('k') => self.line.truncate(self.cursor),
            Key::Control('u') => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Control('w') => {
                let from = self.word_left();
                self.line.drain(from..self.cursor);
                self.cursor = from;
            }
            Key::Control('t') if self.cursor > 0 && self.line.len() > 1 => {
                let right = self.cursor.min(self.line.len() - 1);
                self.line.swap(right - 1, right);
                self.cursor = right + 1;
            }
            Key::Up | Key::Control('p') => {
                let current: String = self.line.iter().collect();
                let line = self.history.older(&current);
                self.show(line);
            }
            Key::Down | Key::Control('n') => {
                let line = self.history.newer();
                self.show(line);
            }
            _ => {}
        }
    }

    fn show(&mut self, line: Option<String>) {
        if let Some(line) = line {
            self.line = line.chars().collect();
            self.cursor = self.line.len();
        }
    }

    /// Where the word before the cursor begins.
    fn word_left(&self) -> usize {
        let before = self.line[..self.cursor].iter();
        let blanks = before.clone().rev().take_while(|character| **character == ' ').count();
        let word = before
            .rev()
            .skip(blanks)
            .take_while(|character| **character != ' ')
            .count();
        self.cursor - blanks - word
    }

    /// Where the word after the cursor ends.
    fn word_right(&self) -> usize {
        let after = self.line[self.cursor..].iter();
        let blanks = after.clone().take_while(|character| **character == ' ').count();
        let word = after.skip(blanks).take_while(|character| **character != ' ').count();
        self.cursor + blanks + word
    }

    fn complete(&mut self, completer: &impl Complete, out: &mut Vec<u8>) {
        let before: String = self.line[..self.cursor].iter().collect();
        let (earlier, word) = before.rsplit_once(' ').unwrap_or(("", before.as_str()));
        let earlier: Vec<&str> = earlier.split_whitespace().collect();
        let candidates = completer.candidates(&earlier, word);
        let common = common_beginning(&candidates);
        let more = common.strip_prefix(word).unwrap_or_default();
        let blank = if candidates.len() == 1 { " " } else { "" };
        if candidates.is_empty() {
            out.push(0x07);
        } else if more.is_empty() && candidates.len() > 1 {
            out.extend_from_slice(b"\r\n");
            for candidate in candidates.iter().take(MAX_LISTED) {
                out.extend_from_slice(format!("{candidate}  ").as_bytes());
            }
            if candidates.len() > MAX_LISTED {
                out.extend_from_slice(b"...");
            }
            out.extend_from_slice(b"\r\n");
        }
        for character in more.chars().chain(blank.chars()) {
            if self.line.len() < MAX_LINE_CHARACTERS {
                self.line.insert(self.cursor, character);
                self.cursor += 1;
            }
        }
    }

    /// A key during a search. Whether it belonged to the search; what does not ends it and counts for the line found.
    fn search_key(&mut self, key: Key, out: &mut Vec<u8>) -> bool {
        let Some(search) = &mut self.search else { return false };
        let older = match key {
            Key::Character(character) if search.text.len() < MAX_LINE_CHARACTERS => {
                search.text.push(character);
                false
            }
            Key::Backspace => {
                search.text.pop();
                false
            }
            Key::Control('r') => true,
            Key::Control('g') => {
                self.line = core::mem::take(&mut search.before);
                self.end_search(out);
                return true;
            }
            Key::Escape => {
                self.end_search(out);
                return true;
            }
            _ => {
                self.cursor = self.line.len();
                self.search = None;
                // The prompt of the search goes; the key draws the rest.
                self.redraw(out);
                return false;
            }
        };
        let from = if older {
            search.place
        } else {
            (search.place + 1).min(self.history.len())
        };
        match self.history.search(&search.text, from) {
            Some((place, line)) if !search.text.is_empty() => {
                search.place = place;
                self.line = line.chars().collect();
            }
            Some(_) => {}
            None => out.push(0x07),
        }
        self.redraw(out);
        true
    }

    fn end_search(&mut self, out: &mut Vec<u8>) {
        self.search = None;
        self.cursor = self.line.len();
        self.redraw(out);
    }
}
