//! One machine: a router, the kernel it speaks to, its own clock, and whatever befalls it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::units::{Cidr, InterfaceName, Moment};
use crate::vrrp::{Input, LinkState, Router, Settings, VipState, VipStatus};

/// What a socket's buffer holds while nobody reads: the rest is lost, as on a real machine.
const INBOX: usize = 256;

/// The last word on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Whether it is up.
    Up(bool),
    /// The number in its file.
    Number(i16),
}

/// One machine of a simulated cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in the trace.
    pub name: String,
    /// Its own addresses, of both families, with the link-local one that every interface of it has.
    pub addresses: Vec<IpAddr>,
    /// Its interfaces, each with the segment it is on.
    pub ports: BTreeMap<InterfaceName, String>,
    /// What its file says.
    pub file: Vec<Settings>,
    /// What its router was last given of that.
    pub settings: Vec<Settings>,
    /// `None` while it is crashed or stopped.
    pub router: Option<Router>,
    /// Addresses on its interface, with the vip they belong to.
    pub held: BTreeSet<(String, Cidr)>,
    /// The copy of an address of ours that somebody put there.
    pub foreign: BTreeSet<(InterfaceName, Cidr)>,
    /// What its router was last told of that.
    pub told: BTreeSet<(InterfaceName, Cidr)>,
    /// Holds that its kernel refused, by vip: in a row, and when the last was.
    pub refused: BTreeMap<String, (u32, Moment)>,
    /// Holds that its kernel ever refused.
    pub refusals: u32,
    /// Inputs not yet handled.
    pub inbox: VecDeque<Input>,
    /// The driver carries effects out until then and handles nothing.
    pub busy_until: Moment,
    /// Stopped by SIGSTOP, or starved.
    pub paused: bool,
    /// It was asked to end and hands over.
    pub stopping: bool,
    /// Its interfaces that are down.
    pub down: BTreeSet<InterfaceName>,
    /// Whether the macvlans of its file are there.
    pub macvlans: bool,
    /// Vips that are to be left to others.
    pub drained: BTreeSet<String>,
    /// It was asked to step down, and leaves a living master alone since.
    pub stepped_down: bool,
    /// Whether its kernel refuses Holds.
    pub refuses: bool,
    /// Whether its kernel refuses Releases.
    pub clings: bool,
    /// Addresses that somebody deleted and the driver does not know of.
    pub unseen: BTreeSet<(String, Cidr)>,
    /// Addresses that were to be released and stand because the kernel refused.
    pub stuck: BTreeSet<(String, Cidr)>,
    /// Addresses that were announced since they stand.
    pub announced: BTreeSet<(String, Cidr)>,
    /// Its checks.
    pub checks: BTreeMap<String, Known>,
    /// What its router was told of them.
    pub known: BTreeMap<String, Known>,
    /// What its router was told of draining.
    pub known_drained: BTreeSet<String>,
    /// Its vips as they were after the last input.
    pub last: Vec<VipStatus>,
    /// How much its clock runs fast, in parts per million.
    pub drift: i64,
}

impl Node {
    /// A machine that is off, its checks up, with an interface on the segment of the same name for each that its
    /// settings name.
    pub fn new(name: &str, addresses: Vec<IpAddr>, settings: Vec<Settings>) -> Self {
        let ports = settings.iter().map(|s| (s.interface.clone(), s.interface.to_string())).collect();
        let checks =
            settings.iter().flat_map(|s| &s.track).map(|(check, _)| (check.clone(), Known::Up(true))).collect();
        Node {
            name: name.to_owned(),
            addresses,
            ports,
            settings: settings.clone(),
            file: settings,
            router: None,
            held: BTreeSet::new(),
            foreign: BTreeSet::new(),
            told: BTreeSet::new(),
            refused: BTreeMap::new(),
            refusals: 0,
            inbox: VecDeque::new(),
            busy_until: Moment::default(),
            paused: false,
            stopping: false,
            down: BTreeSet::new(),
            macvlans: true,
            drained: BTreeSet::new(),
            stepped_down: false,
            refuses: false,
            clings: false,
            unseen: BTreeSet::new(),
            stuck: BTreeSet::new(),
            announced: BTreeSet::new(),
            checks,
            known: BTreeMap::new(),
            known_drained: BTreeSet::new(),
            last: Vec::new(),
            drift: 0,
        }
    }

    /// Boots: a fresh router that is told of link and checks.
    pub fn start(&mut self) {
        self.settings.clone_from(&self.file);
        self.router = Some(Router::new(self.settings.clone()));
        self.paused = false;
        self.inbox.clear();
        self.told.clear();
        self.refused.clear();
        self.known.clear();
        self.known_drained.clear();
        self.stepped_down = false;
        // What a killed one left is released first.
        self.held.clear();
        self.announced.clear();
        self.last = self.router.as_ref().map(Router::status).unwrap_or_default();
        if !self.drained.is_empty() {
            self.give(Input::Drain(self.drained.clone()));
        }
        self.tell_foreign();
        self.tell_macvlans();
        self.tell_links();
        for (name, known) in self.checks.clone() {
            self.give(match known {
                Known::Number(weight) => Input::Weight { name, weight },
                Known::Up(up) => Input::Check { name, up },
            });
        }
    }

    /// Loses power.
    pub fn crash(&mut self) {
        self.router = None;
        self.stopping = false;
        self.last.clear();
        self.held.clear();
        self.announced.clear();
        self.unseen.clear();
        self.stuck.clear();
        self.inbox.clear();
    }

    /// Queues an input; a full queue loses packets only.
    pub fn give(&mut self, input: Input) {
        let lossy = matches!(input, Input::Packet(_));
        if self.router.is_some() && !(lossy && self.inbox.len() >= INBOX) {
            self.inbox.push_back(input);
        }
    }

    /// Its interface on a segment.
    pub fn port_on(&self, segment: &str) -> Option<InterfaceName> {
        self.ports.iter().find(|(_, on)| *on == segment).map(|(interface, _)| interface.clone())
    }

    /// Whether one of its interfaces is up.
    pub fn is_up(&self, interface: &InterfaceName) -> bool {
        !self.down.contains(interface)
    }

    /// An interface of it that is up.
    pub(super) fn up(&self) -> LinkState {
        let primary = self.addresses.iter().find_map(|a| if let IpAddr::V4(a) = a { Some(*a) } else { None });
        let local =
            |a: &IpAddr| if let IpAddr::V6(a) = a { Some(*a).filter(|a| a.is_unicast_link_local()) } else { None };
        LinkState::Up { primary, link_local: self.addresses.iter().find_map(local) }
    }

    pub(super) fn interface_of(&self, vip: &str) -> Option<InterfaceName> {
        let mut settings = self.settings.iter().chain(&self.file);
        settings.find(|s| s.name == vip).map(|s| s.interface.clone())
    }

    /// Its own clock at this moment of the world's.
    pub fn local(&self, now: Moment) -> Moment {
        Moment(now.0.saturating_add_signed(drifted(now.0, self.drift)))
    }

    /// The world's moment at which its own clock shows that, never sooner.
    fn world(&self, local: Moment) -> Moment {
        let mut guess = Moment(local.0.saturating_add_signed(-drifted(local.0, self.drift)));
        // The first guess is short by the drift of the drift: some nanoseconds an hour.
        for _ in 0..64 {
            let short = local.since(self.local(guess));
            if short.is_zero() {
                break;
            }
            guess = guess + short;
        }
        guess
    }

    /// When it will next do something by itself.
    pub fn ready_at(&self, now: Moment) -> Option<Moment> {
        let router = self.router.as_ref().filter(|_| !self.paused)?;
        let inbox = (!self.inbox.is_empty()).then_some(now);
        let tick = router.deadline().map(|at| self.world(at));
        inbox.into_iter().chain(tick).min().map(|at| at.max(self.busy_until).max(now))
    }

    /// Whether a timer of its router is due.
    pub fn is_due(&self, now: Moment) -> bool {
        let deadline = self.router.as_ref().and_then(Router::deadline);
        deadline.is_some_and(|at| at <= self.local(now))
    }

    /// Nothing is under way on it.
    pub fn is_quiet(&self, now: Moment) -> bool {
        self.inbox.is_empty() && !self.paused && self.busy_until <= now
    }

    /// A vip's status on it.
    pub fn status(&self, vip: &str) -> Option<&VipStatus> {
        self.last.iter().find(|s| s.vip == vip)
    }

    /// Whether it is master of a vip.
    pub fn is_master(&self, vip: &str) -> bool {
        self.status(vip).is_some_and(|s| s.state == VipState::Master)
    }

    /// Whether it answers for a vip's addresses: also while it hands them over.
    pub fn answers_for(&self, vip: &str) -> bool {
        self.status(vip).is_some_and(|s| s.state == VipState::Master || s.lingering)
    }

    /// Longest time from an input's arrival to its handling that the driver's work may cost.
    pub const BUSY: Duration = Duration::from_millis(2);
}

fn drifted(at: u64, parts_per_million: i64) -> i64 {
    i64::try_from(i128::from(at) * i128::from(parts_per_million) / 1_000_000).unwrap_or(0)
}
