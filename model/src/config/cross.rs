//! What is wrong between nodes: references that lead nowhere, and things that cannot both be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::{CheckDraft, Draft, PeerDraft, TrackDraft, VipDraft};
use super::file::{Field, Spanned};
use super::mistakes::{Mistakes, did_you_mean};
use super::{CheckKind, Diagnostic, Span, codes};

/// Judges a draft as a whole.
pub(super) fn check(draft: &Draft, out: &mut Mistakes) {
    // Where part of the text could not be read, what seems to be missing may stand there.
    if !out.incomplete {
        present(draft, out);
    }
    peers(draft, out);
    checks(draft, out);
    for vip in &draft.vips {
        if out.is_full() {
            return;
        }
        members(draft, vip, out);
        tracked(draft, vip, out);
        interface(draft, vip, out);
        super::version::check(vip, out);
        super::families::check(draft, vip, out);
    }
    super::group::check(draft, out);
    same_segment(draft, out);
    vip_addresses(draft, out);
    super::balanced::check(draft, out);
    super::lint::check(draft, out);
}

fn present(draft: &Draft, out: &mut Mistakes) {
    let nowhere = Span { source: 0, offset: 0, len: 0 };
    if draft.cluster.is_none() {
        out.push(
            Diagnostic::error(codes::MISSING, "the cluster has no name")
                .at(nowhere, "no `cluster` node")
                .help("write `cluster \"NAME\"` on the first line"),
        );
    }
    if draft.peers.is_empty() {
        out.push(
            Diagnostic::error(codes::MISSING, "the cluster has no machine")
                .at(nowhere, "no `peer` node")
                .help("write `peer \"HOSTNAME\" address=\"192.0.2.11\"` for each machine"),
        );
    }
}

fn peers(draft: &Draft, out: &mut Mistakes) {
    let mut taken: BTreeMap<IpAddr, &Spanned<IpAddr>> = BTreeMap::new();
    for (peer, address) in draft.peers.iter().flat_map(|p| p.addresses().map(move |a| (p, a))) {
        match taken.get(&address.value) {
            Some(first) => out.push(
                Diagnostic::error(codes::ADDRESS_TAKEN, format!("two peers have the address {}", address.value))
                    .at(address.span, format!("of \"{}\"", peer.name.value))
                    .at(first.span, "and here")
                    .help("write each machine's own address"),
            ),
            None => _ = taken.insert(address.value, address),
        }
    }
}

fn checks(draft: &Draft, out: &mut Mistakes) {
    for check in &draft.checks {
        if let (Some(kind), Some(user)) = (check.kind.get(), check.user.get())
            && !matches!(kind.value, CheckKind::Command { .. })
        {
            out.push(
                Diagnostic::error(codes::SURPLUS, "only a command runs as a user")
                    .at(user.span, "nothing is started by this check")
                    .help("leave `user` out"),
            );
        }
        if let Some(kind) = check.kind.get() {
            told(check, &kind.value, out);
        }
        patience(&check.pace, out);
    }
}

/// What the kernel tells of by itself is not tried, and a number counts as it stands.
fn told(check: &CheckDraft, kind: &CheckKind, out: &mut Mistakes) {
    let pace = &check.pace;
    let settings = [
        ("timeout", pace.timeout.get().map(|v| v.span)),
        ("every", pace.every.get().map(|v| v.span)),
        ("fall", pace.fall.get().map(|v| v.span)),
        ("rise", pace.rise.get().map(|v| v.span)),
        ("debounce", check.debounce.get().map(|v| v.span)),
    ];
    let (surplus, title, label) = match kind {
        CheckKind::Interface { .. } => (1, "an interface is not waited for", "the kernel tells of each change"),
        CheckKind::File { .. } => (5, "a file's number counts as soon as it is written", "nothing is tried"),
        _ => return,
    };
    for (name, span) in settings.into_iter().take(surplus).filter_map(|(name, span)| Some((name, span?))) {
        out.push(Diagnostic::error(codes::SURPLUS, title).at(span, label).help(format!("leave `{name}` out")));
    }
}

/// A try must be over before the next begins.
pub(super) fn patience(pace: &super::draft::PaceDraft, out: &mut Mistakes) {
    let Some(timeout) = pace.timeout.get() else { return };
    let every = pace.every.get().map_or(super::build::EVERY, |e| e.value);
    if timeout.value <= every {
        return;
    }
    let most = crate::units::show_duration(every);
    let mut diagnostic = Diagnostic::error(codes::BAD_DURATION, "a try cannot last longer than until the next begins")
        .at(timeout.span, format!("longer than every {most}"));
    if let Some(every) = pace.every.get() {
        diagnostic = diagnostic.at(every.span, "the next begins after this");
    }
    out.push(diagnostic.help(format!("write `timeout \"{most}\"`")));
}

fn members(draft: &Draft, vip: &VipDraft, out: &mut Mistakes) {
    let own = &vip.settings;
    if own.priorities.is_absent() && !vip.misspelt.contains("priority") {
        let entries: Vec<_> = draft
            .peers
            .iter()
            .zip((1_u8..=25).rev())
            .map(|(peer, step)| format!("{}={}", peer.name.value, u32::from(step) * 10 - 100))
            .take(15)
            .collect();
        out.push(
            Diagnostic::error(codes::MISSING, format!("vip \"{}\" has no members", vip.name.value))
                .at(vip.name.span, "who holds it?")
                .help(format!("write `priority {}`", entries.join(" "))),
        );
    }
    for member in own.members() {
        let Some(peer) = draft.peers.iter().find(|p| p.name.value == member.peer.value) else {
            if !out.incomplete {
                let known = draft.peers.iter().map(|p| p.name.value.as_str());
                out.push(
                    Diagnostic::error(codes::UNKNOWN_PEER, format!("there is no peer \"{}\"", member.peer.value))
                        .at(member.peer.span, "unknown peer")
                        .helps(did_you_mean(&member.peer.value, known, |n| format!("{n}="))),
                );
            }
            continue;
        };
        if member.priority.as_ref().is_some_and(|p| p.value == crate::units::Priority::OWNER) {
            owner(vip, &member.peer, peer, out);
        }
    }
}

/// 255 belongs to the machine whose own address the vip is.
fn owner(vip: &VipDraft, member: &Spanned<String>, peer: &PeerDraft, out: &mut Mistakes) {
    let owns = |a: &Spanned<IpAddr>| vip.addresses.iter().any(|c| c.value.address() == a.value);
    if peer.address.get().is_none() || peer.addresses().any(owns) {
        return;
    }
    out.push(
        Diagnostic::error(
            codes::NOT_OWNER,
            format!("{} does not own an address of vip \"{}\"", member.value, vip.name.value),
        )
        .at(member.span, "255 is for the machine whose own address the vip is")
        .help(format!("write `{}=254`, the highest priority of everybody else", member.value)),
    );
}

fn tracked(draft: &Draft, vip: &VipDraft, out: &mut Mistakes) {
    for track in &vip.settings.track {
        weightless(draft, track, out);
        if out.incomplete || draft.checks.iter().any(|c| c.name.value == track.check.value) {
            continue;
        }
        let known = draft.checks.iter().map(|c| c.name.value.as_str());
        let help = match draft.checks.is_empty() {
            true => vec![format!("write `check \"{}\" {{ process \"haproxy\" }}` beside the vip", track.check.value)],
            false => did_you_mean(&track.check.value, known, |n| format!("\"{n}\"")),
        };
        out.push(
            Diagnostic::error(codes::UNKNOWN_CHECK, format!("there is no check \"{}\"", track.check.value))
                .at(track.check.span, "unknown check")
                .helps(help),
        );
    }
}

/// The weight of a file is the number in it.
fn weightless(draft: &Draft, track: &TrackDraft, out: &mut Mistakes) {
    let check = draft.checks.iter().find(|c| c.name.value == track.check.value);
    let kind = check.and_then(|c| c.kind.get());
    if let (Some(weight), Some(kind)) = (track.weight.get(), kind)
        && let CheckKind::File { path } = &kind.value
    {
        out.push(
            Diagnostic::error(codes::SURPLUS, format!("the number in {path} is the weight"))
                .at(weight.span, "and this another one")
                .at(kind.span, "looks at a file")
                .help(format!("write `track \"{}\"`", track.check.value)),
        );
    }
}

/// An interface is said by the vip, by the defaults, or by every member for itself.
fn interface(draft: &Draft, vip: &VipDraft, out: &mut Mistakes) {
    let said = |name: &str| draft.peers.iter().find(|p| p.name.value == name).is_some_and(|p| !p.interface.is_absent());
    let members = vip.settings.members();
    let every = !members.is_empty() && members.iter().all(|m| said(&m.peer.value));
    if vip.settings.interface.is_absent() && !every && !vip.misspelt.contains("interface") {
        out.push(
            Diagnostic::error(codes::MISSING, format!("vip \"{}\" has no interface", vip.name.value))
                .at(vip.name.span, "where is it held?")
                .help("write `interface \"eth0\"`"),
        );
    }
}

/// Where two vips hear each other: on an interface of a peer that both have, or, both by multicast, in one network.
fn meet(draft: &Draft, a: &VipDraft, b: &VipDraft) -> Option<String> {
    let multicast = |vip: &VipDraft| vip.settings.unicast.get().is_none_or(|u| !u.value);
    let networks = |vip: &VipDraft| -> Vec<String> { vip.addresses.iter().filter_map(|c| network(c.value)).collect() };
    let peer = on_one_interface(draft, a, b).map(|(peer, interface)| format!("on {interface} of {peer} too"));
    peer.or_else(|| {
        let there = networks(a);
        let one = networks(b).into_iter().find(|n| there.contains(n))?;
        (multicast(a) && multicast(b)).then(|| format!("by multicast in {one} too"))
    })
}

/// `192.0.2.0/24` of `192.0.2.10/24`; an address alone is in no network, and link-local ones are in any.
fn network(cidr: crate::units::Cidr) -> Option<String> {
    let (alone, everywhere) = match cidr.address() {
        IpAddr::V4(a) => (32, a.is_link_local()),
        IpAddr::V6(a) => (128, a.is_unicast_link_local()),
    };
    (cidr.prefix() < alone && !everywhere).then(|| cidr.network().to_string())
}

fn on_one_interface<'a>(draft: &'a Draft, a: &'a VipDraft, b: &'a VipDraft) -> Option<(&'a str, &'a str)> {
    let on = |vip: &'a VipDraft, peer: &str| -> Option<&'a str> {
        let own = draft.peers.iter().find(|p| p.name.value == peer).and_then(|p| p.interface.get());
        own.or(vip.settings.interface.get()).map(|i| i.value.as_str())
    };
    a.settings.members().iter().find_map(|member| {
        let peer = b.settings.members().iter().find(|m| m.peer.value == member.peer.value)?;
        let (one, other) = (on(a, &peer.peer.value)?, on(b, &peer.peer.value)?);
        (one == other).then_some((peer.peer.value.as_str(), one))
    })
}

fn same_segment(draft: &Draft, out: &mut Mistakes) {
    let mut by_vrid: BTreeMap<u8, Vec<&VipDraft>> = BTreeMap::new();
    for vip in &draft.vips {
        if let Field::Good(vrid) = &vip.vrid {
            by_vrid.entry(vrid.value.get()).or_default().push(vip);
        }
    }
    let used = |n: &u8| by_vrid.contains_key(n);
    for (vrid, vips) in &by_vrid {
        for (i, again) in vips.iter().enumerate().skip(1) {
            let met = vips.iter().take(i).find_map(|first| Some((first, meet(draft, first, again)?)));
            let (Some((first, place)), Some(here)) = (met, again.vrid.get()) else { continue };
            let Some(there) = first.vrid.get() else { continue };
            let free = (*vrid..=255).chain(1..*vrid).find(|n| !used(n));
            out.push(
                Diagnostic::error(codes::VRID_TAKEN, format!("vrid {vrid} stands twice on one segment"))
                    .at(here.span, format!("of vip \"{}\", {place}", again.name.value))
                    .at(there.span, format!("of vip \"{}\"", first.name.value))
                    .helps(free.map(|n| format!("write `vrid {n}`, which is free here"))),
            );
        }
    }
}

fn vip_addresses(draft: &Draft, out: &mut Mistakes) {
    let mut taken: BTreeMap<IpAddr, (&VipDraft, Span)> = BTreeMap::new();
    for vip in &draft.vips {
        for address in &vip.addresses {
            let ip = address.value.address();
            if let Some((first, span)) = taken.get(&ip) {
                out.push(
                    Diagnostic::error(codes::ADDRESS_TAKEN, format!("two vips hold {ip}"))
                        .at(address.span, format!("of vip \"{}\"", vip.name.value))
                        .at(*span, format!("of vip \"{}\"", first.name.value))
                        .help("an address moves with one vip: leave it out of the other"),
                );
            } else {
                taken.insert(ip, (vip, address.span));
                of_machine(draft, vip, address, out);
            }
        }
    }
}

/// A vip's address must be nobody's own, unless its owner says so with priority 255.
fn of_machine(draft: &Draft, vip: &VipDraft, address: &Spanned<crate::units::Cidr>, out: &mut Mistakes) {
    let ip = address.value.address();
    let owns = |name: &str| {
        let priority = vip.settings.members().iter().find(|m| m.peer.value == name).and_then(|m| m.priority.as_ref());
        priority.is_some_and(|p| p.value == crate::units::Priority::OWNER)
    };
    let peer = draft.peers.iter().find_map(|p| Some((p, p.addresses().find(|a| a.value == ip)?)));
    let backends = draft.services.iter().flat_map(|s| &s.backends);
    let backend = backends.into_iter().find(|b| b.endpoint.get().is_some_and(|e| e.value.ip() == ip));
    let (whose, span, member) = match (peer, backend) {
        (Some((peer, _)), _) if owns(&peer.name.value) => return,
        (Some((peer, there)), _) => (format!("peer \"{}\"", peer.name.value), there.span, Some(&peer.name.value)),
        (None, Some(backend)) => match backend.endpoint.get() {
            Some(there) => (format!("backend \"{}\"", backend.name.value), there.span, None),
            None => return,
        },
        (None, None) => return,
    };
    let diagnostic = Diagnostic::error(codes::ADDRESS_OF_MACHINE, format!("{ip} is the address of {whose}"))
        .at(address.span, format!("held by vip \"{}\"", vip.name.value))
        .at(span, "and by a machine for itself")
        .help("write a free address for the vip: it moves, a machine's own stays");
    out.push(match member {
        Some(name) => diagnostic.help(format!("or, where {name} owns it by RFC 9568, give it `priority {name}=255`")),
        None => diagnostic,
    });
}
