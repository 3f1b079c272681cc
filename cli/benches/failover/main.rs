//! hactl against Debian's keepalived, each with its defaults, in the same kind of namespaces and in one run: rounds are
//! pairs, in an order that alternates, so that a noisy machine is noisy for both. `QUICK=1`: fewer rounds. `ROWS=cut`:
//! only the groups of rows named. `JSON=1`: facts rather than a table.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement may fail anywhere")]
#![allow(clippy::indexing_slicing, clippy::panic, missing_docs, reason = "a measurement may fail anywhere")]

mod client;
mod cost;
mod flood;
mod pair;
mod rows;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod tap;

use std::time::Instant;

use rows::{cuts, footprint, hard, moves};
use serde_json::json;
use table::Row;

/// How much is measured, and where the rows go.
struct Report {
    quick: bool,
    json: bool,
    wanted: String,
    rows: Vec<Row>,
}

impl Report {
    /// So many rounds, or so few.
    fn rounds(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Whether this group of rows is asked for.
    fn wants(&self, group: &str) -> bool {
        self.wanted.is_empty() || self.wanted.split([',', ' ']).any(|wanted| wanted == group)
    }

    /// Prints rows as soon as they are measured.
    fn add(&mut self, rows: Vec<Row>) {
        if !self.json {
            rows.iter().for_each(Row::print);
        }
        self.rows.extend(rows);
    }
}

fn main() {
    let on = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0");
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let mut report = Report { quick: on("QUICK"), json: on("JSON"), wanted, rows: Vec::new() };
    let (start, before) = (Instant::now(), load());
    if !report.json {
        table::head();
    }
    for (group, measure) in [
        ("cut", cuts::all as fn(&mut Report)),
        ("move", moves::all),
        ("hard", hard::all),
        ("footprint", footprint::all),
    ] {
        if report.wants(group) {
            measure(&mut report);
        }
    }
    let (seconds, after) = (start.elapsed().as_secs(), load());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if report.json {
        let rows: Vec<_> = report.rows.iter().map(Row::json).collect();
        let machine = json!({ "processors": processors, "load_before": before, "load_after": after });
        println!("{}", json!({ "version": 2, "seconds": seconds, "machine": machine, "rows": rows }));
    } else {
        println!(
            "\n{seconds} s; version 3, multicast, two machines and a client on a bridge; ratio: median over the pairs"
        );
        println!("{processors} processors, load average {before} before and {after} after");
    }
}

/// The machine's load average over a minute: what else it was busy with.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}
