//! What was measured, for people and for programs.

use serde_json::{Value, json};

/// One measure of both programs, each in rounds that alternate.
pub struct Row {
    /// What is measured.
    pub what: String,
    /// `ms`, `MB`, `%`.
    pub unit: &'static str,
    /// One figure a round.
    pub hactl: Vec<f64>,
    /// One figure a round.
    pub keepalived: Vec<f64>,
}

impl Row {
    /// Nothing measured yet.
    pub fn new(what: impl Into<String>, unit: &'static str) -> Row {
        Row { what: what.into(), unit, hactl: Vec::new(), keepalived: Vec::new() }
    }
}

/// Prints a table of medians with the range, and the ratio of the medians.
pub fn print(rows: &[Row]) {
    println!("{:44} {:>28} {:>28} {:>7}", "median (range)", "hactl", "keepalived", "ratio");
    for row in rows {
        let ratio = median(&row.hactl) / median(&row.keepalived);
        println!(
            "{:44} {:>28} {:>28} {:>7.2}",
            row.what,
            figure(&row.hactl, row.unit),
            figure(&row.keepalived, row.unit),
            ratio
        );
    }
}

/// The same as one JSON object.
pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let side = |figures: &[f64]| json!({ "median": median(figures), "rounds": figures });
        json!({ "what": row.what, "unit": row.unit, "hactl": side(&row.hactl), "keepalived": side(&row.keepalived) })
    };
    json!({ "version": 1, "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

fn figure(figures: &[f64], unit: &str) -> String {
    let (low, high) = figures.iter().fold((f64::MAX, f64::MIN), |(low, high), f| (low.min(*f), high.max(*f)));
    format!("{:.1} {unit} ({low:.1}–{high:.1})", median(figures))
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
