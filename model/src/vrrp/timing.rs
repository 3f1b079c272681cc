//! Every sum on intervals, and nothing else: skew, down interval, the schedule of adverts, patience and retries.

use std::time::Duration;

use crate::config::Version;
use crate::units::{Centiseconds, Moment, Priority};

/// Gratuitous ARP is sent again this long after taking over: switches that were busy relearning get a second chance.
pub const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// And this long after they stand: whoever held them before has let go by then, and answers no question any more that
/// came between.
pub const ANNOUNCE_SOON: Duration = Duration::from_millis(300);

/// How long a check may leave its first result open before it counts as down: longer than any sane timeout of a check,
/// short enough that a machine which will never be master says so.
pub const FIRST_RESULT_PATIENCE: Duration = Duration::from_secs(60);

/// First pause before the kernel is asked again for what it refused.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Longest such pause: people who repaired the cause do not wait longer than this.
const RETRY_MOST: Duration = Duration::from_secs(16);

/// First time that a living worse master is left alone after the kernel refused the addresses that were taken from it.
const FORBEAR_FIRST: Duration = Duration::from_secs(10);

/// Longest such time: a master that loses its vip for nothing every ten minutes is one that people still repair in time.
const FORBEAR_MOST: Duration = Duration::from_secs(600);

/// How much sooner a better router wakes: (256 − priority) / 256 of a second in version 2 (RFC 3768 §6.1) and of the
/// master's advert interval in version 3 (RFC 9568 §6.1).
pub fn skew_time(version: Version, priority: Priority, interval: Centiseconds) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval.duration(),
    };
    whole * (256 - u32::from(priority.get())) / 256
}

/// Silence after which the master is dead: three intervals and the skew (RFC 9568 §6.1, Active_Down_Interval).
pub fn down_interval(version: Version, priority: Priority, interval: Centiseconds) -> Duration {
    interval.duration() * 3 + skew_time(version, priority, interval)
}

/// The soonest that any peer can have declared a master dead: the down interval of the best priority there is.
pub fn soonest_down_interval(version: Version, interval: Centiseconds) -> Duration {
    down_interval(version, Priority::OWNER, interval)
}

/// When the next advert is due: on the beat of the last one, so that lateness does not add up; from now where a whole
/// interval was missed.
pub fn next_advert(due: Moment, now: Moment, interval: Centiseconds) -> Moment {
    let on_beat = due + interval.duration();
    if on_beat > now { on_beat } else { now + interval.duration() }
}

/// Whether a timer looked at this much too late may have missed adverts: by more than one interval.
pub fn is_late(lateness: Duration, interval: Centiseconds) -> bool {
    lateness > interval.duration()
}

/// Whether nobody can have missed anything in that time: less than the shortest interval there is.
pub fn is_wink(asleep: Duration) -> bool {
    asleep < Duration::from_millis(10)
}

/// Pause before the kernel is asked again, after `failures` refusals in a row: doubling, bounded.
pub fn retry_after(failures: u32) -> Duration {
    doubled(RETRY_FIRST, failures).min(RETRY_MOST)
}

/// How long a living worse master is left alone after `failures` refusals in a row: doubling, bounded.
pub fn preempt_after(failures: u32) -> Duration {
    doubled(FORBEAR_FIRST, failures).min(FORBEAR_MOST)
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(8))
}

/// A silence in thousandths of the down interval.
pub fn nearness(silence: Duration, down: Duration) -> u16 {
    let thousandths = silence.as_nanos().saturating_mul(1000) / down.as_nanos().max(1);
    u16::try_from(thousandths).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(n: u8) -> Priority {
        Priority::try_from(n).unwrap()
    }

    fn centiseconds(n: u16) -> Centiseconds {
        Centiseconds::try_from(n).unwrap()
    }

    #[test]
    fn version_2_counts_skew_in_parts_of_a_second_whatever_the_interval() {
        assert_eq!(skew_time(Version::V2, priority(100), centiseconds(500)), Duration::from_micros(609_375));
        assert_eq!(down_interval(Version::V2, priority(100), centiseconds(500)), Duration::from_micros(15_609_375));
    }

    #[test]
    fn version_3_counts_skew_in_parts_of_the_interval() {
        assert_eq!(skew_time(Version::V3, priority(100), centiseconds(10)), Duration::from_nanos(60_937_500));
        assert_eq!(down_interval(Version::V3, priority(100), centiseconds(1)), Duration::from_nanos(36_093_750));
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        let longest = down_interval(Version::V3, priority(1), centiseconds(4095));
        assert!(longest > Duration::from_secs(163) && longest < Duration::from_secs(164));
    }

    #[test]
    fn adverts_keep_their_beat_and_do_not_catch_up() {
        let ms = |n: u64| Moment(n * 1_000_000);
        assert_eq!(next_advert(ms(100), ms(103), centiseconds(10)), ms(200));
        assert_eq!(next_advert(ms(100), ms(950), centiseconds(10)), ms(1050));
    }

    #[test]
    fn retries_double_and_stay_bounded() {
        let pauses: Vec<u64> = (1..8).map(|n| retry_after(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(retry_after(u32::MAX), RETRY_MOST);
        let pauses: Vec<u64> = (1..9).map(|n| preempt_after(n).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
    }

    #[test]
    fn a_whole_down_interval_of_silence_is_a_thousand_thousandths() {
        assert_eq!(nearness(Duration::from_secs(3), Duration::from_secs(3)), 1000);
        assert_eq!(nearness(Duration::from_secs(1), Duration::from_secs(4)), 250);
        assert_eq!(nearness(Duration::from_secs(1), Duration::ZERO), u16::MAX);
    }
}
