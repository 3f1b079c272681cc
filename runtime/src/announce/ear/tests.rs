//! Hearing announcements in a real kernel: a cable between two namespaces.

use std::time::{Duration, Instant};

use model::units::Cidr;
use proptest::prelude::*;

use super::*;
use crate::announce::Announcer;
use crate::hot::Port;
use crate::netns::{Links, Namespace, isolate};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// An ear at one end of a cable and a mouth at the other.
fn cable() -> (Ear, Announcer, Port, Namespace) {
    isolate().unwrap();
    let there = Namespace::new().unwrap();
    let links = Links::here().unwrap();
    links.veth("v0", "v1", &there).unwrap();
    links.up("v0").unwrap();
    there.links().unwrap().up("v1").unwrap();
    let port = Port { index: there.links().unwrap().index("v1").unwrap(), mac: Some(MAC) };
    let (mut ear, mouth) = (Ear::open().unwrap(), there.run(Announcer::open).unwrap().unwrap());
    carry(&mut ear, &mouth, port);
    (ear, mouth, port, there)
}

/// Waits until the cable carries: the kernel drops what is sent before it has seen both ends up.
fn carry(ear: &mut Ear, mouth: &Announcer, port: Port) {
    ear.listen(addresses(&["10.255.0.1"])).unwrap();
    let end = Instant::now() + PATIENCE;
    while !matches!(ear.hear(), Ok(Some(_))) {
        assert!(Instant::now() < end, "the cable carries nothing");
        mouth.announce(port, &cidrs(&["10.255.0.1/24"])).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    ear.listen(addresses(&[])).unwrap();
    while let Ok(Some(_)) = ear.hear() {}
}

fn addresses(of: &[&str]) -> BTreeSet<IpAddr> {
    of.iter().map(|a| a.parse().unwrap()).collect()
}

fn cidrs(of: &[&str]) -> Vec<Cidr> {
    of.iter().map(|a| a.parse().unwrap()).collect()
}

fn next(ear: &mut Ear) -> Heard {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(heard)) = ear.hear() {
            return heard;
        }
        assert!(Instant::now() < end, "nothing was heard");
    }
}

#[test]
fn an_announcement_of_one_of_our_addresses_is_heard_with_its_place_and_no_other() {
    let (mut ear, mouth, port, _there) = cable();
    ear.listen(addresses(&["10.7.0.100", "2001:db8::100"])).unwrap();
    let index = Links::here().unwrap().index("v0").unwrap();
    mouth.announce(port, &cidrs(&["10.7.0.101/24", "10.7.0.100/24"])).unwrap();
    assert_eq!(next(&mut ear), Heard { index, address: [10, 7, 0, 100].into(), mac: Some(MAC) });
    // Of the same last word: what gets through the filter is compared again.
    mouth.announce(port, &cidrs(&["2001:db8::101/64", "2001:db8:1::100/64", "2001:db8::100/64"])).unwrap();
    assert_eq!(next(&mut ear), Heard { index, address: "2001:db8::100".parse().unwrap(), mac: Some(MAC) });
    assert_eq!(ear.hear().unwrap(), None);
}

#[test]
fn what_is_listened_for_can_be_changed_and_be_more_than_a_filter_holds() {
    let (mut ear, mouth, port, _there) = cable();
    let many: BTreeSet<IpAddr> = (0..5000u32).map(|n| IpAddr::from((0x0a07_0000 + n).to_be_bytes())).collect();
    let more = (0..5000u128).map(|n| IpAddr::from(std::net::Ipv6Addr::from((0x2001_0db8 << 96) + n)));
    ear.listen(many.into_iter().chain(more).collect()).unwrap();
    mouth.announce(port, &cidrs(&["10.7.19.135/16", "2001:db8::1387/64", "10.7.19.136/16"])).unwrap();
    let heard = BTreeSet::from([next(&mut ear).address, next(&mut ear).address]);
    assert_eq!(heard, addresses(&["10.7.19.135", "2001:db8::1387"]));
    ear.listen(addresses(&["10.9.0.1"])).unwrap();
    mouth.announce(port, &cidrs(&["10.7.0.1/16", "10.9.0.1/16"])).unwrap();
    assert_eq!(next(&mut ear).address, IpAddr::from([10, 9, 0, 1]));
}

#[test]
fn a_question_for_an_address_and_an_answer_that_was_asked_for_are_no_announcements() {
    let (mut ear, mouth, port, there) = cable();
    ear.listen(addresses(&["10.7.0.100", "2001:db8::100"])).unwrap();
    let raw = there.run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))).unwrap().unwrap();
    let mut question = super::super::frame::arp(MAC, [10, 7, 0, 100].into());
    question[28..32].copy_from_slice(&[10, 7, 0, 1]);
    crate::hot::sys::send_frames(raw.as_fd(), port.index, &[question]).unwrap();
    // With the flag S, and with the checksum that goes with it.
    let mut answer = super::super::frame::advertisement(MAC, "2001:db8::100".parse().unwrap());
    answer[58] |= 0x40;
    let sum = u16::from_be_bytes([answer[56], answer[57]]) - 0x4000;
    answer[56..58].copy_from_slice(&sum.to_be_bytes());
    crate::hot::sys::send_frames(raw.as_fd(), port.index, &[answer]).unwrap();
    mouth.announce(port, &cidrs(&["2001:db8::100/64", "10.7.0.100/24"])).unwrap();
    let heard = BTreeSet::from([next(&mut ear).address, next(&mut ear).address]);
    assert_eq!(heard.len(), 2);
    assert!(matches!(ear.hear(), Ok(None)));
}

proptest! {
    #[test]
    fn options_of_any_bytes_are_read_without_a_panic_and_come_to_an_end(bytes: Vec<u8>) {
        link_layer(&bytes);
    }
}
