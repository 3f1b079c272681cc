//! Braces: blocks that are not closed, closed twice, or begin on a line of their own.

use super::{DEPTH_LIMIT, Last, Open, Scanner};
use crate::config::{Diagnostic, codes};

impl Scanner<'_> {
    pub(super) fn open(&mut self) {
        let at = self.at;
        if self.closed {
            return self.punctuation('{');
        }
        if self.node.name.is_none() {
            self.on_a_line_of_its_own(at);
        }
        let title = match &self.node.name {
            Some(name) if !self.node.secret => {
                let title = self.cut(name.start..at).trim();
                if title.contains('\n') { self.cut(name.clone()).to_owned() } else { title.to_owned() }
            }
            _ => "a block".to_owned(),
        };
        self.node.dashed = false;
        self.end_node();
        self.opens.push(Open { at, indent: self.indent(at), title });
        self.at += 1;
        self.ended = self.at;
        if self.opens.len() > DEPTH_LIMIT {
            self.too_deep(at);
        }
    }

    /// A brace at the beginning of a line belongs to the node above, where there is one that has no block yet.
    fn on_a_line_of_its_own(&mut self, at: usize) {
        let between = self.cut(self.ended..at);
        let first = self.opens.last().map_or(0, |o| o.at + 1);
        let behind_a_value = self.cut(first..self.ended).trim_end().ends_with(|c: char| !matches!(c, '{' | '}' | ';'));
        if !between.contains('\n') || !between.trim().is_empty() || !behind_a_value {
            return;
        }
        self.wrong(
            Diagnostic::error(codes::PUNCTUATION, "a block begins on the line of its node")
                .at(self.span(at..at + 1), "belongs to the end of the line above")
                .help("write `{` behind the node's name and values, on the same line"),
        );
        self.repair(self.ended..at, " ");
    }

    pub(super) fn close(&mut self) {
        let at = self.at;
        self.end_node();
        self.at += 1;
        let first_on_line = self.cut(self.line_start(at)..at).trim().is_empty();
        let indent = self.indent(at);
        let Some(open) = self.opens.pop() else {
            self.wrong(
                Diagnostic::error(codes::STRAY_BRACE, "a `}` closes nothing")
                    .at(self.span(at..at + 1), "no block is open here")
                    .help("remove it, or look for a `{` that is missing above"),
            );
            self.repair(at..at + 1, " ");
            return;
        };
        // A brace that stands further left than the block it closes was meant for one further out.
        if first_on_line && indent < open.indent {
            let start = self.line_start(at);
            self.suspects.push((open, start));
        }
        self.ended = self.at;
        self.closed = true;
        self.node.last = Last::Nothing;
    }

    /// A node that stands as far left as the line that opened its block is likely meant to be outside.
    pub(super) fn suspect(&mut self, at: usize) {
        let start = self.line_start(at);
        let Some(open) = self.opens.last() else { return };
        let first_on_line = self.cut(start..at).trim().is_empty();
        let known = self.suspects.iter().any(|(o, _)| o.at == open.at);
        if first_on_line && !known && start > open.at && self.indent(at) <= open.indent {
            self.suspects.push((open.clone(), start));
        }
    }

    /// At the end: every block that is still open lacks its brace, most likely where the layout says so.
    pub(super) fn unclosed(&mut self) {
        self.end_node();
        let left = std::mem::take(&mut self.opens);
        if self.out.hopeless {
            return;
        }
        let end = self.text.len();
        let mut suspects = std::mem::take(&mut self.suspects).into_iter();
        for open in left.into_iter().rev() {
            let (open, belongs) = suspects.next().unwrap_or((open, end));
            self.wrong(
                Diagnostic::error(codes::UNCLOSED_BLOCK, format!("the block of {} is not closed", open.title))
                    .at(self.span(open.at..open.at + 1), "opens here")
                    .help("write `}` where it ends"),
            );
            self.repair(belongs..belongs, if belongs == end { "\n}" } else { "}\n" });
        }
    }
}
