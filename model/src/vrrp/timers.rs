//! What time alone does: adverts, taking over from a silent master, retries, and waking up too late.

use std::time::Duration;

use super::handover::Lingering;
use super::instance::{Instance, Listening, State, waiting};
use super::timing;
use super::turn::Turn;
use crate::units::Moment;

impl Instance {
    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let stuck = self.stuck.as_ref().map(|s| s.retry_at);
        let own = match &self.state {
            State::Init => self.starts_at,
            State::Fault => self.refusal.as_ref().map(|r| r.retry_at),
            State::Backup(l) if l.ripe.is_some() => None,
            State::Backup(l) => l.preempt_at.into_iter().chain([l.down_at]).min(),
            State::Master(h) => h.announce_at.into_iter().chain(h.settle_at).chain([h.advert_at]).min(),
        };
        let lingering = self.lingering.as_ref().and_then(Lingering::deadline);
        let bare = self.bare.as_ref().map(|bare| bare.until);
        own.into_iter().chain(stuck).chain(lingering).chain(bare).min()
    }

    /// Runs what is due.
    pub(super) fn tick(&mut self, turn: &mut Turn) {
        self.release_again(turn);
        self.linger_on(turn);
        self.bear_no_longer(turn);
        match self.state {
            State::Init => {
                if self.starts_at.take_if(|at| *at <= turn.now).is_some() {
                    self.assess(turn);
                }
            }
            State::Fault => {
                if self.refusal.as_ref().is_some_and(|r| r.retry_at <= turn.now) {
                    self.refusal = None;
                    self.assess(turn);
                }
            }
            State::Backup(_) => self.take_over_if_due(turn),
            State::Master(_) => self.speak_if_due(turn),
        }
    }

    /// Takes over where the master has been silent, or worse, for long enough.
    fn take_over_if_due(&mut self, turn: &mut Turn) {
        let State::Backup(l @ Listening { ripe: None, .. }) = &self.state else { return };
        let (preempting, silent) = (l.preempt_at.is_some_and(|at| at <= turn.now), l.down_at <= turn.now);
        if !preempting && !silent {
            return;
        }
        let down_at = turn.now + self.down_interval(l.interval);
        let unreported = self.unreported();
        let State::Backup(l) = &mut self.state else { return };
        if let Some(check) = unreported {
            let impatient = *l.overdue.get_or_insert(turn.now) + timing::FIRST_RESULT_PATIENCE;
            l.preempt_at = None;
            l.down_at = if impatient > turn.now { down_at.min(impatient) } else { down_at };
            self.why = Some(waiting(&check));
            if impatient <= turn.now {
                self.out_of_patience = true;
                self.assess(turn);
            }
        } else {
            let why = self.why_take_over(turn.now, preempting);
            self.ripen(turn, why);
        }
    }

    fn why_take_over(&self, now: Moment, preempting: bool) -> String {
        match self.heard {
            Some((master, priority, _)) if preempting => {
                format!("master {master} has priority {priority}, and the delay before preempting is over")
            }
            Some((master, 0, _)) => format!("master {master} said goodbye"),
            Some((master, priority, at)) if priority < self.priority().get() && !is_long(now, at, self) => {
                format!("master {master} has priority {priority}, ours is {}", self.priority())
            }
            Some((master, _, at)) => format!("master {master} was silent for {:.3}s", now.since(at).as_secs_f64()),
            None => "no master was heard".into(),
        }
    }

    /// The router was not asked for anything for that long: asleep where something was due meanwhile (SIGSTOP, a frozen
    /// virtual machine, a stalled disk). Being busy is no sleep: who is busy reads its packets.
    pub(super) fn wake(&mut self, turn: &mut Turn, asleep: Duration) {
        match &self.state {
            State::Init | State::Fault => {}
            State::Backup(_) => self.put_off_if_late(turn, asleep),
            State::Master(h) => {
                if !self.is_alone() && asleep >= timing::soonest_down_interval(self.settings.version, h.spoken) {
                    // A peer has taken over by now: it listens before it speaks.
                    let why = format!("it slept for {:.3}s, a peer may have taken over", asleep.as_secs_f64());
                    self.yield_to(turn, self.settings.advertise, why);
                }
            }
        }
    }

    /// Adverts that arrived while it slept are still unread, or were lost: the silence proves nothing yet.
    fn put_off_if_late(&mut self, turn: &mut Turn, asleep: Duration) {
        let State::Backup(l @ Listening { ripe: None, .. }) = &self.state else { return };
        let due = l.preempt_at.into_iter().chain([l.down_at]).min().unwrap_or(l.down_at);
        if l.put_off || !timing::is_late(turn.now.since(due).min(asleep), l.interval) {
            return;
        }
        let down_at = turn.now + self.down_interval(l.interval);
        let State::Backup(l) = &mut self.state else { return };
        l.put_off = true;
        l.down_at = down_at;
        l.preempt_at = l.preempt_at.map(|_| down_at);
    }

    fn speak_if_due(&mut self, turn: &mut Turn) {
        let interval = self.settings.advertise;
        let State::Master(h) = &mut self.state else { return };
        let speak = h.advert_at <= turn.now;
        if speak {
            h.advert_at = timing::next_advert(h.advert_at, turn.now, interval);
            (h.spoke_at, h.spoken) = (turn.now, interval);
            h.answers = 0;
            h.announced = false;
        }
        // Not before the kernel has confirmed them: Hold announces by itself when they stand.
        let is_due = |at: Moment| at <= turn.now;
        let again = h.announce_at.take_if(|at| is_due(*at)).is_some();
        if again {
            h.announce_at = self.settings.announce.every.map(|every| turn.now + every);
        }
        let settled = h.settle_at.take_if(|at| is_due(*at)).is_some();
        let announce = h.standing && (again || settled);
        if speak {
            self.advertise(turn, self.priority().get());
        }
        if announce {
            self.announce(turn);
        }
    }
}

/// Whether a master last heard at `at` has been silent rather than merely worse.
fn is_long(now: Moment, at: Moment, instance: &Instance) -> bool {
    now.since(at) >= instance.settings.advertise.duration() * 2
}
