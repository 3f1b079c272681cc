//! One machine: a router, the kernel it speaks to, its own clock, and whatever befalls it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::units::{Cidr, InterfaceName, Moment};
use crate::vrrp::{Input, LinkState, Router, Settings, VipState, VipStatus};

/// What a socket's buffer holds while nobody reads: the rest is lost, as on a real machine.
const INBOX: usize = 256;

/// What befalls one machine.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Power on, or restart of a process that is gone.
    Start,
    /// Power off.
    Crash,
    /// SIGTERM.
    Stop,
    /// SIGSTOP, a frozen virtual machine, a stalled disk.
    Pause,
    /// SIGCONT.
    Resume,
    /// Its link goes up or down.
    Link(bool),
    /// One of its checks goes up or down.
    Check(String, bool),
    /// The number in one of its tracked files.
    Weigh(String, i16),
    /// Its kernel refuses Holds from now on, or does not.
    Refuse(bool),
    /// Its kernel refuses Releases from now on, or does not.
    Cling(bool),
    /// Somebody puts a copy of the first address of the file there, or takes it away.
    Occupy(bool),
    /// Somebody deletes an address that it holds.
    LoseAddress,
    /// The same, and the kernel's word of it is lost (a full netlink socket).
    LoseAddressUnseen,
    /// The driver reads its addresses again, as it does after words were lost.
    Reread,
    /// A new configuration.
    Reload(Vec<Settings>),
}

/// One machine of a simulated cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in the trace.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
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
    pub foreign: BTreeSet<Cidr>,
    /// What its router was last told of that.
    pub told: BTreeSet<Cidr>,
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
    /// Whether its link is up.
    pub link: bool,
    /// Whether its kernel refuses Holds.
    pub refuses: bool,
    /// Whether its kernel refuses Releases.
    pub clings: bool,
    /// Addresses that somebody deleted and the driver does not know of.
    pub unseen: BTreeSet<(String, Cidr)>,
    /// Addresses that were to be released and stand because the kernel refused.
    pub stuck: BTreeSet<(String, Cidr)>,
    /// Its checks, and whether they are up.
    pub checks: BTreeMap<String, bool>,
    /// Its tracked files, and the numbers in them.
    pub numbers: BTreeMap<String, i16>,
    /// How much its clock runs fast, in parts per million.
    pub drift: i64,
}

impl Node {
    /// A machine that is off, its checks up, with an interface on the segment of the same name for each that its
    /// settings name.
    pub fn new(name: &str, address: IpAddr, settings: Vec<Settings>) -> Self {
        let ports = settings.iter().map(|s| (s.interface.clone(), s.interface.to_string())).collect();
        let checks = settings.iter().flat_map(|s| &s.track).map(|(check, _)| (check.clone(), true)).collect();
        Node {
            name: name.to_owned(),
            address,
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
            link: true,
            refuses: false,
            clings: false,
            unseen: BTreeSet::new(),
            stuck: BTreeSet::new(),
            checks,
            numbers: BTreeMap::new(),
            drift: 0,
        }
    }

    /// Meets its fate; what there is to say of it, `None` where that changes nothing.
    pub fn meet(&mut self, fate: Fate) -> Option<String> {
        let line = match fate {
            Fate::Start if self.router.is_some() && !self.stopping => return None,
            Fate::Start => {
                self.crash();
                self.start();
                "starts".to_owned()
            }
            Fate::Crash => {
                self.crash();
                "crashes".to_owned()
            }
            Fate::Stop => {
                self.stopping = self.router.is_some();
                "is stopped".to_owned()
            }
            Fate::Pause => {
                self.paused = true;
                "is paused".to_owned()
            }
            Fate::Resume => {
                self.paused = false;
                "goes on".to_owned()
            }
            Fate::Link(up) => {
                self.link = up;
                self.tell_link();
                format!("has its link {}", if up { "up" } else { "down" })
            }
            Fate::Check(check, up) => {
                self.give(Input::Check { name: check.clone(), up });
                let line = format!("has its check {check} {}", if up { "up" } else { "down" });
                self.checks.insert(check, up);
                line
            }
            Fate::Weigh(file, weight) => {
                self.give(Input::Weight { name: file.clone(), weight });
                let line = format!("has {weight} in its {file}");
                self.numbers.insert(file, weight);
                line
            }
            Fate::Refuse(refuses) => {
                self.refuses = refuses;
                format!("has a kernel that {}", if refuses { "refuses addresses" } else { "takes addresses" })
            }
            Fate::Cling(clings) => {
                self.clings = clings;
                format!("has a kernel that {}", if clings { "keeps addresses" } else { "lets go of addresses" })
            }
            Fate::Occupy(there) => return self.occupy(there),
            Fate::LoseAddress => return self.lose(true),
            Fate::LoseAddressUnseen => return self.lose(false),
            Fate::Reread => self.reread(),
            Fate::Reload(settings) => {
                self.file.clone_from(&settings);
                self.give(Input::Reload(settings));
                "is reloaded".to_owned()
            }
        };
        Some(line)
    }

    fn reread(&mut self) -> String {
        for (vip, cidr) in self.unseen.clone() {
            self.tell_lost(&vip, cidr);
        }
        "reads its addresses again".to_owned()
    }

    /// Somebody deletes an address that it holds, and its driver hears of it or does not.
    fn lose(&mut self, heard: bool) -> Option<String> {
        let (vip, cidr) = self.held.pop_first()?;
        self.stuck.remove(&(vip.clone(), cidr));
        if heard {
            self.tell_lost(&vip, cidr);
            return Some(format!("loses {cidr} to somebody else"));
        }
        self.unseen.insert((vip, cidr));
        Some(format!("loses {cidr} to somebody else and does not hear of it"))
    }

    /// What the router holds, or believes to, is made its own again by its driver: nothing comes of that.
    fn occupy(&mut self, there: bool) -> Option<String> {
        let first = self.file.first().and_then(|s| s.addresses.first()).copied();
        let ours = |a: &Cidr| self.held.iter().chain(&self.unseen).any(|(_, held)| held == a);
        let foreign: BTreeSet<Cidr> = first.filter(|a| there && !ours(a)).into_iter().collect();
        if self.foreign == foreign {
            return None;
        }
        let line = match foreign.first() {
            Some(cidr) => format!("has {cidr} of somebody else's"),
            None => "has no address of somebody else's any more".to_owned(),
        };
        self.foreign = foreign;
        self.tell_foreign();
        Some(line)
    }

    fn tell_foreign(&mut self) {
        for interface in self.ports.keys().cloned().collect::<Vec<_>>() {
            self.give(Input::Foreign { interface, addresses: self.foreign.clone() });
        }
    }

    fn tell_lost(&mut self, vip: &str, cidr: Cidr) {
        if let Some(interface) = self.interface_of(vip) {
            self.give(Input::AddressLost { interface, cidr });
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
        self.tell_foreign();
        self.tell_link();
        for (name, up) in self.checks.clone() {
            let number = self.numbers.get(&name).copied();
            self.give(match number {
                Some(weight) => Input::Weight { name, weight },
                None => Input::Check { name, up },
            });
        }
    }

    /// Loses power.
    pub fn crash(&mut self) {
        self.router = None;
        self.stopping = false;
        self.held.clear();
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

    /// Queues word of the link as it is.
    pub fn tell_link(&mut self) {
        let IpAddr::V4(primary) = self.address else { return };
        let up = LinkState::Up { primary: Some(primary), link_local: None };
        let state = if self.link { up } else { LinkState::Down };
        for interface in self.ports.keys().cloned().collect::<Vec<_>>() {
            self.give(Input::Link { interface, state: state.clone() });
        }
    }

    /// Its interface on a segment.
    pub fn port_on(&self, segment: &str) -> Option<InterfaceName> {
        self.ports.iter().find(|(_, on)| *on == segment).map(|(interface, _)| interface.clone())
    }

    fn interface_of(&self, vip: &str) -> Option<InterfaceName> {
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
    pub fn status(&self, vip: &str) -> Option<VipStatus> {
        self.router.as_ref()?.status().into_iter().find(|s| s.vip == vip)
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
