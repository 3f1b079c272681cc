//! Long lines at the width of the terminal.

use std::io::IsTerminal;

/// Below this nothing is gained by wrapping.
const NARROWEST: usize = 40;

/// How wide the terminal on standard output is; `None` where there is none: what is kept or compared is not wrapped.
pub fn terminal() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns)).filter(|columns| *columns >= NARROWEST)
}

/// Breaks a line between words so that it fits, later lines behind so many blanks. A word that is longer than a line
/// stands on a line of its own, whole: it may be something to copy.
pub fn wrap(line: &str, width: Option<usize>, indent: usize) -> Vec<String> {
    let Some(width) = width.filter(|width| wide(line) > *width) else { return vec![line.to_owned()] };
    let lead: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![];
    let mut current = lead.clone();
    let mut is_empty = true;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        if !is_empty && wide(&current) + 1 + wide(word) > width {
            lines.push(std::mem::replace(&mut current, " ".repeat(indent)));
            is_empty = true;
        }
        if !is_empty {
            current.push(' ');
        }
        current.push_str(word);
        is_empty = false;
    }
    lines.push(current);
    lines
}

fn wide(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_no_word_within() {
        let line = "    one two three /a/path/that/is/longer/than/the/line four";
        assert_eq!(
            wrap(line, Some(16), 6),
            ["    one two", "      three", "      /a/path/that/is/longer/than/the/line", "      four"]
        );
        assert_eq!(wrap(line, None, 6), [line]);
        assert_eq!(wrap("  fits  as it is", Some(16), 6), ["  fits  as it is"]);
    }
}
