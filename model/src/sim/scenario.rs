//! A cluster and its bad days, drawn from a seed; then everything heals and the cluster is examined.

use std::collections::BTreeSet;
use std::time::Duration;

use super::draw::Cluster;
use super::fate::Fate;
use super::misfortune::Misfortune;
use super::rng::Rng;
use super::world::{Action, World};
use crate::vrrp::Settings;

/// What one seed came to.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened, a line each.
    pub trace: Vec<String>,
    /// Over every effect: two runs of a seed have the same.
    pub digest: u64,
    /// What was wrong, if anything.
    pub violation: Option<String>,
}

/// Runs one seed.
pub fn run(seed: u64) -> Report {
    run_with(seed, |_| true)
}

/// Runs one seed and, where it breaks a rule, looks for the fewest of its misfortunes that break one: the report is
/// of the shortest trace found.
pub fn run_shortest(seed: u64) -> Report {
    let mut report = run(seed);
    let mut dropped = Vec::new();
    // Again from the start after each success: what could not be dropped before may be now. Ends with the misfortunes.
    let mut next = 0;
    while report.violation.is_some() && next < misfortunes(seed) {
        if !dropped.contains(&next) {
            let shorter = run_with(seed, |nth| nth != next && !dropped.contains(&nth));
            if shorter.violation.is_some() {
                dropped.push(next);
                report = shorter;
                next = 0;
                continue;
            }
        }
        next += 1;
    }
    report
}

fn misfortunes(seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    Cluster::draw(&mut rng).misfortunes(&mut rng).len()
}

/// Runs one seed with those of its misfortunes that are kept.
fn run_with(seed: u64, keep: impl Fn(usize) -> bool) -> Report {
    let mut rng = Rng::new(seed);
    let cluster = Cluster::draw(&mut rng);
    let drawn = cluster.misfortunes(&mut rng).into_iter().enumerate();
    let misfortunes: Vec<_> = drawn.filter(|(nth, _)| keep(*nth)).map(|(_, misfortune)| misfortune).collect();
    // From the seed alone, so that what is left out changes nothing of what is kept.
    let world = World::new(cluster.nodes(), Rng::new(!seed));
    let mut scenario = Scenario {
        world,
        cluster,
        #[cfg(test)]
        meddler: None,
    };
    scenario.begin(misfortunes);
    let world = scenario.world;
    Report { seed, trace: world.trace, digest: world.digest, violation: world.violation }
}

pub(super) struct Scenario {
    pub(super) world: World,
    pub(super) cluster: Cluster,
    /// Does something at a named stage of the exam: a cluster that is broken on purpose.
    #[cfg(test)]
    pub(super) meddler: Option<fn(&str, &mut World)>,
}

impl Scenario {
    /// In order and sooner than any difference of skew.
    fn calm(&self) -> (Duration, Duration) {
        (self.cluster.shortest / 100, self.cluster.shortest / 100)
    }

    /// A named moment of the exam.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "a test may meddle here"))]
    pub(super) fn stage(&mut self, _name: &str) {
        #[cfg(test)]
        if let Some(meddler) = self.meddler {
            meddler(_name, &mut self.world);
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        self.world.run_until(end);
    }

    /// The bad days, and the exam.
    pub(super) fn begin(&mut self, misfortunes: Vec<Misfortune>) {
        self.world.network.delay = self.calm();
        self.live(misfortunes);
        self.examine();
    }

    fn live(&mut self, misfortunes: Vec<Misfortune>) {
        for n in 0..self.cluster.files.len() {
            self.world.act(Action::Node(n, Fate::Start));
        }
        self.run(self.cluster.longest * 5);
        for misfortune in misfortunes {
            if let Some(weather) = misfortune.weather {
                let network = &mut self.world.network;
                network.loss = weather.loss;
                network.duplication = weather.duplication;
                network.delay = weather.delay;
            }
            for action in misfortune.actions {
                self.world.act(action);
                self.run(misfortune.between);
            }
            self.run(misfortune.wait);
        }
        self.heal();
    }

    fn heal(&mut self) {
        self.world.note("everything heals".into());
        self.world.network.heal();
        self.world.network.delay = self.calm();
        for (n, file) in self.cluster.files.clone().into_iter().enumerate() {
            // Who was asked to step down leaves its successor alone for as long as that lives.
            if self.world.nodes.get(n).is_some_and(|node| node.stepped_down) {
                self.world.act(Action::Node(n, Fate::Crash));
            }
            let links = self.cluster.interfaces().into_iter().map(|interface| Fate::Link(interface, true));
            for fate in mended(file).into_iter().chain(links) {
                self.world.act(Action::Node(n, fate));
            }
        }
    }
}

/// Everything that a machine needs to be well again.
fn mended(file: Vec<Settings>) -> Vec<Fate> {
    vec![
        Fate::Refuse(false),
        Fate::Cling(false),
        Fate::Occupy(false),
        Fate::Macvlans(true),
        Fate::Resume,
        Fate::Start,
        Fate::Drain(BTreeSet::new()),
        Fate::Reload(file),
        Fate::Check("check".into(), true),
        Fate::Check("other".into(), true),
        Fate::Weigh("file".into(), 0),
        Fate::Reread,
    ]
}
