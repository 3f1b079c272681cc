//! What a healed cluster must be, and what it must do when one thing more happens to it. Each property has a name,
//! which begins the words of whoever breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fate::Fate;
use super::invariants::broken;
use super::node::Node;
use super::scenario::Scenario;
use super::truth;
use super::world::Action;
use crate::config::Preempt;
use crate::vrrp::{Settings, timing};

/// Within the down interval plus delays.
pub const ONE: &str = "a healed vip has exactly one master";
/// Where all preempt.
pub const HIGHEST: &str = "with preempt the highest is master";
/// Where some never preempt.
pub const INCUMBENT: &str = "without preempt the incumbent stays";
/// Beside time on the wire and at work.
pub const CRASH: &str = "after a crash somebody takes over within the down interval";
/// Beside time on the wire and at work.
pub const STOP: &str = "after a clean stop somebody takes over within the skew";
/// Three intervals and the skew are more than two.
pub const LOSS: &str = "losing two adverts in a row moves nothing";
/// A hundred intervals of every eighth seed.
pub const QUIET: &str = "a settled cluster has no transition at all";
/// Weights and groups included.
pub const ONCE: &str = "a failed check moves a vip once and back at most once";
/// What somebody took is back, what was to go is gone.
pub const CLEAN: &str = "a healed machine has its addresses and no others";

/// Longest pause of a router after the kernel refused (see [`timing::retry_after`]).
const REFUSED: Duration = Duration::from_secs(16);

/// Intervals without any transition, of every eighth seed: the others have fewer, for the sake of more seeds.
const QUIET_INTERVALS: u32 = 100;

/// Below this interval a busy driver is later than the difference of two skews, and the order of an election is open.
const ORDERLY: Duration = Duration::from_millis(100);

impl Scenario {
    pub(super) fn examine(&mut self) {
        let settle = self.settling();
        self.stage("healing");
        self.run(if self.cluster.shortest >= Duration::from_secs(1) { settle + REFUSED } else { settle });
        self.stage("healed");
        let quiet = if self.world.rng.chance(125) { QUIET_INTERVALS } else { 5 };
        self.expect_one("healed");
        self.expect_quiet((QUIET, "healed"), self.cluster.longest * quiet);
        self.expect_highest("healed");
        self.expect_clean();
        self.exam_two_lost_adverts();
        self.exam_check();
        self.exam_crash();
        self.exam_stop();
    }

    /// The vips as a machine has them, as members of their groups.
    fn vips(&self) -> Vec<Settings> {
        self.cluster.files.first().map(|file| file.iter().map(|s| as_member(file, s)).collect()).unwrap_or_default()
    }

    /// A vip's settings on each machine that is on.
    fn members<'a>(&'a self, vip: &'a str) -> impl Iterator<Item = (usize, Settings)> + 'a {
        let on = |n: &usize| self.world.nodes.get(*n).is_some_and(|node| node.router.is_some() && !node.stopping);
        let files = self.cluster.files.iter().enumerate().filter(move |(n, _)| on(n));
        let all = files.flat_map(|(n, file)| file.iter().map(move |s| (n, as_member(file, s))));
        all.filter(move |(_, s)| s.name == vip)
    }

    /// Time on the wire and work of the drivers; a thousandth for the drift of the clocks.
    fn slack(&self, of: Duration) -> Duration {
        self.world.network.delay.1 * 4 + Node::BUSY * 8 + of / 1000
    }

    /// How long a healed cluster may take: who woke up late listens once more, and then one down interval; who
    /// preempts with a delay waits that long and skew, heard from its first worse master; a tie is decided by the next
    /// member of a group a down interval after the first was to.
    fn settling(&self) -> Duration {
        let time = |file: &[Settings], s: &Settings| {
            let down = timing::down_interval(s.version, truth::base(file, s), s.advertise);
            let delay = match s.preempt {
                Preempt::After(delay) => delay + s.advertise.duration() * 2,
                _ => Duration::ZERO,
            };
            let ties = u32::try_from(truth::group(file, s).len()).unwrap_or(1) - 1;
            s.start_delay + delay + down * (2 + ties) + s.advertise.duration()
        };
        let most = self.world.nodes.iter().map(|node| node.refusals).max().unwrap_or(0);
        let forbearance = if most > 0 { timing::preempt_after(most) } else { Duration::ZERO };
        let all = self.cluster.files.iter().flat_map(|file| file.iter().map(|s| time(file, s)));
        let longest = all.max().unwrap_or_default() + forbearance;
        longest + self.slack(longest)
    }

    fn masters(&self) -> BTreeMap<String, Vec<usize>> {
        self.vips().into_iter().map(|s| (s.name.clone(), self.world.masters(&s.name))).collect()
    }

    fn expect_one(&mut self, when: &str) {
        self.expect_one_by(ONE, when);
    }

    fn expect_one_by(&mut self, property: &str, when: &str) {
        if let Some((vip, masters)) = self.masters().iter().find(|(_, masters)| masters.len() != 1) {
            self.world.violate(broken(property, format!("{when}, the masters of {vip} are {masters:?}")));
        }
    }

    /// No transition for a while.
    fn expect_quiet(&mut self, (property, when): (&str, &str), time: Duration) {
        let (first, before) = (self.masters(), self.world.transitions.clone());
        self.run(time);
        let now = self.masters();
        if self.world.transitions != before || now != first {
            self.world.violate(broken(property, format!("{when}, masters were {first:?} and became {now:?}")));
        }
    }

    /// Whoever preempts, whether at once or later, has won by now.
    fn expect_highest(&mut self, when: &str) {
        for vip in self.vips().into_iter().filter(|s| s.preempt != Preempt::Never) {
            let best = self.members(&vip.name).map(|(_, s)| s.priority).max();
            let masters = self.world.masters(&vip.name);
            let theirs = self.members(&vip.name).find(|(n, _)| masters.contains(n)).map(|(_, s)| s.priority);
            if theirs != best {
                let what = format!("{when}, the master of {} has priority {theirs:?}, the best is {best:?}", vip.name);
                self.world.violate(broken(HIGHEST, what));
            }
        }
    }

    /// Nothing stands that was to go, and nothing is missing that somebody took away.
    fn expect_clean(&mut self) {
        let dirty = |node: &&Node| !node.stuck.is_empty() || !node.unseen.is_empty();
        if let Some(node) = self.world.nodes.iter().find(dirty) {
            let what = format!("{} has {:?} too many and {:?} too few", node.name, node.stuck, node.unseen);
            self.world.violate(broken(CLEAN, what));
        }
    }

    fn exam_two_lost_adverts(&mut self) {
        let (masters, before) = (self.masters(), self.world.transitions.clone());
        let phase = self.cluster.longest * u32::try_from(self.world.rng.below(16)).unwrap_or(0) / 16;
        self.run(phase);
        // A little less than two intervals hold two adverts at most.
        self.world.note("nothing is heard for two intervals".into());
        self.world.network.loss = 1000;
        self.run(self.cluster.shortest * 2 - self.cluster.shortest / 50);
        self.stage("two adverts are lost");
        self.world.network.loss = 0;
        self.run(self.cluster.longest * 2);
        if self.world.transitions != before || self.masters() != masters {
            self.world.violate(broken(LOSS, format!("masters were {masters:?} and became {:?}", self.masters())));
        }
    }

    fn exam_check(&mut self) {
        let tracked = |s: &Settings| s.track.iter().any(|(check, weight)| check == "check" && weight.is_none());
        let Some(vip) = self.vips().into_iter().find(tracked) else { return };
        let Some(master) = self.world.masters(&vip.name).first().copied() else { return };
        let before = self.world.takeovers.clone();
        let settle = self.settling();
        for up in [false, true] {
            self.world.act(Action::Node(master, Fate::Check("check".into(), up)));
            self.run(settle);
            self.stage("a check has failed");
            let when = if up { "after a check recovered" } else { "after a check failed" };
            self.expect_one(when);
            self.expect_quiet((QUIET, when), self.cluster.longest * 2);
        }
        if self.cluster.equals || self.cluster.shortest < ORDERLY {
            return;
        }
        for vip in self.vips() {
            let count = |of: &BTreeMap<String, u64>| of.get(&vip.name).copied().unwrap_or(0);
            let moves = count(&self.world.takeovers) - count(&before);
            if moves > if vip.preempt == Preempt::Never { 1 } else { 2 } {
                self.world.violate(broken(ONCE, format!("{} moved {moves} times", vip.name)));
            }
        }
    }

    /// The best of those that are left takes over within its down interval, or its skew; of a group, when the last of
    /// its members may.
    fn expect_heirs(&mut self, property: &str, after: fn(&Settings) -> Duration) {
        let mut longest = Duration::ZERO;
        let vips: BTreeSet<String> = self.vips().into_iter().map(|s| s.name).collect();
        for vip in &vips {
            let mut by_machine: BTreeMap<usize, Duration> = BTreeMap::new();
            for (n, s) in self.members(vip) {
                let file = self.cluster.files.get(n).map(Vec::as_slice).unwrap_or_default();
                let group = truth::group(file, &s).into_iter().map(|s| after(&as_member(file, s)));
                let last = by_machine.entry(n).or_default();
                *last = group.max().unwrap_or_default().max(*last);
            }
            longest = longest.max(by_machine.into_values().min().unwrap_or_default());
        }
        self.run(longest + self.slack(longest));
        self.stage(property);
        self.expect_one_by(property, "then");
        self.expect_quiet((QUIET, property), self.cluster.longest * 3);
    }

    /// The master of a vip dies, and comes back: as the incumbent's backup, or as master where it preempts.
    fn exam_crash(&mut self) {
        let Some(master) = self.world.masters("vip0").first().copied() else { return };
        self.world.act(Action::Node(master, Fate::Crash));
        self.expect_heirs(CRASH, |s| timing::down_interval(s.version, s.priority, s.advertise));
        let incumbents = self.masters();
        self.world.act(Action::Node(master, Fate::Start));
        let settle = self.settling();
        self.run(settle);
        self.stage("the dead came back");
        self.expect_one("when the dead came back");
        self.expect_quiet((QUIET, "when the dead came back"), self.cluster.longest * 3);
        self.expect_highest("when the dead came back");
        for vip in self.vips().into_iter().filter(|s| s.preempt == Preempt::Never) {
            let now = self.world.masters(&vip.name);
            if incumbents.get(&vip.name) != Some(&now) {
                self.world.violate(broken(INCUMBENT, format!("that of {} was displaced by {now:?}", vip.name)));
            }
        }
    }

    /// The master of a vip is stopped.
    fn exam_stop(&mut self) {
        let Some(master) = self.world.masters("vip0").first().copied() else { return };
        self.world.act(Action::Node(master, Fate::Stop));
        self.expect_heirs(STOP, |s| timing::skew_time(s.version, s.priority, s.advertise));
    }
}

/// What it comes to as a member of its group.
fn as_member(file: &[Settings], s: &Settings) -> Settings {
    Settings { priority: truth::base(file, s), preempt: truth::preempt(file, s), ..s.clone() }
}
