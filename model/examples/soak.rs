//! Simulates one seed after the other until the time is over: `soak SECONDS FIRST-SEED`. A seed that breaks a rule is
//! printed with the shortest trace that was found, and ends it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a program around the model, not part of it")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::sim;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [seconds, first] = numbers[..] else {
        eprintln!("usage: soak SECONDS FIRST-SEED");
        return ExitCode::from(64);
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let (next, broken) = (AtomicU64::new(first), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < end && !broken.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if sim::run(seed).violation.is_some() && !broken.swap(true, Ordering::Relaxed) {
                        let report = sim::run_shortest(seed);
                        println!("{}", report.trace.join("\n"));
                        println!("seed {seed}: {}", report.violation.unwrap_or_default());
                    }
                }
            });
        }
    });
    println!("{} seeds from {first} on", next.load(Ordering::Relaxed) - first);
    ExitCode::from(u8::from(broken.load(Ordering::Relaxed)))
}
