//! The ruleset of services as nft 1.0.6 prints it, and whether a table that some nft printed says the same.
//!
//! What a reader will miss, on purpose:
//! - no rule depends on what is up: a backend that is down only leaves the slots, and without any slot a new flow
//!   falls through to `reject with tcp reset`, so that a client learns at once and no process of this machine that
//!   happens to listen on the port answers in the service's stead;
//! - nothing is dropped of what the machine forwarded before: `only_ours` stands only where hactl turned forwarding on.

mod compare;
mod elements;
mod show;

pub use compare::same;
pub use show::{BackendNames, arranged, counts, shortened, without_counters};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::balance::Balancer;
use crate::config::Balance;
use crate::desired::{Desired, DesiredService, DesiredSysctl};
use crate::observed::{Live, Observed};
use crate::units::InterfaceName;
use elements::{Layout, elements};

/// Our IPv4 table as `nft list table` names it.
pub const TABLE: &str = "ip hactl";
/// Set of the vips that this machine is master of; the service's to change.
pub const ACTIVE: &str = "active";

// A service's name begins with a letter and has letters, digits, `-`, `_` and `.` alone: a word that nft reads.

/// Map of a service from slot to backend, `address . port`; the service's to change.
pub fn slots_map(service: &str) -> String {
    format!("{service}_slots")
}

/// Set of a service's backends with their counters.
pub fn backends_set(service: &str) -> String {
    format!("{service}_backends")
}

/// Chain that picks the backend of a service's new flow.
pub fn service_chain(service: &str) -> String {
    format!("svc_{service}")
}

/// Every backend's name, where its service is on this machine.
pub fn backend_names(desired: &Desired) -> BackendNames {
    let names = |s: &DesiredService| {
        s.backends.iter().filter_map(|b| Some((slot_value(v4(&b.target)?), b.name.clone()))).collect()
    };
    desired.services.iter().map(|s| (slots_map(&s.name), names(s))).collect()
}

/// A backend as nft writes it in a map.
fn slot_value(backend: SocketAddrV4) -> String {
    format!("{} . {}", backend.ip(), backend.port())
}

/// The backend of each slot, in order; empty where all are down.
pub fn slots(service: &DesiredService, down: &BTreeSet<SocketAddr>) -> Vec<SocketAddrV4> {
    let down = down.iter().filter_map(v4).collect();
    let weights = service.backends.iter().filter_map(|b| Some((v4(&b.target)?, b.weight))).collect();
    Balancer { seed: service.seed, slots: service.slots, weights }.table(&down)
}

fn v4(address: &SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(a) => Some(*a),
        SocketAddr::V6(_) => None,
    }
}

/// Addresses of the services' vips that this machine is master of: the elements of [`ACTIVE`].
pub fn active(desired: &Desired, live: &Live) -> BTreeSet<Ipv4Addr> {
    let held = desired.services.iter().filter(|s| live.master.contains(&s.vip));
    held.flat_map(|s| s.addresses.iter().copied()).collect()
}

/// The tables of a machine that forwarded nothing before hactl came; none without services.
pub fn render(desired: &Desired, live: &Live) -> BTreeMap<String, String> {
    tables(desired, live, &served(desired))
}

/// The tables of this machine as it was found.
pub fn render_on(desired: &Desired, observed: &Observed) -> BTreeMap<String, String> {
    let nobody = Live::default();
    tables(desired, observed.service.as_ref().unwrap_or(&nobody), &turned_on(desired, observed))
}

/// The tables of this machine without what the service changes in them: what a change of the file is told by.
pub fn render_still(desired: &Desired, observed: &Observed) -> BTreeMap<String, String> {
    tables(desired, &Live::default(), &turned_on(desired, observed))
}

fn served(desired: &Desired) -> BTreeSet<InterfaceName> {
    desired.services.iter().filter_map(|s| Some(desired.vip(&s.vip)?.interface.clone())).collect()
}

/// Interfaces that forward because of hactl alone: `forwarding` was 0 before, and the file does not ask for it.
fn turned_on(desired: &Desired, observed: &Observed) -> BTreeSet<InterfaceName> {
    let by_us = |interface: &InterfaceName| {
        let key = crate::desired::conf(interface, "forwarding");
        // What was recorded of an interface that is gone says nothing of the one that comes in its place.
        let before = observed
            .sysctls
            .get(&key)
            .map(|value| observed.record.sysctls.get(&key).map_or(value, |record| &record.before));
        let asked_for = crate::desired::FORWARD_EVERYWHERE.into_iter().chain([key.as_str()]).any(|key| {
            let in_file = |s: &DesiredSysctl| s.value != "0" && s.reasons.iter().any(|r| r.what == "sysctl");
            desired.sysctls.get(key).is_some_and(in_file)
        });
        !asked_for && before.is_none_or(|v| v.trim() == "0")
    };
    served(desired).into_iter().filter(by_us).collect()
}

fn tables(desired: &Desired, live: &Live, only_ours: &BTreeSet<InterfaceName>) -> BTreeMap<String, String> {
    if desired.services.is_empty() {
        return BTreeMap::new();
    }
    let mut blocks = vec![];
    sets(&mut blocks, desired, live);
    chains(&mut blocks, desired);
    if !only_ours.is_empty() {
        let rule = |i| format!("iifname \"{i}\" oifname != \"{i}\" ct status ! dnat counter packets 0 bytes 0 drop");
        blocks.push(chain("only_ours", "filter hook forward priority filter", only_ours.iter().map(rule)));
    }
    let text = format!("table {TABLE} {{\n{}}}\n", blocks.join("\n"));
    BTreeMap::from([(TABLE.to_owned(), text)])
}

fn sets(blocks: &mut Vec<String>, desired: &Desired, live: &Live) {
    let vips: BTreeSet<Ipv4Addr> = desired.services.iter().flat_map(|s| s.addresses.iter().copied()).collect();
    let address = |a: &Ipv4Addr| a.to_string();
    blocks.push(set("set vips", &["type ipv4_addr"], (Layout::Pairs, vips.iter().map(address).collect())));
    let active = active(desired, live);
    blocks.push(set("set active", &["type ipv4_addr"], (Layout::Pairs, active.iter().map(address).collect())));
    let listens: BTreeSet<(Ipv4Addr, u16)> =
        desired.services.iter().flat_map(|s| s.addresses.iter().map(|a| (*a, s.port))).collect();
    let listens = listens.iter().map(|(a, p)| format!("{a} . {p}")).collect();
    blocks.push(set("set listens", &["type ipv4_addr . inet_service"], (Layout::Lines, listens)));
    for service in &desired.services {
        let down = live.down.get(&service.name).cloned().unwrap_or_default();
        let slots = slots(service, &down);
        let slots = slots.iter().enumerate().map(|(n, b)| format!("{n} : {}", slot_value(*b))).collect();
        // `typeof jhash …` would make nft 1.0.6 crash when it lists the map.
        let kind = format!("typeof numgen inc mod {} : ip daddr . tcp dport", service.slots);
        blocks.push(set(&format!("map {}", slots_map(&service.name)), &[&kind], (Layout::Fives, slots)));
        let targets: BTreeSet<SocketAddrV4> = service.backends.iter().filter_map(|b| v4(&b.target)).collect();
        let targets = targets.iter().map(|b| format!("{} counter packets 0 bytes 0", slot_value(*b))).collect();
        let name = format!("set {}", backends_set(&service.name));
        blocks.push(set(&name, &["type ipv4_addr . inet_service", "counter"], (Layout::Lines, targets)));
    }
    let services = desired.services.iter().flat_map(|s| s.addresses.iter().map(move |a| (*a, s.port, &s.name)));
    let services: BTreeSet<_> = services.collect();
    let services = services
        .iter()
        .map(|(a, p, s)| format!("{a} . tcp . {p} counter packets 0 bytes 0 : goto {}", service_chain(s)))
        .collect();
    let kind = ["type ipv4_addr . inet_proto . inet_service : verdict", "counter"];
    blocks.push(set("map services", &kind, (Layout::Lines, services)));
}

fn set(head: &str, kind: &[&str], (layout, members): (Layout, Vec<String>)) -> String {
    let mut text = format!("\t{head} {{\n");
    for line in kind {
        // Writing to a String does not fail.
        _ = writeln!(text, "\t\t{line}");
    }
    text.push_str(&elements(layout, &members));
    text.push_str("\t}\n");
    text
}

fn chain(name: &str, hook: &str, rules: impl Iterator<Item = String>) -> String {
    let mut text = format!("\tchain {name} {{\n");
    if !hook.is_empty() {
        // Writing to a String does not fail.
        _ = writeln!(text, "\t\ttype {hook}; policy accept;");
    }
    for rule in rules {
        _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n");
    text
}

fn chains(blocks: &mut Vec<String>, desired: &Desired) {
    const COUNTER: &str = "counter packets 0 bytes 0";
    for service in &desired.services {
        blocks.push(service_rules(service, COUNTER));
    }
    let own = |rule: &str| std::iter::once(rule.to_owned());
    let silent = [
        // The address is here and mastership is not: be silent.
        format!("ip daddr @vips ip daddr != @{ACTIVE} fib daddr type local {COUNTER} drop"),
        // Not tracked, or the entry blocks a later pick-up of the connection.
        format!("ip daddr @vips ip daddr != @{ACTIVE} notrack"),
        format!("ip saddr @vips ip saddr != @{ACTIVE} notrack"),
    ];
    blocks.push(chain("raw_pre", "filter hook prerouting priority raw", silent.into_iter()));
    let notrack = own("ip daddr @vips ip daddr != @active notrack");
    blocks.push(chain("raw_out", "filter hook output priority raw", notrack));
    // A backend's packet that comes before the client's: this machine's own stack would reset the connection.
    let reply_first = desired.services.iter().map(|s| {
        let backends = backends_set(&s.name);
        format!("ct state invalid,new ip daddr @active ip saddr . tcp sport @{backends} {COUNTER} drop")
    });
    let stray = format!("ct state invalid ip daddr @active ip daddr . tcp dport @listens {COUNTER} drop");
    let guard = reply_first.clone().chain([stray]);
    blocks.push(chain("guard", "filter hook prerouting priority mangle", guard));
    blocks.push(chain("guard_out", "filter hook output priority mangle", reply_first));
    let pick = "ip daddr @active ip daddr . meta l4proto . th dport vmap @services";
    blocks.push(chain("dnat_pre", "nat hook prerouting priority dstnat", own(pick)));
    // nft 1.0.6 neither prints nor reads priorities by name on these two hooks.
    blocks.push(chain("dnat_out", "nat hook output priority -100", own(pick)));
    blocks.push(chain("snat_post", "nat hook postrouting priority srcnat", from_vip(desired)));
    blocks.push(chain("snat_in", "nat hook input priority 100", from_vip(desired)));
    let account = desired.services.iter().map(|s| {
        let backends = backends_set(&s.name);
        format!("ct original ip daddr @active ct direction original ip daddr . tcp dport @{backends}")
    });
    blocks.push(chain("acct", "filter hook forward priority filter", account));
}

fn service_rules(service: &DesiredService, counter: &str) -> String {
    let map = slots_map(&service.name);
    // nft prints the protocol only where nothing else in the rule tells it.
    let (key, protocol) = match service.balance {
        Balance::Flow => ("ip saddr . tcp sport", ""),
        Balance::Source => ("ip saddr", "meta l4proto tcp "),
    };
    let hash = format!("jhash {key} mod {} seed {:#x}", service.slots, service.seed);
    let rules = [
        format!("{protocol}dnat ip to {hash} map @{map}"),
        format!("meta l4proto tcp {counter} reject with tcp reset"),
    ];
    chain(&service_chain(&service.name), "", rules.into_iter())
}

/// The backends see the vip with the client's port, so that the next holder makes the same translation.
fn from_vip(desired: &Desired) -> impl Iterator<Item = String> {
    desired.services.iter().flat_map(|s| s.addresses.iter().map(|a| (*a, s.port))).map(|(a, port)| {
        format!("meta l4proto tcp ct status dnat ct original ip daddr {a} ct original proto-dst {port} snat to {a}")
    })
}

#[cfg(test)]
mod tests;
