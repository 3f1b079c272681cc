//! The addresses of a vip.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::codes;
use super::cursor::{Cursor, Value};
use super::file::Spanned;
use super::mistakes::Mistakes;
use super::scalar::only_argument;
use crate::units::Cidr;

/// The addresses that could be read; `None` where there is no such node.
pub(super) fn addresses(c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Vec<Spanned<Cidr>>> {
    let mut addresses: Vec<Spanned<Cidr>> = Vec::new();
    let nodes = c.children("address");
    if nodes.is_empty() {
        return None;
    }
    for mut node in nodes {
        let values = node.arguments();
        if values.is_empty() {
            let _ = only_argument(&mut node, out);
        }
        for value in values {
            let Some(address) = value.cidr(out).filter(|a| can_be_held(a, &value, out)) else { continue };
            match addresses.iter().find(|a| a.value.address() == address.value.address()) {
                Some(first) => out.duplicate(&format!("address {}", address.value.address()), first.span, address.span),
                None => addresses.push(address),
            }
        }
        node.finish(out);
    }
    Some(addresses)
}

/// Refuses what no machine can hold: groups, the network's own address and its broadcast address.
fn can_be_held(cidr: &Spanned<Cidr>, value: &Value<'_>, out: &mut Mistakes) -> bool {
    let wrong = match cidr.value.address() {
        IpAddr::V4(address) => v4(address, cidr.value.prefix()),
        IpAddr::V6(address) => v6(address, cidr.value.prefix()),
    };
    let Some((why, help)) = wrong else { return true };
    let code = if help.is_prefix { codes::BAD_PREFIX } else { codes::BAD_ADDRESS };
    out.push(value.wrong(code, format!("{} cannot be a vip", cidr.value), why).help(help.text));
    false
}

/// What to write instead.
struct Help {
    text: String,
    /// Only the prefix is wrong.
    is_prefix: bool,
}

impl Help {
    fn address(text: impl Into<String>) -> Self {
        Help { text: text.into(), is_prefix: false }
    }

    fn prefix(text: impl Into<String>) -> Self {
        Help { text: text.into(), is_prefix: true }
    }
}

fn v4(address: Ipv4Addr, prefix: u8) -> Option<(&'static str, Help)> {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let host = u32::from(address) & host_bits;
    let example = || Help::address("write an address that a machine can hold, as in \"192.0.2.10/24\"");
    let between = || match prefix {
        1..31 => Help::address(format!(
            "write an address between \"{}/{prefix}\" and \"{}/{prefix}\"",
            Ipv4Addr::from((u32::from(address) & !host_bits) + 1),
            Ipv4Addr::from((u32::from(address) | host_bits) - 1)
        )),
        _ => example(),
    };
    Some(match () {
        _ if address.is_multicast() => ("this is the address of a multicast group", example()),
        _ if address.is_unspecified() || address.is_broadcast() => ("this is no machine's address", between()),
        _ if address.is_loopback() => ("a loopback address is reached by nobody else", example()),
        _ if prefix == 0 => ("a prefix of 0 would make the whole of IPv4 one segment", example()),
        _ if prefix < 31 && host == 0 => ("this is the network's own address", between()),
        _ if prefix < 31 && host == host_bits => ("this is the network's broadcast address", between()),
        _ => return None,
    })
}

fn v6(address: Ipv6Addr, prefix: u8) -> Option<(&'static str, Help)> {
    let host_bits = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let host = u128::from(address) & host_bits;
    let example = || Help::address("write an address that a machine can hold, as in \"2001:db8::10/64\"");
    if let Some(mapped) = address.to_ipv4_mapped() {
        let help = format!("write \"{mapped}/{}\"", prefix.saturating_sub(96));
        return Some(("an IPv4 address in IPv6's clothes", Help::address(help)));
    }
    Some(match () {
        _ if address.is_multicast() => ("this is the address of a multicast group", example()),
        _ if address.is_unspecified() => ("this is no machine's address", example()),
        _ if address.is_loopback() => ("a loopback address is reached by nobody else", example()),
        _ if address.is_unicast_link_local() && !matches!(prefix, 64 | 128) => {
            ("link-local addresses are in a network of /64", Help::prefix(format!("write \"{address}/64\"")))
        }
        _ if prefix == 0 => ("a prefix of 0 would make the whole of IPv6 one segment", example()),
        // RFC 4291 §2.6.1; a network of two has none (RFC 6164).
        _ if prefix < 127 && host == 0 => (
            "this is the address of any router of the network",
            Help::address(format!(
                "write another address of the network, as in \"{}/{prefix}\"",
                Ipv6Addr::from(u128::from(address) | 10.min(host_bits))
            )),
        ),
        _ => return None,
    })
}
