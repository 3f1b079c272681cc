//! Words for everything that goes wrong, and the exit codes. Nothing else prints errors.
//!
//! All of it goes to stderr, so that what a verb answers on stdout stays whole; with `--json` as one object a line.

use std::ops::Range;
use std::process::ExitCode;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use model::config::{self, Diagnostic, Severity, Source, Span};
use runtime::sources::LoadError;
use serde_json::json;

/// Exit codes, as `--help` lists them; never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Changes pending.
    Pending = 2,
    /// Changes pending, and some of them interrupt traffic or delete.
    PendingDisruptive = 3,
    /// The saved plan is stale.
    Stale = 4,
    /// Verification failed and everything was rolled back.
    RolledBack = 5,
    /// Someone else holds the lock.
    Locked = 6,
    /// Wrong usage.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> ExitCode {
        ExitCode::from(e as u8)
    }
}

/// Why a verb failed, as facts.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What is wrong, with the thing and the place; lower case, no full stop.
    pub what: String,
    /// What to do, each a line.
    pub help: Vec<String>,
}

/// Prints a failure and returns its exit code.
pub fn failure(failure: &Failure, json: bool) -> Exit {
    if json {
        let object = json!({ "error": failure.what, "help": failure.help, "exit": failure.exit as u8 });
        anstream::eprintln!("{object}");
        return failure.exit;
    }
    let helps = failure.help.iter().map(|help| Level::HELP.message(clean(help)));
    let group = Group::with_title(Level::ERROR.primary_title(clean(&failure.what))).elements(helps);
    anstream::eprintln!("{}", renderer().render(&[group]));
    failure.exit
}

/// Why there is no cluster to work with. The mistakes of a file are printed here.
pub fn unloadable(error: LoadError, json: bool) -> Failure {
    let help = match &error {
        LoadError::NoFile => vec!["name the file with -f FILE, or write /etc/hactl/ha.kdl".into()],
        LoadError::Unreadable { why, .. } if why.kind() == std::io::ErrorKind::NotFound => {
            vec!["name the file with -f FILE".into()]
        }
        LoadError::NotText { .. } => vec!["save the file as UTF-8".into()],
        LoadError::NoSuchInclude { .. } => {
            vec!["a path is relative to the including file; a pattern with `*` may match nothing".into()]
        }
        LoadError::NoRoom(_) => vec!["raise the limit on address space (ulimit -v)".into()],
        LoadError::TooMany => vec!["look for a pattern that matches too much".into()],
        LoadError::TooLarge { .. } => vec!["is it the right file? A cluster is far smaller, and is text".into()],
        LoadError::Unreadable { .. } | LoadError::Invalid { .. } => vec![],
    };
    let mut what = error.to_string();
    if let LoadError::Invalid { sources, diagnostics: found } = &error {
        diagnostics(sources, found, json);
        let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
        let name = sources.first().map_or("the file", |s| named(&s.name));
        what = format!("{name} has {}", count(errors, "mistake", "mistakes"));
    }
    Failure { exit: Exit::Failed, what, help }
}

/// A file's name as people read it.
pub fn named(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// `1 peer`, `3 peers`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// How many diagnostics are shown with their snippets: nobody reads more at once, and each costs a look at the text.
const SHOWN: usize = 100;

/// Prints diagnostics, each with its snippet.
pub fn diagnostics(sources: &[Source], found: &[Diagnostic], json: bool) {
    if json {
        return found.iter().for_each(|d| anstream::eprintln!("{}", diagnostic_json(sources, d)));
    }
    for diagnostic in found.iter().take(SHOWN) {
        anstream::eprintln!("{}\n", diagnostic_text(sources, diagnostic));
    }
    if let more @ 1.. = found.len().saturating_sub(SHOWN) {
        anstream::eprintln!("… and {more} more: mend these first, or see all of them with --json\n");
    }
}

/// One diagnostic as facts: places are counted from 1, columns in characters.
pub fn diagnostic_json(sources: &[Source], diagnostic: &Diagnostic) -> serde_json::Value {
    let labels = diagnostic.labels.iter().map(|(span, label)| {
        let (file, line, column) = place(sources, *span);
        json!({ "file": file, "line": line, "column": column, "label": label })
    });
    json!({
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "title": diagnostic.title,
        "labels": labels.collect::<Vec<_>>(),
        "help": diagnostic.help,
    })
}

fn place(sources: &[Source], span: Span) -> (String, usize, usize) {
    let Some(source) = sources.get(span.source) else { return Default::default() };
    let before = source.text.get(..span.offset).unwrap_or(&source.text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (source.name.clone(), line, column)
}

/// One diagnostic in words, in the compiler's look.
pub fn diagnostic_text(sources: &[Source], diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(clean(&diagnostic.title)).id(diagnostic.code));
    for snippet in snippets(sources, &diagnostic.labels) {
        group = group.element(snippet);
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    renderer().render(&[group])
}

/// A snippet for each source that is pointed into, the first label's first.
fn snippets<'a>(
    sources: &'a [Source],
    labels: &'a [(Span, String)],
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut order: Vec<usize> = Vec::new();
    for (span, _) in labels {
        if !order.contains(&span.source) {
            order.push(span.source);
        }
    }
    let in_order = order.into_iter().filter_map(|index| Some((index, sources.get(index)?)));
    in_order
        .map(|(index, source)| {
            let masked = config::masked(source);
            let mut snippet = Snippet::source(masked.text.clone()).path(clean(named(&source.name)));
            for (i, (span, label)) in labels.iter().enumerate().filter(|(_, (span, _))| span.source == index) {
                let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let range = visible(&masked.text, masked.range(*span));
                snippet = snippet.annotation(kind.span(range).label(clean(label)));
            }
            snippet
        })
        .collect()
}

/// A range that lies within the text, on the borders of characters and on one line: a label across lines hides the text.
fn visible(text: &str, range: Range<usize>) -> Range<usize> {
    let start = floor(text, range.start);
    let line = text.get(start..).and_then(|t| t.find('\n')).map_or(text.len(), |n| start + n);
    start..floor(text, range.end.min(line)).max(start)
}

fn floor(text: &str, mut offset: usize) -> usize {
    offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// What came from a file may hold what a terminal obeys.
fn clean(text: &str) -> String {
    normalize_untrusted_str(text)
}

fn renderer() -> Renderer {
    Renderer::styled().decor_style(DecorStyle::Ascii)
}
