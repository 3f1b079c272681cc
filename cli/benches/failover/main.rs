//! hactl against Debian's keepalived, each with its defaults, in the same kind of namespaces and in one run: rounds
//! alternate, so that a noisy machine is noisy for both. `QUICK=1`: fewer rounds. `JSON=1`: facts rather than a table.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "a measurement may fail")]

mod client;
mod pair;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;

use std::time::{Duration, Instant};

use pair::Pair;
use support::Software::{Hactl, Keepalived};
use support::cluster::Setup;
use table::Row;

fn main() {
    let on = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0");
    let rounds = |full: usize, quick: usize| if on("QUICK") { quick } else { full };
    let start = Instant::now();
    let mut rows = Vec::new();
    for (advert, full, quick) in [(1000, 3, 1), (100, 9, 3), (10, 15, 3)] {
        for (routers, addresses) in [(1, 1), (4, 250)] {
            rows.extend(cuts(setup(advert, routers, addresses), rounds(full, quick)));
        }
    }
    rows.push(stops(rounds(5, 1)));
    for routers in [1, 250] {
        rows.extend(footprint(routers, Duration::from_secs(if on("QUICK") { 2 } else { 5 })));
    }
    if on("JSON") {
        println!("{}", table::json(&rows));
    } else {
        table::print(&rows);
        println!("\n{} s; version 3, multicast, two machines and a client on a bridge", start.elapsed().as_secs());
    }
}

fn setup(advert: u32, routers: usize, addresses: usize) -> Setup {
    Setup { advert, routers, addresses, ..Setup::PLAIN }
}

/// The holder's port leaves the bridge: its peer and the client hear nothing of it any more.
fn cuts(setup: Setup, rounds: usize) -> Vec<Row> {
    let vips = setup.routers * setup.addresses;
    let name = |what: &str| format!("{what}, advert {} ms, {vips} VIPs", setup.advert);
    let mut outage = Row::new(name("cut: outage"), "ms");
    let mut spread = Row::new(name("cut: first to last VIP"), "ms");
    let [hactl, keepalived] = pairs(setup);
    for _ in 0..rounds {
        for (pair, outages, spreads) in [
            (&hactl, &mut outage.hactl, &mut spread.hactl),
            (&keepalived, &mut outage.keepalived, &mut spread.keepalived),
        ] {
            let cut = pair.cut();
            outages.push(milliseconds(cut.outage));
            spreads.push(milliseconds(cut.spread));
        }
    }
    if vips > 1 { vec![outage, spread] } else { vec![outage] }
}

/// SIGTERM to the holder.
fn stops(rounds: usize) -> Row {
    let mut row = Row::new("clean stop: outage, advert 1000 ms, 1 VIP", "ms");
    let [mut hactl, mut keepalived] = pairs(setup(1000, 1, 1));
    for _ in 0..rounds {
        row.hactl.push(milliseconds(hactl.stop()));
        row.keepalived.push(milliseconds(keepalived.stop()));
    }
    row
}

/// Memory and processor time of the holder and of its peer, at an advert a second.
fn footprint(routers: usize, watch: Duration) -> Vec<Row> {
    let pairs = pairs(setup(1000, routers, 1));
    let spent = || [0, 1].map(|software: usize| [0, 1].map(|machine| pairs[software].processor(machine)));
    let before = spent();
    std::thread::sleep(watch);
    let after = spent();
    let mut rows = Vec::new();
    for (machine, role) in ["holder", "backup"].into_iter().enumerate() {
        let name = |what: &str| format!("{what}, {role} of {routers}");
        let [mut rss, mut pss] = ["resident (VmRSS)", "resident (Pss)"].map(|what| Row::new(name(what), "MB"));
        let mut cpu = Row::new(name("processor"), "%");
        for (software, pair) in pairs.iter().enumerate() {
            let (resident, proportional) = pair.memory(machine);
            let busy = after[software][machine] - before[software][machine];
            for (row, figure) in [
                (&mut rss, resident),
                (&mut pss, proportional),
                (&mut cpu, 100.0 * busy.as_secs_f64() / watch.as_secs_f64()),
            ] {
                if software == 0 { &mut row.hactl } else { &mut row.keepalived }.push(figure);
            }
        }
        rows.extend([rss, pss, cpu]);
    }
    rows
}

/// Both programs, settled.
fn pairs(setup: Setup) -> [Pair; 2] {
    let pairs = [Hactl, Keepalived].map(|software| Pair::start(software, setup));
    pairs.iter().for_each(Pair::settle);
    pairs
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
