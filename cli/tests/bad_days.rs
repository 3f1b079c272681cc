//! Bad days on a live cluster: noise on the wire, a file that vanishes, a machine that nobody knows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod support;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};
use support::Software::Hactl;
use support::cluster::{CLIENT, Setup};
use support::{Cluster, Holding, Segment};

const PATIENCE: Duration = Duration::from_secs(20);
const SETUP: Setup = Setup::PLAIN;

/// A cluster whose machine 0 holds the address.
fn settled() -> (Cluster, Holding) {
    let mut cluster = Cluster::new([Hactl; 2], SETUP);
    let holding = Holding::watch(&cluster.segment, 2, &Setup::address(0));
    cluster.start(0);
    assert!(holding.wait(0, true, PATIENCE), "{}", cluster.daemon(0).output.text());
    cluster.start(1);
    let ready = cluster
        .daemon(1)
        .output
        .wait(PATIENCE, |lines| lines.iter().any(|line| line.1.contains(r#""to":"BACKUP""#)).then_some(()));
    assert!(ready.is_some(), "{}", cluster.daemon(1).output.text());
    (cluster, holding)
}

/// A socket of the client that sends protocol 112 with this TTL.
fn mouth(cluster: &Cluster, ttl: u32) -> Socket {
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    let socket = cluster.segment.machine(CLIENT).run(open).unwrap();
    socket.set_multicast_ttl_v4(ttl).unwrap();
    let own = support::segment::address(CLIENT);
    socket.set_multicast_if_v4(&own).unwrap();
    socket
}

/// Messages that nobody may heed: too short, of another virtual router, of another version, with a broken checksum,
/// with more addresses than bytes, with a password of version 2, and one that no one could have sent.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![0x31],
        vec![0x31, 1, 255, 1, 0, 10, 0],
        vec![0x31, 99, 255, 1, 0, 10, 0x12, 0x34, 10, 77, 1, 1],
        vec![0x41, 1, 255, 1, 0, 10, 0, 0, 10, 77, 1, 1],
        vec![0x31, 1, 255, 1, 0, 10, 0xde, 0xad, 10, 77, 1, 1],
        vec![0x31, 1, 255, 255, 0, 10, 0, 0, 10, 77, 1, 1],
        [vec![0x21, 1, 255, 1, 1, 1, 0, 0, 10, 77, 1, 1], b"pass1234".to_vec()].concat(),
        vec![0xff; 1400],
    ]
}

#[test]
fn ten_thousand_packets_of_noise_a_second_move_nothing_and_fill_no_log() {
    let (mut cluster, holding) = settled();
    let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0).into();
    let sockets = [mouth(&cluster, 255), mouth(&cluster, 64)];
    let start = Instant::now();
    let mut sent = 0_u32;
    // For 20 adverts, at the pace of 10,000 a second: what is late is made up for.
    while start.elapsed() < Duration::from_secs(2) {
        for message in garbage() {
            // A full queue of the sender's is noise, too.
            let _ = sockets[sent as usize % 2].send_to(&message, &group);
            sent += 1;
        }
        let due = start + Duration::from_micros(u64::from(sent) * 100);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    assert!(sent > 5_000, "only {sent} packets were sent");
    assert!(holding.held(0) && !holding.held(1), "{}", cluster.daemon(1).output.text());
    assert_eq!((holding.changes(0).len(), holding.changes(1).len()), (1, 0));
    for machine in [0, 1] {
        let text = cluster.daemon(machine).output.text();
        assert!(text.contains(r#""cause":"checksum""#) && text.contains(r#""cause":"ttl""#), "{text}");
        // By powers of ten for each cause: a few lines of thousands of packets.
        assert!(text.lines().count() < 150, "{} lines", text.lines().count());
    }
}

#[test]
fn a_file_that_vanishes_changes_nothing_and_is_named_at_the_next_reload() {
    let (mut cluster, holding) = settled();
    let file = cluster.file();
    std::fs::remove_file(&file).unwrap();
    cluster.daemon(0).signal(Signal::SIGHUP);
    let name = file.display().to_string();
    let named = cluster.daemon(0).output.wait(PATIENCE, |lines| {
        lines.iter().any(|line| line.1.contains("ERROR") && line.1.contains(&name)).then_some(())
    });
    assert!(named.is_some(), "{}", cluster.daemon(0).output.text());
    assert!(holding.held(0), "the address is gone");
    assert_eq!((holding.changes(0).len(), holding.changes(1).len()), (1, 0));
    assert!(cluster.daemon(0).stop().success());
    assert!(holding.wait(1, true, PATIENCE), "nobody took over");
}

/// What `status` says on a machine.
fn status(cluster: &Cluster, machine: usize) -> String {
    let mut status = Command::new(env!("CARGO_BIN_EXE_hactl"));
    status.arg("--state").arg(cluster.state(machine)).arg("status");
    let output = cluster.segment.machine(machine).run(|| status.output()).unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_foreign_copy_of_the_address_on_the_better_machine_never_deposes_the_holder() {
    let mut cluster = Cluster::new([Hactl; 2], SETUP);
    let holding = Holding::watch(&cluster.segment, 2, &Setup::address(0));
    let links = cluster.segment.machine(0).links().unwrap();
    cluster.start(1);
    assert!(holding.wait(1, true, PATIENCE), "{}", cluster.daemon(1).output.text());
    let copy = format!("{}/32", Setup::address(0));
    links.address("eth0", copy.parse().unwrap()).unwrap();
    cluster.start(0);
    let wait = |cluster: &mut Cluster, to: &str, patience| {
        let says = format!(r#""to":"{to}""#);
        cluster.daemon(0).output.wait(patience, |lines| lines.iter().any(|l| l.1.contains(&says)).then_some(()))
    };
    assert!(wait(&mut cluster, "FAULT", PATIENCE).is_some(), "{}", cluster.daemon(0).output.text());
    // For 30 adverts nobody moves.
    assert!(wait(&mut cluster, "MASTER", Duration::from_secs(3)).is_none(), "{}", cluster.daemon(0).output.text());
    assert!(wait(&mut cluster, "BACKUP", Duration::ZERO).is_none(), "{}", cluster.daemon(0).output.text());
    let why = format!("{copy} is on eth0 already and was not put there by hactl");
    assert!(status(&cluster, 0).contains(&why), "{}", status(&cluster, 0));
    assert_eq!(holding.changes(1).len(), 1, "{}", cluster.daemon(1).output.text());
    let mut ip = Command::new("ip");
    let removal = cluster.segment.machine(0).run(|| ip.args(["addr", "del", &copy, "dev", "eth0"]).status());
    assert!(removal.unwrap().unwrap().success());
    assert!(wait(&mut cluster, "MASTER", PATIENCE).is_some(), "{}", cluster.daemon(0).output.text());
    assert!(holding.wait(0, true, PATIENCE) && holding.wait(1, false, PATIENCE));
    let deadline = Instant::now() + PATIENCE;
    while status(&cluster, 0).contains("there already") && Instant::now() < deadline {}
    assert!(!status(&cluster, 0).contains("already"), "{}", status(&cluster, 0));
}

/// What `plan` says on a machine with the addresses 10.77.0.1 and 10.77.0.9, where these are the peers'.
fn plan_with_peers(peers: &str) -> (Option<i32>, String) {
    let segment = Segment::new(1);
    segment.machine(0).links().unwrap().address("eth0", "10.77.0.9/16".parse().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ha.kdl");
    let vip = r#"vip "v" { address "10.77.1.1/16"; interface "eth0"; vrid 7; priority x=150 y=100 }"#;
    std::fs::write(&file, format!("cluster \"c\"\n{peers}\n{vip}\n")).unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_hactl"));
    plan.arg("--file").arg(&file).arg("--state").arg(directory.path().join("state")).arg("plan");
    let output = segment.machine(0).run(|| plan.output()).unwrap().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_machine_that_is_no_peer_is_told_who_the_peers_are() {
    let (code, said) = plan_with_peers("peer \"x\" address=\"10.77.0.77\"\npeer \"y\" address=\"10.77.0.78\"");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("none of the peers: x (10.77.0.77), y (10.77.0.78)") && said.contains("--node"), "{said}");
}

#[test]
fn a_machine_that_two_peers_claim_is_told_which() {
    let (code, said) = plan_with_peers("peer \"x\" address=\"10.77.0.1\"\npeer \"y\" address=\"10.77.0.9\"");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("has the addresses of more than one peer") && said.contains("x (10.77.0.1), y (10.77.0.9)"),
        "{said}"
    );
}
