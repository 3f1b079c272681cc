//! A cluster and its bad days, drawn from a seed; then everything heals and the cluster is examined.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::node::{Fate, Node};
use super::rng::Rng;
use super::world::{Action, World};
use crate::config::{Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Centiseconds, Cidr, Priority, Vrid};
use crate::vrrp::{FAULT_WEIGHT, Password, Settings, timing};

/// The vip's name in every drawn cluster.
const VIP: &str = "ui";

/// What a drawn cluster may track: a check without and with a weight, a file, and both together.
const TRACKS: [&[(&str, Option<i16>)]; 4] =
    [&[("check", None)], &[("check", Some(-60))], &[("file", None)], &[("check", Some(-60)), ("file", None)]];

/// Machines of a drawn cluster, at most: enough for a majority to be wrong.
const MACHINES: u64 = 3;

/// Longest pause of a router after a refused Hold (see [`timing::retry_after`]).
const REFUSED: Duration = Duration::from_secs(16);

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
    let mut scenario = Scenario::draw(seed);
    scenario.play();
    let world = scenario.world;
    Report { seed, trace: world.trace, digest: world.digest, violation: world.violation }
}

struct Scenario {
    world: World,
    /// What each machine's file says when nobody is playing with it.
    settings: Vec<Settings>,
    interval: Centiseconds,
    refusals: bool,
}

impl Scenario {
    fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let machines = 2 + rng.index(usize::try_from(MACHINES - 1).unwrap_or(1));
        let version = rng.pick(Version::V2, [Version::V3, Version::V3]);
        let hundredths = if version == Version::V2 { 100 } else { rng.pick(1, [10, 100]) };
        let interval = Centiseconds::try_from(hundredths).unwrap_or(Centiseconds::MAX);
        let preempt = rng.pick(Preempt::Immediately, [Preempt::Never, Preempt::After(interval.duration() * 5)]);
        let password = Password::new("s3cret").filter(|_| version == Version::V2 && rng.chance(500));
        let checksum = rng.pick(Checksum::PseudoHeader, [Checksum::Message]);
        let track = rng.pick(vec![], TRACKS.map(tracks));
        let unicast = rng.chance(500);
        let addresses: Vec<Cidr> =
            (50..51 + rng.below(2)).filter_map(|n| format!("192.0.2.{n}/24").parse().ok()).collect();
        let locals: Vec<Ipv4Addr> = (0..machines).map(address_of).collect();
        let equals = rng.chance(200);
        let mut settings = Vec::new();
        let mut nodes = Vec::new();
        for (n, local) in locals.iter().enumerate() {
            let Ok(interface) = "eth0".parse() else { continue };
            let peers = locals.iter().filter(|a| *a != local).copied().collect();
            let reach = if unicast { Reach::Unicast { local: *local, peers } } else { Reach::Multicast };
            let step = if equals { 0 } else { n as u8 * 10 };
            let one = Settings {
                name: VIP.into(),
                interface,
                vrid: Vrid::try_from(51).unwrap_or(Vrid::MAX),
                priority: Priority::try_from(150 - step).unwrap_or(Priority::OWNER),
                addresses: addresses.clone(),
                reach,
                version,
                advertise: interval,
                preempt,
                password,
                checksum,
                track: track.clone(),
            };
            let mut node = Node::new(&format!("n{n}"), *local, vec![one.clone()], one.interface.clone());
            node.drift = i64::try_from(rng.below(401)).unwrap_or(0) - 200;
            nodes.push(node);
            settings.push(one);
        }
        let mut world = World::new(nodes, rng);
        // In order, unless something bad happens: a goodbye that is overtaken by the advert before it is one.
        world.network.delay = (interval.duration() / 20, interval.duration() / 20);
        Scenario { world, settings, interval, refusals: false }
    }

    fn play(&mut self) {
        for n in 0..self.settings.len() {
            self.world.act(Action::Node(n, Fate::Start));
        }
        self.run(self.interval.duration() * 5);
        self.suffer();
        self.heal();
        let (settle, window) = (self.settling(), self.interval.duration() * 10);
        self.run(settle);
        self.expect_one_master_throughout("healed", window);
        self.expect_highest("healed");
        self.exam_crash();
        self.exam_stop();
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        self.world.run_until(end, |_| {});
    }

    /// A few bad things, one after the other, each for as long as it happens to last.
    fn suffer(&mut self) {
        let calm = self.world.network.delay;
        let (intervals, most) = (self.interval.duration(), 3 + self.world.rng.below(6));
        for _ in 0..most {
            let rng = &mut self.world.rng;
            let network = &mut self.world.network;
            if rng.chance(300) {
                network.loss = rng.pick(0, [50, 300, 900]);
                network.duplication = rng.pick(0, [0, 200]);
                network.delay = rng.pick(calm, [(Duration::ZERO, intervals), (intervals / 2, intervals * 2)]);
            }
            let action = self.misfortune();
            self.world.act(action);
            let wait = intervals * u32::try_from(self.world.rng.below(6)).unwrap_or(0) / 2;
            self.run(wait);
        }
        self.world.network.delay = calm;
    }

    fn misfortune(&mut self) -> Action {
        let rng = &mut self.world.rng;
        let machines = self.settings.len();
        let (n, other) = (rng.index(machines), rng.index(machines));
        let toggle = rng.chance(500);
        match rng.below(12) {
            0 => Action::Node(n, Fate::Crash),
            1 => Action::Node(n, Fate::Start),
            2 => Action::Node(n, Fate::Pause),
            3 => Action::Node(n, Fate::Resume),
            4 => Action::Node(n, Fate::Link(toggle)),
            5 => Action::Node(n, Fate::Check(toggle)),
            // Its pauses are seconds long: at shorter intervals they would be most of the run.
            6 if self.interval.get() == 100 => {
                self.refusals = true;
                Action::Node(n, Fate::Refuse(true))
            }
            6 | 7 => Action::Node(n, Fate::LoseAddress),
            8 => Action::Cut(n, other),
            9 => Action::Replay,
            10 => Action::Node(n, Fate::Weigh(rng.pick(0, [-60, 30, FAULT_WEIGHT]))),
            _ => Action::Node(n, Fate::Reload(self.altered(n))),
        }
    }

    /// A machine's settings with one thing changed.
    fn altered(&mut self, n: usize) -> Vec<Settings> {
        let Some(settings) = self.settings.get(n) else { return Vec::new() };
        let mut settings = settings.clone();
        match self.world.rng.below(6) {
            0 => settings.priority = settings.priority.weighted(40),
            1 => settings.priority = settings.priority.weighted(-40),
            2 => settings.addresses.extend("192.0.2.60/24".parse::<Cidr>()),
            3 => settings.addresses = "192.0.2.61/24".parse::<Cidr>().into_iter().collect(),
            4 => settings.vrid = Vrid::MAX,
            _ => return Vec::new(),
        }
        vec![settings]
    }

    fn heal(&mut self) {
        self.world.note("everything heals".into());
        self.world.network.heal();
        for (n, settings) in self.settings.clone().into_iter().enumerate() {
            self.world.act(Action::Node(n, Fate::Refuse(false)));
            self.world.act(Action::Node(n, Fate::Start));
            self.world.act(Action::Node(n, Fate::Resume));
            self.world.act(Action::Node(n, Fate::Reload(vec![settings])));
            self.world.act(Action::Node(n, Fate::Link(true)));
            self.world.act(Action::Node(n, Fate::Weigh(0)));
            self.world.act(Action::Node(n, Fate::Check(true)));
        }
    }

    /// The worst down interval of any of the machines.
    fn down(&self) -> Duration {
        let downs = self.settings.iter().map(|s| timing::down_interval(s.version, s.priority, s.advertise));
        downs.max().unwrap_or_default()
    }

    /// Time on the wire, work of the drivers and drift of the clocks.
    fn slack(&self) -> Duration {
        self.world.network.delay.1 * 2 + Node::BUSY * 8 + self.interval.duration() / 10
    }

    /// How long a healed cluster may take: who woke up late listens once more, and then one down interval; who
    /// preempts with a delay waits that long, heard from its first worse master.
    fn settling(&self) -> Duration {
        let delay = match self.settings.first().map(|s| s.preempt) {
            Some(Preempt::After(delay)) => delay + self.interval.duration(),
            _ => Duration::ZERO,
        };
        let refused = if self.refusals { REFUSED } else { Duration::ZERO };
        refused + delay + self.down() * 2 + self.slack()
    }

    /// No transition at all for a while, and one master.
    fn expect_one_master_throughout(&mut self, when: &str, time: Duration) {
        let first = self.world.masters(VIP);
        if first.len() != 1 {
            return self.world.violate(format!("{when}: masters are {first:?}"));
        }
        let (end, when) = (self.world.now + time, when.to_owned());
        self.world.run_until(end, |world| {
            let now = world.masters(VIP);
            if now != first {
                world.violate(format!("{when}: masters were {first:?} and became {now:?}"));
            }
        });
    }

    /// Whoever preempts, whether at once or later, has won by now.
    fn expect_highest(&mut self, when: &str) {
        let preempts = self.settings.first().is_some_and(|s| s.preempt != Preempt::Never);
        let alive = |n: &usize| self.world.nodes.get(*n).is_some_and(|node| node.router.is_some());
        let priority = |n: usize| self.settings.get(n).map(|s| s.priority);
        let best = (0..self.settings.len()).filter(alive).filter_map(priority).max();
        let master = self.world.masters(VIP).first().copied().and_then(priority);
        if preempts && master != best {
            self.world.violate(format!("{when}: the master's priority is {master:?}, the best is {best:?}"));
        }
    }

    /// The master dies: somebody else within its down interval. It comes back: as the incumbent's backup, or as master
    /// where it preempts.
    fn exam_crash(&mut self) {
        let Some(master) = self.world.masters(VIP).first().copied() else { return };
        self.world.act(Action::Node(master, Fate::Crash));
        self.run(self.down() + self.slack());
        self.expect_one_master_throughout("after a crash", self.interval.duration() * 3);
        let incumbent = self.world.masters(VIP);
        self.world.act(Action::Node(master, Fate::Start));
        let settle = self.settling();
        if self.settings.first().is_some_and(|s| s.preempt == Preempt::Never) {
            self.expect_one_master_throughout("a machine came back that never preempts", settle);
            let now = self.world.masters(VIP);
            if now != incumbent && self.world.violation.is_none() {
                self.world.violate(format!("the incumbent {incumbent:?} was displaced by {now:?}"));
            }
        } else {
            self.run(settle);
            self.expect_one_master_throughout("the dead came back", self.interval.duration() * 3);
            self.expect_highest("the dead came back");
        }
    }

    /// The master is stopped: somebody else within skew time.
    fn exam_stop(&mut self) {
        let Some(master) = self.world.masters(VIP).first().copied() else { return };
        self.world.act(Action::Node(master, Fate::Stop));
        let skews = self.settings.iter().map(|s| timing::skew_time(s.version, s.priority, s.advertise));
        let skew = skews.max().unwrap_or_default();
        self.run(skew + self.slack());
        self.expect_one_master_throughout("after a clean stop", self.interval.duration() * 3);
    }
}

fn tracks(names: &[(&str, Option<i16>)]) -> Vec<(String, Option<i16>)> {
    names.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

fn address_of(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 11u8.saturating_add(u8::try_from(n).unwrap_or(0)))
}
