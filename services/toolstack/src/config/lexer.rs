//! Characters to tokens.
//!
//! Key type: [`Lexer`]. Identifiers are `[a-z][._0-9a-z]*`, numbers `[0-9][0-9a-fx]*`, strings stand in single or double
//! quotes with backslash escapes and end on their line. A lexer never fails twice: after an error it is at its end.

use alloc::string::String;
use core::iter::Peekable;
use core::str::Chars;

use super::diagnostic::Place;

/// The longest text that is read.
pub const MAX_TEXT_BYTES: usize = 128 * 1024;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    /// With the escapes resolved.
    String(String),
    Open,
    Close,
    Comma,
    Equals,
    PlusEquals,
    Newline,
    Semicolon,
    End,
}

/// A token; `text` is as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) text: String,
}

/// Characters that make no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LexicalError {
    pub(super) place: Place,
    pub(super) text: String,
    pub(super) reason: &'static str,
    pub(super) remedy: &'static str,
}

/// Reads a text once, from front to back.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            place: Place { line: 1, column: 1 },
        }
    }

    fn take(&mut self) -> Option<char> {
        let taken = self.rest.next()?;
        if taken == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(taken)
    }

    /// Takes characters as long as they fit.
    fn take_while(&mut self, text: &mut String, fits: impl Fn(char) -> bool) {
        while let Some(&next) = self.rest.peek() {
            if !fits(next) {
                return;
            }
            text.push(next);
            self.take();
        }
    }

    fn skip_blanks(&mut self) {
        let mut skipped = String::new();
        self.take_while(&mut skipped, |c| matches!(c, ' ' | '\t' | '\r'));
        if self.rest.peek() == Some(&'#') {
            self.take_while(&mut skipped, |c| c != '\n');
        }
    }

    /// The next token. After [`Kind::End`] it stays at the end.
    pub(super) fn next_token(&mut self) -> Result<Token, LexicalError> {
        self.skip_blanks();
        let place = self.place;
        let mut text = String::new();
        let Some(first) = self.take() else {
            return Ok(Token {
                kind: Kind::End,
                place,
                text,
            });
        };
        text.push(first);
        let kind = match first {
            '\n' => Kind::Newline,
            ';' => Kind::Semicolon,
            '[' => Kind::Open,
            ']' => Kind::Close,
            ',' => Kind::Comma,
            '=' => Kind::Equals,
            '+' if self.rest.peek() == Some(&'=') => {
                self.take();
                text.push('=');
                Kind::PlusEquals
            }
            '\'' | '"' => return self.string(first, place, text),
            'a'..='z' => {
                self.take_while(&mut text, |c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_'));
                Kind::Identifier
            }
            '0'..='9' => {
                self.take_while(&mut text, |c| matches!(c, 'a'..='f' | '0'..='9' | 'x'));
                Kind::Number
            }
            _ => {
                return self.fail(
                    place,
                    text,
                    "lexical error",
                    "only NAME = VALUE lines are read here, not programs: names in small letters, texts in quotes",
                );
            }
        };
        Ok(Token { kind, place, text })
    }

    fn string(&mut self, quote: char, place: Place, mut text: String) -> Result<Token, LexicalError> {
        let mut value = String::new();
        loop {
            let next = self.rest.peek().copied();
            let (Some(next), false) = (next, next == Some('\n')) else {
                let remedy = "a text ends on its own line: put the closing quote there";
                return self.fail(place, text, "unterminated string", remedy);
            };
            self.take();
            text.push(next);
            match next {
                _ if next == quote => {
                    return Ok(Token {
                        kind: Kind::String(value),
                        place,
                        text,
                    });
                }
                '\\' => match self.escape(&mut text) {
                    Some(character) => value.push(character),
                    None => {
                        let remedy = r#"use \\, \', \", \n, \t, \r, \xHH or \OOO (up to x7f or 177, not zero)"#;
                        return self.fail(
                            place,
                            text,
                            "invalid character after backslash in quoted string",
                            remedy,
                        );
                    }
                },
                _ => value.push(next),
            }
        }
    }

    /// What stands for the characters after a backslash.
    fn escape(&mut self, text: &mut String) -> Option<char> {
        let first = *self.rest.peek()?;
        if first == '\n' {
            return None;
        }
        self.take();
        text.push(first);
        match first {
            '\\' | '\'' | '"' => Some(first),
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'v' => Some('\x0b'),
            'x' => self.code(text, 0, 2, 16),
            _ => self.code(text, first.to_digit(8)?, 2, 8),
        }
    }

    /// Up to `digits` more digits of a character's code. ASCII only, and not zero.
    fn code(&mut self, text: &mut String, first: u32, digits: u32, radix: u32) -> Option<char> {
        let mut code = first;
        for _ in 0..digits {
            let Some(&next) = self.rest.peek() else { break };
            let Some(digit) = next.to_digit(radix) else { break };
            self.take();
            text.push(next);
            code = code * radix + digit;
        }
        char::from_u32(code).filter(|character| character.is_ascii() && *character != '\0')
    }

    fn fail(
        &mut self,
        place: Place,
        text: String,
        reason: &'static str,
        remedy: &'static str,
    ) -> Result<Token, LexicalError> {
        self.rest = "".chars().peekable();
        Err(LexicalError {
            place,
            text,
            reason,
            remedy,
        })
    }
}
