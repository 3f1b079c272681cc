//! Planned moves lose nothing: a client asks a vip a thousand times a second while it moves from machine to machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::Software::{Hactl, Keepalived};
use support::cluster::Setup;
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
fn both_families_of_a_vip_move_without_loss() {
    moved_about("both families", Setup { v6: true, ..SLOW });
}

#[test]
fn a_thousand_addresses_move_without_loss() {
    moved_about("1,000 addresses", Setup { routers: 4, addresses: 250, ..SLOW });
}

#[test]
fn a_virtual_mac_moves_without_loss() {
    moved_about("virtual MAC", Setup { virtual_mac: true, ..SLOW });
}
