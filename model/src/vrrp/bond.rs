//! A virtual router as a member of a group: what it knows of the others, and what it leaves to the group to decide.

use super::Event;
use super::instance::{Instance, State};
use super::turn::Turn;
use super::{LinkState, VipState};
use crate::config::Preempt;
use crate::units::{Family, Moment, Priority, show_duration};

/// What ties a virtual router to the others of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bond {
    /// Its place in the group, 0 for the first.
    pub(super) rank: u32,
    /// The group's priority, with the weights of every check that one of its members tracks.
    pub(super) priority: Priority,
}

/// One change of state, for the events of a group's vips: each is told of once, whatever its families.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) vip: String,
    pub(super) family: Family,
    pub(super) from: VipState,
    pub(super) to: VipState,
    pub(super) priority: Priority,
    pub(super) why: String,
}

impl Instance {
    /// The election is won as far as it is concerned: it takes over, or says so to its group and waits for the others.
    pub(super) fn ripen(&mut self, turn: &mut Turn, why: String) {
        if self.bond.is_none() {
            return self.enter_master(turn, why);
        }
        if let State::Backup(l) = &mut self.state {
            l.ripe = Some(why);
        }
    }

    /// Why it would become master now.
    pub(super) fn ripe(&self) -> Option<&str> {
        if let State::Backup(l) = &self.state { l.ripe.as_deref() } else { None }
    }

    /// Why it, and so its group, does not begin to take part yet.
    pub(super) fn waits(&self, now: Moment) -> Option<String> {
        let s = &self.settings;
        if self.link.is_none() && !self.resumed {
            return Some(format!("interface {} has not been seen yet", s.interface));
        }
        let is_early = self.starts_at.is_some_and(|at| at > now);
        is_early.then(|| format!("waits until {} after the start of hactl", show_duration(s.start_delay)))
    }

    /// Steps down because another member of its group does: nobody else has spoken for its addresses yet.
    pub(super) fn retreat(&mut self, turn: &mut Turn, why: String) {
        if !self.is_alone() {
            self.linger(turn.now);
        }
        self.leave_master(turn, true);
        self.enter_backup(turn, self.settings.advertise, why);
        // If it is for the others to decide, it does not delay them.
        let soon = turn.now + self.last_resort();
        if let State::Backup(l) = &mut self.state {
            l.down_at = l.down_at.min(soon);
        }
    }

    /// Whether a master lives that it would not displace.
    pub(super) fn is_led(&self, now: Moment) -> bool {
        let State::Backup(l) = &self.state else { return false };
        let heard = self.heard.filter(|(_, priority, _)| *priority != 0);
        let displaced = |priority| self.preempt() == Preempt::Immediately && priority < self.priority().get();
        let lives = |at| now.since(at) < self.down_interval(l.interval);
        l.ripe.is_none() && heard.is_some_and(|(_, priority, at)| lives(at) && !displaced(priority))
    }

    /// Whether an equal rival with the higher address is left to a member before it in the group to yield to.
    ///
    /// Each member compares addresses of its own family and network, and two members may find differently: both
    /// machines would step down. So the first decides alone, and the next only where the rival has stayed for so long
    /// that the first does not hear it.
    pub(super) fn leaves_tie_to_another(&mut self, now: Moment) -> bool {
        let down = self.down_interval(self.settings.advertise);
        let Some(Bond { rank: rank @ 1.., .. }) = self.bond else { return false };
        let State::Master(h) = &mut self.state else { return false };
        let (since, last) = h.tie.get_or_insert((now, now));
        if now.since(*last) > down {
            *since = now;
        }
        *last = now;
        now.since(*since) < down * rank
    }

    /// Tells of a change of state at once, or leaves it to the router where others change with it.
    pub(super) fn tell_move(&self, turn: &mut Turn, change: Move) {
        if self.bond.is_some() {
            return turn.moves.push(change);
        }
        let Move { vip, from, to, priority, why, .. } = change;
        turn.tell(Event::State { vip, from, to, priority, why });
    }

    /// What the macvlan with its virtual MAC lacks.
    pub(super) fn lacks_virtual_mac(&self) -> Option<String> {
        let name = self.settings.virtual_mac.as_ref()?;
        let gone = self.virtual_mac == Some(LinkState::Absent);
        gone.then(|| format!("interface {name} with the virtual MAC does not exist: hactl apply makes it"))
    }

    /// When it begins to take part, where that is still to come.
    pub(super) fn start_at(&mut self, born: Moment, now: Moment) {
        self.starts_at = Some(born + self.settings.start_delay).filter(|at| *at > now);
    }

    /// When its addresses are announced for the first time after they were taken.
    pub(super) fn first_announcement(&self, now: Moment) -> Option<Moment> {
        let announce = self.settings.announce;
        let again = Some(announce.again).filter(|again| !again.is_zero());
        again.or(announce.every).map(|after| now + after)
    }

    /// Tells of addresses that adverts do not list.
    pub(super) fn warn_of_unlisted(&self, turn: &mut Turn) {
        let s = &self.settings;
        let listed = s.listed();
        let unlisted: Vec<_> = s.addresses.iter().filter(|a| !listed.contains(&a.address())).collect();
        let (Some(first), Some(last)) = (unlisted.first(), unlisted.last()) else { return };
        let what = format!(
            "an advert lists {} addresses of {}; the other {}, {first} to {last}, are held and not listed",
            listed.len(),
            s.family,
            unlisted.len()
        );
        turn.tell(Event::Warning { vip: s.name.clone(), what });
    }

    /// Is bound to a group from now on, or to none.
    pub(super) fn bind(&mut self, turn: &mut Turn, bond: Option<Bond>) {
        let was_bound = std::mem::replace(&mut self.bond, bond).is_some();
        if !was_bound || bond.is_some() {
            return;
        }
        self.hindrance = None;
        // It decides for itself now, and with its new settings.
        if let State::Backup(l) = &mut self.state
            && l.ripe.take().is_some()
        {
            l.down_at = turn.now;
        }
        self.assess(turn);
    }

    /// Takes word of the macvlan with its virtual MAC: it is there or it is not, and down as long as it is not master.
    pub(super) fn virtual_mac_changed(&mut self, turn: &mut Turn, state: LinkState) {
        self.virtual_mac = Some(state);
        self.assess(turn);
    }
}
