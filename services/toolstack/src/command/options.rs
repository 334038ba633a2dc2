//! Options of a command: `-p`, `-wa`, `-d NAME`, `-w=512`, `--defconfig=FILE`, in any place before `--`.
//!
//! Key type: [`Options`].

use alloc::format;
use alloc::vec::Vec;

use super::table::{Command, help_of};
use super::{Outcome, Verdict};

/// What a command was given.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    given: Vec<(char, &'a str)>,
    /// Everything else.
    pub(super) words: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Sorts arguments. `-h` ends the command with its help, an unknown option with code 2.
    pub(super) fn parse(command: &Command, arguments: &[&'a str]) -> Verdict<Self> {
        let mut options = Self::default();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                options.words.extend(rest.by_ref());
            } else if let Some(long) = argument.strip_prefix("--") {
                options.long(command, long, &mut rest)?;
            } else if let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) {
                options.short(command, short, &mut rest)?;
            } else {
                options.words.push(argument);
            }
        }
        Ok(options)
    }

    fn long(&mut self, command: &Command, long: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Verdict<()> {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        if name == "help" {
            return Err(Outcome::shows(help_of(command)));
        }
        let known = command.options.iter().find(|option| option.long == name);
        let option = known.ok_or_else(|| unsupported(name))?;
        let value = match (option.argument, value) {
            (None, _) => "",
            (Some(_), Some(value)) => value,
            (Some(_), None) => rest.next().ok_or_else(|| no_value(name))?,
        };
        self.given.push((option.short, value));
        Ok(())
    }

    fn short(&mut self, command: &Command, short: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Verdict<()> {
        for (place, letter) in short.char_indices() {
            if letter == 'h' {
                return Err(Outcome::shows(help_of(command)));
            }
            let known = command.options.iter().find(|option| option.short == letter);
            let option = known.ok_or_else(|| unsupported(&short[place..place + letter.len_utf8()]))?;
            if option.argument.is_none() {
                self.given.push((letter, ""));
                continue;
            }
            let attached = &short[place + letter.len_utf8()..];
            let value = match attached.strip_prefix('=').unwrap_or(attached) {
                "" => rest
                    .next()
                    .ok_or_else(|| no_value(&short[place..place + letter.len_utf8()]))?,
                value => value,
            };
            self.given.push((letter, value));
            return Ok(());
        }
        Ok(())
    }

    /// Whether an option was given.
    pub(super) fn has(&self, short: char) -> bool {
        self.value(short).is_some()
    }

    /// The value of an option; of several the last.
    pub(super) fn value(&self, short: char) -> Option<&'a str> {
        self.given
            .iter()
            .rev()
            .find(|(letter, _)| *letter == short)
            .map(|(_, value)| *value)
    }

    /// A word by its place.
    pub(super) fn word(&self, place: usize) -> &'a str {
        self.words.get(place).copied().unwrap_or_default()
    }
}

fn unsupported(name: &str) -> Outcome {
    Outcome::fails(2, format!("option `{name}' not supported."))
}

fn no_value(name: &str) -> Outcome {
    Outcome::fails(2, format!("option `{name}' requires an argument."))
}
