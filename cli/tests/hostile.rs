//! A hostile segment: an outsider floods it with forged adverts, each of which would depose the master if it were
//! believed. Nothing moves, each cause is counted, and it costs little.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::config::Checksum;
use model::units::{Centiseconds, Vrid};
use model::vrrp::Password;
use model::vrrp::packet::{self, Advert, Auth, Body};
use support::Software::Hactl;
use support::cluster::Setup;
use support::frame::{Said, on_the_wire};
use support::{Cluster, Wire, wire};

/// Packets a second.
const RATE: u32 = 50_000;
/// For so long.
const FLOOD: Duration = Duration::from_secs(2);
/// Half a core at [`RATE`]; three times that without an optimizer.
const COST: Duration = Duration::from_micros(if cfg!(debug_assertions) { 30 } else { 10 });
/// Floods share the processors with nobody but the rest of the tests.
static ALONE: Mutex<()> = Mutex::new(());

/// Whom the outsider writes to, by which hardware address, and who it pretends to be: a stranger, and where there are
/// unicast peers one of them.
struct Target {
    to: Ipv4Addr,
    mac: [u8; 6],
    sources: [Ipv4Addr; 2],
}

/// What nobody may heed, by the cause that it is to be counted under.
fn forgeries(setup: Setup, Target { to, mac, sources }: Target) -> Vec<(&'static str, Vec<u8>)> {
    let v3 = Body::V3 { interval: Centiseconds::try_from(10).unwrap() };
    let v2 = |text| Body::V2 { seconds: 1, auth: Auth::Simple(Password::new(text).unwrap()) };
    let (ours, theirs) = if setup.version == 3 { (v3, v2("pass1234")) } else { (v2("pass1234"), v3) };
    let addresses: Vec<IpAddr> = vec![Setup::address(0).parse().unwrap()];
    let ttls = [0, 1, 64, 254, 255];
    let mut all = Vec::new();
    for source in sources {
        let message = |vrid: u8, body: Body, addresses: &[IpAddr]| {
            let (vrid, addresses) = (Vrid::try_from(vrid).unwrap(), addresses.to_vec());
            let advert = Advert { vrid, priority: 255, body, addresses };
            packet::encode(&advert, Checksum::PseudoHeader, source.into(), to.into())
        };
        let mut add = |cause: &'static str, message: Vec<u8>, ttl: u8| {
            let mut frame = on_the_wire(&message, [source.into(), to.into()], ttl);
            frame[..6].copy_from_slice(&mac);
            all.push((cause, frame));
        };
        let good = message(1, ours, &addresses);
        ttls[..4].iter().for_each(|ttl| add("ttl", good.clone(), *ttl));
        add("length", [&good[..], &[0]].concat(), 255);
        add("length", good[..7].to_vec(), 255);
        add("version", message(1, theirs, &addresses), 255);
        add("type", [&[good[0] + 1], &good[1..]].concat(), 255);
        add("vrid", message(99, ours, &addresses), 255);
        add("checksum", [&good[..7], &[good[7] ^ 1], &good[8..]].concat(), 255);
        if setup.version == 3 {
            add("addresses", message(1, ours, &[]), 255);
            // One less in the sum is one more in its complement.
            let zero = message(1, Body::V3 { interval: Centiseconds::try_from(1).unwrap() }, &addresses);
            let sum = u16::from_be_bytes([zero[6], zero[7]]) + 1;
            add("interval", [&zero[..4], &[0, 0], &sum.to_be_bytes(), &zero[8..]].concat(), 255);
        } else {
            add(
                "interval",
                message(1, Body::V2 { seconds: 7, auth: Auth::Simple(Password::new("pass1234").unwrap()) }, &addresses),
                255,
            );
            add("authentication", message(1, v2("pass1235"), &addresses), 255);
            add("authentication", message(1, Body::V2 { seconds: 1, auth: Auth::None }, &addresses), 255);
            add("authentication", message(1, Body::V2 { seconds: 1, auth: Auth::Other(2) }, &addresses), 255);
        }
        if setup.unicast && source == sources[0] {
            add("source", good, 255);
        }
    }
    all
}

/// Sends these in turn at [`RATE`] for [`FLOOD`]; how many were sent.
fn flood(cluster: &Cluster, frames: &[Vec<u8>]) -> u32 {
    let mouth = wire::mouth(&cluster.segment, cluster.client());
    let start = Instant::now();
    let mut sent = 0_u32;
    while start.elapsed() < FLOOD {
        // What is late is made up for, in portions that no queue on the way loses.
        let due = u32::try_from(start.elapsed().as_micros()).unwrap() / (1_000_000 / RATE);
        let portion = sent..due.min(sent + 200);
        for n in portion.clone() {
            // A full queue of the sender's is noise, too.
            let _ = mouth.send(&frames[n as usize % frames.len()]);
        }
        sent = portion.end.max(sent);
        std::thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// What `status` says on a machine: of its vip and of strangers, packets dropped by cause.
fn dropped(cluster: &Cluster, machine: usize) -> BTreeMap<String, u64> {
    let mut status = Command::new(env!("CARGO_BIN_EXE_hactl"));
    status.arg("--state").arg(cluster.state(machine)).args(["--json", "status"]);
    let output = cluster.segment.machine(machine).run(|| status.output()).unwrap().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = [&report["vips"][0]["dropped"], &report["strangers"]["eth0"]];
    let objects = counts.iter().filter_map(|counts| counts.as_object());
    objects.flatten().map(|(cause, n)| (cause.clone(), n.as_u64().unwrap())).collect()
}

fn withstands(setup: Setup) {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut cluster = Cluster::new([Hactl, Hactl], setup);
    let wire = Wire::deaf_to(&cluster.segment, cluster.client(), Some(cluster.client()));
    let router = cluster.routers()[0];
    cluster.start(0);
    assert!(wire.settle(router, 0, Duration::ZERO), "{}", cluster.said(0));
    cluster.start(1);
    let listens =
        |lines: &[support::daemon::Line]| lines.iter().any(|line| line.1.contains(r#""to":"BACKUP""#)).then_some(());
    assert!(cluster.daemon(1).output.wait(wire::PATIENCE, listens).is_some(), "{}", cluster.said(1));

    let forged: Vec<_> = targets(&cluster, setup).into_iter().flat_map(|target| forgeries(setup, target)).collect();
    let frames: Vec<_> = forged.iter().map(|(_, frame)| frame.clone()).collect();
    let (mark, before) = (wire.mark(), [0, 1].map(|n| cluster.daemons[n].as_ref().unwrap().processor()));
    let sent = flood(&cluster, &frames);
    let after = [0, 1].map(|n| cluster.daemons[n].as_ref().unwrap().processor());
    let during = wire.frames().split_off(mark);

    let adverts: Vec<_> = during.iter().filter(|frame| matches!(frame.said, Said::Advert { .. })).collect();
    assert!(adverts.iter().all(|frame| frame.machine == 0), "the backup spoke\n{}", cluster.said(1));
    assert_eq!(wire.owners(Setup::address(0).parse().unwrap()), [0]);
    for machine in [0, 1] {
        let said = cluster.said(machine);
        let moves = said.lines().filter(|line| line.contains(r#""event":"state""#)).count();
        assert_eq!(moves, 2 - machine, "machine {machine} moved\n{said}");
        assert!(said.lines().count() < 250, "{} lines\n{said}", said.lines().count());
        let dropped = dropped(&cluster, machine);
        for (cause, _) in &forged {
            assert!(dropped.contains_key(*cause), "machine {machine} did not count {cause}: {dropped:?}");
        }
        let counted = u32::try_from(dropped.values().sum::<u64>()).unwrap();
        let each = (after[machine] - before[machine]) / counted;
        println!("machine {machine}: {counted} of {sent} packets, {each:?} of a processor for each; {dropped:?}");
        assert!(each < COST, "{each:?} of a processor for each packet");
    }
    let gaps: Vec<Duration> = adverts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    println!("{} adverts {:?} to {:?} apart", adverts.len(), gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    let longest = Duration::from_millis(u64::from(setup.advert) * 3 / 2);
    assert!(gaps.iter().all(|gap| *gap < longest), "an advert was late: {gaps:?}");
}

fn targets(cluster: &Cluster, setup: Setup) -> Vec<Target> {
    let stranger = Ipv4Addr::new(10, 77, 0, 99);
    if !setup.unicast {
        let group = (Ipv4Addr::new(224, 0, 0, 18), [1, 0, 0x5e, 0, 0, 18]);
        return vec![Target { to: group.0, mac: group.1, sources: [stranger, Ipv4Addr::new(10, 77, 0, 98)] }];
    }
    let machine = |n: usize| {
        let peer = support::segment::address(1 - n);
        Target { to: support::segment::address(n), mac: cluster.segment.mac(n), sources: [stranger, peer] }
    };
    vec![machine(0), machine(1)]
}

#[test]
fn a_flood_of_forged_multicast_moves_nothing_in_version_3() {
    withstands(Setup::PLAIN);
}

#[test]
fn a_flood_from_a_stranger_to_unicast_peers_moves_nothing() {
    withstands(Setup { unicast: true, ..Setup::PLAIN });
}

#[test]
fn a_flood_of_wrong_passwords_moves_nothing_in_version_2() {
    withstands(Setup { version: 2, advert: 1000, password: true, ..Setup::PLAIN });
}
