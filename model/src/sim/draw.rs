//! What a seed stands for: a cluster, and the bad days that it will live through.

use std::net::IpAddr;
use std::time::Duration;

use super::node::{Fate, Node};
use super::rng::Rng;
use super::world::Action;
use crate::config::{Announce, Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Centiseconds, Cidr, Family, Priority, Vrid};
use crate::vrrp::{FAULT_WEIGHT, Password, Settings};

/// Machines of a drawn cluster, at most: enough for a majority to be wrong.
const MACHINES: u64 = 3;

/// Its vips, at most: enough for one to disturb another.
const VIPS: u64 = 3;

/// Misfortunes of one seed, at most: more would hide which of them mattered.
const MISFORTUNES: u64 = 10;

/// What a drawn vip may track: a check without and with a weight, a file, and several together.
const TRACKS: [&[(&str, Option<i16>)]; 5] = [
    &[("check", None)],
    &[("check", Some(-60))],
    &[("file", None)],
    &[("check", Some(-60)), ("file", None)],
    &[("check", None), ("other", Some(20))],
];

/// The checks that they name, but for the file.
const CHECKS: [&str; 2] = ["check", "other"];

/// A cluster in its good days.
#[derive(Debug)]
pub(super) struct Cluster {
    /// What each machine's file says when nobody is playing with it.
    pub(super) files: Vec<Vec<Settings>>,
    /// How much each machine's clock runs fast, in parts per million.
    drifts: Vec<i64>,
    /// Members have one priority.
    pub(super) equals: bool,
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

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
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let machines = 2 + rng.index(usize::try_from(MACHINES - 1).unwrap_or(1));
        let hundredths = rng.pick(1, [10, 100, 100]);
        let equals = rng.chance(150);
        let unicast = rng.chance(500);
        let mut cluster = Cluster {
            files: vec![Vec::new(); machines],
            drifts: (0..machines).map(|_| i64::try_from(rng.below(401)).unwrap_or(0) - 200).collect(),
            equals,
            shortest: Duration::MAX,
            longest: Duration::ZERO,
        };
        for vip in 0..1 + rng.below(VIPS) {
            let Some(common) = draw_vip(rng, vip, hundredths) else { continue };
            let interval = common.advertise.duration();
            cluster.shortest = cluster.shortest.min(interval);
            cluster.longest = cluster.longest.max(interval);
            for (n, file) in cluster.files.iter_mut().enumerate() {
                let place = (n + usize::try_from(vip).unwrap_or(0)) % machines;
                let step = if equals { 0 } else { u8::try_from(place * 10).unwrap_or(0) };
                let priority = Priority::try_from(150 - step).unwrap_or(Priority::OWNER);
                file.push(Settings { priority, reach: reach(n, machines, unicast), ..common.clone() });
            }
        }
        cluster
    }

    /// Its machines, off.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let node = |(n, (file, drift)): (usize, (&Vec<Settings>, &i64))| {
            let mut node = Node::new(&format!("n{n}"), address_of(n), file.clone());
            node.drift = *drift;
            node.checks.extend(CHECKS.map(|check| (check.to_owned(), true)));
            node.checks.insert("file".into(), true);
            node.numbers.insert("file".into(), 0);
            node
        };
        self.files.iter().zip(&self.drifts).enumerate().map(node).collect()
    }

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
        let toggle = rng.chance(500);
        // Its pauses are seconds long: at shorter intervals they would be most of the run.
        let slow = self.shortest >= Duration::from_secs(1);
        let check = CHECKS.get(rng.index(CHECKS.len())).copied().unwrap_or("check").to_owned();
        let fate = match rng.below(17) {
            0 => Fate::Crash,
            1 => Fate::Start,
            2 => Fate::Pause,
            3 => Fate::Resume,
            4 => Fate::Link(toggle),
            5 => Fate::Check(check, toggle),
            6 if slow => Fate::Refuse(toggle),
            7 if slow => Fate::Cling(toggle),
            6..=8 => Fate::LoseAddress,
            9 => Fate::LoseAddressUnseen,
            10 => return vec![Action::Cut(n, other)],
            11 => return vec![Action::Replay],
            12 => Fate::Weigh("file".into(), rng.pick(0, [-60, 30, FAULT_WEIGHT])),
            13 => return (0..6).map(|i| Action::Node(n, Fate::Check(check.clone(), i % 2 == 1))).collect(),
            14 => Fate::Reread,
            15 => Fate::Occupy(toggle),
            _ => Fate::Reload(self.altered(n, rng)),
        };
        vec![Action::Node(n, fate)]
    }

    /// A machine's settings with one thing changed.
    fn altered(&self, n: usize, rng: &mut Rng) -> Vec<Settings> {
        let mut file = self.files.get(n).cloned().unwrap_or_default();
        let at = rng.index(file.len());
        let Some(settings) = file.get_mut(at) else { return file };
        match rng.below(8) {
            0 => settings.priority = settings.priority.weighted(40),
            1 => settings.priority = settings.priority.weighted(-40),
            2 => settings.addresses.extend("192.0.2.90/24".parse::<Cidr>()),
            3 => settings.addresses = "192.0.2.91/24".parse::<Cidr>().into_iter().collect(),
            4 => settings.vrid = Vrid::MAX,
            5 => settings.track.clear(),
            6 => drop(file.remove(at)),
            _ => file.clear(),
        }
        file
    }
}

/// What all members of a vip have in common.
fn draw_vip(rng: &mut Rng, vip: u64, hundredths: u16) -> Option<Settings> {
    let version = if hundredths == 100 { rng.pick(Version::V2, [Version::V3]) } else { Version::V3 };
    let advertise = Centiseconds::try_from(hundredths * rng.pick(1, [1, 2])).ok()?;
    let tens = 50 + vip * 10;
    let track = rng.pick(vec![], TRACKS.map(tracks));
    Some(Settings {
        name: format!("vip{vip}"),
        family: Family::V4,
        group: None,
        virtual_mac: None,
        interface: "eth0".parse().ok()?,
        vrid: Vrid::try_from(51 + u8::try_from(vip).ok()?).ok()?,
        priority: Priority::OWNER,
        addresses: (tens..=tens + rng.below(2)).filter_map(|n| format!("192.0.2.{n}/24").parse().ok()).collect(),
        reach: Reach::Multicast,
        version,
        advertise,
        preempt: rng.pick(Preempt::Immediately, [Preempt::Never, Preempt::After(advertise.duration() * 5)]),
        password: Password::new("s3cret").filter(|_| version == Version::V2 && rng.chance(500)),
        checksum: rng.pick(Checksum::PseudoHeader, [Checksum::Message]),
        track,
        routes: vec![],
        accept: true,
        start_delay: Duration::ZERO,
        announce: Announce::default(),
    })
}

fn reach(n: usize, machines: usize, unicast: bool) -> Reach {
    let peers = (0..machines).filter(|other| *other != n).map(address_of).collect();
    if unicast { Reach::Unicast { local: address_of(n), peers } } else { Reach::Multicast }
}

fn tracks(names: &[(&str, Option<i16>)]) -> Vec<(String, Option<i16>)> {
    names.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

fn address_of(n: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, 11u8.saturating_add(u8::try_from(n).unwrap_or(0))])
}
