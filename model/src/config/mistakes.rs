//! The mistakes of a run, gathered.

use super::codes::{self, Code};
use super::{Diagnostic, Severity, Span};

impl Diagnostic {
    pub(super) fn error(code: Code, title: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, code, title: title.into(), labels: Vec::new(), help: Vec::new() }
    }

    pub(super) fn warning(code: Code, title: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, title) }
    }

    pub(super) fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.labels.push((span, label.into()));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    pub(super) fn helps(mut self, help: impl IntoIterator<Item = String>) -> Self {
        self.help.extend(help);
        self
    }
}

/// The most errors that are told: looking for what was meant takes its time with each, and nobody reads more.
pub(super) const LIMIT: usize = 1000;

/// Gathers diagnostics.
#[derive(Default)]
pub(super) struct Mistakes {
    pub list: Vec<Diagnostic>,
    errors: usize,
    /// Part of the text could not be read, so that what is absent may stand there.
    pub incomplete: bool,
}

impl Mistakes {
    /// Takes one, unless [`LIMIT`] errors were told.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            return;
        }
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        self.list.push(diagnostic);
        if self.is_full() {
            self.incomplete = true;
            let here = self.list.last().and_then(|d| d.labels.first()).map(|(span, _)| *span);
            let last = Diagnostic::error(codes::TOO_LARGE, format!("more than {LIMIT} mistakes"));
            self.list.extend(
                here.map(|here| last.at(here, "no further ones were looked for").help("mend those above first")),
            );
        }
    }

    /// No more are told, so none need be looked for.
    pub fn is_full(&self) -> bool {
        self.errors >= LIMIT
    }

    /// Into the order of the text, errors before warnings at one place.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|d| (d.labels.first().map(|(span, _)| (span.source, span.offset)), d.severity));
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    pub fn duplicate(&mut self, what: &str, first: Span, again: Span) {
        self.push(
            Diagnostic::error(codes::DUPLICATE, format!("{what} stands twice"))
                .at(again, "again here")
                .at(first, "first here")
                .help("keep one of them"),
        );
    }

    pub fn later(&mut self, what: &str, span: Span, instead: &str) {
        self.push(
            Diagnostic::error(codes::LATER_FEATURE, format!("{what} is not available in this version"))
                .at(span, "not available yet")
                .help(instead),
        );
    }
}

/// Above this likeness (Jaro-Winkler) a name is taken for a typing error of another.
const LIKE: f64 = 0.8;

fn likeness(wrong: &str, name: &str) -> f64 {
    let (wrong, name) = (wrong.to_lowercase().replace('_', "-"), name.to_lowercase());
    // Jaro-Winkler sees little in short words: there one slip of the finger is enough.
    let slipped = name.len() >= 3 && strsim::damerau_levenshtein(&wrong, &name) == 1;
    strsim::jaro_winkler(&wrong, &name).max(if slipped { LIKE } else { 0.0 })
}

/// Whether a name is likely a typing error of another.
pub(super) fn is_like(wrong: &str, name: &str) -> bool {
    likeness(wrong, name) >= LIKE
}

/// The nearest of the known names, as a help line, and otherwise what there is.
pub(super) fn did_you_mean<'a>(
    wrong: &str,
    known: impl Iterator<Item = &'a str>,
    write: impl Fn(&str) -> String,
) -> Vec<String> {
    let known: Vec<&str> = known.collect();
    let near = known
        .iter()
        .map(|name| (likeness(wrong, name), *name))
        .filter(|(like, _)| *like >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => vec![format!("did you mean `{}`?", write(name))],
        None if known.is_empty() => vec![],
        None => vec![format!("there is: {}", known.iter().map(|n| write(n)).collect::<Vec<_>>().join(", "))],
    }
}
