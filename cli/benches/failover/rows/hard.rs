//! Hard times: no processor to be had, a holder that is stopped and wakes up, an outsider that forges adverts.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{milliseconds, order, settled, setup};
use crate::Report;
use crate::flood::{Busy, Flood};
use crate::pair::Pair;
use crate::table::Row;

/// Forged adverts a second.
const FORGED: u64 = 50_000;
/// A holder is stopped for so long: its peer takes over after 361 ms.
const STOPPED: Duration = Duration::from_secs(1);

/// All of them.
pub fn all(report: &mut Report) {
    let watch = Duration::from_secs(if report.quick { 2 } else { 4 });
    let rounds = report.rounds(2, 1);
    for advert in [100, 10] {
        report.add(lateness(advert, watch, rounds));
    }
    report.add(stopped(report.rounds(4, 1)));
    report.add(forged(watch, rounds));
}

/// Of the holder's adverts, while busy processes want every processor.
fn lateness(advert: u32, watch: Duration, rounds: usize) -> Vec<Row> {
    let name = |what: &str| format!("busy processors: {what}, advert {advert} ms");
    let mut rows = [Row::new(name("interval off by, p99"), "ms"), Row::new(name("interval off by, most"), "ms")];
    let mut takeovers = Row::new(name("takeovers"), "");
    for round in 0..rounds {
        for software in order(round) {
            let pair = settled(software, setup(advert, 1, 1));
            let (start, busy) = (Instant::now(), Busy::start());
            std::thread::sleep(watch);
            drop(busy);
            let mut off = pair.tap.intervals(0, start);
            off.iter_mut().for_each(|interval| *interval = interval.abs_diff(pair.advert));
            off.sort();
            let figures = [off[(off.len() - 1) * 99 / 100], off[off.len() - 1]];
            for (row, figure) in rows.iter_mut().zip(figures) {
                row.figures[software].push(milliseconds(figure));
            }
            takeovers.figures[software].push(pair.tap.takeovers(start) as f64);
        }
    }
    rows.into_iter().chain([takeovers]).collect()
}

/// SIGSTOP to the holder, for longer than the down interval, and SIGCONT.
fn stopped(rounds: usize) -> Vec<Row> {
    let setup = setup(100, 1, 1);
    let name = |what: &str| format!("holder stopped for 1 s: {what}, advert {} ms", setup.advert);
    let mut masters = Row::new(name("two masters"), "ms");
    let mut lost = Row::new(name("lost replies"), "");
    let pairs = [0, 1].map(|software| settled(software, setup));
    for round in 0..rounds {
        for software in order(round) {
            let (pair, start) = (&pairs[software], Instant::now());
            signal(pair, Signal::SIGSTOP);
            std::thread::sleep(STOPPED);
            let woken = Instant::now();
            signal(pair, Signal::SIGCONT);
            // Long enough for whoever steps down and comes back.
            std::thread::sleep(20 * pair.advert);
            pair.settle();
            masters.figures[software].push(milliseconds(pair.tap.two_masters(woken)));
            lost.figures[software].push(pair.client.lost(start) as f64);
        }
    }
    vec![masters, lost]
}

fn signal(pair: &Pair, signal: Signal) {
    for pid in pair.pids(0) {
        kill(Pid::from_raw(pid as i32), signal).unwrap();
    }
}

/// Forged adverts from an outsider.
fn forged(watch: Duration, rounds: usize) -> Vec<Row> {
    let name = |what: &str| format!("{} forged packets/s: {what}", FORGED);
    let mut rows = ["processor, holder", "processor, backup"].map(|what| Row::new(name(what), "%"));
    let mut takeovers = Row::new(name("takeovers"), "");
    for round in 0..rounds {
        for software in order(round) {
            let pair = settled(software, setup(100, 1, 1));
            let (start, flood) = (Instant::now(), Flood::start(&pair.cluster, FORGED));
            let before = [0, 1].map(|machine| pair.processor(machine));
            std::thread::sleep(watch);
            let (took, sent) = (start.elapsed(), flood.sent());
            for (machine, row) in rows.iter_mut().enumerate() {
                let busy = pair.processor(machine) - before[machine];
                row.figures[software].push(100.0 * busy.as_secs_f64() / took.as_secs_f64());
            }
            drop(flood);
            takeovers.figures[software].push(pair.tap.takeovers(start) as f64);
            let rate = sent as f64 / took.as_secs_f64();
            if rate < FORGED as f64 * 0.95 {
                eprintln!("only {rate:.0} forged packets/s could be sent");
            }
        }
    }
    rows.into_iter().chain([takeovers]).collect()
}
