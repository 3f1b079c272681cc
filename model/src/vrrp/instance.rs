//! One virtual router's state and the ways between its states. [`Instance::enter_master`] and
//! [`Instance::leave_master`] own every effect of becoming and of ceasing to be master.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::addresses::{Forbearance, Pending, Refusal, Stuck};
use super::anomaly::Anomalies;
use super::bond::{Bond, Move};
use super::cause::{Drops, is_power_of_ten};
use super::handover::Lingering;
use super::input::Report;
use super::packet::{self, Advert, Auth, Body};
use super::source::Bare;
use super::timing;
use super::turn::Turn;
use super::{Effect, Event, LinkState, Oddity, Settings};
use crate::config::{Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Moment, Priority};

/// A virtual router.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) settings: Settings,
    /// `None` until the driver has spoken of it.
    pub(super) link: Option<LinkState>,
    /// Results of tracked checks; one that has none yet is missing.
    pub(super) checks: BTreeMap<String, Report>,
    /// What the driver has said of the macvlan with its virtual MAC.
    pub(super) virtual_mac: Option<LinkState>,
    /// What ties it to the others of its group; `None` where it stands alone.
    pub(super) bond: Option<Bond>,
    /// Why its group cannot take part, where that is not its own doing.
    pub(super) hindrance: Option<String>,
    /// When it begins to take part.
    pub(super) starts_at: Option<Moment>,
    pub(super) state: State,
    /// When its deadline was last written into the router's index.
    pub(super) registered: Option<Moment>,
    pub(super) counters: Counters,
    pub(super) anomalies: Anomalies,
    /// Address and priority of the master last heard, and when.
    pub(super) heard: Option<(IpAddr, u8, Moment)>,
    pub(super) since: Moment,
    pub(super) why: Option<String>,
    /// Checks that have not reported count as down from here on.
    pub(super) out_of_patience: bool,
    pub(super) refusal: Option<Refusal>,
    pub(super) forbearance: Option<Forbearance>,
    /// Addresses on each interface that are somebody else's.
    pub(super) foreign: BTreeMap<InterfaceName, BTreeSet<Cidr>>,
    /// Holds that the kernel refused in a row.
    pub(super) refusals: u32,
    pub(super) stuck: Option<Stuck>,
    pub(super) pending: VecDeque<Pending>,
    /// Addresses that a reload adds to those that it holds.
    pub(super) owed: Option<Vec<Cidr>>,
    /// Addresses that it keeps while somebody else takes them over.
    pub(super) lingering: Option<Lingering>,
    /// While it is master: which addresses somebody else announced, and when.
    pub(super) claims: BTreeMap<IpAddr, Moment>,
    /// The last resort, at somebody's wish.
    pub(super) drained: bool,
    /// It stepped down at somebody's wish, and has not been master since.
    pub(super) stepped_down: bool,
    /// It goes on where another process was, and its interface has not been seen since.
    pub(super) resumed: bool,
    /// Its interface has lost the address that it speaks from.
    pub(super) bare: Option<Bare>,
}

/// What the state knows beyond its name.
#[derive(Debug)]
pub(super) enum State {
    Init,
    Backup(Listening),
    Master(Holding),
    Fault,
}

/// A Backup's timers.
#[derive(Debug)]
pub(super) struct Listening {
    /// The master is dead when this comes.
    pub(super) down_at: Moment,
    /// The master's advert interval as far as it is known (RFC 9568 §6.1, Active_Adver_Interval).
    pub(super) interval: Centiseconds,
    /// `Preempt::After`: the worse master has been borne long enough when this comes.
    pub(super) preempt_at: Option<Moment>,
    /// Since when there is no master while a check of ours has not reported yet.
    pub(super) overdue: Option<Moment>,
    /// The timers were once put off because they were looked at late; never twice in one silence, so that a machine
    /// which is always late still takes over.
    pub(super) put_off: bool,
    /// Why it would be master now, while it waits for the others of its group.
    pub(super) ripe: Option<String>,
}

/// A master's timers.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) advert_at: Moment,
    /// Gratuitous ARP again, after taking over and from then on as configured.
    pub(super) announce_at: Option<Moment>,
    /// The same once more, as soon as the predecessor has surely let go.
    pub(super) settle_at: Option<Moment>,
    /// When the last advert left, scheduled or not.
    pub(super) spoke_at: Moment,
    /// The interval that it told, which the peers count our silence with.
    pub(super) spoken: Centiseconds,
    /// Adverts out of turn since the last scheduled one.
    pub(super) answers: u8,
    /// Gratuitous ARP out of turn since the last scheduled advert.
    pub(super) announced: bool,
    /// Since when an equal rival with the higher address is borne, and when it was last heard.
    pub(super) tie: Option<(Moment, Moment)>,
    /// The kernel has confirmed the addresses.
    pub(super) standing: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) drops: Drops,
    pub(super) restored: u64,
    pub(super) nearest: u16,
    /// Adverts with another address list, with another interval, and from a worse master while we are one.
    pub(super) lists: u64,
    pub(super) intervals: u64,
    pub(super) rivals: u64,
    pub(super) sent: u64,
    pub(super) terms: u64,
}

impl Instance {
    pub(super) fn new(settings: Settings, now: Moment) -> Self {
        Instance {
            settings,
            link: None,
            checks: BTreeMap::new(),
            virtual_mac: None,
            bond: None,
            hindrance: None,
            starts_at: None,
            state: State::Init,
            registered: None,
            counters: Counters::default(),
            anomalies: Anomalies::default(),
            heard: None,
            since: now,
            why: None,
            out_of_patience: false,
            refusal: None,
            forbearance: None,
            foreign: BTreeMap::new(),
            refusals: 0,
            stuck: None,
            pending: VecDeque::new(),
            owed: None,
            lingering: None,
            claims: BTreeMap::new(),
            drained: false,
            stepped_down: false,
            resumed: false,
            bare: None,
        }
    }

    /// Priority with the weights of the checks that have reported (a check that has not is neither up nor down).
    pub(super) fn priority(&self) -> Priority {
        if self.drained {
            return Priority::LAST;
        }
        if let Some(bond) = self.bond {
            return bond.priority;
        }
        let weight =
            |(name, weight): &(String, Option<i16>)| self.checks.get(name).map_or(0, |report| report.adds(*weight));
        self.settings.priority.weighted(self.settings.track.iter().map(weight).sum())
    }

    /// The owner of the addresses always preempts (RFC 9568 §6.1, Preempt_Mode).
    pub(super) fn preempt(&self) -> Preempt {
        let owner = self.settings.priority == Priority::OWNER;
        self.holds_back().unwrap_or(if owner { Preempt::Immediately } else { self.settings.preempt })
    }

    /// Silence of a master with this interval after which it is dead to us.
    pub(super) fn down_interval(&self, interval: Centiseconds) -> std::time::Duration {
        timing::down_interval(self.settings.version, self.priority(), interval)
    }

    /// Brings the state in line with link, checks and the kernel's last words.
    pub(super) fn assess(&mut self, turn: &mut Turn) {
        if self.resumed {
            // As it was, until its interface is seen.
            return;
        }
        if let Some(why) = self.waits(turn.now) {
            self.why = Some(why);
            return;
        }
        match (self.obstacle().or_else(|| self.hindrance.clone()), &self.state) {
            (Some(why), State::Fault) => self.why = Some(why),
            (Some(why), _) => self.enter_fault(turn, why),
            // With the others.
            (None, State::Init | State::Fault) if self.bond.is_some() => {}
            (None, State::Init | State::Fault) => self.enter(turn),
            (None, State::Backup(l)) if l.overdue.is_some() => match self.unreported() {
                None => self.ripen(turn, "its checks have reported and no master is heard".into()),
                Some(check) => self.why = Some(waiting(&check)),
            },
            (None, State::Backup(_) | State::Master(_)) => {}
        }
    }

    /// Why it cannot take part, for people.
    pub(super) fn obstacle(&self) -> Option<String> {
        let interface = &self.settings.interface;
        match &self.link {
            None if self.resumed => {}
            None | Some(LinkState::Absent) => return Some(format!("interface {interface} does not exist")),
            Some(LinkState::Down) => return Some(format!("interface {interface} is down")),
            Some(LinkState::Up { .. }) if self.source().is_none() => {
                let kind = match self.settings.family {
                    Family::V4 => "address",
                    Family::V6 => "link-local IPv6 address",
                };
                return Some(format!("interface {interface} has no {kind} of its own to send multicast adverts from"));
            }
            Some(LinkState::Up { .. }) => {}
        }
        if let Some(why) = self.lacks_virtual_mac() {
            return Some(why);
        }
        let must = self.settings.track.iter().filter(|(_, weight)| weight.is_none());
        for (check, _) in must {
            match self.checks.get(check) {
                Some(report) if report.is_good() => {}
                Some(Report::Weight(number)) => return Some(format!("check {check} says {number}")),
                Some(_) => return Some(format!("check {check} is down")),
                None if self.out_of_patience => {
                    let patience = timing::FIRST_RESULT_PATIENCE.as_secs();
                    return Some(format!("check {check} has not reported within {patience}s"));
                }
                None => {}
            }
        }
        if let Some((interface, cidr)) = self.taken() {
            return Some(format!(
                "{cidr} is on {interface} already and was not put there by hactl: remove it there (hactl plan says whose it is)"
            ));
        }
        self.refusal.as_ref().map(|r| format!("the addresses could not be held: {}", r.words))
    }

    /// The first check without weight that has no result yet.
    pub(super) fn unreported(&self) -> Option<String> {
        let mut must = self.settings.track.iter().filter(|(_, weight)| weight.is_none());
        must.find(|(check, _)| !self.checks.contains_key(check)).map(|(check, _)| check.clone())
    }

    /// RFC 9568 §6.4.1: the owner becomes Active at once, everybody else listens.
    pub(super) fn enter(&mut self, turn: &mut Turn) {
        let forbearing = self.forbearance.as_ref().is_some_and(|f| f.until > turn.now);
        let is_owner = self.priority() == Priority::OWNER && self.unreported().is_none() && !forbearing;
        if is_owner && self.bond.is_none() {
            self.enter_master(turn, "it owns the addresses".into());
        } else {
            let why = match self.state {
                State::Fault if self.refusals > 0 => "trying again to hold the addresses",
                State::Fault => "able to hold the addresses again",
                _ => "started, listening for a master",
            };
            self.enter_backup(turn, self.settings.advertise, why.into());
            if is_owner {
                self.ripen(turn, "it owns the addresses".into());
            }
        }
    }

    /// Listens for a master with this interval for a whole down interval.
    pub(super) fn enter_backup(&mut self, turn: &mut Turn, interval: Centiseconds, why: String) {
        let listening = Listening {
            down_at: turn.now + self.down_interval(interval),
            interval,
            preempt_at: None,
            overdue: None,
            put_off: false,
            ripe: None,
        };
        self.move_to(turn, State::Backup(listening), why);
        self.why = None;
    }

    /// The one way into mastership: advert, then the addresses, and gratuitous ARP again later.
    pub(super) fn enter_master(&mut self, turn: &mut Turn, why: String) {
        let holding = Holding {
            advert_at: turn.now + self.settings.advertise.duration(),
            announce_at: self.first_announcement(turn.now),
            settle_at: None,
            spoke_at: turn.now,
            spoken: self.settings.advertise,
            answers: 0,
            announced: false,
            tie: None,
            standing: false,
        };
        self.counters.terms += 1;
        // What it lingered with is its own again.
        self.lingering = None;
        self.owed = None;
        self.claims.clear();
        self.stepped_down = false;
        self.out_of_patience = false;
        self.advertise(turn, self.priority().get());
        self.move_to(turn, State::Master(holding), why);
        self.why = None;
        self.hold(turn, self.settings.addresses.clone());
    }

    /// The one way out of mastership: the goodbye where peers are to take over at once (RFC 9568 §6.4.3, Shutdown),
    /// then the addresses, unless it lingers with them. The caller says what it becomes.
    pub(super) fn leave_master(&mut self, turn: &mut Turn, goodbye: bool) {
        if let State::Master(_) = self.state {
            if goodbye {
                self.advertise(turn, 0);
            }
            if self.lingering.is_none() {
                self.release(turn, self.settings.addresses.clone());
            }
        }
    }

    /// Steps down in favour of a master that was heard, or that there may be; lingers until it surely is one.
    pub(super) fn yield_to(&mut self, turn: &mut Turn, interval: Centiseconds, why: String) {
        self.linger(turn.now);
        self.leave_master(turn, false);
        self.enter_backup(turn, interval, why);
    }

    pub(super) fn enter_fault(&mut self, turn: &mut Turn, why: String) {
        self.leave_master(turn, true);
        self.let_go(turn);
        self.move_to(turn, State::Fault, why.clone());
        self.why = Some(why);
    }

    /// Ends taking part, for good or until settings are entered anew.
    pub(super) fn leave(&mut self, turn: &mut Turn, why: &str) {
        self.leave_master(turn, true);
        self.let_go(turn);
        self.end(turn, why);
    }

    pub(super) fn end(&mut self, turn: &mut Turn, why: &str) {
        self.move_to(turn, State::Init, why.to_owned());
        self.why = Some(why.to_owned());
        self.refusal = None;
        self.starts_at = None;
    }

    fn move_to(&mut self, turn: &mut Turn, next: State, why: String) {
        let from = self.name();
        self.state = next;
        let to = self.name();
        if from != to {
            self.since = turn.now;
            let (vip, priority) = (self.settings.name.clone(), self.priority());
            self.tell_move(turn, Move { vip, family: self.settings.family, from, to, priority, why });
        }
    }

    pub(super) fn announce(&self, turn: &mut Turn) {
        let s = &self.settings;
        turn.push(Effect::Announce {
            vip: s.name.clone(),
            family: s.family,
            interface: s.interface.clone(),
            virtual_mac: s.virtual_mac.clone(),
            addresses: s.addresses.clone(),
        });
    }

    /// Sends an advert with this priority to everybody whom it concerns.
    pub(super) fn advertise(&mut self, turn: &mut Turn, priority: u8) {
        let Some(source) = self.source() else { return };
        let s = &self.settings;
        let body = match s.version {
            Version::V2 => Body::V2 {
                seconds: s.advertise.whole_seconds().unwrap_or(1),
                auth: s.password.map_or(Auth::None, Auth::Simple),
            },
            Version::V3 => Body::V3 { interval: s.advertise },
        };
        let advert = Advert { vrid: s.vrid, priority, body, addresses: s.listed() };
        let destinations = match &s.reach {
            Reach::Multicast => vec![packet::group(s.family)],
            Reach::Unicast { peers, .. } => peers.clone(),
        };
        // Where the checksum covers the destination, each peer gets a message of its own.
        let own_message = s.family == Family::V6 || s.version == Version::V3 && s.checksum == Checksum::PseudoHeader;
        for to in destinations.chunks(if own_message { 1 } else { destinations.len().max(1) }) {
            let Some(first) = to.first() else { continue };
            turn.push(Effect::Advert {
                interface: s.interface.clone(),
                virtual_mac: s.virtual_mac.clone(),
                source,
                destinations: to.to_vec(),
                message: packet::encode(&advert, s.checksum, source, *first),
            });
        }
        self.counters.sent += 1;
    }

    /// Takes a changed link over. Where the address that adverts are sent from is gone, no goodbye can be said; where
    /// the link has come up, what the kernel refused before may be over, and it is asked again at once.
    pub(super) fn link_changed(&mut self, turn: &mut Turn, link: LinkState) {
        let is_up = |link: &LinkState| matches!(link, LinkState::Up { .. });
        if is_up(&link) && !self.link.as_ref().is_some_and(is_up) {
            self.forget_refusals();
        }
        self.link = Some(self.bear(turn.now, link));
        let resumed = std::mem::take(&mut self.resumed);
        self.assess(turn);
        if resumed && matches!(self.state, State::Master(_)) {
            self.hold(turn, self.settings.addresses.clone());
        }
    }

    /// A differing list, interval or rival is told of at powers of ten, and stands in `status` while it goes on.
    pub(super) fn odd(&mut self, turn: &mut Turn, from: (IpAddr, Centiseconds), odd: (Oddity, u64, String)) {
        let ((source, interval), (kind, nth, what)) = (from, odd);
        if is_power_of_ten(nth) {
            turn.tell(Event::Warning { vip: self.settings.name.clone(), what: what.clone() });
        }
        let interval = interval.max(self.settings.advertise);
        self.anomalies.note(turn.now, interval.duration(), (kind, source, what));
    }
}

pub(super) fn waiting(check: &str) -> String {
    format!("waiting for the first result of check {check}")
}
