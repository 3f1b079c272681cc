//! The frames that announce an address.
//!
//! ARP in the request form, broadcast, with sender and target address the same and a target hardware address of zeros:
//! the announcement of RFC 5227 §2.3, which RFC 9568 §6.4.1 asks for and keepalived sends. It updates the caches of
//! hosts that know the address, and every switch learns the port from the frame's source.
//!
//! A neighbour advertisement as RFC 9568 §6.4.1 has it: unsolicited, with the flags Router and Override, to all nodes,
//! with the target link-layer address; its hop limit is 255, or nobody believes it (RFC 4861 §7.1.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Length of an announcement by ARP: Ethernet header and ARP.
pub const ARP: usize = 42;

/// Length of a neighbour advertisement: Ethernet header, IPv6 header, and [`MESSAGE`].
pub const ADVERTISEMENT: usize = 86;

/// Length of an advertisement's ICMPv6 part with the option for the link-layer address.
const MESSAGE: u8 = 32;

/// ICMPv6's number.
const ICMPV6: u8 = 58;

/// Neighbour advertisement (RFC 4861 §4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Flags R and O without S.
const ROUTER_OVERRIDE: u8 = 0xa0;

/// Ethernet, broadcast, from the interface's own address; ARP request for the address by itself (RFC 826).
pub fn arp(mac: [u8; 6], address: Ipv4Addr) -> [u8; ARP] {
    join([
        &[0xff; 6],
        &mac,
        // ARP; Ethernet, IPv4, lengths 6 and 4; request.
        &[0x08, 0x06],
        &[0x00, 0x01, 0x08, 0x00, 0x06, 0x04],
        &[0x00, 0x01],
        &mac,
        &address.octets(),
        &[0; 6],
        &address.octets(),
    ])
}

/// Ethernet to all nodes, from the interface's own address and from the announced one.
pub fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> [u8; ADVERTISEMENT] {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();
    let address = address.octets();
    let checksum =
        checksum([&address, &all_nodes, &[0, 0, 0, MESSAGE, 0, 0, 0, ICMPV6], &message([0; 2], address, mac)]);
    join([
        &[0x33, 0x33, 0, 0, 0, 1],
        &mac,
        &[0x86, 0xdd],
        &[0x60, 0, 0, 0, 0, MESSAGE, ICMPV6, 255],
        &address,
        &all_nodes,
        &message(checksum, address, mac),
    ])
}

/// The ICMPv6 part, with the option for the target's link-layer address: type 2, one unit of eight bytes.
fn message(checksum: [u8; 2], target: [u8; 16], mac: [u8; 6]) -> [u8; MESSAGE as usize] {
    join([&[NEIGHBOUR_ADVERTISEMENT, 0], &checksum, &[ROUTER_OVERRIDE, 0, 0, 0], &target, &[2, 1], &mac])
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum<const N: usize>(parts: [&[u8]; N]) -> [u8; 2] {
    let words = parts.into_iter().flat_map(|part| part.chunks_exact(2)).filter_map(|w| w.try_into().ok());
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!(folded as u16)).to_be_bytes()
}

fn join<const PARTS: usize, const N: usize>(parts: [&[u8]; PARTS]) -> [u8; N] {
    let mut whole = [0; N];
    whole.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_announcement_is_a_broadcast_request_for_the_address_by_itself() {
        assert_eq!(
            hex(&arp(MAC, Ipv4Addr::new(192, 0, 2, 10))),
            "ff ff ff ff ff ff 52 54 00 01 02 03 08 06 00 01 08 00 06 04 00 01 \
             52 54 00 01 02 03 c0 00 02 0a 00 00 00 00 00 00 c0 00 02 0a"
        );
    }

    #[test]
    fn an_advertisement_is_unsolicited_overrides_and_carries_the_link_layer_address() {
        let frame = advertisement(MAC, "2001:db8::10".parse().unwrap());
        assert_eq!(
            hex(&frame),
            "33 33 00 00 00 01 52 54 00 01 02 03 86 dd 60 00 00 00 00 20 3a ff \
             20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 10 ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 \
             88 00 26 b5 a0 00 00 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 10 02 01 52 54 00 01 02 03"
        );
        // A checksum over what it protects comes to nothing.
        let pseudo = [0, 0, 0, MESSAGE, 0, 0, 0, ICMPV6];
        assert_eq!(checksum([&frame[22..54], &pseudo, &frame[54..]]), [0, 0]);
    }
}
