//! Tables of at most 80 columns.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

/// Columns of a terminal that nobody made wider.
const WIDTH: usize = 80;

/// A cell: the text, and how it is painted.
pub(super) type Cell = (String, Option<AnsiColor>);

pub(super) fn plain(text: impl Into<String>) -> Cell {
    (text.into(), None)
}

pub(super) fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|n| plain(*n)).collect()
}

pub(super) fn paint(text: &str, colour: AnsiColor) -> String {
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

/// Columns as wide as their widest cell; nothing for a table without rows under its head. Where that is wider than
/// [`WIDTH`], what is in the last column stands below each entry, which is a row with something in its first two cells
/// and those that follow without.
pub(super) fn table(rows: Vec<Vec<Cell>>) -> String {
    if rows.len() < 2 {
        return String::new();
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|(t, _)| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let whole = widths.iter().map(|width| width + 2).sum::<usize>();
    let beside = if whole > WIDTH { columns - 1 } else { columns };
    let name = rows.first().and_then(|head| head.get(beside)).map_or("", |(name, _)| name.as_str());
    let mut text = String::from("\n");
    let mut below: Vec<&str> = vec![];
    for (i, row) in rows.iter().enumerate() {
        if row.iter().take(2).any(|(cell, _)| !cell.is_empty()) {
            text.push_str(&under(name, &std::mem::take(&mut below)));
        }
        let line = line(row.iter().take(beside).zip(&widths), i == 0);
        if !line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
        below.extend(row.get(beside).filter(|(cell, _)| i > 0 && !cell.is_empty()).map(|(cell, _)| cell.as_str()));
    }
    text + &under(name, &below)
}

fn line<'a>(cells: impl Iterator<Item = (&'a Cell, &'a usize)>, is_head: bool) -> String {
    let mut line = String::from("  ");
    for ((cell, colour), width) in cells {
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
        match colour {
            Some(colour) => line.push_str(&paint(cell, *colour)),
            None if is_head => {
                let dim = Style::new().dimmed();
                let _ = write!(line, "{dim}{cell}{dim:#}");
            }
            None => line.push_str(cell),
        }
        line.push_str(&pad);
    }
    line.trim_end().to_owned()
}

/// What did not fit beside.
fn under(name: &str, cells: &[&str]) -> String {
    if cells.is_empty() { String::new() } else { format!("      {name} {}\n", cells.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_too_wide_has_its_last_column_below() {
        let cells = |cells: &[&str]| head(cells);
        let long = "x".repeat(60);
        let narrow = table(vec![cells(&["name", "what"]), cells(&["a", "short"])]);
        let wide = table(vec![
            cells(&["name", "more", "what"]),
            cells(&["a", "quite long here", &long]),
            cells(&["", "", "y"]),
        ]);
        let shown = |text: &str| anstream::adapter::strip_str(text).to_string();
        assert_eq!(shown(&narrow), "\n  name  what\n  a     short\n");
        assert_eq!(shown(&wide), format!("\n  name  more\n  a     quite long here\n      what {long} y\n"));
        assert!(wide.lines().all(|line| anstream::adapter::strip_str(line).to_string().chars().count() <= WIDTH));
    }
}
