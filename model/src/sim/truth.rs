//! What a machine's settings and checks make of its virtual routers, worked out a second way: the judge of what the
//! router itself makes of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::node::{Known, Node};
use crate::config::{Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Family, Priority};
use crate::vrrp::packet::{self, Advert, Auth, Body};
use crate::vrrp::{Effect, Settings};

/// Those that change state with these settings, themselves among them, in the order of the file.
pub(super) fn group<'a>(all: &'a [Settings], of: &'a Settings) -> Vec<&'a Settings> {
    let same = |s: &&Settings| match (&s.group, &of.group) {
        (Some(one), Some(other)) => one == other,
        (None, None) => s.name == of.name,
        _ => false,
    };
    all.iter().filter(same).collect()
}

/// Whether it is the first of its group.
pub(super) fn is_first(all: &[Settings], of: &Settings) -> bool {
    group(all, of).first().is_some_and(|s| (&s.name, s.family) == (&of.name, of.family))
}

/// Priority without weights: the least of the group's.
pub(super) fn base(all: &[Settings], of: &Settings) -> Priority {
    group(all, of).iter().map(|s| s.priority).min().unwrap_or(of.priority)
}

/// One member that never preempts keeps all from it; otherwise the longest delay counts.
pub(super) fn preempt(all: &[Settings], of: &Settings) -> Preempt {
    let worst = |one, other| match (one, other) {
        (Preempt::Never, _) | (_, Preempt::Never) => Preempt::Never,
        (Preempt::After(one), Preempt::After(other)) => Preempt::After(one.max(other)),
        (Preempt::After(delay), _) | (_, Preempt::After(delay)) => Preempt::After(delay),
        _ => Preempt::Immediately,
    };
    group(all, of).iter().map(|s| s.preempt).fold(Preempt::Immediately, worst)
}

/// Priority with the weights of the checks that the router was told of.
fn priority(node: &Node, of: &Settings) -> u8 {
    let members = group(&node.settings, of);
    if members.iter().any(|s| node.known_drained.contains(&s.name)) {
        return 1;
    }
    let mut weights: BTreeMap<&str, i32> = BTreeMap::new();
    for (check, weight) in members.iter().flat_map(|s| &s.track) {
        let adds = match (node.known.get(check), *weight) {
            (Some(Known::Number(number)), _) => i32::from(*number),
            (Some(Known::Up(up)), Some(weight)) if *up == (weight > 0) => i32::from(weight),
            _ => 0,
        };
        weights.insert(check, adds);
    }
    let sum = i32::from(base(&node.settings, of).get()) + weights.values().sum::<i32>();
    u8::try_from(sum.clamp(1, 254)).unwrap_or(1)
}

/// Where its adverts come from.
pub(super) fn source(node: &Node, of: &Settings) -> Option<IpAddr> {
    let is_local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
    match (&of.reach, of.family) {
        (Reach::Unicast { local, .. }, _) => Some(*local),
        (Reach::Multicast, Family::V4) => node.addresses.iter().find(|a| a.is_ipv4()).copied(),
        (Reach::Multicast, Family::V6) => node.addresses.iter().find(|a| is_local(a)).copied(),
    }
}

/// Whether an advert is to the byte what these settings say, with the priority of now or that of a goodbye.
pub(super) fn is_advert(node: &Node, of: &Settings, (effect, said): (&Effect, u8)) -> bool {
    let Effect::Advert { interface, virtual_mac, source: from, destinations, message } = effect else { return false };
    let priority = if said == 0 { 0 } else { priority(node, of) };
    let body = match of.version {
        Version::V2 => Body::V2 {
            seconds: of.advertise.whole_seconds().unwrap_or(0),
            auth: of.password.map_or(Auth::None, Auth::Simple),
        },
        Version::V3 => Body::V3 { interval: of.advertise },
    };
    let mut addresses: Vec<IpAddr> = of.addresses.iter().map(|a| a.address()).collect();
    addresses.sort_by_key(|a| !matches!(a, IpAddr::V6(a) if a.is_unicast_link_local()));
    addresses.truncate(packet::most_addresses(of.family));
    let to = |to: &IpAddr| match &of.reach {
        Reach::Multicast => *to == packet::group(of.family),
        Reach::Unicast { peers, .. } => peers.contains(to),
    };
    let covered = of.family == Family::V6 || of.version == Version::V3 && of.checksum == Checksum::PseudoHeader;
    let Some(first) = destinations.first().copied() else { return false };
    let advert = Advert { vrid: of.vrid, priority, body, addresses };
    (interface, virtual_mac) == (&of.interface, &of.virtual_mac)
        && source(node, of) == Some(*from)
        && destinations.iter().all(to)
        && (destinations.len() == 1 || !covered)
        && *message == packet::encode(&advert, of.checksum, *from, first)
}
