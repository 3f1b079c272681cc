//! A look at the text before kdl parses it: our own words for what people write by habit from YAML, TOML and shells,
//! a repair of each so that the rest is still read, and the places of secrets.

mod blocks;
mod quotes;
mod words;

use std::ops::Range;

use super::file::Repair;
use super::mistakes::is_like;
use super::{Diagnostic, Span, codes};

/// The deepest nesting that is parsed; kdl recurses, and the language needs 3.
pub(super) const DEPTH_LIMIT: usize = 64;
/// The most values and properties of one node: kdl's time grows with their square, and a node of the language has a
/// word for each peer at most.
const ENTRIES_LIMIT: usize = 1024;
/// Mistakes of form after which a text is no longer taken for this language.
const MISTAKES_LIMIT: usize = 100;

/// What the look found.
#[derive(Default)]
pub(super) struct Scanned {
    pub diagnostics: Vec<Diagnostic>,
    pub repairs: Vec<Repair>,
    /// Ranges that hold literal secrets, in order.
    pub secrets: Vec<Range<usize>>,
    /// Where each top-level node begins.
    pub tops: Vec<usize>,
    /// The text must not be parsed.
    pub hopeless: bool,
}

/// What stands before the next token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Name,
    /// The equals sign of a property whose name begins here.
    Equals(usize),
    /// An argument, or the name of a property, that begins here.
    Value(usize),
    /// The value of a property.
    Property,
}

/// The node that is being read.
struct Node {
    name: Option<Range<usize>>,
    secret: bool,
    last: Last,
    /// The last value was an annotation in parentheses.
    annotated: bool,
    /// `/-` stands before what comes next.
    dashed: bool,
    /// Values and properties so far.
    entries: usize,
}

const FRESH: Node =
    Node { name: None, secret: false, last: Last::Nothing, annotated: false, dashed: false, entries: 0 };

/// An open block.
#[derive(Clone)]
struct Open {
    at: usize,
    indent: usize,
    title: String,
}

struct Scanner<'t> {
    text: &'t str,
    source: usize,
    at: usize,
    node: Node,
    opens: Vec<Open>,
    /// Blocks that look unclosed, each with where its brace belongs.
    suspects: Vec<(Open, usize)>,
    /// A block has just ended: before the next node stands a new line or a semicolon.
    closed: bool,
    /// Where the last token of the node before ended.
    ended: usize,
    out: Scanned,
}

/// Looks at a text.
pub(super) fn scan(source: usize, text: &str) -> Scanned {
    let mut scanner = Scanner {
        text,
        source,
        at: text.len() - text.trim_start_matches('\u{feff}').len(),
        node: FRESH,
        opens: Vec::new(),
        suspects: Vec::new(),
        closed: false,
        ended: 0,
        out: Scanned::default(),
    };
    while scanner.at < text.len() && !scanner.out.hopeless {
        let before = scanner.at;
        scanner.token();
        // Whatever a token is, the next one begins behind it.
        if scanner.at <= before {
            scanner.at = before + scanner.rest().chars().next().map_or(1, char::len_utf8);
        }
        if scanner.out.diagnostics.len() > MISTAKES_LIMIT {
            scanner.out.hopeless = true;
            let here = scanner.span(before..scanner.at.min(text.len()));
            scanner.wrong(
                Diagnostic::error(codes::SYNTAX, format!("more than {MISTAKES_LIMIT} mistakes of form"))
                    .at(here, "the rest was not read")
                    .help("mend those above, and look at examples/ for how a cluster is written"),
            );
        }
    }
    scanner.unclosed();
    scanner.finish()
}

/// Ranges of the text that hold a literal secret.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    scan(0, text).secrets
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn cut(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    fn span(&self, range: Range<usize>) -> Span {
        Span { source: self.source, offset: range.start, len: range.len() }
    }

    fn repair(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.out.repairs.push(Repair { range, text: text.into() });
    }

    fn wrong(&mut self, diagnostic: Diagnostic) {
        self.out.diagnostics.push(diagnostic);
    }

    /// From an offset to the end of its line, without the line's end.
    fn line_end(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        from + rest.find(['\n', '\r']).unwrap_or(rest.len())
    }

    fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1)
    }

    fn indent(&self, at: usize) -> usize {
        let line = self.cut(self.line_start(at)..self.text.len());
        line.len() - line.trim_start_matches([' ', '\t']).len()
    }

    fn token(&mut self) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        match c {
            '\n' | '\r' | ';' | '\u{85}' | '\u{0b}' | '\u{0c}' | '\u{2028}' | '\u{2029}' => {
                self.end_node();
                self.closed = false;
                self.at += c.len_utf8();
            }
            _ if c.is_whitespace() => self.at += c.len_utf8(),
            '\\' => self.at = (self.line_end(self.at) + 1).min(self.text.len()),
            _ if rest.starts_with("//") => self.at = self.line_end(self.at),
            _ if rest.starts_with("/*") => self.comment(),
            _ if rest.starts_with("/-") => self.slashdash(),
            '{' => self.open(),
            '}' => self.close(),
            '(' | ')' => self.annotation(),
            '"' => self.string(),
            '“' | '”' | '„' | '‟' | '«' | '»' | '‘' | '’' | '‚' | '\'' | '`' => self.foreign_quotes(c),
            '#' => self.hash(),
            '=' => self.equals(),
            '[' | ']' | ',' => self.punctuation(c),
            _ => self.word(),
        }
    }

    fn end_node(&mut self) {
        if let Last::Equals(start) = self.node.last {
            let name = self.cut(start..self.ended).trim().to_owned();
            self.wrong(
                Diagnostic::error(codes::MISSING, format!("{name}= has no value"))
                    .at(self.span(start..self.ended), "nothing follows")
                    .help(format!("write {name}=…, or leave it out")),
            );
            self.repair(start..self.at, " ");
        }
        if self.node.name.is_some() {
            self.ended = self.at;
        }
        // `/-` on a line of its own takes out the node on the next.
        self.node = Node { dashed: self.node.dashed, ..FRESH };
    }

    /// Takes a token that is a name or a value of the node at hand.
    fn take(&mut self, range: Range<usize>) {
        self.at = range.end;
        self.node.dashed = false;
        if self.node.name.is_none() {
            self.separate(range.start);
            if self.opens.is_empty() {
                self.out.tops.push(range.start);
            }
            self.suspect(range.start);
            self.node.secret = names_a_secret(self.cut(range.clone()));
            self.node.name = Some(range);
            self.node.last = Last::Name;
            return;
        }
        self.node.entries += 1;
        if self.node.entries > ENTRIES_LIMIT {
            self.out.hopeless = true;
            self.wrong(
                Diagnostic::error(codes::TOO_LARGE, format!("a node has more than {ENTRIES_LIMIT} values"))
                    .at(self.span(range.clone()), "nothing from here on was read")
                    .help("look for a new line that is missing: each node stands on a line of its own"),
            );
        }
        let annotated = std::mem::take(&mut self.node.annotated);
        let property = matches!(self.node.last, Last::Equals(_));
        let key = !property && self.text.get(range.end..).is_some_and(|t| t.starts_with('='));
        if key && names_a_secret(self.cut(range.clone())) {
            self.node.secret = true;
        } else if self.node.secret && !annotated && !key {
            self.out.secrets.push(range.clone());
        }
        self.ended = range.end;
        self.node.last = if property { Last::Property } else { Last::Value(range.start) };
    }

    /// Two nodes on one line have a semicolon between them.
    fn separate(&mut self, at: usize) {
        if std::mem::take(&mut self.closed) {
            let length = self.cut(at..self.text.len()).chars().next().map_or(1, char::len_utf8);
            self.wrong(
                Diagnostic::error(codes::PUNCTUATION, "a node begins on a new line")
                    .at(self.span(at..at + length), "a block has just ended on this line")
                    .help("begin a new line here, or write `;` before it"),
            );
            self.repair(at..at, ";");
        }
    }

    /// What a person may see of a range: in a node of secrets, nothing.
    fn shown(&self, range: Range<usize>) -> String {
        match self.node.secret && self.node.name.is_some() {
            true => "(secret)".into(),
            false => self.cut(range).to_owned(),
        }
    }

    /// `(env)` before a value: kept. Any other parenthesis is taken out, also because kdl recurses at each of them.
    fn annotation(&mut self) {
        let line = self.cut(self.at..self.line_end(self.at));
        let inner = line.strip_prefix('(').and_then(|l| l.split_once(')')).map(|(inner, _)| inner);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let value = self.node.last != Last::Nothing && !self.node.annotated;
        match inner.filter(|i| value && i.starts_with(|c: char| c.is_ascii_alphabetic()) && i.chars().all(plain)) {
            Some(inner) => {
                let end = self.at + inner.len() + 2;
                let follows = self.cut(end..self.line_end(end)).trim_start().chars().next();
                if follows.is_some_and(|c| !matches!(c, ')' | ';' | '}' | '{' | '(' | '=')) {
                    self.node.annotated = true;
                    self.at = end;
                } else {
                    self.punctuation('(');
                }
            }
            None => self.punctuation(if line.starts_with('(') { '(' } else { ')' }),
        }
    }

    /// `/-` takes out what follows; two of them in a row say nothing.
    fn slashdash(&mut self) {
        if std::mem::replace(&mut self.node.dashed, true) {
            return self.punctuation('/');
        }
        self.at += 2;
    }

    /// `/* … */`, one in another.
    fn comment(&mut self) {
        let start = self.at;
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += rest.chars().next().map_or(1, char::len_utf8);
            }
            if depth > DEPTH_LIMIT {
                self.too_deep(start);
                return;
            }
        }
        self.wrong(
            Diagnostic::error(codes::UNCLOSED_STRING, "a comment is not closed")
                .at(self.span(start..start + 2), "begins here")
                .help("write `*/` where it ends, or `//` before each of its lines"),
        );
        let end = self.text.len();
        self.repair(end..end, "*/".repeat(depth));
    }

    fn too_deep(&mut self, at: usize) {
        self.wrong(
            Diagnostic::error(codes::TOO_DEEP, format!("more than {DEPTH_LIMIT} blocks stand in each other"))
                .at(self.span(at..at + 1), "one too many")
                .help("look for a `}` that is missing far above: three blocks in each other are enough for everything"),
        );
        self.out.hopeless = true;
    }

    /// `name = value`, as in TOML; `key=value` is a property and stays.
    fn equals(&mut self) {
        let here = self.at..self.at + 1;
        self.at += 1;
        match self.node.last {
            Last::Name => {}
            Last::Value(start) if !self.node.annotated => {
                self.node.last = Last::Equals(start);
                return;
            }
            _ => {
                self.at = here.start;
                return self.punctuation('=');
            }
        }
        let name = self.node.name.clone().map(|n| self.cut(n).to_owned()).unwrap_or_default();
        let value = self.cut(here.end..self.line_end(here.end)).trim();
        let value = value.split("//").next().unwrap_or_default().trim();
        let value = if self.node.secret { "…" } else { value };
        self.wrong(
            Diagnostic::error(codes::EQUALS, format!("no `=` stands after the name of a node, as after {name}"))
                .at(self.span(here.clone()), "as in TOML")
                .help(format!("write `{name} {value}`")),
        );
        self.repair(here, " ");
    }

    /// Brackets, commas and parentheses where KDL has none.
    fn punctuation(&mut self, c: char) {
        let here = self.at..self.at + 1;
        self.at += 1;
        self.wrong(
            Diagnostic::error(codes::PUNCTUATION, format!("no `{c}` stands here"))
                .at(self.span(here.clone()), "not needed")
                .help(match c {
                    '(' | ')' => "parentheses stand only around env, file and credential, as in (env)\"VIP_AUTH_PASS\"",
                    _ => "values follow each other with blanks between: write `process \"haproxy\" \"pveproxy\"`",
                }),
        );
        self.repair(here, " ");
    }

    fn finish(mut self) -> Scanned {
        self.out.repairs.sort_by_key(|r| (r.range.start, r.range.end));
        // Of two repairs of one place the first is made.
        let mut done = 0;
        self.out.repairs.retain(|r| {
            let fits = r.range.start >= done;
            done = if fits { r.range.end } else { done };
            fits
        });
        self.out
    }
}

/// Whether what follows this name must not be shown: the language's own names, what resembles them, and what others
/// call them.
fn names_a_secret(name: &str) -> bool {
    let name = name.trim_matches(['"', ':', '=', '\'']).to_lowercase().replace('_', "-");
    name == "key" || ["pass", "secret", "token", "auth"].iter().any(|s| name.contains(s)) || is_like(&name, "auth-pass")
}
