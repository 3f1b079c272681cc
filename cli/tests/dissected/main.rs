//! What hactl sends, as `tshark` sees it: dissected without a remark, checksums good, fields as meant.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

#[path = "../support/mod.rs"]
mod support;

use std::net::IpAddr;
use std::time::Duration;

use model::config::Checksum;
use model::units::{Centiseconds, Vrid};
use model::vrrp::Password;
use model::vrrp::packet::{self, Advert, Auth, Body};
use support::Software::Hactl;
use support::cluster::Setup;
use support::frame::{Said, on_the_wire};
use support::tshark::dissect;
use support::wire::PATIENCE;
use support::{Cluster, Wire};

/// Of an advert, in both versions and over both families.
const ADVERT: &[&str] = &[
    "vrrp.version",
    "vrrp.type",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.auth_type",
    "vrrp.adver_int",
    "vrrp.reserved_mbz",
    "vrrp.short_adver_int",
    "vrrp.checksum.status",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
    "vrrp.auth_string",
];

/// How tshark is told that version 3's checksum over IPv4 is RFC 5798's rather than RFC 9568's: its default changed.
const PSEUDO_HEADER: &[&str] = &["vrrp.v3_checksum_as_in_v2:FALSE"];
const MESSAGE_ONLY: &[&str] = &["vrrp.v3_checksum_as_in_v2:TRUE"];

/// An advert of router 51 with this priority, and from which to which address it goes.
fn frame(priority: u8, body: Body, checksum: Checksum, [source, destination]: [&str; 2]) -> Vec<u8> {
    let [source, destination]: [IpAddr; 2] = [source, destination].map(|text| text.parse().unwrap());
    let listed: &[&str] = match source {
        IpAddr::V4(_) => &["192.0.2.50", "192.0.2.51"],
        IpAddr::V6(_) => &["fe80::5e:51", "2001:db8::50", "2001:db8::51"],
    };
    let addresses = listed.iter().map(|text| text.parse().unwrap()).collect();
    let advert = Advert { vrid: Vrid::try_from(51).unwrap(), priority, body, addresses };
    on_the_wire(&packet::encode(&advert, checksum, source, destination), [source, destination], packet::TTL)
}

/// Rows of fields as text, the names once above each.
fn table(rows: &[(&str, Vec<String>)]) -> String {
    let line = |(name, values): &(&str, Vec<String>)| {
        let filled = ADVERT.iter().zip(values).filter(|(_, value)| !value.is_empty());
        let fields: String = filled.map(|(field, value)| format!("  {field} = {value}\n")).collect();
        format!("{name}\n{fields}")
    };
    rows.iter().map(line).collect()
}

fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots/wire");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn every_form_of_advert_is_dissected_as_it_was_meant() {
    const V4: [&str; 2] = ["192.0.2.11", "224.0.0.18"];
    const V4_UNICAST: [&str; 2] = ["192.0.2.11", "192.0.2.12"];
    const V6: [&str; 2] = ["fe80::11", "ff02::12"];
    const V6_UNICAST: [&str; 2] = ["2001:db8::11", "2001:db8::12"];
    let v2 = |auth| Body::V2 { seconds: 3, auth };
    let password = || Auth::Simple(Password::new("s3cret!!").unwrap());
    let v3 = |centiseconds| Body::V3 { interval: Centiseconds::try_from(centiseconds).unwrap() };
    let pseudo_header = Checksum::PseudoHeader;
    let forms = [
        ("version 2", frame(150, v2(Auth::None), pseudo_header, V4)),
        ("version 2, password", frame(150, v2(password()), pseudo_header, V4)),
        ("version 2, password, unicast", frame(1, v2(password()), Checksum::Message, V4_UNICAST)),
        ("version 2, goodbye", frame(0, v2(Auth::None), pseudo_header, V4)),
        ("version 3", frame(150, v3(100), pseudo_header, V4)),
        ("version 3, unicast, 10 ms", frame(254, v3(1), pseudo_header, V4_UNICAST)),
        ("version 3, owner, 40.95 s", frame(255, v3(4095), pseudo_header, V4)),
        ("version 3, goodbye", frame(0, v3(100), pseudo_header, V4)),
        ("version 3, IPv6", frame(150, v3(100), pseudo_header, V6)),
        ("version 3, IPv6, goodbye", frame(0, v3(100), Checksum::Message, V6)),
        ("version 3, IPv6, unicast, 40.95 s", frame(255, v3(4095), pseudo_header, V6_UNICAST)),
    ];
    let (names, frames): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
    let mut rows: Vec<_> = names.into_iter().zip(dissect(&frames, PSEUDO_HEADER, ADVERT)).collect();
    let plain = [V4, V4_UNICAST].map(|ends| frame(150, v3(100), Checksum::Message, ends));
    let names = ["version 3, checksum over the message", "version 3, checksum over the message, unicast"];
    rows.extend(names.into_iter().zip(dissect(&plain, MESSAGE_ONLY, ADVERT)));
    golden("dissected", &table(&rows));
}

#[test]
fn tshark_would_remark_on_a_wrong_checksum() {
    let v3 = Body::V3 { interval: Centiseconds::try_from(100).unwrap() };
    let ends = ["192.0.2.11", "224.0.0.18"];
    let wrong = frame(150, v3, Checksum::Message, ends);
    let judged = std::panic::catch_unwind(|| dissect(&[wrong], PSEUDO_HEADER, ADVERT));
    let remark = judged.unwrap_err().downcast::<String>().unwrap();
    assert!(remark.contains("Bad checksum"), "{remark}");
}

/// A machine of ours takes over and stops: what it said meanwhile of virtual addresses, and its hardware address.
fn said_by_a_machine(setup: Setup) -> (Vec<Vec<u8>>, String) {
    let mut cluster = Cluster::new([Hactl], setup);
    let wire = Wire::watch(&cluster.segment, cluster.client());
    cluster.start(0);
    for router in cluster.routers() {
        assert!(wire.settle(router, 0, Duration::from_millis(200)), "{}", cluster.said(0));
    }
    cluster.stop(0);
    let goodbyes = |frames: &[support::wire::Frame]| {
        let goodbye = |frame: &&support::wire::Frame| matches!(frame.said, Said::Advert { priority: 0, .. });
        (frames.iter().filter(goodbye).count() == cluster.routers().len()).then_some(())
    };
    assert!(wire.wait(PATIENCE, goodbyes).is_some(), "{}", cluster.said(0));
    let mac = cluster.segment.mac(0).map(|byte| format!("{byte:02x}")).join(":");
    (wire.frames().into_iter().map(|frame| frame.bytes).collect(), mac)
}

#[test]
fn a_master_over_ipv4_sends_adverts_and_announcements_that_nobody_remarks_on() {
    const FIELDS: &[&str] = &[
        "eth.src",
        "eth.dst",
        "ip.src",
        "ip.dst",
        "ip.ttl",
        "ip.dsfield.dscp",
        "vrrp.prio",
        "vrrp.checksum.status",
        "arp.isannouncement",
        "arp.src.hw_mac",
        "arp.src.proto_ipv4",
        "arp.dst.proto_ipv4",
    ];
    for setup in [Setup::PLAIN, Setup { version: 2, advert: 1000, password: true, ..Setup::PLAIN }] {
        let (frames, mac) = said_by_a_machine(setup);
        let rows = dissect(&frames, PSEUDO_HEADER, FIELDS);
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let advert = |priority| vec![&*mac, "01:00:5e:00:00:12", "10.77.0.1", "224.0.0.18", "255", "48", priority, "1"];
        let advert = |priority| [advert(priority), vec![""; 4]].concat();
        let announcement =
            vec![&*mac, "ff:ff:ff:ff:ff:ff", "", "", "", "", "", "", "1", &mac, "10.77.1.1", "10.77.1.1"];
        assert_eq!(rows[0], advert("150"), "first of all an advert");
        assert_eq!(rows[1], announcement, "then where the address is");
        assert_eq!(rows[rows.len() - 1], advert("0"), "last of all a goodbye");
        let known = |row: &&Vec<&str>| **row == advert("150") || **row == announcement;
        assert!(rows[..rows.len() - 1].iter().all(|row| known(&row)), "{rows:#?}");
    }
}

#[test]
fn a_master_over_ipv6_sends_adverts_and_announcements_that_nobody_remarks_on() {
    const FIELDS: &[&str] = &[
        "eth.src",
        "eth.dst",
        "ipv6.dst",
        "ipv6.hlim",
        "vrrp.prio",
        "vrrp.checksum.status",
        "vrrp.ipv6_addr",
        "icmpv6.type",
        "icmpv6.checksum.status",
        "icmpv6.nd.na.flag.r",
        "icmpv6.nd.na.flag.s",
        "icmpv6.nd.na.flag.o",
        "icmpv6.nd.na.target_address",
        "icmpv6.opt.linkaddr",
    ];
    let (frames, mac) = said_by_a_machine(Setup { v4: false, v6: true, ..Setup::PLAIN });
    let rows = dissect(&frames, PSEUDO_HEADER, FIELDS);
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let start = |to| [&*mac, to];
    let advert = |priority| {
        let said = ["ff02::12", "255", priority, "1", "fd77::1:1"];
        [&start("33:33:00:00:00:12")[..], &said, &[""; 7]].concat()
    };
    // A neighbour advertisement (136) of a router, not asked for, that overrides what is known (RFC 9568 §6.4.2).
    let announcement = [
        &start("33:33:00:00:00:01")[..],
        &["ff02::1", "255", "", "", "", "136", "1", "1", "0", "1", "fd77::1:1", &*mac],
    ]
    .concat();
    assert_eq!(rows[0], advert("150"), "first of all an advert");
    assert_eq!(rows[1], announcement, "then where the address is");
    assert_eq!(rows[rows.len() - 1], advert("0"), "last of all a goodbye");
    let known = |row: &Vec<&str>| *row == advert("150") || *row == announcement;
    assert!(rows[..rows.len() - 1].iter().all(known), "{rows:#?}");
}
