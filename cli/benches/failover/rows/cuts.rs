//! The holder's port leaves the bridge: its peer and the client hear nothing of it any more.
//!
//! When the cut falls within the advert interval decides on a whole interval of outage. So it falls at a drawn part of it
//! after an advert that was seen, the same for both programs of a pair.

use super::{milliseconds, order, pairs, setup};
use crate::Report;
use crate::support::cluster::Setup;
use crate::table::Row;

/// All of them.
pub fn all(report: &mut Report) {
    for (advert, addresses, full, quick) in [
        (1000, (1, 1), 3, 1),
        (1000, (4, 250), 2, 1),
        (100, (1, 1), 12, 4),
        (100, (4, 250), 6, 3),
        (100, (16, 250), 4, 1),
        (10, (1, 1), 25, 6),
        (10, (4, 250), 10, 3),
    ] {
        let rounds = report.rounds(full, quick);
        report.add(cuts(setup(advert, addresses.0, addresses.1), rounds));
    }
}

fn cuts(setup: Setup, rounds: usize) -> Vec<Row> {
    let vips = setup.routers * setup.addresses;
    let name = |what: &str| format!("cut: {what}, advert {} ms, {vips} VIPs", setup.advert);
    let mut outage = Row::new(name("outage"), "ms");
    let mut silence = Row::new(name("last advert to first answer"), "ms");
    let mut spread = Row::new(name("first to last VIP"), "ms");
    let pairs = pairs(setup);
    for round in 0..rounds {
        for software in order(round) {
            let cut = pairs[software].cut(phase(round));
            outage.figures[software].push(milliseconds(cut.outage));
            silence.figures[software].push(milliseconds(cut.silence));
            spread.figures[software].push(milliseconds(cut.spread));
        }
    }
    if vips > 1 { vec![outage, silence, spread] } else { vec![outage, silence] }
}

/// Multiples of the golden ratio fall evenly into the interval, however many there are. Not at its very ends, where the
/// next advert might slip out.
fn phase(round: usize) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_75;
    0.05 + 0.9 * ((round + 1) as f64 * GOLDEN).fract()
}
