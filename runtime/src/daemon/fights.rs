//! When somebody undoes again and again what is put right: go on, but at a pace that the machine does not suffer from.

use std::collections::VecDeque;
use std::time::Duration;

use model::units::Moment;

/// Restorations within [`WINDOW`] that are made at once: a person at a keyboard or a tool that restarts makes fewer.
const BURST: usize = 10;

/// What counts as again and again.
const WINDOW: Duration = Duration::from_secs(10);

/// Pause between two restorations while it goes on: a second of the wrong value now and then, and an idle processor.
const PACE: Duration = Duration::from_secs(1);

/// Restorations of late.
#[derive(Debug, Default)]
pub(super) struct Fights {
    recent: VecDeque<Moment>,
}

impl Fights {
    /// Counts one that was made, and says whether it is the one that makes it a fight.
    pub fn count(&mut self, now: Moment) -> bool {
        let was = self.pause(now).is_some();
        self.recent.push_back(now);
        self.recent.truncate(BURST * 2);
        !was && self.pause(now).is_some()
    }

    /// How long to wait before the next one; `None` in peace.
    pub fn pause(&mut self, now: Moment) -> Option<Duration> {
        self.recent.retain(|at| now.since(*at) < WINDOW);
        (self.recent.len() >= BURST).then_some(PACE)
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
}
