//! Moves that somebody meant: a clean stop, a better machine that comes back, a reload, a restart. What a client sees of
//! them is the replies that it lost, of a thousand a second.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::{order, pairs, setup};
use crate::Report;
use crate::pair::Pair;
use crate::support::Software;
use crate::table::Row;

/// After this many intervals a restarted machine has its addresses again, whoever had them meanwhile.
const TAKEN_BACK: u32 = 5;

/// All of them.
pub fn all(report: &mut Report) {
    let rounds = report.rounds(3, 1);
    let mut pairs = pairs(setup(1000, 1, 1));
    for actions in [
        &[("clean stop", stop as fn(&mut Pair)), ("better machine comes back", start)][..],
        &[("reload, same file", reload)],
        &[("restart, same file", restart)],
    ] {
        let name = |what: &str| Row::new(format!("{what}: lost replies, advert 1000 ms"), "");
        let mut rows: Vec<Row> = actions.iter().map(|(what, _)| name(what)).collect();
        for round in 0..rounds {
            for software in order(round) {
                for ((_, action), row) in actions.iter().zip(&mut rows) {
                    row.figures[software].push(lost(&mut pairs[software], *action));
                }
            }
        }
        report.add(rows);
    }
}

/// Replies lost from the beginning of a move until all is quiet again.
fn lost(pair: &mut Pair, action: fn(&mut Pair)) -> f64 {
    let start = Instant::now();
    action(pair);
    pair.client.lost(start) as f64
}

fn stop(pair: &mut Pair) {
    assert!(pair.cluster.stop(0));
    pair.wait_for(1);
}

fn start(pair: &mut Pair) {
    pair.cluster.start(0);
    pair.settle();
}

fn reload(pair: &mut Pair) {
    pair.cluster.daemon(0).signal(Signal::SIGHUP);
    std::thread::sleep(2 * pair.advert);
    pair.settle();
}

/// In place where the program offers that, else stopped and started.
fn restart(pair: &mut Pair) {
    let in_place = pair.cluster.software()[0] == Software::Hactl;
    let daemon = pair.cluster.daemon(0);
    if in_place && catches(daemon.pid(), Signal::SIGUSR2) {
        daemon.signal(Signal::SIGUSR2);
    } else {
        assert!(pair.cluster.stop(0));
        pair.cluster.start(0);
    }
    std::thread::sleep(TAKEN_BACK * pair.advert);
    pair.settle();
}

/// Whether a process has a handler for this signal.
fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal as u32 - 1) & 1 == 1
}
