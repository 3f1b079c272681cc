//! What the programs cost while nothing happens.

use std::time::Duration;

use super::{order, pairs, settled, setup};
use crate::Report;
use crate::table::Row;

/// Many virtual routers: as many as an interface can have, nearly.
const ROUTERS: usize = 250;

/// All of them.
pub fn all(report: &mut Report) {
    let watch = Duration::from_secs(if report.quick { 2 } else { 4 });
    for routers in [1, ROUTERS] {
        report.add(footprint(routers, watch));
    }
    for advert in [100, 10] {
        report.add(short(advert, watch, report.rounds(2, 1)));
    }
}

/// Processor time of many virtual routers at short intervals, of one program at a time.
fn short(advert: u32, watch: Duration, rounds: usize) -> Vec<Row> {
    let mut rows =
        ["holder", "backup"].map(|role| Row::new(format!("processor, {role} of {ROUTERS}, advert {advert} ms"), "%"));
    for round in 0..rounds {
        for software in order(round) {
            let pair = settled(software, setup(advert, ROUTERS, 1));
            let before = [0, 1].map(|machine| pair.processor(machine));
            std::thread::sleep(watch);
            for (machine, row) in rows.iter_mut().enumerate() {
                let busy = pair.processor(machine) - before[machine];
                row.figures[software].push(100.0 * busy.as_secs_f64() / watch.as_secs_f64());
            }
        }
    }
    rows.into()
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
            rss.figures[software].push(resident);
            pss.figures[software].push(proportional);
            cpu.figures[software].push(100.0 * busy.as_secs_f64() / watch.as_secs_f64());
        }
        rows.extend([rss, pss, cpu]);
    }
    rows
}
