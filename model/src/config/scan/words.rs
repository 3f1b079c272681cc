//! Words without quotes: which of them KDL takes, and what the others were meant to be.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::{Last, Scanner};
use crate::config::scalar::repaired_duration;
use crate::config::{Diagnostic, codes};
use crate::units::Cidr;

impl Scanner<'_> {
    pub(super) fn word(&mut self) {
        let start = self.at;
        let end = start + word_length(self.rest());
        let word = self.cut(start..end);
        if self.node.name.is_none() {
            return self.name(start..end);
        }
        if !matches!(self.node.last, Last::Equals(_))
            && word.len() > 1
            && word.ends_with(':')
            && self.value_follows(end)
        {
            return self.colon_property(start..end);
        }
        if word.len() > 1 && word.ends_with(',') {
            self.at = end - 1;
            self.punctuation(',');
            self.at = start;
            return self.value(start..end - 1);
        }
        self.value(start..end);
    }

    fn value_follows(&self, at: usize) -> bool {
        let line = self.cut(at..self.line_end(at)).trim_start();
        !line.is_empty() && !line.starts_with(['{', ';', '}'])
    }

    /// The name of a node, with a colon where YAML has one.
    fn name(&mut self, range: Range<usize>) {
        let word = self.cut(range.clone());
        if word == "!" {
            return self.foreign_comment(range);
        }
        let Some((name, glued)) = word.split_once(':') else {
            if !is_identifier(word) && !is_number(word) {
                self.repair(range.clone(), quoted(word));
            }
            return self.take(range);
        };
        let looks_like_a_name =
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_'));
        if !looks_like_a_name || name.len() + glued.len() > 60 {
            if !is_identifier(word) {
                self.repair(range.clone(), quoted(word));
            }
            return self.take(range);
        }
        let colon = range.start + name.len();
        self.take(range.start..colon);
        let value = self.cut(colon + 1..self.line_end(colon)).trim();
        let value = value.split(" //").next().unwrap_or_default().trim_end();
        let value = if self.node.secret { "…" } else { value };
        let singular = name.strip_suffix('s').filter(|one| matches!(*one, "peer" | "vip" | "service" | "check"));
        let help = match singular {
            Some(one) if value.is_empty() => format!("write `{one} \"NAME\"` for each of them"),
            _ => format!("write `{}`", format!("{name} {}", quote_if_needed(value)).trim_end()),
        };
        self.wrong(
            Diagnostic::error(codes::COLON, format!("no colon stands after the name of a node, as after {name}"))
                .at(self.span(colon..colon + 1), "as in YAML")
                .help(help),
        );
        self.repair(colon..colon + 1, " ");
        self.at = colon + 1;
    }

    /// `pve1: 150` where a property belongs.
    fn colon_property(&mut self, range: Range<usize>) {
        let name = self.cut(range.start..range.end - 1);
        let line = self.cut(range.end..self.line_end(range.end));
        let blanks = line.len() - line.trim_start().len();
        let value_at = range.end + blanks;
        let value = value_at..value_at + word_length(self.cut(value_at..self.text.len())).max(1);
        let shown = quote_if_needed(&self.shown(value));
        let colon = range.end - 1;
        self.wrong(
            Diagnostic::error(codes::COLON, format!("a property is written with `=`, not with a colon, as {name}"))
                .at(self.span(colon..colon + 1), "as in YAML")
                .help(format!("write `{name}={shown}`")),
        );
        self.repair(colon..value_at, "=");
        self.take(range.start..colon);
        self.node.last = Last::Equals(range.start);
        self.at = value_at;
    }

    /// A value: accepted, or quoted for its writer.
    fn value(&mut self, range: Range<usize>) {
        let word = self.cut(range.clone());
        if matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            return self.keyword(range);
        }
        if is_number(word) || is_identifier(word) {
            return self.take(range);
        }
        if self.annotation_as_call(range.clone()) {
            return;
        }
        let shown = self.shown(range.clone());
        let (what, help) = match shown == "(secret)" {
            true => ("a password", "write it in quotes, or better `(env)\"VIP_AUTH_PASS\"`".to_owned()),
            false => (meant(word), format!("write {}", quoted(&repaired_duration(word).unwrap_or(word.to_owned())))),
        };
        let label = match word.chars().next() {
            Some(c) if c.is_ascii_digit() => "a KDL word cannot start with a digit".to_owned(),
            _ => match word.chars().find(|c| "\\/(){}[];\"#=".contains(*c)) {
                Some(c) if shown != "(secret)" => format!("a KDL word cannot hold `{c}`"),
                _ => "no KDL word".to_owned(),
            },
        };
        self.wrong(
            Diagnostic::error(codes::UNQUOTED, format!("{what} must be quoted"))
                .at(self.span(range.clone()), label)
                .help(help),
        );
        self.repair(range.clone(), quoted(word));
        self.take(range);
    }

    /// `env("NAME")`: the annotation stands before the text, not around it.
    fn annotation_as_call(&mut self, range: Range<usize>) -> bool {
        let word = self.cut(range.clone());
        let Some((kind, rest)) = word.split_once('(') else { return false };
        let line = self.cut(range.start..self.line_end(range.start));
        let Some(close) = line.find(')').filter(|_| matches!(kind, "env" | "file" | "credential")) else {
            return false;
        };
        let inner = line.get(kind.len() + 1..close).unwrap_or(rest).trim().trim_matches(['"', '\'']).to_owned();
        let whole = range.start..range.start + close + 1;
        self.wrong(
            Diagnostic::error(codes::ANNOTATION, format!("({kind}) stands before the text, not around it"))
                .at(self.span(whole.clone()), "as a call")
                .help(format!("write ({kind}){}", quoted(&inner))),
        );
        self.repair(whole.clone(), format!("({kind}){}", quoted(&inner)));
        self.node.annotated = true;
        self.take(whole);
        true
    }

    fn keyword(&mut self, range: Range<usize>) {
        let word = self.cut(range.clone());
        let name = self.node.name.clone().map(|n| self.cut(n).to_owned()).unwrap_or_default();
        let flag = self.node.last == Last::Name;
        let diagnostic = Diagnostic::error(codes::BARE_WORD, format!("`{word}` is no value in this language"))
            .at(self.span(range.clone()), "nothing is switched by a word");
        let (help, instead) = match (word, flag) {
            ("true", true) => (format!("a flag is said by standing there: write `{name}` alone"), " ".to_owned()),
            ("false" | "null", true) => (format!("what is not wanted is left out: remove `{name}`"), " ".to_owned()),
            _ => (format!("write {}, if it is a text", quoted(word)), quoted(word)),
        };
        self.wrong(diagnostic.help(help));
        self.repair(range.clone(), instead);
        self.take(range);
    }
}

/// Bytes up to where a word ends. An address of the web is one word, though `//` begins a comment elsewhere.
fn word_length(rest: &str) -> usize {
    let mut before = ' ';
    let mut open = 0_usize;
    for (i, c) in rest.char_indices() {
        let comment = rest.get(i..).is_some_and(|r| r.starts_with("//")) && before != ':';
        match c {
            '(' => open += 1,
            // The parenthesis that belongs to the word, as in `env(NAME)`.
            ')' if open > 0 => open -= 1,
            ')' | ';' | '{' | '}' | '"' | '=' => return i,
            _ if c.is_whitespace() || (comment && i > 0) => return i,
            _ => {}
        }
        before = c;
    }
    rest.len()
}

/// Whether kdl takes the word for a text.
fn is_identifier(word: &str) -> bool {
    let unsigned = word.trim_start_matches(['+', '-']);
    let undotted = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let digit = |w: &str| w.starts_with(|c: char| c.is_ascii_digit());
    !word.contains(['\\', '/', '(', ')', '{', '}', '[', ']', ';', '"', '#', '='])
        && !digit(unsigned)
        && !digit(undotted)
}

/// Whether kdl takes the word for a number.
fn is_number(word: &str) -> bool {
    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
    let digits = |w: &str, radix: u32| {
        w.starts_with(|c: char| c.is_digit(radix)) && w.chars().all(|c| c.is_digit(radix) || c == '_')
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = word.strip_prefix(prefix) {
            return digits(rest, radix);
        }
    }
    let (mantissa, exponent) = word.split_once(['e', 'E']).map_or((word, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    digits(whole, 10)
        && fraction.is_none_or(|f| digits(f, 10))
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e), 10))
}

/// What a word without quotes was meant to be.
fn meant(word: &str) -> &'static str {
    let address = |w: &str| {
        w.chars().filter(|c| *c == '.').count() == 3 && w.chars().all(|c| c.is_ascii_digit() || ".:/".contains(c))
    };
    match word {
        _ if word.contains("://") => "a URL",
        _ if word.parse::<IpAddr>().is_ok() || word.parse::<SocketAddr>().is_ok() => "an address",
        _ if word.parse::<Cidr>().is_ok() || address(word) => "an address",
        _ if repaired_duration(word).is_some() => "a duration",
        _ if word.contains('/') => "a path",
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => "a word that starts with a digit",
        _ => "this word",
    }
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value as it is written: numbers, words and what is quoted already stay.
fn quote_if_needed(value: &str) -> String {
    match value {
        "" => String::new(),
        v if v.contains(['"', '{', ' ', '(']) || is_number(v) => v.to_owned(),
        v => quoted(v),
    }
}
