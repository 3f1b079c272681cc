//! How often packets are looked for while they come one right after the other.

use std::time::Duration;

use model::units::Moment;

/// Packets that come faster than this are taken together. A turn costs some ten microseconds, and the thread goes before
/// all others: a flood must not have one turn for each packet. A sixtieth of the shortest down interval, so that whoever
/// says goodbye within a flood is still heard at once.
const REST: Duration = Duration::from_micros(500);

/// When packets were last found.
#[derive(Debug, Default)]
pub struct Pace {
    found: Option<Moment>,
}

impl Pace {
    /// Packets were found at this moment: how long to leave the next alone, not beyond what is due.
    pub fn rest(&mut self, found: Moment, due: Option<Moment>) -> Option<Duration> {
        let last = self.found.replace(found)?;
        // Twice: else every other turn would be for a single packet.
        let many = found.since(last) < 2 * REST;
        let rest = due.map_or(REST, |at| at.since(found).min(REST));
        (many && !rest.is_zero()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Moment {
        Moment(n * 1000)
    }

    #[test]
    fn a_packet_now_and_then_is_read_when_it_comes() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(micros(0), None), None);
        assert_eq!(pace.rest(micros(10_000), None), None);
        assert_eq!(pace.rest(micros(20_000), None), None);
    }

    #[test]
    fn packets_in_a_row_are_left_to_gather_until_something_is_due() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(micros(0), None), None);
        assert_eq!(pace.rest(micros(20), None), Some(REST));
        assert_eq!(pace.rest(micros(540), Some(micros(640))), Some(Duration::from_micros(100)));
        assert_eq!(pace.rest(micros(700), Some(micros(700))), None);
        assert_eq!(pace.rest(micros(720), Some(micros(600))), None);
    }
}
