//! What a frame says, read by hand: the code under test has no part in judging itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Number of VRRP's protocol.
pub const VRRP: u8 = 112;
const ICMPV6: u8 = 58;
const ETHERNET: usize = 14;

/// An Ethernet frame as far as the tests read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A VRRP advertisement.
    Advert {
        /// Where it came from.
        source: IpAddr,
        /// 2 or 3.
        version: u8,
        /// Its virtual router.
        vrid: u8,
        /// 0 is a goodbye.
        priority: u8,
    },
    /// "This address is mine": an ARP packet with this sender, or a neighbour advertisement of this target.
    Mine {
        /// Which.
        address: IpAddr,
        /// Under which hardware address.
        at: [u8; 6],
        /// Asked for, rather than told to everybody.
        asked: bool,
    },
}

/// Reads a frame; `None` where it is neither of both.
pub fn read(frame: &[u8]) -> Option<Said> {
    match u16::from_be_bytes(bytes(frame, 12)?) {
        0x0806 => arp(frame.get(ETHERNET..)?),
        0x0800 => {
            let header = usize::from(frame.get(ETHERNET)? & 0x0f) * 4;
            let source = Ipv4Addr::from(bytes::<4>(frame, ETHERNET + 12)?).into();
            let message = frame.get(ETHERNET + header..)?;
            if frame.get(ETHERNET + 9) == Some(&VRRP) { advert(source, message) } else { None }
        }
        0x86dd => {
            let source = Ipv6Addr::from(bytes::<16>(frame, ETHERNET + 8)?).into();
            let message = frame.get(ETHERNET + 40..)?;
            match *frame.get(ETHERNET + 6)? {
                VRRP => advert(source, message),
                ICMPV6 => neighbour(frame, message),
                _ => None,
            }
        }
        _ => None,
    }
}

fn advert(source: IpAddr, message: &[u8]) -> Option<Said> {
    let [first, vrid, priority] = bytes(message, 0)?;
    Some(Said::Advert { source, version: first >> 4, vrid, priority })
}

fn arp(packet: &[u8]) -> Option<Said> {
    let [operation] = bytes::<1>(packet, 7)?;
    let (at, sender) = (bytes(packet, 8)?, Ipv4Addr::from(bytes::<4>(packet, 14)?));
    let target = Ipv4Addr::from(bytes::<4>(packet, 24)?);
    // A request that asks for another's address claims nothing beyond the sender's own.
    let claims = operation == 2 || sender == target;
    claims.then_some(Said::Mine { address: sender.into(), at, asked: sender != target })
}

fn neighbour(frame: &[u8], message: &[u8]) -> Option<Said> {
    const ADVERTISEMENT: u8 = 136;
    const SOLICITED: u8 = 0x40;
    let [kind, _, _, _, flags] = bytes(message, 0)?;
    let address = Ipv6Addr::from(bytes::<16>(message, 8)?).into();
    // Without the option for the target's own hardware address it is where the frame came from.
    let option = message.get(24..26).filter(|option| *option == [2, 1]).and_then(|_| bytes(message, 26));
    let at = option.or_else(|| bytes(frame, 6))?;
    (kind == ADVERTISEMENT).then_some(Said::Mine { address, at, asked: flags & SOLICITED != 0 })
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk::<N>().copied()
}

/// "Who has this address?", to everybody, from somebody with an address of the same family.
pub fn question(mac: [u8; 6], own: IpAddr, address: IpAddr) -> Vec<u8> {
    match (own, address) {
        (IpAddr::V4(own), IpAddr::V4(address)) => [
            &[0xff; 6][..],
            &mac,
            &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
            &mac,
            &own.octets(),
            &[0; 6],
            &address.octets(),
        ]
        .concat(),
        (IpAddr::V6(own), IpAddr::V6(address)) => solicitation(mac, own, address),
        _ => panic!("{own} and {address} are not of one family"),
    }
}

fn solicitation(mac: [u8; 6], own: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[a, b, c]);
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address.octets(), &[1, 1], &mac].concat();
    let length = u8::try_from(message.len()).unwrap();
    let summed = [&own.octets()[..], &group, &[0, 0, 0, length, 0, 0, 0, ICMPV6], &message].concat();
    let sum: u32 = summed.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, length, ICMPV6, 255];
    [&[0x33, 0x33, 0xff, a, b, c][..], &mac, &[0x86, 0xdd], &header, &own.octets(), &group, &message].concat()
}

/// A VRRP message with the headers that the kernel puts before it.
pub fn on_the_wire(message: &[u8], [source, destination]: [IpAddr; 2], ttl: u8) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let (kind, header) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = (length + 20).to_be_bytes();
            let start = [0x45, 0xc0, total[0], total[1], 0, 0, 0x40, 0, ttl, VRRP, 0, 0];
            let mut header = [&start[..], &source.octets(), &destination.octets()].concat();
            let sum: u32 = header.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
            let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            ([0x08, 0x00], header)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = length.to_be_bytes();
            let start = [0x6c, 0, 0, 0, high, low, VRRP, ttl];
            ([0x86, 0xdd], [&start[..], &source.octets(), &destination.octets()].concat())
        }
        _ => panic!("{source} and {destination} are not of one family"),
    };
    let group: [u8; 6] = if destination.is_ipv4() { [1, 0, 0x5e, 0, 0, 18] } else { [0x33, 0x33, 0, 0, 0, 0x12] };
    let peer = [2, 0, 0, 0, 0, 12];
    let to = if destination.is_multicast() { group } else { peer };
    [&to[..], &[2, 0, 0, 0, 0, 11], &kind, &header, message].concat()
}
