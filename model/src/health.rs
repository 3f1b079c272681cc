//! Rise, fall and debounce: how single results become a state.

use std::time::Duration;

use crate::config::Pace;
use crate::units::Moment;

/// What a check or a probe has come to. The first result counts at once, whatever it is; from then on `fall` failures in
/// a row make it down and `rise` successes in a row make it up, once they have lasted for `debounce`.
#[derive(Debug, Clone)]
pub struct Health {
    rise: u32,
    fall: u32,
    debounce: Duration,
    /// `None` before the first result.
    up: Option<bool>,
    /// Results in a row against the state.
    against: u32,
    /// The first of these.
    began: Moment,
}

impl Health {
    /// Without a result yet. A `rise` or `fall` of 0 counts as 1.
    pub fn new(pace: Pace) -> Self {
        let Pace { debounce, .. } = pace;
        Health { rise: pace.rise.max(1), fall: pace.fall.max(1), debounce, up: None, against: 0, began: Moment(0) }
    }

    /// With this result of an earlier process.
    pub fn resumed(pace: Pace, up: Option<bool>) -> Self {
        Health { up, ..Health::new(pace) }
    }

    /// Takes one result; `Some` with the state where that is the first or a changed one.
    pub fn record(&mut self, now: Moment, ok: bool) -> Option<bool> {
        match self.up {
            Some(up) if up == ok => {
                self.against = 0;
                None
            }
            Some(up) => {
                if self.against == 0 {
                    self.began = now;
                }
                self.against = self.against.saturating_add(1);
                let needed = if up { self.fall } else { self.rise };
                let lasted = now >= self.began + self.debounce;
                (self.against >= needed && lasted).then(|| self.turn(ok))
            }
            None => Some(self.turn(ok)),
        }
    }

    /// When results in a row against the state will have lasted long enough; `None` where there are none.
    pub fn ripe(&self) -> Option<Moment> {
        (self.against > 0).then(|| self.began + self.debounce)
    }

    /// Whether it is up; not before the first result.
    pub fn is_up(&self) -> bool {
        self.up == Some(true)
    }

    fn turn(&mut self, up: bool) -> bool {
        self.up = Some(up);
        self.against = 0;
        up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment(0);

    fn health(rise: u32, fall: u32) -> Health {
        let second = Duration::from_secs(1);
        Health::new(Pace { every: second, timeout: second, fall, rise, debounce: Duration::ZERO })
    }

    #[test]
    fn the_first_result_counts_at_once() {
        let mut h = health(3, 3);
        assert!(!h.is_up());
        assert_eq!(h.record(AT, true), Some(true));
        assert_eq!(health(3, 3).record(AT, false), Some(false));
    }

    #[test]
    fn fall_failures_in_a_row_make_it_down() {
        let mut h = health(1, 3);
        h.record(AT, true);
        assert_eq!([h.record(AT, false), h.record(AT, false)], [None, None]);
        assert_eq!(h.record(AT, true), None);
        assert_eq!([h.record(AT, false), h.record(AT, false), h.record(AT, false)], [None, None, Some(false)]);
        assert!(!h.is_up());
    }

    #[test]
    fn rise_successes_in_a_row_make_it_up() {
        let mut h = health(2, 1);
        h.record(AT, false);
        assert_eq!(
            [h.record(AT, true), h.record(AT, false), h.record(AT, true), h.record(AT, true)],
            [None, None, None, Some(true)]
        );
    }

    #[test]
    fn nothing_is_told_while_the_state_stays() {
        let mut h = health(1, 1);
        h.record(AT, true);
        assert!((0..100).all(|_| h.record(AT, true).is_none()));
    }

    #[test]
    fn a_rise_of_zero_counts_as_one() {
        let mut h = health(0, 0);
        h.record(AT, true);
        assert_eq!([h.record(AT, false), h.record(AT, true)], [Some(false), Some(true)]);
    }

    #[test]
    fn a_state_that_does_not_last_does_not_count() {
        let second = Duration::from_secs(1);
        let at = |n: u32| AT + second * n;
        let debounce = second * 3;
        let mut h = Health::new(Pace { every: second, timeout: second, fall: 1, rise: 1, debounce });
        assert_eq!(h.record(at(0), false), Some(false), "the first result counts at once");
        assert_eq!([h.record(at(1), true), h.record(at(3), true)], [None, None]);
        assert_eq!(h.ripe(), Some(at(4)));
        assert_eq!([h.record(at(3), false), h.record(at(4), true), h.record(at(6), true)], [None, None, None]);
        assert_eq!(h.record(at(7), true), Some(true));
        assert_eq!(h.ripe(), None);
    }
}
