//! What is measured: a file for each group of rows.

pub mod cuts;
pub mod footprint;
pub mod moves;

use std::time::Duration;

use crate::pair::Pair;
use crate::support::Software::{Hactl, Keepalived};
use crate::support::cluster::Setup;

/// What both are told.
fn setup(advert: u32, routers: usize, addresses: usize) -> Setup {
    Setup { advert, routers, addresses, ..Setup::PLAIN }
}

/// Both programs, settled.
fn pairs(setup: Setup) -> [Pair; 2] {
    let pairs = [Hactl, Keepalived].map(|software| Pair::start(software, setup));
    pairs.iter().for_each(Pair::settle);
    pairs
}

/// In which order the programs have their turn in this round.
fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
