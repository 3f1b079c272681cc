//! A look at the text before it is parsed.

use std::ops::Range;

/// Ranges of the text that hold a literal secret, in order.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, name) in text.match_indices("auth-pass").chain(text.match_indices("key")) {
        let start = at + name.len();
        let rest = text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let value = line.trim();
        if !value.starts_with('(') && !value.is_empty() {
            let blanks = line.len() - line.trim_start().len();
            found.push(start + blanks..start + blanks + value.len());
        }
    }
    found.sort_by_key(|r| r.start);
    found
}
