//! Strings: ours, raw ones, and those in quotes that KDL does not know.

use super::Scanner;
use crate::config::{Diagnostic, codes};

impl Scanner<'_> {
    pub(super) fn string(&mut self) {
        let start = self.at;
        if self.rest().starts_with("\"\"\"") {
            let body = self.text.get(start + 3..).unwrap_or_default();
            match body.find("\"\"\"") {
                Some(i) => self.take(start..start + 3 + i + 3),
                None => self.unclosed_string(start, self.text.len(), None),
            }
            return;
        }
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            if escaped && !(matches!(c, 'n' | 'r' | 't' | '\\' | '"' | 'b' | 'f' | 's' | 'u') || c.is_whitespace()) {
                self.no_escape(start + i - 1);
            }
            match c {
                '\n' | '\r' => break,
                '"' if !escaped => {
                    self.take(start..start + i + 1);
                    self.glued();
                    return;
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        let line = self.cut(start..self.line_end(start));
        // Blanks and braces that end the line were hardly meant to be quoted.
        let content = line.trim_end_matches([' ', '\t', ';', '{', '}']);
        let end = start + content.len().max(1);
        self.unclosed_string(start, end, Some("\""));
    }

    fn unclosed_string(&mut self, start: usize, end: usize, repair: Option<&str>) {
        let shown = self.shown(start..end);
        self.take(start..end);
        let diagnostic = Diagnostic::error(codes::UNCLOSED_STRING, "a quoted text is not closed")
            .at(self.span(start..end), "the second quote is missing on this line");
        let secret = shown == "(secret)";
        self.wrong(if secret || repair.is_none() {
            diagnostic.help("write a quote where it ends")
        } else {
            diagnostic.help(format!("write {shown}\""))
        });
        if let Some(text) = repair {
            self.repair(end..end, text);
        }
    }

    /// A backslash that begins nothing: taken as itself.
    fn no_escape(&mut self, at: usize) {
        self.wrong(
            Diagnostic::error(codes::SYNTAX, "a backslash begins an escape that KDL does not have")
                .at(self.span(at..at + 1), "stands for nothing here")
                .help("write `\\\\` for one backslash, or `/` between the parts of a path"),
        );
        self.repair(at..at + 1, "\\\\");
    }

    /// After a string something must separate it from the next.
    fn glued(&mut self) {
        let at = self.at;
        let next = self.rest().chars().next();
        if self.node.name.is_some() && next.is_some_and(|c| c.is_alphanumeric() || c == '"') {
            self.wrong(
                Diagnostic::error(codes::PUNCTUATION, "a blank is missing between two values")
                    .at(self.span(at..at + next.map_or(1, char::len_utf8)), "begins without a blank before it")
                    .help("write a blank after the quote"),
            );
            self.repair(at..at, " ");
        }
    }

    /// `“ui”`, `‘ui’`, `'ui'`: letters to KDL, quotes to whoever wrote or copied them.
    pub(super) fn foreign_quotes(&mut self, open: char) {
        let start = self.at;
        let line = self.cut(start + open.len_utf8()..self.line_end(start));
        let plain = matches!(open, '\'' | '`');
        let closes = |c: char| match plain {
            true => c == open,
            false => matches!(c, '“' | '”' | '„' | '‟' | '«' | '»' | '‘' | '’' | '‚' | '"'),
        };
        let (content, end) = match line.char_indices().find(|(_, c)| closes(*c)) {
            Some((i, c)) => (line.get(..i).unwrap_or_default(), start + open.len_utf8() + i + c.len_utf8()),
            None => {
                let word = line.split([' ', '\t', ';', '{', '}']).next().unwrap_or_default();
                (word, start + open.len_utf8() + word.len())
            }
        };
        let secret = self.node.secret && self.node.name.is_some();
        let help = if secret { "write it in straight quotes, `\"`".into() } else { format!("write \"{content}\"") };
        let title = if plain { "a text stands in double quotes" } else { "a text stands in straight quotes" };
        self.wrong(
            Diagnostic::error(codes::SMART_QUOTES, title)
                .at(self.span(start..end), if plain { "single quotes" } else { "typographic quotes" })
                .help(help),
        );
        let quoted = format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""));
        self.repair(start..end, quoted);
        self.take(start..end);
    }

    /// `#true`, `#"raw"#`, or a comment as in a shell.
    pub(super) fn hash(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let marks = rest.len() - rest.trim_start_matches('#').len();
        let behind = rest.get(marks..).unwrap_or_default();
        if behind.starts_with('"') {
            let close = format!("\"{}", "#".repeat(marks));
            match behind.get(1..).and_then(|b| b.find(&close)) {
                Some(i) => self.take(start..start + marks + 1 + i + close.len()),
                None => self.unclosed_string(start, self.text.len(), None),
            }
            return;
        }
        let word = behind.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        if marks == 1 && matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            self.take(start..start + 1 + word.len());
            return;
        }
        self.foreign_comment(start..start + marks);
    }

    pub(super) fn foreign_comment(&mut self, mark: std::ops::Range<usize>) {
        let written = self.cut(mark.clone());
        self.wrong(
            Diagnostic::error(codes::FOREIGN_COMMENT, format!("a comment begins with `//`, not with `{written}`"))
                .at(self.span(mark.clone()), "taken for a value")
                .help("write `// …`"),
        );
        self.at = self.line_end(mark.start);
        self.repair(mark, "//");
    }
}
