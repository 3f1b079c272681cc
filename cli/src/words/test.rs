//! What `hactl test` says.

use std::fmt::Write;
use std::time::Duration;

use model::sim::{Outcome, Row};

#[cfg(test)]
mod tests;

/// A scenario with each of its expectations, and the timeline of what was not met.
pub fn scenario(file: &str, name: &str, outcomes: &[Outcome]) -> String {
    let verdict = if outcomes.iter().all(|outcome| outcome.met) { "ok" } else { "FAILED" };
    let mut text = format!("{verdict:<6} {name}\n");
    for outcome in outcomes {
        // Writing to a String does not fail.
        _ = writeln!(text, "  {}", expectation(file, outcome));
        for line in &outcome.timeline {
            _ = writeln!(text, "      {line}");
        }
    }
    text
}

fn expectation(file: &str, outcome: &Outcome) -> String {
    let expected = &outcome.expected;
    let who = expected.on.as_deref().unwrap_or("nobody");
    let limit = expected.within.map(|time| format!(", within {}", seconds(time))).unwrap_or_default();
    let after = seconds(outcome.after);
    match outcome.met {
        true => format!("vip {} on {who} after {after}{limit}", expected.vip),
        false => {
            let holders = holders(&outcome.holders);
            let line = outcome.line;
            format!("vip {} on {holders} after {after}, expected on {who}{limit}  {file}:{line}", expected.vip)
        }
    }
}

/// The table of every single failure.
pub fn explored(rows: &[Row]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["FAILURE", "VIP", "BEFORE", "AFTER", "OUTAGE", "HEALED", ""]);
    for row in rows {
        table.add_row([
            row.failure.clone(),
            row.vip.clone(),
            holders(&row.before),
            holders(&row.after),
            seconds(row.outage),
            holders(&row.healed),
            remark(row).to_owned(),
        ]);
    }
    let bad = rows.iter().filter(|row| row.is_bad()).count();
    let verdict = match bad {
        0 => "every vip is held after every single failure, and by one machine once that is over".to_owned(),
        _ => format!("{bad} of {} leave a vip unheld, or not with one holder once they are over", rows.len()),
    };
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n\n{verdict}\n", lines.join("\n"))
}

fn remark(row: &Row) -> &'static str {
    match () {
        () if row.healed.len() != 1 => "NOT HEALED",
        () if row.after.is_empty() => "UNHELD",
        () if row.after.len() > 1 => "held twice, cut apart",
        () => "",
    }
}

fn holders(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}
