//! Planned moves lose nothing: a client asks a vip a thousand times a second while it moves from machine to machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::Software::{Hactl, Keepalived};
use support::cluster::Setup;
use support::segment::address;
use support::{Asker, Cluster, Holding, Software};

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers that a planned move between two of ours may cost.
const FEW: usize = 2;

const SLOW: Setup = Setup { advert: 1000, ..Setup::PLAIN };

/// Two machines, the first of which holds the vip, and a client that asks.
struct Pair {
    cluster: Cluster,
    holding: Holding,
    askers: Vec<Asker>,
}

impl Pair {
    fn new(software: [Software; 2], setup: Setup) -> Pair {
        let (mut cluster, holding) = prepared(software, setup);
        cluster.start(0);
        assert!(holding.wait(0, true, PATIENCE), "{}", cluster.said(0));
        cluster.start(1);
        listens(&mut cluster, 1);
        let askers = askers(&cluster, setup);
        Pair { cluster, holding, askers }
    }

    /// Waits until the vip is on this machine alone.
    fn moves(&self, from: usize, to: usize) {
        let said = || format!("{}\n---\n{}", self.cluster.said(from), self.cluster.said(to));
        assert!(self.holding.wait(to, true, PATIENCE), "{to} does not take it\n{}", said());
        assert!(self.holding.wait(from, false, PATIENCE), "{from} does not let go of it\n{}", said());
    }

    fn lost(&self, what: &str, since: Instant) -> usize {
        let lost = self.askers.iter().map(|asker| asker.lost(since).len()).max().unwrap();
        eprintln!("{what}: {lost} answers lost, both held it for {:?}", self.holding.overlap());
        lost
    }

    fn ask(&self, machine: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.arg("--state").arg(self.cluster.state(machine)).args(arguments);
        self.cluster.segment.machine(machine).run(|| command.output()).unwrap().unwrap()
    }

    fn status(&self, machine: usize) -> Value {
        serde_json::from_slice(&self.ask(machine, &["--json", "status"]).stdout).unwrap()
    }
}

fn prepared(software: [Software; 2], setup: Setup) -> (Cluster, Holding) {
    let cluster = Cluster::new(software, setup);
    let holding = Holding::watch(&cluster.segment, 2, &Setup::address(0));
    (cluster, holding)
}

/// Of the first address and the last one, of each family.
fn askers(cluster: &Cluster, setup: Setup) -> Vec<Asker> {
    let last = setup.routers * setup.addresses - 1;
    let v4 = [0, last].map(Setup::address).into_iter().filter(|_| setup.v4);
    let v6 = [0, last].map(Setup::address6).into_iter().filter(|_| setup.v6);
    let all: BTreeSet<IpAddr> = v4.chain(v6).map(|text| text.parse().unwrap()).collect();
    all.into_iter().map(|vip| Asker::start(cluster.segment.machine(cluster.client()), vip)).collect()
}

/// Waits until what runs there is a backup.
fn listens(cluster: &mut Cluster, machine: usize) {
    let is_backup = |line: &str| line.contains("\"to\":\"BACKUP\"") || line.contains("Entering BACKUP STATE");
    let found = cluster
        .daemon(machine)
        .output
        .wait(PATIENCE, |lines| lines.iter().any(|(_, line)| is_backup(line)).then_some(()));
    assert!(found.is_some(), "{}", cluster.said(machine));
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_holder_that_is_stopped_and_one_that_comes_back_lose_nothing() {
    let mut pair = Pair::new([Hactl, Hactl], SLOW);
    let stopped = Instant::now();
    assert!(pair.cluster.stop(0));
    pair.moves(0, 1);
    assert!(pair.lost("SIGTERM of the holder", stopped) <= FEW);
    let started = Instant::now();
    pair.cluster.start(0);
    pair.moves(1, 0);
    assert!(pair.lost("a better one comes up", started) <= FEW);
}

#[test]
fn a_drained_holder_loses_nothing_and_comes_back_when_undrained() {
    let pair = Pair::new([Hactl, Hactl], SLOW);
    let drained = Instant::now();
    let output = pair.ask(0, &["drain", "--reason", "new kernel", "--for", "2h"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("vip.v0: drained; 10.77.0.2 holds it now, after "), "{}", text(&output));
    pair.moves(0, 1);
    assert!(pair.lost("drain", drained) <= FEW);
    let page = text(&pair.ask(0, &["status"]));
    assert!(page.contains("vip.v0: drained ") && page.contains(": new kernel"), "{page}");
    assert!(page.contains("for another 1h 59m"), "{page}");
    assert_eq!(pair.status(0)["vips"][0]["priority"], 1);
    let undrained = Instant::now();
    let output = pair.ask(0, &["undrain", "v0"]);
    assert!(text(&output).starts_with("vip.v0: no longer drained"), "{}", text(&output));
    pair.moves(1, 0);
    assert!(pair.lost("undrain", undrained) <= FEW);
}

#[test]
fn a_restart_and_a_reload_of_the_same_file_move_nothing_and_lose_nothing() {
    let pair = Pair::new([Hactl, Hactl], Setup::PLAIN);
    let before = pair.status(0);
    for how in ["restart", "SIGUSR2", "SIGHUP"] {
        let since = Instant::now();
        match how {
            "restart" => {
                let output = pair.ask(0, &["restart"]);
                assert!(output.status.success(), "{}\n{}", text(&output), pair.cluster.said(0));
                assert!(text(&output).contains(", master of 1 vip, after "), "{}", text(&output));
            }
            "SIGUSR2" => pair.cluster.daemons[0].as_ref().unwrap().signal(Signal::SIGUSR2),
            _ => pair.cluster.daemons[0].as_ref().unwrap().signal(Signal::SIGHUP),
        }
        // As long as a peer would need to take over.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(pair.lost(how, since), 0, "{}", pair.cluster.said(0));
        assert_eq!(pair.holding.changes(0).len() + pair.holding.changes(1).len(), 1, "{}", pair.cluster.said(1));
        let after = pair.status(0);
        for unchanged in ["pid", "started"] {
            assert_eq!(after[unchanged], before[unchanged]);
        }
        for unchanged in ["state", "since", "became-master"] {
            assert_eq!(after["vips"][0][unchanged], before["vips"][0][unchanged], "{unchanged}");
        }
    }
    assert!(pair.status(0)["resumed"].is_number());
}

#[test]
fn towards_keepalived_a_stop_a_drain_and_its_own_return_lose_nothing() {
    let mut pair = Pair::new([Hactl, Keepalived], SLOW);
    let drained = Instant::now();
    let output = pair.ask(0, &["drain"]);
    assert!(output.status.success(), "{}", text(&output));
    pair.moves(0, 1);
    assert!(pair.lost("drain towards keepalived", drained) <= FEW);
    let undrained = Instant::now();
    pair.ask(0, &["undrain"]);
    pair.moves(1, 0);
    assert!(pair.lost("taking over from a living keepalived", undrained) <= FEW);
    let stopped = Instant::now();
    assert!(pair.cluster.stop(0));
    pair.moves(0, 1);
    assert!(pair.lost("SIGTERM towards keepalived", stopped) <= FEW);
}

#[test]
fn a_keepalived_that_preempts_loses_nothing() {
    let (mut cluster, holding) = prepared([Keepalived, Hactl], SLOW);
    cluster.start(1);
    assert!(holding.wait(1, true, PATIENCE), "{}", cluster.said(1));
    let askers = askers(&cluster, SLOW);
    let mut pair = Pair { cluster, holding, askers };
    let started = Instant::now();
    pair.cluster.start(0);
    pair.moves(1, 0);
    assert!(pair.lost("keepalived preempts", started) <= FEW);
}

/// Stop, return and drain.
fn moved_about(what: &str, setup: Setup) {
    let mut pair = Pair::new([Hactl, Hactl], setup);
    let stopped = Instant::now();
    assert!(pair.cluster.stop(0));
    pair.moves(0, 1);
    assert!(pair.lost(&format!("{what}: SIGTERM"), stopped) <= FEW, "{}", pair.cluster.said(1));
    let started = Instant::now();
    pair.cluster.start(0);
    pair.moves(1, 0);
    assert!(pair.lost(&format!("{what}: return"), started) <= FEW, "{}", pair.cluster.said(0));
    let drained = Instant::now();
    assert!(pair.ask(0, &["drain"]).status.success(), "{}", pair.cluster.said(0));
    pair.moves(0, 1);
    assert!(pair.lost(&format!("{what}: drain"), drained) <= FEW, "{}", pair.cluster.said(1));
}

#[test]
fn a_thousand_addresses_move_without_loss() {
    moved_about("1,000 addresses", Setup { routers: 4, addresses: 250, ..SLOW });
}

/// Which MAC the client has for the vip.
fn neighbour(pair: &Pair) -> String {
    let client = pair.cluster.segment.machine(pair.cluster.client());
    let list = || Command::new("ip").args(["neighbour", "show", &Setup::address(0)]).output();
    text(&client.run(list).unwrap().unwrap())
}

fn mac(pair: &Pair, machine: usize) -> String {
    pair.cluster.segment.mac(machine).map(|byte| format!("{byte:02x}")).join(":")
}

fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "{what} did not come within {within:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("{what} came after {:?}", start.elapsed());
}

#[test]
fn two_masters_of_a_healed_partition_end_and_clients_know_the_right_one() {
    let pair = Pair::new([Hactl, Hactl], SLOW);
    pair.cluster.segment.cut(0);
    assert!(pair.holding.wait(1, true, PATIENCE));
    let is_at = |machine: usize| neighbour(&pair).contains(&mac(&pair, machine));
    eventually("the client at the other side's master", PATIENCE, || is_at(1));
    let healed = Instant::now();
    pair.cluster.segment.heal(0);
    // An advert, and another; and a busy machine.
    eventually("the client at the better master", Duration::from_secs(3), || is_at(0));
    assert!(pair.holding.wait(1, false, PATIENCE));
    assert!(pair.lost("a healed partition", healed) <= FEW);
    assert!(is_at(0) && pair.holding.held(0));
}

#[test]
fn a_frozen_holder_that_wakes_up_listens_before_it_speaks_and_clients_lose_nothing() {
    let mut pair = Pair::new([Hactl, Hactl], Setup::PLAIN);
    let frozen = Instant::now();
    pair.cluster.daemon(0).signal(Signal::SIGSTOP);
    assert!(pair.holding.wait(1, true, PATIENCE));
    eventually("the client at the successor", PATIENCE, || neighbour(&pair).contains(&mac(&pair, 1)));
    pair.cluster.daemon(0).signal(Signal::SIGCONT);
    assert!(pair.holding.wait(1, false, PATIENCE), "{}", pair.cluster.said(1));
    assert!(pair.lost("SIGSTOP and SIGCONT of the holder", frozen) <= FEW);
    let said = pair.cluster.said(0);
    let (slept, back) = (said.find("it slept for"), said.rfind("\"to\":\"MASTER\""));
    assert!(slept.is_some() && slept < back, "{said}");
    assert!(neighbour(&pair).contains(&mac(&pair, 0)));
}

#[test]
fn addresses_that_somebody_flushes_are_back_at_once() {
    let pair = Pair::new([Hactl, Hactl], SLOW);
    let machine = pair.cluster.segment.machine(0);
    for _ in 0..5 {
        let before = pair.holding.changes(0).len();
        // It gives up after some rounds, because what it deletes is back before it looks.
        let flush = || Command::new("ip").args(["-4", "address", "flush", "dev", "eth0"]).output();
        machine.run(flush).unwrap().unwrap();
        eventually("the vip", PATIENCE, || pair.holding.changes(0).len() > before && pair.holding.held(0));
        machine.links().unwrap().address("eth0", format!("{}/16", address(0)).parse().unwrap()).unwrap();
    }
    let changes = pair.holding.changes(0);
    let gaps: BTreeSet<Duration> = changes.windows(2).filter(|w| w[1].1).map(|w| w[1].0 - w[0].0).collect();
    eprintln!("a flushed vip was back after {:?} to {:?}", gaps.first(), gaps.last());
    // On a machine of its own it is 10 ms at most.
    assert!(*gaps.last().unwrap() < Duration::from_millis(100), "{gaps:?}");
    assert_eq!(pair.status(0)["vips"][0]["became-master"], 1);
    assert_eq!(pair.holding.changes(1), []);
}

#[test]
fn what_cannot_be_drained_is_told_with_its_remedy() {
    let mut pair = Pair::new([Hactl, Hactl], Setup::PLAIN);
    let refused = |pair: &Pair, machine: usize, arguments: &[&str], words: &[&str]| {
        let output = pair.ask(machine, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        words.iter().for_each(|word| assert!(text(&output).contains(word), "{arguments:?}: {}", text(&output)));
    };
    refused(&pair, 0, &["drain", "v9"], &["this machine has no vip \"v9\"", "did you mean \"v0\"?"]);
    refused(&pair, 1, &["failover", "v0"], &["\"v0\" is not held here", "hactl status"]);
    assert_eq!(pair.ask(0, &["drain", "--for", "soon"]).status.code(), Some(64));
    let moved = pair.ask(0, &["failover", "v0"]);
    assert!(text(&moved).starts_with("vip.v0: stepped down; 10.77.0.2 holds it now"), "{}", text(&moved));
    // It leaves a living master alone, though it is the better one.
    std::thread::sleep(Duration::from_millis(1000));
    assert!(pair.holding.held(1) && !pair.holding.held(0));
    assert!(pair.ask(1, &["failover", "v0"]).status.success());
    pair.moves(1, 0);
    assert!(pair.cluster.stop(1));
    refused(&pair, 0, &["failover", "v0"], &["nobody follows this machine as master of vip.v0", "goes on holding"]);
    let alone = Instant::now();
    refused(&pair, 0, &["drain"], &["nobody follows", "the last resort", "hactl undrain ends it"]);
    assert_eq!(pair.lost("a drain that nobody follows", alone), 0);
    let json: Value = serde_json::from_slice(&pair.ask(0, &["--json", "undrain"]).stdout).unwrap();
    assert_eq!(json["undrained"], serde_json::json!(["v0"]));
    pair.cluster.daemon(0).kill();
    refused(&pair, 0, &["drain"], &["no hactl runs here", "systemctl start hactl"]);
    refused(&pair, 0, &["restart"], &["no hactl runs here"]);
}

#[test]
fn a_drain_outlives_restarts_and_ends_in_time() {
    let mut pair = Pair::new([Hactl, Hactl], Setup::PLAIN);
    assert!(pair.ask(0, &["drain", "--for", "8s"]).status.success());
    assert!(pair.ask(0, &["restart"]).status.success(), "{}", pair.cluster.said(0));
    let drained = |pair: &Pair| pair.status(0)["vips"][0]["drained"] == true;
    assert!(drained(&pair));
    assert!(pair.cluster.stop(0));
    pair.cluster.start(0);
    listens(&mut pair.cluster, 0);
    assert!(drained(&pair));
    assert!(!pair.holding.held(0));
    pair.moves(1, 0);
    assert!(!drained(&pair));
}

#[test]
fn a_program_that_cannot_go_on_leaves_the_old_one_running() {
    let mut pair = Pair::new([Hactl, Hactl], Setup::PLAIN);
    // A program of its own, to be replaced by others.
    assert!(pair.cluster.stop(0));
    let program = pair.cluster.file().with_file_name("hactl");
    let install = |bytes: &[u8]| {
        let new = program.with_extension("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &program).unwrap();
    };
    let good = std::fs::read(env!("CARGO_BIN_EXE_hactl")).unwrap();
    install(&good);
    pair.cluster.start_program(0, &program);
    pair.moves(1, 0);
    let since = Instant::now();
    for (bad, words) in [
        (&b"#!/bin/sh\necho it is of another age >&2; exit 3\n"[..], "it is of another age"),
        (&b"not a program"[..], "cannot go on with"),
    ] {
        install(bad);
        let output = pair.ask(0, &["restart"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(words), "{}", text(&output));
    }
    // It finds the file good, and cannot be started then.
    install(b"#!/bin/sh\nrm -- \"$0\"\n");
    pair.cluster.daemon(0).signal(Signal::SIGUSR2);
    let refused = |said: &str| said.contains("could not be started, so the program that runs goes on");
    eventually("the refusal", PATIENCE, || refused(&pair.cluster.said(0)));
    install(&good);
    let output = pair.ask(0, &["restart"]);
    assert!(output.status.success(), "{}\n{}", text(&output), pair.cluster.said(0));
    assert_eq!(pair.lost("programs that cannot go on, and one that can", since), 0);
    assert_eq!(pair.status(0)["vips"][0]["became-master"], 1);
}

#[test]
fn a_second_signal_ends_a_holder_at_once() {
    let (mut cluster, holding) = prepared([Hactl, Hactl], Setup { advert: 20_000, ..Setup::PLAIN });
    cluster.start(0);
    // Its down interval is a minute: until then there is nothing to hand over, and the end is at once.
    listens(&mut cluster, 0);
    let begun = Instant::now();
    assert!(cluster.stop(0));
    assert!(begun.elapsed() < Duration::from_secs(5) && !holding.held(0));
    let mut pair = Pair::new([Hactl, Hactl], SLOW);
    assert!(pair.cluster.stop(1));
    let begun = Instant::now();
    pair.cluster.daemon(0).signal(Signal::SIGTERM);
    eventually("the handover", PATIENCE, || pair.cluster.said(0).contains("handing over"));
    pair.cluster.daemon(0).signal(Signal::SIGTERM);
    eventually("the end", PATIENCE, || pair.cluster.daemon(0).ended().is_some());
    assert!(begun.elapsed() < Duration::from_millis(1_000), "{:?}", begun.elapsed());
    assert!(pair.holding.wait(0, false, PATIENCE));
}
#[test]
fn both_families_of_a_vip_move_without_loss() {
    moved_about("both families", Setup { v6: true, ..SLOW });
}
