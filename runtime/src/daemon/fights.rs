//! When somebody undoes again and again what is put right: go on, but at a pace that the machine does not suffer from.

use std::collections::VecDeque;
use std::time::Duration;

use model::units::Moment;

/// Restorations within [`WINDOW`] that are made at once: a person at a keyboard or a tool that restarts makes fewer.
const BURST: usize = 10;

/// With fewer than these within [`WINDOW`] it is over: below what [`PACE`] alone makes of it.
const QUIET: usize = BURST / 2;

/// What counts as again and again.
const WINDOW: Duration = Duration::from_secs(10);

/// Pause between two restorations while it goes on: a second of the wrong value now and then, and an idle processor.
const PACE: Duration = Duration::from_secs(1);

/// Restorations of late.
#[derive(Debug, Default)]
pub(super) struct Fights {
    recent: VecDeque<Moment>,
    going_on: bool,
}

impl Fights {
    /// Counts one that was made, and says whether it is the one that makes it a fight.
    pub fn count(&mut self, now: Moment) -> bool {
        let was = self.pause(now).is_some();
        self.recent.push_back(now);
        if self.recent.len() > BURST {
            self.recent.pop_front();
        }
        !was && self.pause(now).is_some()
    }

    /// How long to wait before the next one; `None` in peace.
    pub fn pause(&mut self, now: Moment) -> Option<Duration> {
        self.recent.retain(|at| now.since(*at) < WINDOW);
        self.going_on = self.recent.len() >= if self.going_on { QUIET } else { BURST };
        self.going_on.then_some(PACE)
    }

    /// What a person is told of it.
    pub fn words(what: &str) -> String {
        format!(
            "{what} was undone by somebody else {BURST} times in {} s: it is now put right only every {} s; find who \
             writes it (a tuning daemon, a firewall service, another cluster manager) and stop that",
            WINDOW.as_secs(),
            PACE.as_secs()
        )
    }

    /// What a person is told where addresses or their marks are lost so often.
    pub fn told_less() -> String {
        format!(
            "{BURST} addresses or their marks were taken away by somebody else within {} s and put back; until it is \
             quiet, further ones are put back at once and counted (hactl status), but not logged",
            WINDOW.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_fight_and_quiet_ends_it() {
        let mut fights = Fights::default();
        let at = |ms: u64| Moment(ms * 1_000_000);
        let turned: Vec<bool> = (0..12).map(|i| fights.count(at(i))).collect();
        assert_eq!(turned.iter().position(|t| *t), Some(BURST - 1));
        assert_eq!(turned.iter().filter(|t| **t).count(), 1, "said once");
        assert_eq!(fights.pause(at(20)), Some(PACE));
        assert_eq!(fights.pause(at(11_000)), None);
    }

    #[test]
    fn a_fight_that_goes_on_at_our_pace_is_said_once() {
        let mut fights = Fights::default();
        let at = |ms: u64| Moment(ms * 1_000_000);
        let burst = (0..20).map(|i| at(i * 10));
        let paced = (1..60).map(|i| at(i * 1_100));
        assert_eq!(burst.chain(paced).filter(|now| fights.count(*now)).count(), 1);
        assert_eq!(fights.pause(at(66_000)), Some(PACE));
        assert_eq!(fights.pause(at(80_000)), None);
    }
}
