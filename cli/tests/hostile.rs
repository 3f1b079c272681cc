//! A hostile segment: an outsider floods it with forged adverts, each of which would depose the master if it were
//! believed. Nothing moves, each cause is counted, and it costs little.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::config::Checksum;
use model::units::{Centiseconds, Vrid};
use model::vrrp::Password;
use model::vrrp::packet::{self, Advert, Auth, Body};
use support::Software::Hactl;
use support::cluster::Setup;
use support::daemon::Line;
use support::frame::{Said, on_the_wire};
use support::{Cluster, Wire, wire};

/// Packets a second.
const RATE: u32 = 50_000;
/// For so long.
const FLOOD: Duration = Duration::from_secs(2);
/// Half a core at [`RATE`]; twice that without an optimizer.
const COST: Duration = Duration::from_micros(if cfg!(debug_assertions) { 20 } else { 10 });
/// Floods share the processors with nobody but the rest of the tests.
static ALONE: Mutex<()> = Mutex::new(());

/// Whom the outsider writes to, by which hardware address, and who it pretends to be: a stranger, and where there are
/// unicast peers one of them.
struct Target {
    to: IpAddr,
    mac: [u8; 6],
    sources: [IpAddr; 2],
}

impl Target {
    fn message(&self, source: IpAddr, (vrid, priority, body): (u8, u8, Body), addresses: &[IpAddr]) -> Vec<u8> {
        let (vrid, addresses) = (Vrid::try_from(vrid).unwrap(), addresses.to_vec());
        packet::encode(&Advert { vrid, priority, body, addresses }, Checksum::PseudoHeader, source, self.to)
    }

    fn frame(&self, source: IpAddr, message: &[u8], ttl: u8) -> Vec<u8> {
        let mut frame = on_the_wire(message, [source, self.to], ttl);
        frame[..6].copy_from_slice(&self.mac);
        frame
    }
}

/// What nobody may heed, by the cause that it is to be counted under.
fn forgeries(setup: Setup, target: &Target) -> Vec<(&'static str, Vec<u8>)> {
    let [ours, theirs] =
        if setup.version == 3 { [v3(10), v2(1, password("pass1234"))] } else { [v2(1, password("pass1234")), v3(10)] };
    let mut all = Vec::new();
    for source in target.sources {
        let advert = |vrid: u8, body: Body| target.message(source, (vrid, 255, body), &[setup.first()]);
        let mut add = |cause: &'static str, message: Vec<u8>| all.push((cause, target.frame(source, &message, 255)));
        let good = advert(1, ours);
        add("length", [&good[..], &[0]].concat());
        add("length", good[..7].to_vec());
        add("version", advert(1, theirs));
        add("type", [&[good[0] + 1], &good[1..]].concat());
        add("vrid", advert(99, ours));
        add("checksum", [&good[..7], &[good[7] ^ 1], &good[8..]].concat());
        if setup.version == 3 {
            add("addresses", target.message(source, (1, 255, ours), &[]));
            // One less in the sum is one more in its complement.
            let zero = advert(1, v3(1));
            let sum = u16::from_be_bytes([zero[6], zero[7]]) + 1;
            add("interval", [&zero[..4], &[0, 0], &sum.to_be_bytes(), &zero[8..]].concat());
        } else {
            add("interval", advert(1, v2(7, password("pass1234"))));
            add("authentication", advert(1, v2(1, password("pass1235"))));
            add("authentication", advert(1, v2(1, Auth::None)));
            add("authentication", advert(1, v2(1, Auth::Other(2))));
        }
        if setup.unicast && source == target.sources[0] {
            add("source", good.clone());
        }
        all.extend([0, 1, 64, 254].map(|ttl| ("ttl", target.frame(source, &good, ttl))));
    }
    all
}

/// Adverts that are good in every respect, from masters that are worse than the real one: better and worse than its
/// backup, with our addresses and with others.
fn rivals(setup: Setup, target: &Target) -> Vec<Vec<u8>> {
    let other: IpAddr = "10.77.9.9".parse().unwrap();
    let adverts = target.sources.iter().flat_map(|source| {
        [(1, setup.first()), (1, other), (120, setup.first()), (120, other)].map(|(priority, address)| {
            target.frame(*source, &target.message(*source, (1, priority, v3(10)), &[address]), 255)
        })
    });
    adverts.collect()
}

fn v3(centiseconds: u16) -> Body {
    Body::V3 { interval: Centiseconds::try_from(centiseconds).unwrap() }
}

fn password(text: &str) -> Auth {
    Auth::Simple(Password::new(text).unwrap())
}

fn v2(seconds: u8, auth: Auth) -> Body {
    Body::V2 { seconds, auth }
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

fn targets(cluster: &Cluster, setup: Setup) -> Vec<Target> {
    if !setup.unicast {
        let [to, one, another] = ["224.0.0.18", "10.77.0.99", "10.77.0.98"].map(|text| text.parse().unwrap());
        return vec![Target { to, mac: [1, 0, 0x5e, 0, 0, 18], sources: [one, another] }];
    }
    let machine = |n: usize| {
        let [own, peer] = [n, 1 - n].map(|n| support::segment::address(n).into());
        Target { to: own, mac: cluster.segment.mac(n), sources: ["10.77.0.99".parse().unwrap(), peer] }
    };
    vec![machine(0), machine(1)]
}

/// A cluster that has withstood a flood.
struct Siege {
    cluster: Cluster,
    /// Packets of the flood.
    sent: u32,
    /// Processor time of each machine meanwhile.
    spent: [Duration; 2],
    /// Adverts meanwhile, all of the master.
    adverts: Vec<wire::Frame>,
}

/// Floods a cluster: nothing has moved.
fn besiege(setup: Setup, flood_of: impl Fn(&Target) -> Vec<Vec<u8>>) -> Siege {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut cluster = Cluster::new([Hactl, Hactl], setup);
    let wire = Wire::deaf_to(&cluster.segment, cluster.client(), Some(cluster.client()));
    cluster.start(0);
    assert!(wire.settle(cluster.routers()[0], 0, Duration::ZERO), "{}", cluster.said(0));
    cluster.start(1);
    let backup = |lines: &[Line]| lines.iter().any(|line| line.1.contains(r#""to":"BACKUP""#)).then_some(());
    assert!(cluster.daemon(1).output.wait(wire::PATIENCE, backup).is_some(), "{}", cluster.said(1));

    let frames: Vec<_> = targets(&cluster, setup).iter().flat_map(flood_of).collect();
    let processor = |n: usize| cluster.daemons[n].as_ref().unwrap().processor();
    let (mark, before) = (wire.mark(), [0, 1].map(processor));
    let sent = flood(&cluster, &frames);
    let spent = [0, 1].map(|n| processor(n) - before[n]);
    let mut adverts = wire.frames().split_off(mark);
    adverts.retain(|frame| matches!(frame.said, Said::Advert { .. }));

    assert!(adverts.iter().all(|frame| frame.machine == 0), "the backup spoke\n{}", cluster.said(1));
    assert_eq!(wire.owners(setup.first()), [0]);
    for machine in [0, 1] {
        let said = cluster.said(machine);
        let moves = said.lines().filter(|line| line.contains(r#""event":"state""#)).count();
        assert_eq!(moves, 2 - machine, "machine {machine} moved\n{said}");
        assert!(said.lines().count() < 250, "{} lines\n{said}", said.lines().count());
    }
    Siege { cluster, sent, spent, adverts }
}

impl Siege {
    /// What `status` says on a machine.
    fn status(&self, machine: usize) -> serde_json::Value {
        let mut status = Command::new(env!("CARGO_BIN_EXE_hactl"));
        status.arg("--state").arg(self.cluster.state(machine)).args(["--json", "status"]);
        let output = self.cluster.segment.machine(machine).run(|| status.output()).unwrap().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Packets that a machine dropped, by cause: of its vip's, and those that were for no vip.
    fn dropped(&self, machine: usize) -> BTreeMap<String, u64> {
        let report = self.status(machine);
        let counts = [&report["vips"][0]["dropped"], &report["strangers"]["eth0"]];
        let objects = counts.iter().filter_map(|counts| counts.as_object());
        objects.flatten().map(|(cause, n)| (cause.clone(), n.as_u64().unwrap())).collect()
    }

    /// What so many packets cost a machine.
    fn judge_cost(&self, machine: usize, packets: u64) {
        let each = self.spent[machine] / u32::try_from(packets).unwrap();
        println!("machine {machine}: {packets} of {} packets, {each:?} of a processor for each", self.sent);
        assert!(each < COST, "{each:?} of a processor for each packet");
    }

    /// How far apart the master's adverts were.
    fn gaps(&self) -> Vec<Duration> {
        self.adverts.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}

fn withstands(setup: Setup) {
    let forged = |target: &Target| forgeries(setup, target).into_iter().map(|(_, frame)| frame).collect();
    let siege = besiege(setup, forged);
    let causes: BTreeSet<_> = targets(&siege.cluster, setup)
        .iter()
        .flat_map(|target| forgeries(setup, target))
        .map(|(cause, _)| cause.to_owned())
        .collect();
    for machine in [0, 1] {
        let dropped = siege.dropped(machine);
        assert_eq!(dropped.keys().cloned().collect::<BTreeSet<_>>(), causes, "machine {machine}: {dropped:?}");
        siege.judge_cost(machine, dropped.values().sum());
    }
    let gaps = siege.gaps();
    println!("adverts {:?} to {:?} apart", gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    let longest = Duration::from_millis(u64::from(setup.advert) * 3 / 2);
    assert!(gaps.iter().all(|gap| *gap < longest), "an advert was late: {gaps:?}");
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

#[test]
fn a_flood_of_worse_masters_moves_nothing_and_is_not_answered_with_a_flood() {
    let siege = besiege(Setup::PLAIN, |target| rivals(Setup::PLAIN, target));
    let master = siege.status(0);
    let kinds =
        master["vips"][0]["anomalies"].as_array().unwrap().iter().map(|anomaly| anomaly["kind"].as_str().unwrap());
    assert_eq!(kinds.collect::<BTreeSet<_>>(), BTreeSet::from(["addresses", "rival"]), "{master:#}");
    siege.judge_cost(0, master["vips"][0]["received"].as_u64().unwrap());
    siege.judge_cost(1, siege.status(1)["vips"][0]["received"].as_u64().unwrap());
    // Eight answers between two adverts (RFC 9568 §6.4.3 would have as many as there are rivals).
    let intervals = FLOOD.as_millis() / u128::from(Setup::PLAIN.advert) + 1;
    assert!(siege.adverts.len() as u128 <= intervals * 9, "{} adverts", siege.adverts.len());
}
