//! Events of a real kernel, each test in a network namespace of its own.

use std::collections::BTreeSet;
use std::process::Command;

use super::tables::TableWatch;
use super::*;
use crate::netns::{Links, Namespace, isolate};
use model::vrrp::LinkState;

fn sh(line: &str) {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

fn pair() -> InterfaceName {
    isolate().unwrap();
    Links::here().unwrap().veth("v0", "v1", &Namespace::here().unwrap()).unwrap();
    sh("ip link set v0 addrgenmode none; ip link set v1 addrgenmode none; ip link set v0 up; ip link set v1 up");
    "v0".parse().unwrap()
}

fn drain(watch: &mut Watch) -> Vec<Seen> {
    std::iter::from_fn(|| watch.step().unwrap()).collect()
}

/// The kernel tells of a carrier a moment after the command that made it.
fn until(watch: &mut Watch, name: &InterfaceName, state: LinkState) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while watch.machine().state(name) != state {
        watch.step().unwrap();
        assert!(std::time::Instant::now() < end, "{name} is {:?}, not {state:?}", watch.machine().state(name));
    }
}

#[test]
fn a_link_is_followed_through_carrier_rename_and_re_creation() {
    let v0 = pair();
    let mut watch = Watch::open().unwrap();
    until(&mut watch, &v0, LinkState::Up { primary: None, link_local: None });
    let index = watch.machine().port(&v0).unwrap().index;
    sh("ip link set v1 down");
    until(&mut watch, &v0, LinkState::Down);
    sh("ip link set v1 up; ip link set v0 down; ip link set v0 name w0; ip link set w0 up");
    until(&mut watch, &"w0".parse().unwrap(), LinkState::Up { primary: None, link_local: None });
    assert_eq!(watch.machine().state(&v0), LinkState::Absent);
    sh("ip link del w0; ip link add v0 type veth peer name v1; ip link set v0 addrgenmode none;
        ip link set v0 up; ip link set v1 up");
    until(&mut watch, &v0, LinkState::Up { primary: None, link_local: None });
    assert_ne!(watch.machine().port(&v0).unwrap().index, index);
}

#[test]
fn the_primary_address_is_the_first_that_is_not_ours() {
    let v0 = pair();
    let mut watch = Watch::open().unwrap();
    let mut addresses = crate::hot::address::Addresses::open().unwrap();
    let port = watch.machine().port(&v0).unwrap();
    let ours: Cidr = "10.9.0.1/24".parse().unwrap();
    addresses.add(port.index, &[ours]).unwrap();
    sh("ip addr add 192.0.2.7/24 dev v0; ip addr add 192.0.2.8/24 dev v0");
    until(&mut watch, &v0, LinkState::Up { primary: Some([192, 0, 2, 7].into()), link_local: None });
    drain(&mut watch);
    sh("ip addr del 10.9.0.1/24 dev v0");
    let seen = drain(&mut watch);
    let foreign = |s: &Seen| matches!(s, Seen::Removed { cidr, by, .. } if *cidr == ours && *by != addresses.port());
    assert!(seen.iter().any(foreign), "{seen:?}");
}

#[test]
fn what_an_overrun_hid_is_told_as_if_it_had_just_happened() {
    let v0 = pair();
    sh("ip addr add 192.0.2.7/24 dev v0");
    let mut watch = Watch::open().unwrap();
    until(&mut watch, &v0, LinkState::Up { primary: Some([192, 0, 2, 7].into()), link_local: None });
    let before = watch.machine().clone();
    sh("ip addr del 192.0.2.7/24 dev v0; ip addr add 192.0.2.8/24 dev v0; ip link set v0 down");
    until(&mut watch, &v0, LinkState::Down);
    let later = read().unwrap();
    let seen = before.differences(&later);
    assert!(matches!(&seen[0], Seen::Removed { cidr, .. } if cidr.to_string() == "192.0.2.7/24"), "{seen:?}");
    assert!(matches!(&seen[1], Seen::Added { cidr, .. } if cidr.to_string() == "192.0.2.8/24"), "{seen:?}");
    assert!(seen.contains(&Seen::Link(v0)));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while *watch.machine() != read().unwrap() {
        watch.step().unwrap();
        assert!(std::time::Instant::now() < end, "the events do not lead to the same: {:?}", watch.machine());
    }
}

#[test]
fn a_foreign_hand_on_our_table_is_told_with_its_program_and_our_own_is_not() {
    pair();
    let mut table = crate::hot::table::Table::open().unwrap();
    let mut watch = TableWatch::open(table.port()).unwrap();
    sh("nft 'add table ip other; add set ip other active { type ipv4_addr; }'");
    assert_eq!(watch.read(100).unwrap().0, None, "another table is nobody's business");
    sh("nft 'add table ip hactl; add set ip hactl active { type ipv4_addr; }'");
    let touched = watch.read(100).unwrap().0.unwrap();
    assert!(touched.by.unwrap().starts_with("nft (pid ") && !touched.removed);
    table.open_gate(&[[10, 0, 0, 1].into()]).unwrap();
    assert_eq!(watch.read(100).unwrap(), (None, false));
    sh("nft flush ruleset");
    assert!(watch.read(100).unwrap().0.unwrap().removed);
}

#[test]
fn a_link_local_address_is_told_when_no_duplicate_was_found_and_ours_is_none() {
    let v0 = pair();
    let mut watch = Watch::open().unwrap();
    let mut addresses = crate::hot::address::Addresses::open().unwrap();
    let port = watch.machine().port(&v0).unwrap();
    addresses.add(port.index, &["fe80::100/64".parse().unwrap()]).unwrap();
    sh("ip -6 addr add fe80::7/64 dev v0");
    let tentative = |watch: &Watch| {
        let read = crate::hot::address::Addresses::open().unwrap().standing(port.index).unwrap();
        let own = read.into_iter().find(|s| s.address.to_string() == "fe80::7").unwrap();
        assert!(!own.tentative || watch.machine().state(&v0) == LinkState::Up { primary: None, link_local: None });
        own.tentative
    };
    drain(&mut watch);
    while tentative(&watch) {}
    until(&mut watch, &v0, LinkState::Up { primary: None, link_local: Some("fe80::7".parse().unwrap()) });
    sh("ip -6 addr del fe80::7/64 dev v0");
    until(&mut watch, &v0, LinkState::Up { primary: None, link_local: None });
}

#[test]
fn an_ipv6_address_of_somebody_elses_is_in_the_way_whatever_its_prefix() {
    let v0 = pair();
    sh("ip -6 addr add 2001:db8::100/128 dev v0; ip addr add 10.7.0.100/32 dev v0");
    let mut watch = Watch::open().unwrap();
    until(&mut watch, &v0, LinkState::Up { primary: Some([10, 7, 0, 100].into()), link_local: None });
    let ours = ["2001:db8::100/64", "10.7.0.100/24", "2001:db8::101/64"].map(|a| a.parse().unwrap());
    let found = watch.machine().foreign(&v0, &ours.into());
    assert_eq!(found, BTreeSet::from([ours[0]]), "IPv4 can stand beside another prefix");
}
