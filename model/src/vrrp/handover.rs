//! Handing over without a gap: whoever ceases to be master in favour of somebody else keeps its addresses ("lingers")
//! until it is known that the successor answers for them, or for a named time at most.
//!
//! The kernel of a machine that lingers answers as before, so that at every moment somebody does; the successor's
//! announcement comes last and wins in everybody's ARP cache. FAULT, and a vip that leaves the configuration, let go at
//! once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::instance::{Instance, State};
use super::turn::Turn;
use super::{Settings, timing};
use crate::config::{Preempt, Version};
use crate::desired::Reach;
use crate::units::{Cidr, Moment};

/// What the best of the others may take beside its skew to be heard: loss of nothing, a busy processor.
const FOLLOW: Duration = Duration::from_millis(300);

/// How long a successor that is heard may take to add and announce its addresses: thousands take a second.
const ANNOUNCE: Duration = Duration::from_secs(2);

/// Once the last address is announced, what was sent here before is still answered.
const GRACE: Duration = Duration::from_millis(50);

/// A successor that announces nothing for that long has been master before, behind a partition: it is asked to.
const PROMPT: Duration = Duration::from_millis(250);

/// An announcement that came this long before its sender's advert was read belongs to it: two sockets, read in turn.
const CLAIM: Duration = Duration::from_secs(1);

/// The longest that a master which stops answers for its addresses: until the worst possible successor is heard, and
/// has had its time to announce them.
pub fn limit(settings: &Settings) -> Duration {
    longest_skew(settings) + FOLLOW + ANNOUNCE
}

/// Beyond that of any priority (RFC 9568 §6.1, Skew_Time; RFC 3768 §6.1).
fn longest_skew(settings: &Settings) -> Duration {
    match settings.version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => settings.advertise.duration(),
    }
}

/// Addresses kept after mastership.
#[derive(Debug)]
pub(super) struct Lingering {
    /// Those that the successor has not announced.
    waiting: BTreeSet<IpAddr>,
    /// The successor, and its priority.
    successor: Option<(IpAddr, u8)>,
    /// The successor is asked to announce.
    prompt_at: Option<Moment>,
    /// All are let go of; `None` while it may yet be master again.
    until: Option<Moment>,
}

impl Lingering {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.prompt_at.into_iter().chain(self.until).min()
    }
}

impl Instance {
    /// Ceases to be master and keeps the addresses; the caller says what it becomes.
    pub(super) fn linger(&mut self, now: Moment) {
        if !matches!(self.state, State::Master(_)) {
            return;
        }
        let recent = |a: &IpAddr| self.claims.get(a).is_some_and(|at| now.since(*at) < CLAIM);
        let waiting = self.settings.addresses.iter().map(|a| a.address()).filter(|a| !recent(a)).collect();
        self.claims.clear();
        self.lingering = Some(Lingering { waiting, successor: None, prompt_at: None, until: None });
    }

    /// Somebody else is master and has been heard: from now on its announcements are waited for, and not for ever.
    pub(super) fn follow(&mut self, now: Moment, successor: (IpAddr, u8)) {
        let prompt = PROMPT.min(self.settings.advertise.duration());
        let Some(l) = &mut self.lingering else { return };
        if l.successor.replace(successor).is_none() {
            l.prompt_at = Some(now + prompt);
            l.until = Some(l.until.map_or(now + ANNOUNCE, |until| until.max(now + ANNOUNCE)));
        }
        self.is_announced(now);
    }

    /// Somebody else announced an address.
    pub(super) fn announced(&mut self, now: Moment, address: IpAddr) {
        match (&mut self.lingering, &self.state) {
            (Some(l), _) => {
                l.waiting.remove(&address);
                self.is_announced(now);
            }
            (None, State::Master(_)) if self.settings.addresses.iter().any(|a| a.address() == address) => {
                self.claims.insert(address, now);
            }
            (None, _) => {}
        }
    }

    fn is_announced(&mut self, now: Moment) {
        let Some(l) = self.lingering.as_mut().filter(|l| l.waiting.is_empty() && l.successor.is_some()) else { return };
        l.prompt_at = None;
        l.until = Some(l.until.map_or(now + GRACE, |until| until.min(now + GRACE)));
    }

    /// Gives a successor this long to be heard: none follows where it is not.
    pub(super) fn expect_successor(&mut self, now: Moment) {
        let until = now + self.longest_skew() + FOLLOW;
        if let Some(l) = &mut self.lingering {
            l.until.get_or_insert(until);
        }
    }

    /// The skew of the worst that may follow, and what it takes to hear it.
    pub(super) fn last_resort(&self) -> Duration {
        self.longest_skew() + FOLLOW
    }

    fn longest_skew(&self) -> Duration {
        longest_skew(&self.settings)
    }

    /// What time alone does to it.
    pub(super) fn linger_on(&mut self, turn: &mut Turn) {
        let Some(l) = &mut self.lingering else { return };
        if l.until.is_some_and(|at| at <= turn.now) {
            self.let_go(turn);
        } else if l.prompt_at.is_some_and(|at| at <= turn.now) {
            l.prompt_at = None;
            self.prompt(turn);
        }
    }

    /// A master that hears a worse one's advert, or a goodbye, announces its addresses: after a partition nothing else
    /// tells the neighbours that ours is not the MAC of this address any more. It is the advert that this machine owes
    /// as long as it answers for the addresses, and a goodbye where an advert of ours would be the better one.
    fn prompt(&mut self, turn: &mut Turn) {
        let Some((source, priority)) = self.lingering.as_ref().and_then(|l| l.successor) else { return };
        let own = self.priority().get();
        let is_worse = own < priority || own == priority && self.source().is_some_and(|ours| ours < source);
        let takes_part = matches!(self.state, State::Backup(_));
        self.advertise(turn, if is_worse && takes_part { own } else { 0 });
    }

    /// Lets go of what it still has of its mastership.
    pub(super) fn let_go(&mut self, turn: &mut Turn) {
        if self.lingering.take().is_some() {
            self.release(turn, self.settings.addresses.clone());
        }
    }

    /// Nobody else can hear a goodbye and follow.
    pub(super) fn is_alone(&self) -> bool {
        matches!(&self.settings.reach, Reach::Unicast { peers, .. } if peers.is_empty())
    }

    /// Ends taking part because the process ends: hands over.
    pub(super) fn stop(&mut self, turn: &mut Turn) {
        if self.lingering.is_none() && !self.is_alone() {
            self.linger(turn.now);
        }
        self.expect_successor(turn.now);
        self.leave_master(turn, true);
        self.end(turn, "hactl was stopped");
    }

    /// Leaves the vip to others from now on, or no longer.
    pub(super) fn drain(&mut self, turn: &mut Turn, drained: bool) {
        if self.drained == drained {
            return;
        }
        let skew = |i: &Instance| timing::skew_time(i.settings.version, i.priority(), i.settings.advertise);
        let before = skew(self);
        self.drained = drained;
        let later = skew(self).saturating_sub(before);
        let down = self.down_interval(self.settings.advertise);
        match &mut self.state {
            State::Master(_) if drained => self.step_down(turn, "drained"),
            State::Backup(l) => {
                // Of all that wait for a silent master it is the last.
                l.down_at = l.down_at + later;
                if !drained {
                    // It need no longer wait for whether anybody follows.
                    l.down_at = l.down_at.min(turn.now + down);
                }
                l.preempt_at = l.preempt_at.filter(|_| !drained);
            }
            _ => {}
        }
    }

    /// Gives mastership up while it goes on taking part: it is master again where nobody has followed.
    pub(super) fn step_down(&mut self, turn: &mut Turn, why: &str) {
        if !matches!(self.state, State::Master(_)) || self.is_alone() {
            return;
        }
        self.linger(turn.now);
        self.leave_master(turn, true);
        self.enter_backup(turn, self.settings.advertise, why.to_owned());
        let down_at = turn.now + self.last_resort();
        if let State::Backup(l) = &mut self.state {
            l.down_at = down_at;
        }
    }

    /// The same once, at somebody's wish: its successor is left alone.
    pub(super) fn step_down_once(&mut self, turn: &mut Turn) {
        self.step_down(turn, "asked to step down");
        self.stepped_down = matches!(self.state, State::Backup(_));
    }

    /// A drained vip, and one that stepped down when asked to, displaces no living master.
    pub(super) fn holds_back(&self) -> Option<Preempt> {
        (self.drained || self.stepped_down).then_some(Preempt::Never)
    }

    /// Why it displaces nobody, for people.
    pub(super) fn holds_back_words(&self) -> Option<String> {
        let backup = matches!(self.state, State::Backup(_));
        (backup && self.stepped_down && !self.drained)
            .then(|| "it was asked to step down, and leaves a living master alone".to_owned())
    }

    /// Of the addresses that it lingers with, those that the new settings do not have are let go of.
    pub(super) fn linger_without(&mut self, gone: &[Cidr]) {
        if let Some(l) = &mut self.lingering {
            l.waiting.retain(|a| !gone.iter().any(|g| g.address() == *a));
        }
    }
}
