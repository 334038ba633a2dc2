//! Tokens to settings: the grammar of `xl.cfg`, and its printing.
//!
//! Key types: [`Document`], [`Value`]. Settings are separated by line feeds or `;`, lists may nest, stretch over lines and end
//! in a comma. `+=` appends to what stands before.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::diagnostic::{Diagnostic, Place, Severity};
use super::lexer::{Kind, Lexer, LexicalError, MAX_TEXT_BYTES, Token};

/// Lists in lists, at most.
const MAX_DEPTH: usize = 8;

/// A parsed text. Of settings of the same name the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Document {
    /// In the order of the text; each name once.
    pub settings: Vec<Setting>,
}

/// `NAME = VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name.
    pub key: String,
    /// Where the name stands.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: ValueKind,
}

/// What a value is. Whether text is meant as a number is for its reader to say: `"512"` and `512` are both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A number, as it was written.
    Number(String),
    /// A quoted text, escapes resolved.
    Text(String),
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// A text that stands nowhere.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            place: Place::default(),
            kind: ValueKind::Text(text.into()),
        }
    }

    /// A number that stands nowhere.
    #[must_use]
    pub fn number(number: impl fmt::Display) -> Self {
        Self {
            place: Place::default(),
            kind: ValueKind::Number(number.to_string()),
        }
    }

    /// A list that stands nowhere.
    #[must_use]
    pub fn list(values: Vec<Value>) -> Self {
        Self {
            place: Place::default(),
            kind: ValueKind::List(values),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ValueKind::Number(number) => f.write_str(number),
            ValueKind::Text(text) => print_text(f, text),
            ValueKind::List(values) => {
                f.write_str("[ ")?;
                for value in values {
                    write!(f, "{value}, ")?;
                }
                f.write_str("]")
            }
        }
    }
}

fn print_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            _ if character.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(character))?,
            _ => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Document {
    /// One setting a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in &self.settings {
            writeln!(f, "{} = {}", setting.key, setting.value)?;
        }
        Ok(())
    }
}

impl Document {
    /// Parses a text. `file` is what diagnostics call it. Also returns warnings.
    ///
    /// # Errors
    /// The first place that does not follow the grammar.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Diagnostic> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Diagnostic {
                severity: Severity::Error,
                file: file.to_string(),
                place: None,
                message: format!("{file}: config file too large"),
                remedy: format!("at most {MAX_TEXT_BYTES} bytes are read"),
            });
        }
        let mut lexer = Lexer::new(text);
        let next = lexer.next_token().map_err(|error| lexical(file, &error))?;
        let mut parser = Parser {
            file,
            lexer,
            next,
            document: Self::default(),
            warnings: Vec::new(),
        };
        parser.document()?;
        Ok((parser.document, parser.warnings))
    }

    /// The setting of a name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Adds a setting at the end.
    pub fn push(&mut self, key: &str, value: Value) {
        self.settings.push(Setting {
            key: key.to_string(),
            place: Place::default(),
            value,
        });
    }
}

fn lexical(file: &str, error: &LexicalError) -> Diagnostic {
    syntax_error(
        file,
        error.place,
        &format!("`{}'", error.text),
        error.reason,
        error.remedy,
    )
}

fn syntax_error(file: &str, place: Place, token: &str, reason: &str, remedy: &str) -> Diagnostic {
    let line = place.line;
    Diagnostic {
        severity: Severity::Error,
        file: file.to_string(),
        place: Some(place),
        message: format!("{file}:{line}: config parsing error near {token}: {reason}"),
        remedy: remedy.to_string(),
    }
}

struct Parser<'a> {
    file: &'a str,
    lexer: Lexer<'a>,
    next: Token,
    document: Document,
    warnings: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, Diagnostic> {
        let next = self.lexer.next_token().map_err(|error| lexical(self.file, &error))?;
        Ok(core::mem::replace(&mut self.next, next))
    }

    fn unexpected(&self, remedy: &str) -> Diagnostic {
        let token = match self.next.kind {
            Kind::End => "<end of file>".to_string(),
            Kind::Newline => "<newline>".to_string(),
            _ => format!("`{}'", self.next.text),
        };
        syntax_error(self.file, self.next.place, &token, "syntax error", remedy)
    }

    fn document(&mut self) -> Result<(), Diagnostic> {
        loop {
            match self.next.kind {
                Kind::End => return Ok(()),
                Kind::Newline | Kind::Semicolon => {
                    self.advance()?;
                }
                Kind::Identifier => self.setting()?,
                _ => return Err(self.unexpected("a setting is NAME = VALUE, and NAME begins with a small letter")),
            }
        }
    }

    fn setting(&mut self) -> Result<(), Diagnostic> {
        let name = self.advance()?;
        let operator = match self.next.kind {
            Kind::Equals | Kind::PlusEquals => self.advance()?,
            _ => return Err(self.unexpected("put = or += between the name and its value")),
        };
        let value = self.value(0)?;
        if !matches!(self.next.kind, Kind::Newline | Kind::Semicolon | Kind::End) {
            return Err(self.unexpected("one setting a line, or `;' between them"));
        }
        if operator.kind == Kind::PlusEquals {
            self.append(name, value)
        } else {
            self.store(name, value);
            Ok(())
        }
    }

    fn store(&mut self, name: Token, value: Value) {
        let setting = Setting {
            key: name.text,
            place: name.place,
            value,
        };
        let Some(earlier) = self.document.settings.iter_mut().find(|one| one.key == setting.key) else {
            self.document.settings.push(setting);
            return;
        };
        self.warnings.push(Diagnostic {
            severity: Severity::Warning,
            file: self.file.to_string(),
            place: Some(setting.place),
            message: format!(
                "{}:{}: warning: parameter `{}' is set again",
                self.file, setting.place.line, setting.key
            ),
            remedy: format!(
                "the value of line {} no longer counts: remove one of them",
                earlier.place.line
            ),
        });
        *earlier = setting;
    }

    fn append(&mut self, name: Token, value: Value) -> Result<(), Diagnostic> {
        let Some(earlier) = self.document.settings.iter_mut().find(|one| one.key == name.text) else {
            self.store(name, value);
            return Ok(());
        };
        let (what, remedy) = match (&mut earlier.value.kind, value.kind) {
            (ValueKind::Text(text), ValueKind::Text(more)) => {
                text.push_str(&more);
                return Ok(());
            }
            (ValueKind::List(list), ValueKind::List(more)) => {
                list.extend(more);
                return Ok(());
            }
            (ValueKind::Number(_), _) | (_, ValueKind::Number(_)) => {
                ("can't use += with numbers", "write the whole number, with =")
            }
            _ => (
                "can't use += with a text and a list",
                "append texts to texts and lists to lists",
            ),
        };
        Err(Diagnostic {
            severity: Severity::Error,
            file: self.file.to_string(),
            place: Some(value.place),
            message: format!(
                "{}:{}: {what} for parameter `{}'",
                self.file, value.place.line, name.text
            ),
            remedy: remedy.to_string(),
        })
    }

    fn value(&mut self, depth: usize) -> Result<Value, Diagnostic> {
        let place = self.next.place;
        let kind = match self.next.kind {
            Kind::Number => ValueKind::Number(self.advance()?.text),
            Kind::String(_) => match self.advance()?.kind {
                Kind::String(text) => ValueKind::Text(text),
                _ => return Err(self.unexpected("")),
            },
            Kind::Open if depth < MAX_DEPTH => ValueKind::List(self.list(depth)?),
            Kind::Open => return Err(self.unexpected("lists are nested too deeply")),
            _ => return Err(self.unexpected("a value is a number, a text in quotes, or a list in brackets")),
        };
        Ok(Value { place, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, Diagnostic> {
        let mut values = Vec::new();
        self.advance()?;
        loop {
            self.skip_newlines()?;
            if self.next.kind == Kind::Close {
                self.advance()?;
                return Ok(values);
            }
            values.push(self.value(depth + 1)?);
            self.skip_newlines()?;
            match self.next.kind {
                Kind::Comma => {
                    self.advance()?;
                }
                Kind::Close => {}
                _ => return Err(self.unexpected("put a comma between the values of a list, and ] at its end")),
            }
        }
    }

    fn skip_newlines(&mut self) -> Result<(), Diagnostic> {
        while self.next.kind == Kind::Newline {
            self.advance()?;
        }
        Ok(())
    }
}
