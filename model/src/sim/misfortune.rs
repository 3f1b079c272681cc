//! The bad days that a drawn cluster lives through.

use std::time::Duration;

use super::draw::{CHECKS, Cluster};
use super::fate::Fate;
use super::rng::Rng;
use super::world::Action;
use crate::units::{Cidr, Vrid};
use crate::vrrp::{FAULT_WEIGHT, Settings};

/// Misfortunes of one seed, at most: more would hide which of them mattered.
const MISFORTUNES: u64 = 10;

/// How the segment is for a while.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) duplication: u64,
    pub(super) delay: (Duration, Duration),
}

/// Something bad: the weather changes, things happen one after the other, and time passes.
#[derive(Debug, Clone)]
pub(super) struct Misfortune {
    pub(super) weather: Option<Weather>,
    pub(super) actions: Vec<Action>,
    pub(super) between: Duration,
    pub(super) wait: Duration,
}

impl Cluster {
    /// Bad days, in order.
    pub(super) fn misfortunes(&self, rng: &mut Rng) -> Vec<Misfortune> {
        (0..3 + rng.below(MISFORTUNES - 2)).map(|_| self.misfortune(rng)).collect()
    }

    fn misfortune(&self, rng: &mut Rng) -> Misfortune {
        let calm = (self.shortest / 100, self.shortest / 100);
        let weather = rng.chance(300).then(|| Weather {
            loss: rng.pick(0, [50, 300, 900]),
            duplication: rng.pick(0, [0, 200]),
            delay: rng.pick(calm, [(Duration::ZERO, self.longest), (self.longest / 2, self.longest * 2)]),
        });
        let actions = self.actions(rng);
        let halves = u32::try_from(rng.below(6)).unwrap_or(0);
        let between = self.shortest * u32::try_from(rng.below(4)).unwrap_or(0) / 2;
        Misfortune { weather, actions, between, wait: self.longest * halves / 2 }
    }

    fn actions(&self, rng: &mut Rng) -> Vec<Action> {
        let machines = self.files.len();
        let (n, other) = (rng.index(machines), rng.index(machines));
        match rng.below(12) {
            0 => vec![Action::Cut(n, other)],
            1 => self.cut_off(n),
            2 => self.cut_on(rng, (n, other)),
            3 => vec![Action::Replay],
            4 => vec![Action::Noise(n)],
            5 => {
                let check = name(rng);
                (0..6).map(|i| Action::Node(n, Fate::Check(check.clone(), i % 2 == 1))).collect()
            }
            6 => {
                // A reload in the middle of anything: the next thing happens before it has been read.
                let reload = Fate::Reload(self.altered(n, rng));
                vec![Action::Node(n, reload), Action::Node(n, self.fate(n, rng))]
            }
            _ => vec![Action::Node(n, self.fate(n, rng))],
        }
    }

    /// Neither hears nor is heard.
    fn cut_off(&self, n: usize) -> Vec<Action> {
        let others = (0..self.files.len()).filter(|other| *other != n);
        others.flat_map(|other| [Action::Cut(n, other), Action::Cut(other, n)]).collect()
    }

    /// On one segment alone, in one direction or both.
    fn cut_on(&self, rng: &mut Rng, (n, other): (usize, usize)) -> Vec<Action> {
        let segments = self.interfaces();
        let Some(segment) = segments.get(rng.index(segments.len())).map(ToString::to_string) else { return vec![] };
        let mut cuts = vec![Action::CutOn(n, other, segment.clone())];
        if rng.chance(500) {
            cuts.push(Action::CutOn(other, n, segment));
        }
        cuts
    }

    fn fate(&self, n: usize, rng: &mut Rng) -> Fate {
        let toggle = rng.chance(500);
        // Its pauses are seconds long: at shorter intervals they would be most of the run.
        let slow = self.shortest >= Duration::from_secs(1);
        let vips = self.files.get(n).map_or(0, Vec::len);
        let vip = self.files.get(n).and_then(|file| file.get(rng.index(vips))).map(|s| s.name.clone());
        let interfaces = self.interfaces();
        let interface = interfaces.get(rng.index(interfaces.len())).cloned();
        match (rng.below(21), interface, vip) {
            (0, ..) => Fate::Crash,
            (1, ..) => Fate::Kill,
            (2 | 3, ..) => Fate::Start,
            (4, ..) => Fate::Pause,
            (5, ..) => Fate::Resume,
            (6, Some(interface), _) => Fate::Link(interface, toggle),
            (7, ..) => Fate::Check(name(rng), toggle),
            (8, ..) if slow => Fate::Refuse(toggle),
            (9, ..) if slow => Fate::Cling(toggle),
            (10, ..) => Fate::LoseAddress,
            (11, ..) => Fate::LoseAddressUnseen,
            (12, ..) => Fate::Weigh("file".into(), rng.pick(0, [-60, 30, FAULT_WEIGHT])),
            (13, ..) => Fate::Reread,
            (14, ..) => Fate::Occupy(toggle),
            (15 | 16, ..) => Fate::Stop,
            (17, _, Some(vip)) => Fate::Drain(Some(vip).filter(|_| toggle).into_iter().collect()),
            (18, _, Some(vip)) => Fate::StepDown(vip),
            (19, ..) => Fate::Macvlans(toggle),
            _ => Fate::Reload(self.altered(n, rng)),
        }
    }

    /// A machine's settings with one thing changed.
    fn altered(&self, n: usize, rng: &mut Rng) -> Vec<Settings> {
        let mut file = self.files.get(n).cloned().unwrap_or_default();
        let at = rng.index(file.len());
        let Some(settings) = file.get_mut(at) else { return file };
        match rng.below(10) {
            0 => settings.priority = settings.priority.weighted(40),
            1 => settings.priority = settings.priority.weighted(-40),
            2 => settings
                .addresses
                .extend("192.0.2.90/24".parse::<Cidr>().ok().filter(|a| a.family() == settings.family)),
            3 => settings.addresses.truncate(1),
            4 => settings.vrid = Vrid::MAX,
            5 => settings.track.clear(),
            6 => {
                let vip = settings.name.clone();
                file.iter_mut().filter(|s| s.name == vip).for_each(|s| s.group = None);
            }
            7 => file.iter_mut().for_each(|s| s.group = Some("all".into())),
            8 => drop(file.remove(at)),
            _ => file.clear(),
        }
        file
    }
}

fn name(rng: &mut Rng) -> String {
    CHECKS.get(rng.index(CHECKS.len())).copied().unwrap_or("check").to_owned()
}
