//! What turns again and again: told of one by one at first, then once a minute with the count, so that a bad cable cannot
//! fill a log.

use std::collections::BTreeMap;
use std::time::Duration;

use model::units::Moment;

/// How many times within [`WINDOW`] are told of one by one: a failover with its way back is a handful.
const SINGLE: u64 = 10;

/// How often the rest is told of.
const WINDOW: Duration = Duration::from_secs(60);

/// Objects that are looked after at most: far more than a machine has vips, checks and backends.
const OBJECTS: usize = 4096;

/// How the objects turned of late.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    objects: BTreeMap<String, Flap>,
}

#[derive(Debug)]
struct Flap {
    since: Moment,
    times: u64,
    /// How often that was not told of, with the last of these.
    untold: u64,
    last: String,
}

impl Flaps {
    /// Counts one more of this object, and says whether it is to be told of by itself.
    pub fn count(&mut self, now: Moment, object: &str, what: &str) -> bool {
        if !self.objects.contains_key(object) && self.objects.len() >= OBJECTS {
            return true;
        }
        let fresh = Flap { since: now, times: 0, untold: 0, last: String::new() };
        let flap = self.objects.entry(object.to_owned()).or_insert(fresh);
        if flap.untold == 0 && now.since(flap.since) >= WINDOW {
            (flap.since, flap.times) = (now, 0);
        }
        flap.times = flap.times.saturating_add(1);
        if flap.times > SINGLE {
            flap.untold += 1;
            what.clone_into(&mut flap.last);
        }
        flap.times <= SINGLE
    }

    /// When there is something to tell.
    pub fn due(&self) -> Option<Moment> {
        self.objects.values().filter(|f| f.untold > 0).map(|f| f.since + WINDOW).min()
    }

    /// What is to be told now: how often, and the last.
    pub fn tell(&mut self, now: Moment) -> Vec<String> {
        let mut told = vec![];
        self.objects.retain(|_, flap| {
            if now.since(flap.since) < WINDOW {
                return true;
            }
            if flap.untold > 0 {
                told.push(flap.words());
            }
            // Whatever goes on turning is told of by its count alone.
            let goes_on = flap.untold > 0;
            (flap.since, flap.untold, flap.times) = (now, 0, SINGLE);
            goes_on
        });
        told
    }

    /// All that was not told of yet: at the end.
    pub fn last(&mut self) -> Vec<String> {
        std::mem::take(&mut self.objects).into_values().filter(|f| f.untold > 0).map(|f| f.words()).collect()
    }
}

impl Flap {
    fn words(&self) -> String {
        format!("{} (the last of {} that were not logged within {} s)", self.last, self.untold, WINDOW.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_flaps_all_day_is_told_of_once_a_minute() {
        let mut flaps = Flaps::default();
        let second = Duration::from_secs(1);
        let mut lines = 0;
        let mut counted = 0;
        for n in 0..3600_u32 {
            let now = Moment(0) + second * n;
            lines += u32::from(flaps.count(now, "vip.ui", &format!("turn {n}")));
            let told = flaps.tell(now);
            counted += u32::try_from(told.len()).unwrap();
            assert!(told.iter().all(|line| line.contains(&format!("turn {n} "))), "{told:?}");
        }
        assert_eq!(lines, 10);
        assert!((58..=60).contains(&counted), "{counted}");
        assert_eq!(flaps.last().len(), 1);
    }

    #[test]
    fn after_a_minute_of_rest_each_is_told_of_again() {
        let mut flaps = Flaps::default();
        let at = |s: u64| Moment(0) + Duration::from_secs(s);
        assert!((0..12).map(|s| flaps.count(at(s), "check x", "down")).filter(|told| *told).count() == 10);
        assert_eq!(flaps.due(), Some(at(60)));
        assert_eq!(flaps.tell(at(60)), ["down (the last of 2 that were not logged within 60 s)"]);
        assert_eq!(flaps.due(), None);
        assert!(flaps.tell(at(121)).is_empty());
        assert!(flaps.count(at(122), "check x", "up"));
    }

    #[test]
    fn one_that_flaps_hides_no_other() {
        let mut flaps = Flaps::default();
        assert!((0..100).any(|_| !flaps.count(Moment(0), "vip.a", "turn")));
        assert!(flaps.count(Moment(0), "vip.b", "turn"));
    }
}
