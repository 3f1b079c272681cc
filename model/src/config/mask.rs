//! The text of a source without its secrets: what a snippet is cut from.

use std::ops::Range;

use super::{Source, Span};

/// What stands in the place of a secret; its length says nothing of the secret's.
const MASK: &str = "\"(secret)\"";

/// A source's text with every literal secret replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The text to show.
    pub text: String,
    /// What was replaced, as ranges of the source.
    secrets: Vec<Range<usize>>,
}

impl Masked {
    /// Where a span of the source stands in the text to show; within a secret, the whole mask.
    #[must_use]
    pub fn range(&self, span: Span) -> Range<usize> {
        self.shift(span.offset, false)..self.shift(span.offset + span.len, true)
    }

    fn shift(&self, offset: usize, end: bool) -> usize {
        let mut shifted = offset;
        for secret in self.secrets.iter().rev() {
            if offset >= secret.end {
                shifted = shifted + MASK.len() - secret.len();
            } else if offset > secret.start {
                shifted = secret.start + if end { MASK.len() } else { 0 };
            }
        }
        shifted
    }
}

/// Replaces every literal secret of a source.
#[must_use]
pub fn masked(source: &Source) -> Masked {
    let secrets = super::scan::secrets(&source.text);
    let mut text = source.text.clone();
    for secret in secrets.iter().rev() {
        text.replace_range(secret.clone(), MASK);
    }
    Masked { text, secrets }
}
