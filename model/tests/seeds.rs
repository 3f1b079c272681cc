//! Thousands of drawn clusters and their bad days: no seed breaks a rule, and each runs twice alike.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "threads around the model, not in it")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use model::sim;

/// Seeds of every run of the tests: what two processors get through in a minute or two.
const SEEDS: u64 = 20_000;

/// The shortest trace of what a seed breaks, or how its second run differed.
fn verdict(seed: u64) -> Option<String> {
    let report = sim::run(seed);
    if report.violation.is_some() {
        let shortest = sim::run_shortest(seed);
        return Some(format!("seed {seed}: {:?}\n{}", shortest.violation, shortest.trace.join("\n")));
    }
    let again = sim::run(seed);
    let alike = report.digest == again.digest && report.trace == again.trace;
    (!alike).then(|| format!("seed {seed} ran differently twice"))
}

#[test]
fn no_seed_breaks_a_rule_and_each_runs_twice_alike() {
    let (next, broken) = (AtomicU64::new(0), Mutex::new(None));
    let found = || broken.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while found().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    if let Some(words) = verdict(seed) {
                        *found() = Some(words);
                    }
                }
            });
        }
    });
    assert!(next.load(Ordering::Relaxed) >= SEEDS || found().is_some());
    if let Some(words) = found().take() {
        panic!("{words}");
    }
}
