//! Rise and fall: how single results become a state.

use crate::config::Pace;

/// What a check or a probe has come to. The first result counts at once, whatever it is; from then on `fall` failures in
/// a row make it down and `rise` successes in a row make it up.
#[derive(Debug, Clone)]
pub struct Health {
    rise: u32,
    fall: u32,
    /// `None` before the first result.
    up: Option<bool>,
    /// Results in a row against the state.
    against: u32,
}

impl Health {
    /// Without a result yet. A `rise` or `fall` of 0 counts as 1.
    pub fn new(pace: Pace) -> Self {
        Health { rise: pace.rise.max(1), fall: pace.fall.max(1), up: None, against: 0 }
    }

    /// Takes one result; `Some` with the state where that is the first or a changed one.
    pub fn record(&mut self, ok: bool) -> Option<bool> {
        match self.up {
            Some(up) if up == ok => {
                self.against = 0;
                None
            }
            Some(up) => {
                self.against += 1;
                let needed = if up { self.fall } else { self.rise };
                (self.against >= needed).then(|| self.turn(ok))
            }
            None => Some(self.turn(ok)),
        }
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
    use std::time::Duration;

    use super::*;

    fn health(rise: u32, fall: u32) -> Health {
        let second = Duration::from_secs(1);
        Health::new(Pace { every: second, timeout: second, fall, rise, debounce: Duration::ZERO })
    }

    #[test]
    fn the_first_result_counts_at_once() {
        let mut h = health(3, 3);
        assert!(!h.is_up());
        assert_eq!(h.record(true), Some(true));
        assert_eq!(health(3, 3).record(false), Some(false));
    }

    #[test]
    fn fall_failures_in_a_row_make_it_down() {
        let mut h = health(1, 3);
        h.record(true);
        assert_eq!([h.record(false), h.record(false)], [None, None]);
        assert_eq!(h.record(true), None);
        assert_eq!([h.record(false), h.record(false), h.record(false)], [None, None, Some(false)]);
        assert!(!h.is_up());
    }

    #[test]
    fn rise_successes_in_a_row_make_it_up() {
        let mut h = health(2, 1);
        h.record(false);
        assert_eq!([h.record(true), h.record(false), h.record(true), h.record(true)], [None, None, None, Some(true)]);
    }

    #[test]
    fn nothing_is_told_while_the_state_stays() {
        let mut h = health(1, 1);
        h.record(true);
        assert!((0..100).all(|_| h.record(true).is_none()));
    }

    #[test]
    fn a_rise_of_zero_counts_as_one() {
        let mut h = health(0, 0);
        h.record(true);
        assert_eq!([h.record(false), h.record(true)], [Some(false), Some(true)]);
    }
}
