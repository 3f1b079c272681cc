//! What was measured, for people and for programs.

use serde_json::{Value, json};

/// One measure of both programs, hactl's first, each in rounds that alternate.
pub struct Row {
    /// What is measured.
    pub what: String,
    /// `ms`, `MB`, `%`.
    pub unit: &'static str,
    /// One figure a round for each program: rounds are pairs.
    pub figures: [Vec<f64>; 2],
}

impl Row {
    /// Nothing measured yet.
    pub fn new(what: impl Into<String>, unit: &'static str) -> Row {
        Row { what: what.into(), unit, figures: [Vec::new(), Vec::new()] }
    }

    /// Median of the rounds' ratios, hactl's figure by keepalived's: 1 where both are nothing, infinite where only
    /// keepalived's is.
    fn ratio(&self) -> f64 {
        let [hactl, keepalived] = &self.figures;
        let ratio = |(ours, theirs): (&f64, &f64)| if ours == theirs { 1.0 } else { ours / theirs };
        median(&hactl.iter().zip(keepalived).map(ratio).collect::<Vec<_>>())
    }

    /// Prints the row.
    pub fn print(&self) {
        let [hactl, keepalived] = self.figures.each_ref().map(|figures| figure(figures, self.unit));
        println!("{:60} {hactl:>28} {keepalived:>28} {:>7.2} {:>4}", self.what, self.ratio(), self.figures[0].len());
    }

    /// The same as a JSON object.
    pub fn json(&self) -> Value {
        let [hactl, keepalived] =
            self.figures.each_ref().map(|figures| json!({ "median": median(figures), "rounds": figures }));
        json!({
            "what": self.what, "unit": self.unit, "hactl": hactl, "keepalived": keepalived, "ratio": self.ratio(),
        })
    }
}

/// Prints what the columns are.
pub fn head() {
    let columns = ("median (range)", "hactl", "keepalived", "ratio", "n");
    println!("{:60} {:>28} {:>28} {:>7} {:>4}", columns.0, columns.1, columns.2, columns.3, columns.4);
}

fn figure(figures: &[f64], unit: &str) -> String {
    let (low, high) = figures.iter().fold((f64::MAX, f64::MIN), |(low, high), f| (low.min(*f), high.max(*f)));
    let middle = median(figures);
    // Less than one, a tenth says nothing.
    let digits = if middle > 0.0 && middle < 1.0 { 3 } else { 1 };
    format!("{middle:.digits$} {unit} ({low:.digits$}–{high:.digits$})")
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
