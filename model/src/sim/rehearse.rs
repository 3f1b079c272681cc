//! A configured cluster in simulation: scenarios that people write, and every single failure by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::fate::Fate;
use super::node::{Known, Node};
use super::rng::Rng;
use super::world::{Action, World};
use crate::config::scenario::{Expectation, Scenario, Step};
use crate::config::{Config, Peer, Preempt};
use crate::desired::{DesiredVip, desire};
use crate::units::Moment;
use crate::vrrp::{Password, Settings, timing};

/// Time on the wire: that of a switched network.
const WIRE: Duration = Duration::from_micros(200);

/// One expectation and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The line of the scenario.
    pub line: u32,
    /// What was expected.
    pub expected: Expectation,
    /// Whether it was so.
    pub met: bool,
    /// How long after the last disturbance it became so, or was given up.
    pub after: Duration,
    /// Who holds the vip then.
    pub holders: Vec<String>,
    /// What happened since the last disturbance; only where it was not met.
    pub timeline: Vec<String>,
}

/// A cluster in simulation.
#[derive(Debug)]
pub struct Rehearsal {
    pub(super) world: World,
    pub(super) settle: Duration,
    /// When the last disturbance came, and the lines of the trace before it.
    disturbed: (Moment, usize),
    quiet: bool,
    /// Machines that are cut off from everybody, and so from every client.
    alone: BTreeSet<usize>,
}

impl Rehearsal {
    /// Every machine on, and settled. Machines are as the configuration says; secrets are not needed.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let nodes: Vec<Node> = config.peers.iter().filter_map(|peer| node(config, &peer.name)).collect();
        let settle = settling(nodes.iter().flat_map(|node| &node.file));
        let mut world = World::new(nodes, Rng::new(1));
        world.network.delay = (WIRE, WIRE);
        let mut rehearsal =
            Rehearsal { world, settle, disturbed: (Moment::default(), 0), quiet: false, alone: BTreeSet::new() };
        for n in 0..rehearsal.world.nodes.len() {
            rehearsal.world.act(Action::Node(n, Fate::Start));
        }
        rehearsal.settle();
        rehearsal
    }

    /// Plays a scenario from the start.
    #[must_use]
    pub fn play(mut self, scenario: &Scenario) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for (line, step) in &scenario.steps {
            match step {
                Step::Wait(time) => self.run(*time),
                Step::Expect(expected) => outcomes.push(self.expect(*line, expected)),
                step => self.disturb(step),
            }
        }
        outcomes
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.world.nodes.iter().position(|node| node.name == name)
    }

    /// Does what a step says. Steps at one moment are one disturbance.
    pub(super) fn disturb(&mut self, step: &Step) {
        if self.disturbed.0 != self.world.now || self.quiet {
            self.disturbed = (self.world.now, self.world.trace.len());
            self.quiet = false;
        }
        let act = |rehearsal: &mut Self, name: &str, fate: Fate| {
            if let Some(n) = rehearsal.index(name) {
                rehearsal.world.act(Action::Node(n, fate));
            }
        };
        match step {
            Step::Kill(name) => act(self, name, Fate::Crash),
            Step::Start(name) => act(self, name, Fate::Start),
            Step::Stop(name) => act(self, name, Fate::Stop),
            Step::Freeze(name) => act(self, name, Fate::Pause),
            Step::Thaw(name) => act(self, name, Fate::Resume),
            Step::Check { check, on, up } => act(self, on, Fate::Check(check.clone(), *up)),
            Step::Cut(first, second) => self.cut(first, second.as_deref()),
            Step::Plug { on, interface, up } => self.plug(on, interface.as_deref(), *up),
            Step::Drain { on, vip, drained } => self.drain(on, vip.as_deref(), *drained),
            Step::Failover(vip) => {
                for holder in self.holders(vip) {
                    act(self, &holder, Fate::StepDown(vip.clone()));
                }
            }
            Step::Heal => self.heal(),
            Step::Wait(_) | Step::Expect(_) => {}
        }
    }

    fn cut(&mut self, first: &str, second: Option<&str>) {
        let Some(first) = self.index(first) else { return };
        if second.is_none() {
            self.alone.insert(first);
        }
        let others: Vec<usize> = match second {
            Some(second) => self.index(second).into_iter().collect(),
            None => (0..self.world.nodes.len()).collect(),
        };
        for other in others.into_iter().filter(|other| *other != first) {
            self.world.act(Action::Cut(first, other));
            self.world.act(Action::Cut(other, first));
        }
    }

    fn plug(&mut self, on: &str, interface: Option<&str>, up: bool) {
        let Some(n) = self.index(on) else { return };
        let ports = self.world.nodes.get(n).into_iter().flat_map(|node| node.ports.keys());
        let meant: Vec<_> = ports.filter(|port| interface.is_none_or(|i| i == port.as_str())).cloned().collect();
        for interface in meant {
            self.world.act(Action::Node(n, Fate::Link(interface, up)));
        }
    }

    fn drain(&mut self, on: &str, vip: Option<&str>, drained: bool) {
        let Some(n) = self.index(on) else { return };
        let Some(node) = self.world.nodes.get(n) else { return };
        let mut vips = node.drained.clone();
        for name in node.file.iter().map(|s| &s.name).filter(|name| vip.is_none_or(|vip| vip == *name)) {
            match drained {
                true => vips.insert(name.clone()),
                false => vips.remove(name),
            };
        }
        self.world.act(Action::Node(n, Fate::Drain(vips)));
    }

    fn heal(&mut self) {
        self.world.note("everything heals".into());
        self.world.network.heal();
        self.alone.clear();
        for n in 0..self.world.nodes.len() {
            let Some(node) = self.world.nodes.get(n) else { continue };
            let down: Vec<String> = node
                .checks
                .iter()
                .filter(|(_, known)| **known == Known::Up(false))
                .map(|(name, _)| name.clone())
                .collect();
            let paused = node.paused;
            let unplugged = node.down.clone();
            for interface in unplugged {
                self.world.act(Action::Node(n, Fate::Link(interface, true)));
            }
            for check in down {
                self.world.act(Action::Node(n, Fate::Check(check, true)));
            }
            self.world.act(Action::Node(n, Fate::Start));
            if paused {
                self.world.act(Action::Node(n, Fate::Resume));
            }
        }
    }

    /// Who holds a vip and can answer for it.
    #[must_use]
    pub fn holders(&self, vip: &str) -> Vec<String> {
        let holds = |node: &&Node| !node.paused && node.is_master(vip);
        self.world.nodes.iter().filter(holds).map(|node| node.name.clone()).collect()
    }

    fn run(&mut self, time: Duration) {
        let end = self.world.now + time;
        self.world.run_until(end);
    }

    pub(super) fn settle(&mut self) {
        self.run(self.settle);
        self.quiet = true;
    }

    fn expect(&mut self, line: u32, expected: &Expectation) -> Outcome {
        let wanted: Vec<String> = expected.on.iter().cloned().collect();
        let (since, lines) = self.disturbed;
        let end = since + expected.within.unwrap_or(self.settle);
        let mut became = None;
        let mut changes = None;
        loop {
            let now = self.world.transitions.clone();
            if changes.as_ref() != Some(&now) {
                changes = Some(now);
                let met = self.holders(&expected.vip) == wanted;
                became = if met { became.or(Some(self.world.now)) } else { None };
            }
            if became.is_some() && expected.within.is_some() || !self.world.advance(end) {
                break;
            }
        }
        // Without a limit it is the state of the settled cluster that counts.
        let met = became.is_some_and(|at| at <= end) && self.world.violation.is_none();
        let until = became.unwrap_or(self.world.now.max(end));
        let timeline = self.world.trace.get(lines..).unwrap_or_default().to_vec();
        Outcome {
            line,
            expected: expected.clone(),
            met,
            after: until.since(since),
            holders: self.holders(&expected.vip),
            timeline: if met { Vec::new() } else { timeline },
        }
    }

    /// Whether somebody holds a vip whom somebody else can reach.
    fn is_served(&self, vip: &str) -> bool {
        let machines = self.world.nodes.len();
        let cut = |n: usize, other: usize| self.world.network.cut.contains(&(n, other));
        // Of two machines, each is reached by whoever stands on its side.
        let heard = |n: usize| machines <= 2 || (0..machines).any(|other| other != n && !cut(n, other));
        let reached = |n: usize| !self.alone.contains(&n) && heard(n);
        let holds = |(n, node): (usize, &Node)| !node.paused && reached(n) && node.answers_for(vip);
        self.world.nodes.iter().enumerate().any(holds)
    }

    /// Runs until it has settled and says, for each vip, how long in all nobody held it meanwhile but machines that are
    /// cut off from everybody.
    pub(super) fn outages(&mut self, vips: &[String]) -> BTreeMap<String, Duration> {
        let end = self.world.now + self.settle;
        let mut outages: BTreeMap<String, Duration> = BTreeMap::new();
        loop {
            let before = self.world.now;
            let unheld: Vec<String> = vips.iter().filter(|vip| !self.is_served(vip)).cloned().collect();
            let more = self.world.advance(end);
            for vip in unheld {
                *outages.entry(vip).or_default() += self.world.now.since(before);
            }
            if !more {
                return outages;
            }
        }
    }
}

/// A peer as a simulated machine; a segment is what the vip's own file calls the interface.
fn node(config: &Config, peer: &str) -> Option<Node> {
    let desired = desire(config, peer)?;
    let (nth, known) = config.peers.iter().enumerate().find(|(_, p)| p.name == peer)?;
    let settings = desired.vips.iter().flat_map(|vip| Settings::of(vip, password(vip))).collect();
    let mut node = Node::new(peer, addresses(nth, known), settings);
    for vip in &desired.vips {
        let segment = config.vips.iter().find(|v| v.name == vip.name).map(|v| v.interface.value.to_string())?;
        node.ports.insert(vip.interface.clone(), segment);
    }
    Some(node)
}

/// A machine's own addresses: those of the file, and what an interface has beside them.
fn addresses(nth: usize, peer: &Peer) -> Vec<IpAddr> {
    let last = u8::try_from(nth + 1).unwrap_or(u8::MAX);
    let made_up = [IpAddr::from([192, 0, 2, last]), [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)].into()];
    peer.addresses().chain(made_up).collect()
}

/// Any, and the same everywhere: what counts is that there is one.
fn password(vip: &DesiredVip) -> Option<Password> {
    vip.auth_pass.as_ref().and_then(|_| Password::new("rehearse"))
}

/// How long a disturbed cluster may take to settle: who wakes up late listens once more, and then one down interval;
/// who preempts with a delay waits that long as well.
fn settling<'a>(files: impl Iterator<Item = &'a Settings>) -> Duration {
    let time = |s: &Settings| {
        let delay = if let Preempt::After(delay) = s.preempt { delay } else { Duration::ZERO };
        s.start_delay + delay + (timing::down_interval(s.version, s.priority, s.advertise) + s.advertise.duration()) * 3
    };
    files.map(time).max().unwrap_or_default()
}
