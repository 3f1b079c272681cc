//! New settings for a living virtual router: only what differs is touched.

use super::Settings;
use super::instance::{Instance, State};
use super::turn::Turn;
use crate::config::Version;

impl Instance {
    /// Whether the settings mean the same virtual router, so that it can go on living with them.
    pub(super) fn is_same_router(&self, new: &Settings) -> bool {
        let s = &self.settings;
        (&s.interface, &s.virtual_mac, s.vrid, s.version) == (&new.interface, &new.virtual_mac, new.vrid, new.version)
    }

    /// First pass of a reload: lets go of addresses that the new settings do not have, before anybody takes them.
    pub(super) fn shed(&mut self, turn: &mut Turn, new: &Settings) {
        if !matches!(self.state, State::Master(_)) && self.lingering.is_none() {
            return;
        }
        let gone = self.settings.things().without(&new.things());
        if !gone.is_empty() {
            self.linger_without(&gone.addresses);
            self.release_some(turn, gone);
        }
    }

    /// Second pass: takes the new settings over in place, without leaving mastership.
    pub(super) fn adopt(&mut self, turn: &mut Turn, new: Settings) {
        let old = std::mem::replace(&mut self.settings, new);
        if old.addresses != self.settings.addresses {
            self.forget_refusals();
        }
        // A check that is new has its own time to report, and makes no master step down meanwhile.
        self.out_of_patience = false;
        let advertise = self.settings.advertise;
        let down = self.down_interval(advertise);
        match &mut self.state {
            State::Master(h) => {
                // The next advert tells the new interval; it does not wait for the old one where that is longer.
                h.advert_at = h.advert_at.min(turn.now + advertise.duration());
            }
            State::Backup(l) => {
                // In version 3 the master's own word counts, which is in `interval` already.
                if self.settings.version == Version::V2 && old.advertise != advertise {
                    l.interval = advertise;
                    l.down_at = turn.now + down;
                }
                if old.preempt != self.settings.preempt {
                    l.preempt_at = None;
                }
                // The election is decided anew, with what is known now.
                if l.ripe.take().is_some() {
                    l.down_at = turn.now;
                }
            }
            State::Init | State::Fault => {}
        }
        let added = self.settings.things().without(&old.things());
        self.owed = match (&self.state, old.accept == self.settings.accept) {
            (State::Master(_), false) => Some(self.settings.addresses.clone()),
            (State::Master(_), true) if !added.is_empty() => Some(added.addresses),
            _ => None,
        };
        self.assess(turn);
        self.warn_of_unlisted(turn);
    }

    /// Third pass: holds what the new settings add. Not before all have them: a master that these take to FAULT, or to
    /// BACKUP with its group, takes nothing more.
    pub(super) fn hold_owed(&mut self, turn: &mut Turn) {
        let Some(owed) = self.owed.take() else { return };
        if let State::Master(h) = &mut self.state {
            h.standing = false;
            self.hold(turn, owed);
        }
    }
}
