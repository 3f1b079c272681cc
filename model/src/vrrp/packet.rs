//! The advert on the wire: bytes to [`Advert`] and back, version 2 over IPv4, version 3 over both families.
//!
//! ```text
//! 0        1        2        3        4        5        6        7        8        8+4n     16+4n
//! |ver|type|  vrid  |priority|   n    | v2: auth type, seconds   |   checksum      | n × IPv4 | v2: 8 bytes
//! |        |        |        |        | v3: 4 bits 0, 12 bits cs |                 | n × IPv6 |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Checksum, Version};
use crate::units::{Centiseconds, Family, Vrid};
use crate::vrrp::Password;

#[cfg(test)]
mod tests;

/// The multicast group of IPv4 adverts (RFC 9568 §5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The multicast group of IPv6 adverts (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Time to live, or hop limit, that every advert is sent with and must arrive with (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const TTL: u8 = 255;

/// Number of the IP protocol, or of the next header (RFC 9568 §5.1.1.4, §5.1.2.4).
pub const PROTOCOL: u8 = 112;

/// Bytes before the address list.
const HEADER: usize = 8;

/// Bytes of version 2's authentication data, there whatever the type (RFC 3768 §5.3.10).
const AUTH_DATA: usize = 8;

/// The only type of VRRP message (RFC 9568 §5.2.2).
const ADVERTISEMENT: u8 = 1;

/// Most addresses of IPv4 that an advert lists, what the count's byte can say (RFC 9568 §5.2.5); more are held and not
/// listed.
pub const MAX_ADDRESSES: usize = 255;

/// Most addresses of IPv6 that an advert lists: what fits into 1280 bytes, the least that every IPv6 link carries (RFC
/// 8200 §5), since a fragment would be lost with any of its parts; more are held and not listed.
pub const MAX_ADDRESSES_V6: usize = (1280 - 40 - HEADER) / 16;

/// Most addresses that an advert of this family lists.
pub fn most_addresses(family: Family) -> usize {
    match family {
        Family::V4 => MAX_ADDRESSES,
        Family::V6 => MAX_ADDRESSES_V6,
    }
}

/// Where multicast adverts of this family go.
pub fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => GROUP.into(),
        Family::V6 => GROUP_V6.into(),
    }
}

/// A VRRP advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Priority of the sender; 0 says goodbye, 255 is the address owner's.
    pub priority: u8,
    /// What differs between the versions.
    pub body: Body,
    /// The virtual router's addresses, of the family that carries the message, at most 255.
    pub addresses: Vec<IpAddr>,
}

/// What differs between the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// RFC 3768.
    V2 {
        /// Advert interval in whole seconds, 1–255.
        seconds: u8,
        /// Authentication.
        auth: Auth,
    },
    /// RFC 9568.
    V3 {
        /// Advert interval.
        interval: Centiseconds,
    },
}

/// Authentication of version 2 (RFC 2338 §5.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1: eight bytes of plain text.
    Simple(Password),
    /// Any other type; nobody speaks one.
    Other(u8),
}

/// Why bytes are not an advert, in the order in which they are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the header, or not as long as version and address count say.
    #[error("the length is not what the version and the number of addresses make it")]
    Length,
    /// Neither 2 nor 3, or 2 over IPv6.
    #[error("the version is neither 2 nor 3, or 2 over IPv6")]
    Version,
    /// Not an advertisement.
    #[error("the type is not that of an advertisement")]
    Type,
    /// A vrid of 0.
    #[error("the vrid is 0")]
    Vrid,
    /// Neither form of the checksum fits.
    #[error("the checksum is wrong")]
    Checksum,
    /// An interval of 0.
    #[error("the advert interval is 0")]
    Interval,
}

/// The first two bytes, before anything else of the packet is believed: whom it is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Version as it stands there, 0–15.
    pub version: u8,
    /// Vrid as it stands there.
    pub vrid: u8,
}

/// Reads whom a message is meant for; `None` where it is shorter than a header.
pub fn envelope(message: &[u8]) -> Option<Envelope> {
    let header = message.first_chunk::<HEADER>()?;
    let [first, vrid, ..] = *header;
    Some(Envelope { version: first >> 4, vrid })
}

/// Reads a VRRP message that came from `source` to `destination` (both are part of one form of the checksum).
///
/// # Errors
/// Says what is wrong with it, the first cause in the order of [`Malformed`].
pub fn decode(message: &[u8], source: IpAddr, destination: IpAddr) -> Result<Advert, Malformed> {
    let family = Family::of(source);
    let (&[first, vrid, priority, count, fifth, sixth, _, _], rest) =
        message.split_first_chunk::<HEADER>().ok_or(Malformed::Length)?;
    let version = match (first >> 4, family) {
        (2, Family::V4) => Version::V2,
        (3, _) => Version::V3,
        _ => return Err(Malformed::Version),
    };
    if first & 0x0f != ADVERTISEMENT {
        return Err(Malformed::Type);
    }
    let (list, tail) = rest.split_at_checked(usize::from(count) * size_of(family)).ok_or(Malformed::Length)?;
    let addresses = match family {
        Family::V4 => list.as_chunks::<4>().0.iter().map(|a| IpAddr::from(*a)).collect(),
        Family::V6 => list.as_chunks::<16>().0.iter().map(|a| IpAddr::from(*a)).collect(),
    };
    let vrid = Vrid::try_from(vrid).map_err(|_| Malformed::Vrid);
    match version {
        Version::V2 => {
            let data: [u8; AUTH_DATA] = tail.try_into().map_err(|_| Malformed::Length)?;
            let vrid = vrid?;
            verify(message, None)?;
            let auth = match fifth {
                0 => Auth::None,
                1 => Auth::Simple(Password::from_bytes(data)),
                other => Auth::Other(other),
            };
            if sixth == 0 {
                return Err(Malformed::Interval);
            }
            Ok(Advert { vrid, priority, body: Body::V2 { seconds: sixth, auth }, addresses })
        }
        Version::V3 => {
            if !tail.is_empty() {
                return Err(Malformed::Length);
            }
            let vrid = vrid?;
            verify(message, Some((source, destination)))?;
            let interval = u16::from_be_bytes([fifth & 0x0f, sixth]);
            let interval = Centiseconds::try_from(interval).map_err(|_| Malformed::Interval)?;
            Ok(Advert { vrid, priority, body: Body::V3 { interval }, addresses })
        }
    }
}

fn size_of(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

/// Writes the message with its checksum. `checksum` matters to version 3 over IPv4 only: over IPv6 there is one form,
/// with the pseudo-header, and version 2 has one without. Addresses of another family than `source`, and those beyond
/// what the count's byte can say, are left out.
pub fn encode(advert: &Advert, checksum: Checksum, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let family = Family::of(source);
    let fitting = advert.addresses.iter().filter(|a| Family::of(**a) == family);
    let listed: Vec<IpAddr> = fitting.take(usize::from(u8::MAX)).copied().collect();
    let (version, [fifth, sixth], data) = match advert.body {
        Body::V2 { seconds, auth } => {
            let (kind, data) = match auth {
                Auth::None => (0, [0; AUTH_DATA]),
                Auth::Simple(password) => (1, password.bytes()),
                Auth::Other(kind) => (kind, [0; AUTH_DATA]),
            };
            (2u8, [kind, seconds], Some(data))
        }
        Body::V3 { interval } => (3u8, interval.min(Centiseconds::MAX_V3).get().to_be_bytes(), None),
    };
    let count = u8::try_from(listed.len()).unwrap_or(u8::MAX);
    let mut head = [version << 4 | ADVERTISEMENT, advert.vrid.get(), advert.priority, count, fifth, sixth, 0, 0];
    let mut body = Vec::with_capacity(listed.len() * size_of(family) + AUTH_DATA);
    for address in listed {
        match address {
            IpAddr::V4(a) => body.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => body.extend_from_slice(&a.octets()),
        }
    }
    body.extend(data.into_iter().flatten());

    let mut sum = Sum::default().add(&head).add(&body);
    if version == 3 && (checksum == Checksum::PseudoHeader || family == Family::V6) {
        sum = sum.pseudo_header(source, destination, head.len() + body.len());
    }
    let [.., high, low] = &mut head;
    [*high, *low] = (!sum.fold()).to_be_bytes();
    let mut message = Vec::with_capacity(head.len() + body.len());
    message.extend_from_slice(&head);
    message.append(&mut body);
    message
}

/// Accepts the checksum over the message alone and, where `ends` are given, the one with the pseudo-header too: over
/// IPv4, RFC 9568 §5.2.8 and RFC 5798 differ, and both are out there. Over IPv6 only the latter.
fn verify(message: &[u8], ends: Option<(IpAddr, IpAddr)>) -> Result<(), Malformed> {
    let plain = Sum::default().add(message);
    let with_pseudo_header = |(source, destination)| plain.pseudo_header(source, destination, message.len()).fold();
    let may_be_plain = !ends.is_some_and(|(source, _)| source.is_ipv6());
    match may_be_plain && plain.fold() == u16::MAX || ends.is_some_and(|e| with_pseudo_header(e) == u16::MAX) {
        true => Ok(()),
        false => Err(Malformed::Checksum),
    }
}

/// The Internet checksum's running sum (RFC 1071); at most some thousand bytes are added to it, so it cannot overflow.
#[derive(Debug, Clone, Copy, Default)]
struct Sum(u32);

impl Sum {
    fn add(self, bytes: &[u8]) -> Sum {
        let (words, odd) = bytes.as_chunks::<2>();
        let last = odd.first().map_or(0, |b| u32::from(*b) << 8);
        Sum(words.iter().fold(self.0 + last, |sum, word| sum + u32::from(u16::from_be_bytes(*word))))
    }

    /// IPv4's (RFC 5798 §5.2.8) and IPv6's (RFC 8200 §8.1) differ in the addresses alone: the zeros of the latter's wider
    /// fields add nothing.
    fn pseudo_header(self, source: IpAddr, destination: IpAddr, length: usize) -> Sum {
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        let of = |sum: Sum, address| match address {
            IpAddr::V4(a) => sum.add(&a.octets()),
            IpAddr::V6(a) => sum.add(&a.octets()),
        };
        of(of(self, source), destination).add(&[0, PROTOCOL]).add(&length)
    }

    fn fold(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        ((once & 0xffff) + (once >> 16)) as u16
    }
}
