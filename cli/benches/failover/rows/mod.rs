//! What is measured: a file for each group of rows.

pub mod cuts;
pub mod footprint;
pub mod hard;
pub mod moves;

use std::time::Duration;

use crate::pair::Pair;
use crate::support::Software;
use crate::support::cluster::Setup;

/// What both are told.
fn setup(advert: u32, routers: usize, addresses: usize) -> Setup {
    Setup { advert, routers, addresses, ..Setup::PLAIN }
}

/// The programs in the order of the figures.
const PROGRAMS: [Software; 2] = [Software::Hactl, Software::Keepalived];

/// Both programs, settled.
fn pairs(setup: Setup) -> [Pair; 2] {
    let pairs = PROGRAMS.map(|software| Pair::start(software, setup));
    pairs.iter().for_each(Pair::settle);
    pairs
}

/// One of the programs, settled, while the other does not run.
fn settled(software: usize, setup: Setup) -> Pair {
    let pair = Pair::start(PROGRAMS[software], setup);
    pair.settle();
    pair
}

/// In which order the programs have their turn in this round.
fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
