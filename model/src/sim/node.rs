//! One machine: a router, the kernel it speaks to, its own clock, and whatever befalls it.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
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
    /// Its check goes up or down.
    Check(bool),
    /// The number in its tracked file.
    Weigh(i16),
    /// Its kernel refuses Holds from now on, or does not.
    Refuse(bool),
    /// Somebody deletes an address that it holds.
    LoseAddress,
    /// A new configuration.
    Reload(Vec<Settings>),
}

/// One machine of a simulated cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name in the trace.
    pub name: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Its interface.
    pub interface: InterfaceName,
    /// What its file says.
    pub file: Vec<Settings>,
    /// What its router was last given of that.
    pub settings: Vec<Settings>,
    /// `None` while it is crashed or stopped.
    pub router: Option<Router>,
    /// Addresses on its interface, with the vip they belong to.
    pub held: BTreeSet<(String, Cidr)>,
    /// Inputs not yet handled.
    pub inbox: VecDeque<Input>,
    /// The driver carries effects out until then and handles nothing.
    pub busy_until: Moment,
    /// Stopped by SIGSTOP, or starved.
    pub paused: bool,
    /// Whether its link is up.
    pub link: bool,
    /// Whether its kernel refuses Holds.
    pub refuses: bool,
    /// Whether its check is up.
    pub check: bool,
    /// The number in its tracked file.
    pub number: i16,
    /// How much its clock runs fast, in parts per million.
    pub drift: i64,
}

impl Node {
    /// A machine that is off.
    pub fn new(name: &str, address: Ipv4Addr, settings: Vec<Settings>, interface: InterfaceName) -> Self {
        Node {
            name: name.to_owned(),
            address,
            interface,
            settings: settings.clone(),
            file: settings,
            router: None,
            held: BTreeSet::new(),
            inbox: VecDeque::new(),
            busy_until: Moment::default(),
            paused: false,
            link: true,
            refuses: false,
            check: true,
            number: 0,
            drift: 0,
        }
    }

    /// Meets its fate; what there is to say of it, `None` where that changes nothing.
    pub fn meet(&mut self, fate: Fate) -> Option<String> {
        let line = match fate {
            Fate::Start if self.router.is_some() => return None,
            Fate::Start => {
                self.start();
                "starts".to_owned()
            }
            Fate::Crash => {
                self.crash();
                "crashes".to_owned()
            }
            Fate::Stop => "is stopped".to_owned(),
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
            Fate::Weigh(number) => {
                self.number = number;
                self.tell_check();
                format!("has {number} in its file")
            }
            Fate::Check(up) => {
                self.check = up;
                self.tell_check();
                format!("has its check {}", if up { "up" } else { "down" })
            }
            Fate::Refuse(refuses) => {
                self.refuses = refuses;
                format!("has a kernel that {}", if refuses { "refuses" } else { "obeys" })
            }
            Fate::LoseAddress => {
                let (_, cidr) = self.held.pop_first()?;
                self.give(Input::AddressLost { interface: self.interface.clone(), cidr });
                format!("loses {cidr} to somebody else")
            }
            Fate::Reload(settings) => {
                self.file.clone_from(&settings);
                self.give(Input::Reload(settings));
                "is reloaded".to_owned()
            }
        };
        Some(line)
    }

    /// Boots: a fresh router that is told of link and checks.
    pub fn start(&mut self) {
        self.settings.clone_from(&self.file);
        self.router = Some(Router::new(self.settings.clone()));
        self.paused = false;
        self.inbox.clear();
        self.tell_link();
        self.tell_check();
    }

    /// Loses power.
    pub fn crash(&mut self) {
        self.router = None;
        self.held.clear();
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
        let primary = Some(self.address);
        let state = if self.link { LinkState::Up { primary } } else { LinkState::Down };
        self.give(Input::Link { interface: self.interface.clone(), state });
    }

    /// Queues word of the check and the file as they are.
    pub fn tell_check(&mut self) {
        self.give(Input::Weight { name: "file".into(), weight: self.number });
        self.give(Input::Check { name: "check".into(), up: self.check });
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

    /// Longest time from an input's arrival to its handling that the driver's work may cost.
    pub const BUSY: Duration = Duration::from_millis(2);
}

fn drifted(at: u64, parts_per_million: i64) -> i64 {
    i64::try_from(i128::from(at) * i128::from(parts_per_million) / 1_000_000).unwrap_or(0)
}
