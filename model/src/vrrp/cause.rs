//! Why a packet was dropped, by name, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::effect::Event;
use super::packet::Malformed;

/// How many senders of one cause are remembered, so that each is told of once; forged ones cannot fill the memory.
const SENDERS: usize = 8;

/// Why a packet was dropped, in the order in which packets are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its TTL was not 255: it came through a router (RFC 9568 §7.1).
    Ttl,
    /// It was shorter or longer than it says.
    Length,
    /// Not the version that this virtual router speaks.
    Version,
    /// Not an advertisement.
    Type,
    /// A virtual router that this machine is no part of on this interface.
    Vrid,
    /// The checksum was wrong in both forms.
    Checksum,
    /// Version 2's password was missing, unexpected or wrong.
    Authentication,
    /// The sender is not among the unicast peers.
    Source,
    /// Version 2: another advert interval than ours (RFC 3768 §7.1). Version 3: an interval of 0.
    Interval,
    /// Version 3: it lists no address, while ours has some (RFC 9568 §5.2.5).
    Addresses,
    /// Our own packet, looped back.
    Own,
}

impl Cause {
    /// The stable name that logs and `status` show.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Ttl => "ttl",
            Cause::Length => "length",
            Cause::Version => "version",
            Cause::Type => "type",
            Cause::Vrid => "vrid",
            Cause::Checksum => "checksum",
            Cause::Authentication => "authentication",
            Cause::Source => "source",
            Cause::Interval => "interval",
            Cause::Addresses => "addresses",
            Cause::Own => "own",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Malformed> for Cause {
    fn from(m: Malformed) -> Cause {
        match m {
            Malformed::Length => Cause::Length,
            Malformed::Version => Cause::Version,
            Malformed::Type => Cause::Type,
            Malformed::Vrid => Cause::Vrid,
            Malformed::Checksum => Cause::Checksum,
            Malformed::Interval => Cause::Interval,
        }
    }
}

/// Dropped packets of one subject.
#[derive(Debug, Clone, Default)]
pub struct Drops(BTreeMap<Cause, Tally>);

#[derive(Debug, Clone, Default)]
struct Tally {
    count: u64,
    senders: Vec<IpAddr>,
}

impl Drops {
    /// Counts one and says whether people are to be told: at the first of a sender, then at powers of ten.
    pub fn count(&mut self, subject: &str, cause: Cause, source: IpAddr) -> Option<Event> {
        let tally = self.0.entry(cause).or_default();
        tally.count = tally.count.saturating_add(1);
        let stranger = tally.senders.len() < SENDERS && !tally.senders.contains(&source);
        if stranger {
            tally.senders.push(source);
        }
        (stranger || is_power_of_ten(tally.count)).then(|| Event::Dropped {
            subject: subject.to_owned(),
            source,
            cause: cause.name().to_owned(),
            count: tally.count,
        })
    }

    /// How many of each cause.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(cause, tally)| (cause.name().to_owned(), tally.count)).collect()
    }
}

/// Whether the nth of its kind is told of: 1, 10, 100…
pub fn is_power_of_ten(n: u64) -> bool {
    n.checked_ilog10().and_then(|digits| 10u64.checked_pow(digits)) == Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_of_at_powers_of_ten_only() {
        let told: Vec<u64> = (0..=100_000).filter(|n| is_power_of_ten(*n)).collect();
        assert_eq!(told, [1, 10, 100, 1000, 10_000, 100_000]);
        assert!(!is_power_of_ten(u64::MAX));
    }

    #[test]
    fn a_flood_of_forged_senders_is_told_of_a_bounded_number_of_times() {
        let mut drops = Drops::default();
        let told = (0..10_000u32)
            .filter(|n| drops.count("ui", Cause::Ttl, std::net::Ipv4Addr::from(*n).into()).is_some())
            .count();
        assert!(told <= SENDERS + 5, "{told}");
        assert_eq!(drops.by_name()["ttl"], 10_000);
    }
}
