//! Moves that somebody meant: the holder is stopped cleanly.

use super::{milliseconds, order, pairs, setup};
use crate::Report;
use crate::table::Row;

/// All of them.
pub fn all(report: &mut Report) {
    let rounds = report.rounds(5, 1);
    report.add(vec![stops(rounds)]);
}

/// SIGTERM to the holder.
fn stops(rounds: usize) -> Row {
    let mut row = Row::new("clean stop: outage, advert 1000 ms, 1 VIP", "ms");
    let mut pairs = pairs(setup(1000, 1, 1));
    for round in 0..rounds {
        for software in order(round) {
            row.figures[software].push(milliseconds(pairs[software].stop()));
        }
    }
    row
}
