//! Values that cannot be wrong: each is checked where it is built, so that nobody checks it again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text or number is not a value of the unit asked for; lower case, without the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub String);

/// Virtual router identifier, 1–255 (RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Vrid(u8);

impl Vrid {
    /// The highest there is.
    pub const MAX: Vrid = Vrid(255);

    /// The number as it stands in the packet.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Vrid {
    type Error = UnitError;
    fn try_from(n: u8) -> Result<Self, UnitError> {
        match n {
            0 => Err(UnitError("a vrid is 1 to 255".into())),
            _ => Ok(Vrid(n)),
        }
    }
}

impl From<Vrid> for u8 {
    fn from(v: Vrid) -> u8 {
        v.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Priority of a running router, 1–255; 255 is the address owner, 0 exists only in a packet that says goodbye
/// (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The address owner's priority.
    pub const OWNER: Priority = Priority(255);

    /// The lowest: whoever has it follows when nobody else does.
    pub const LAST: Priority = Priority(1);

    /// The number as it stands in the packet.
    pub fn get(self) -> u8 {
        self.0
    }

    /// This priority moved by the sum of the tracked weights and kept within 1–254; the owner's does not move.
    pub fn weighted(self, weights: i32) -> Priority {
        match self {
            Priority::OWNER => self,
            Priority(n) => Priority((i32::from(n).saturating_add(weights)).clamp(1, 254) as u8),
        }
    }
}

impl TryFrom<u8> for Priority {
    type Error = UnitError;
    fn try_from(n: u8) -> Result<Self, UnitError> {
        match n {
            0 => Err(UnitError("a priority is 1 to 254, or 255 for the address owner".into())),
            _ => Ok(Priority(n)),
        }
    }
}

impl From<Priority> for u8 {
    fn from(p: Priority) -> u8 {
        p.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An advert interval in centiseconds, 1–25500: what either version can say. Version 3 carries 1–4095 of them (RFC 9568
/// §5.2.7), version 2 whole seconds up to 255 (RFC 3768 §5.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Centiseconds(u16);

impl Centiseconds {
    /// The longest that version 3 carries, 40.95 s.
    pub const MAX_V3: Centiseconds = Centiseconds(4095);
    /// The longest that version 2 carries, 255 s.
    pub const MAX_V2: Centiseconds = Centiseconds(25_500);

    /// The number; as it stands in a version 3 packet up to [`Centiseconds::MAX_V3`].
    pub fn get(self) -> u16 {
        self.0
    }

    /// The same span as a [`Duration`].
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }

    /// Whole seconds 1–255 for version 2 (RFC 3768 §5.3.7); `None` where version 2 cannot carry it.
    pub fn whole_seconds(self) -> Option<u8> {
        match self.0 % 100 {
            0 => u8::try_from(self.0 / 100).ok(),
            _ => None,
        }
    }

    /// From a version 2 packet's whole seconds; `None` for 0.
    pub fn from_seconds(s: u8) -> Option<Self> {
        Centiseconds::try_from(u16::from(s) * 100).ok()
    }
}

impl TryFrom<u16> for Centiseconds {
    type Error = UnitError;
    fn try_from(n: u16) -> Result<Self, UnitError> {
        match n {
            1..=25_500 => Ok(Centiseconds(n)),
            _ => Err(UnitError("an advert interval is 10ms to 255s".into())),
        }
    }
}

impl From<Centiseconds> for u16 {
    fn from(c: Centiseconds) -> u16 {
        c.0
    }
}

/// A point on the monotonic clock, in nanoseconds since an origin of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// How long after `earlier` this is; zero where it is not later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Moment {
    type Output = Duration;
    fn sub(self, earlier: Moment) -> Duration {
        self.since(earlier)
    }
}

/// IPv4 or IPv6: a virtual router belongs to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A host's address with the length of its network's prefix: `192.0.2.10/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Checks the prefix against the family: at most 32 or 128.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, UnitError> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(UnitError(format!("a prefix of this family is at most /{most}")));
        }
        Ok(Cidr { address, prefix })
    }

    /// The host's address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The host's address where it is IPv4.
    pub fn v4(self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    }

    /// The address's family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Length of the network's prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network that it lies in: the same prefix without host bits.
    pub fn network(self) -> Cidr {
        let keep = |bits: u32| u128::MAX.checked_shl(bits.saturating_sub(u32::from(self.prefix))).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(a) => Ipv4Addr::from(u32::from(a) & keep(32) as u32).into(),
            IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) & keep(128)).into(),
        };
        Cidr { address, prefix: self.prefix }
    }

    /// Whether an address lies in this network.
    pub fn contains(self, other: IpAddr) -> bool {
        let differing = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(a) ^ u32::from(b)) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(a) ^ u128::from(b),
            _ => return false,
        };
        differing.leading_zeros() >= u32::from(self.prefix)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let (address, prefix) = s
            .split_once('/')
            .ok_or_else(|| UnitError("an address with its prefix is written \"192.0.2.10/24\"".into()))?;
        let address = address.parse().map_err(|_| UnitError(format!("\"{address}\" is not an IP address")))?;
        let prefix = prefix.parse().map_err(|_| UnitError(format!("\"{prefix}\" is not a prefix length")))?;
        Cidr::new(address, prefix)
    }
}

impl TryFrom<String> for Cidr {
    type Error = UnitError;
    fn try_from(s: String) -> Result<Self, UnitError> {
        s.parse()
    }
}

impl From<Cidr> for String {
    fn from(c: Cidr) -> String {
        c.to_string()
    }
}

/// Name of a network interface as the kernel accepts it: 1–15 bytes, no `/`, no blank, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let ugly = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        match s {
            "" | "." | ".." => Err(UnitError(format!("\"{s}\" cannot be the name of an interface"))),
            _ if s.len() > 15 => {
                Err(UnitError(format!("the name of an interface has at most 15 bytes, \"{s}\" has {}", s.len())))
            }
            _ if s.contains(ugly) => Err(UnitError(format!(
                "\"{s}\" cannot be the name of an interface: blanks, '/' and ':' are not allowed"
            ))),
            _ => Ok(InterfaceName(s.to_owned())),
        }
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = UnitError;
    fn try_from(s: String) -> Result<Self, UnitError> {
        s.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(n: InterfaceName) -> String {
        n.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses `"250ms"`, `"2s"`, `"1.5s"`, `"5m"`, `"1h"`: a number and its unit, nothing else.
pub fn parse_duration(s: &str) -> Result<Duration, UnitError> {
    let split = s.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(s.len());
    let (number, unit) = s.split_at(split);
    let wrong = || UnitError(format!("\"{s}\" is not a duration: write \"250ms\", \"2s\" or \"5m\""));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    // Rounded to microseconds: what people write is exact there, and binary fractions of it are not.
    Duration::try_from_secs_f64(number * scale)
        .ok()
        .filter(|d| *d <= Duration::from_secs(366 * 24 * 3600))
        .map(|d| Duration::from_micros((d.as_nanos() as f64 / 1000.0).round() as u64))
        .ok_or_else(wrong)
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that keeps it whole.
pub fn show_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 if d.is_zero() => "0s".into(),
        _ if !ms.is_multiple_of(1000) => format!("{ms}ms"),
        _ if (ms / 1000).is_multiple_of(60) => format!("{}m", ms / 60_000),
        _ => format!("{}s", ms / 1000),
    }
}
