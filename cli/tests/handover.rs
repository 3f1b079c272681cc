//! Planned moves lose nothing: a client asks a vip a thousand times a second while it moves from machine to machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::Software::Hactl;
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
    asker: Asker,
}

impl Pair {
    fn new(software: [Software; 2], setup: Setup) -> Pair {
        let (mut cluster, holding) = prepared(software, setup);
        cluster.start(0);
        assert!(holding.wait(0, true, PATIENCE), "{}", cluster.said(0));
        cluster.start(1);
        listens(&mut cluster, 1);
        let asker = asker(&cluster);
        Pair { cluster, holding, asker }
    }

    /// Waits until the vip is on this machine alone.
    fn moves(&self, from: usize, to: usize) {
        let said = || format!("{}\n---\n{}", self.cluster.said(from), self.cluster.said(to));
        assert!(self.holding.wait(to, true, PATIENCE), "{to} does not take it\n{}", said());
        assert!(self.holding.wait(from, false, PATIENCE), "{from} does not let go of it\n{}", said());
    }

    fn lost(&self, what: &str, since: Instant) -> usize {
        let lost = self.asker.lost(since).len();
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

fn asker(cluster: &Cluster) -> Asker {
    let vip: IpAddr = Setup::address(0).parse().unwrap();
    Asker::start(cluster.segment.machine(cluster.client()), vip)
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
