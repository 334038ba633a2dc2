//! Mistakes in a manifest, shown the way the compiler shows its own.
//!
//! Key types: [`Source`] (the manifest's text and name), [`Diagnostic`] (one mistake: rule, place, other places, remedy).
//! Made by every other module of this crate, rendered by `boot/xtask`.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A place in the manifest: bytes from its start.
pub type Span = Range<usize>;

/// A manifest's text and the name to show for it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the user calls the file, usually its path.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A text with a name.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn load(path: &std::path::Path) -> std::io::Result<Self> {
        Ok(Self::new(path.display().to_string(), std::fs::read_to_string(path)?))
    }

    /// Line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// Whether a diagnostic stops the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// One mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the build.
    pub severity: Severity,
    /// Short name of the rule that is broken, as in `specs/manifest.md`.
    pub rule: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The place that is wrong.
    pub place: Span,
    /// What to say at that place; may be empty.
    pub label: String,
    /// Other places that matter, and why.
    pub context: Vec<(Span, String)>,
    /// Further facts, such as the sum that does not add up.
    pub notes: Vec<String>,
    /// How to mend it.
    pub remedy: String,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(rule: &'static str, place: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            rule,
            message: message.into(),
            place,
            label: String::new(),
            context: Vec::new(),
            notes: Vec::new(),
            remedy: remedy.into(),
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(rule: &'static str, place: Span, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(rule, place, message, remedy)
        }
    }

    /// Says something at the place itself.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn context(mut self, place: Span, why: impl Into<String>) -> Self {
        self.context.push((place, why.into()));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Renders this diagnostic against its source.
    #[must_use]
    pub fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let clip = |span: &Span| {
            let end = span.end.min(source.text.len());
            span.start.min(end)..end
        };
        let mut snippet = Snippet::source(source.text.as_str())
            .path(source.name.as_str())
            .annotation(
                AnnotationKind::Primary
                    .span(clip(&self.place))
                    .label(self.label.as_str()),
            );
        for (place, why) in &self.context {
            snippet = snippet.annotation(AnnotationKind::Context.span(clip(place)).label(why.as_str()));
        }
        let mut group = level
            .primary_title(self.message.as_str())
            .id(self.rule)
            .element(snippet);
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if !self.remedy.is_empty() {
            group = group.element(Level::HELP.message(self.remedy.as_str()));
        }
        renderer.render(&[group])
    }
}

/// Whether to use terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// Escape sequences of a terminal.
    Always,
}

/// Renders all diagnostics, in the order of their places, with a last line that counts them.
#[must_use]
pub fn render(source: &Source, diagnostics: &[Diagnostic], colour: Colour) -> String {
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    }
    .decor_style(DecorStyle::Ascii);
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.place.start, diagnostic.place.end));
    let mut text = String::new();
    for diagnostic in &sorted {
        text.push_str(&diagnostic.render(source, &renderer));
        text.push_str("\n\n");
    }
    let errors = sorted
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .count();
    match errors {
        0 => {}
        1 => text.push_str(&format!("{}: 1 mistake, no image was made\n", source.name)),
        _ => text.push_str(&format!("{}: {errors} mistakes, no image was made\n", source.name)),
    }
    text
}

/// A value with its place in the manifest.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands; for a default, the table that does not say otherwise.
    pub span: Span,
}

impl<T> At<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: change(self.value),
            span: self.span,
        }
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(to)
    }
}
