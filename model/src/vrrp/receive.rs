//! What an advert that was judged good does: RFC 9568 §6.4.2 for a Backup, §6.4.3 for a master.

use std::net::IpAddr;

use super::Oddity;
use super::instance::{Instance, State};
use super::packet::{Advert, Body};
use super::timing;
use super::turn::Turn;
use crate::config::{Preempt, Version};
use crate::units::{Centiseconds, Moment, Priority};

/// Adverts out of turn between two scheduled ones: enough to answer every real rival of a segment, few enough that a
/// flood of forged ones is not answered with a flood.
const ANSWERS: u8 = 8;

impl Instance {
    /// Hears an advert and from whom it came.
    pub(super) fn receive(&mut self, turn: &mut Turn, heard: (IpAddr, &Advert)) {
        let (source, advert) = heard;
        self.counters.received += 1;
        self.warn_of_differences(turn, heard);
        match self.state {
            State::Init | State::Fault => {
                self.heard = Some((source, advert.priority, turn.now));
                if advert.priority != 0 {
                    self.follow(turn.now, (source, advert.priority));
                }
            }
            State::Backup(_) => self.hear_as_backup(turn.now, heard),
            State::Master(_) => self.hear_as_master(turn, heard),
        }
    }

    fn hear_as_backup(&mut self, now: Moment, heard: (IpAddr, &Advert)) {
        let (source, advert) = heard;
        let (own, preempt, interval) = (self.priority(), self.preempt(), self.interval_of(advert));
        let down = self.down_interval(interval);
        let forbearance = self.forbearance.as_ref().map(|f| f.until).filter(|until| *until > now);
        let State::Backup(l) = &mut self.state else { return };
        let silence = match self.heard {
            Some((_, priority, at)) if priority != 0 => now.since(at),
            _ => std::time::Duration::ZERO,
        };
        let nearness = timing::nearness(silence, timing::down_interval(self.settings.version, own, l.interval));
        self.heard = Some((source, advert.priority, now));
        if advert.priority == 0 {
            // A goodbye shortens the wait and never lengthens it, so that repeating it delays nobody.
            l.down_at = l.down_at.min(now + timing::skew_time(self.settings.version, own, l.interval));
            l.preempt_at = None;
            return;
        }
        let worse = advert.priority < own.get();
        let borne = worse && matches!(preempt, Preempt::After(_)) && l.preempt_at.is_some_and(|at| at <= now);
        match (preempt, forbearance) {
            // RFC 9568 §6.4.2: discarded, so that the timer runs out and the election is ours.
            (Preempt::Immediately, None) if worse => return,
            (Preempt::Immediately, Some(until)) if worse => l.preempt_at = Some(until),
            // With the skew of every election, so that of several that waited the best alone takes over.
            (Preempt::After(delay), until) if worse => {
                let skew = timing::skew_time(self.settings.version, own, interval);
                l.preempt_at.get_or_insert((now + delay + skew).max(until.unwrap_or(now)));
            }
            _ => l.preempt_at = None,
        }
        self.counters.nearest = self.counters.nearest.max(nearness);
        l.interval = interval;
        l.down_at = now + down;
        l.overdue = None;
        l.put_off = false;
        if !borne {
            l.ripe = None;
        }
        self.follow(now, (source, advert.priority));
    }

    fn hear_as_master(&mut self, turn: &mut Turn, heard: (IpAddr, &Advert)) {
        let (source, advert) = heard;
        let own = self.priority().get();
        let interval = self.settings.advertise;
        let version = self.settings.version;
        if advert.priority == 0 {
            if self.answer(turn)
                && let State::Master(h) = &mut self.state
            {
                h.advert_at = turn.now + interval.duration();
            }
            // It was master beside us: the neighbours may still ask it.
            return self.tell_neighbours(turn);
        }
        // RFC 9568 §7.1: the owner of the addresses hears no other master, not even one that says that it owns them too.
        let owner = own == Priority::OWNER.get();
        let tied = !owner && advert.priority == own && self.source().is_some_and(|ours| source > ours);
        let equal_but_higher = tied && !self.leaves_tie_to_another(turn.now);
        if advert.priority > own || equal_but_higher {
            let why = match equal_but_higher {
                false => format!("master {source} has priority {}, ours is {own}", advert.priority),
                true => format!("master {source} has our priority {own} and the higher address"),
            };
            self.heard = Some((source, advert.priority, turn.now));
            self.yield_to(turn, self.interval_of(advert), why);
            return self.follow(turn.now, (source, advert.priority));
        }
        self.counters.rivals += 1;
        let told = format!("{source} also says that it is master, with priority {}; ours is {own}", advert.priority);
        self.odd(turn, (source, self.interval_of(advert)), (Oddity::Rival, self.counters.rivals, told));
        // RFC 9568 §6.4.3: at once, so that the rival and the bridges learn who is Active; the advert timer stays.
        // RFC 3768 §6.4.3 discards.
        if version == Version::V3 {
            self.answer(turn);
        }
        self.tell_neighbours(turn);
    }

    /// Announces out of turn, once between two adverts.
    fn tell_neighbours(&mut self, turn: &mut Turn) {
        let State::Master(h) = &mut self.state else { return };
        if h.standing && !h.announced {
            h.announced = true;
            self.announce(turn);
        }
    }

    /// Sends an advert out of turn, unless too many were since the last scheduled one.
    fn answer(&mut self, turn: &mut Turn) -> bool {
        let State::Master(h) = &mut self.state else { return false };
        if h.answers >= ANSWERS {
            return false;
        }
        h.answers += 1;
        (h.spoke_at, h.spoken) = (turn.now, self.settings.advertise);
        self.advertise(turn, self.priority().get());
        true
    }

    /// The interval that a Backup counts the sender's silence with: its own word in version 3 (RFC 9568 §6.4.2,
    /// Active_Adver_Interval), ours in version 2, where a differing one was dropped.
    fn interval_of(&self, advert: &Advert) -> Centiseconds {
        match advert.body {
            Body::V2 { .. } => self.settings.advertise,
            Body::V3 { interval } => interval,
        }
    }

    /// Neither a differing list nor, in version 3, a differing interval is a reason to drop: people are told.
    fn warn_of_differences(&mut self, turn: &mut Turn, heard: (IpAddr, &Advert)) {
        let (source, advert) = heard;
        let interval = self.interval_of(advert);
        if !self.lists_ours(advert) {
            self.counters.lists += 1;
            let theirs: Vec<String> = advert.addresses.iter().map(ToString::to_string).collect();
            let told = format!("{source} advertises other addresses: {}", theirs.join(", "));
            self.odd(turn, (source, interval), (Oddity::Addresses, self.counters.lists, told));
        }
        if interval != self.settings.advertise {
            self.counters.intervals += 1;
            let (theirs, ours) = (interval.duration(), self.settings.advertise.duration());
            let told = format!("{source} advertises every {theirs:?}, ours is {ours:?}");
            self.odd(turn, (source, interval), (Oddity::Interval, self.counters.intervals, told));
        }
    }
}
