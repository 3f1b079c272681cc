//! A cluster of two machines of one program, with a client that measures.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::support::cluster::{CLIENT, Setup};
use crate::support::{Cluster, Software};
use crate::tap::Tap;

/// What the answers of machine 0 and machine 1 carry, so that the client knows who answered.
const TTL: [u8; 2] = [64, 63];
/// No failover takes longer: 3 × 1 s and the skew, and as much again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A settled cluster: machine 0 holds the addresses.
pub struct Pair {
    pub cluster: Cluster,
    pub client: Client,
    pub tap: Tap,
    pub advert: Duration,
    addresses: usize,
    settled_after: usize,
}

/// What one cut showed.
pub struct Cut {
    /// Nobody answered for so long.
    pub outage: Duration,
    /// From the last advert that was heard to the first answer: the outage without the chance of when the cut fell.
    pub silence: Duration,
    /// From the first address announced by the successor to the last.
    pub spread: Duration,
}

impl Pair {
    /// Starts both machines.
    pub fn start(software: Software, setup: Setup) -> Pair {
        let mut cluster = Cluster::new([software; 2], setup);
        for (machine, ttl) in TTL.iter().enumerate() {
            let set = || std::fs::write("/proc/sys/net/ipv4/ip_default_ttl", ttl.to_string());
            cluster.segment.machine(machine).run(set).unwrap().unwrap();
        }
        let client = Client::start(cluster.segment.machine(CLIENT), Setup::address(0).parse().unwrap());
        let tap = Tap::on(cluster.segment.machine(CLIENT));
        cluster.start(0);
        cluster.start(1);
        let advert = Duration::from_millis(setup.advert.into());
        // An advert interval of quiet, so that both know that all is well.
        let settled_after = 100 + setup.advert as usize;
        Pair { cluster, client, tap, advert, addresses: setup.routers * setup.addresses, settled_after }
    }

    /// The programs of this machine, by their process numbers.
    pub fn pids(&self, n: usize) -> Vec<u32> {
        self.cluster.daemons[n].as_ref().unwrap().family()
    }

    /// Waits until this machine has answered every probe of an advert interval.
    pub fn wait_for(&self, machine: usize) {
        let answered = self.client.wait_for(TTL[machine], self.settled_after, PATIENCE);
        assert!(answered, "machine {machine} does not answer\n{}", self.words());
    }

    /// Waits until machine 0 has every address and machine 1 none.
    pub fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.held(0) < self.addresses || self.held(1) > 0 {
            assert!(Instant::now() < deadline, "{} and {} addresses\n{}", self.held(0), self.held(1), self.words());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.wait_for(0);
    }

    /// Takes machine 0 off the bridge at this part of an interval after its advert, measures, and puts it back.
    pub fn cut(&self, phase: f64) -> Cut {
        self.client.forget();
        let advert = self.tap.next(0, PATIENCE).expect("machine 0 sends adverts");
        std::thread::sleep((advert.at + self.advert.mul_f64(phase)).saturating_duration_since(Instant::now()));
        let start = Instant::now();
        self.cluster.segment.cut(0);
        let (last, first) = self.outage(start);
        let heard = self.tap.last(0, first).unwrap_or(advert);
        let spread = self.spread();
        self.cluster.segment.heal(0);
        self.settle();
        Cut { outage: first - last, silence: first - heard.at, spread }
    }

    fn outage(&self, start: Instant) -> (Instant, Instant) {
        assert!(self.client.wait_for(TTL[1], 20, PATIENCE), "machine 1 did not take over\n{}", self.words());
        self.client.outage(start, TTL[0], TTL[1]).unwrap()
    }

    fn spread(&self) -> Duration {
        let mac = self.cluster.segment.machine(1).links().unwrap().mac("eth0").unwrap();
        let all = self.client.wait_announced(mac, self.addresses, Duration::from_secs(1));
        let moments = self.client.announced(mac);
        if !all {
            let program = self.cluster.software()[1];
            eprintln!("{program:?}: only {} of {} announcements were heard", moments.len(), self.addresses);
        }
        *moments.last().unwrap() - moments[0]
    }

    /// How many addresses of the cluster machine `n` has.
    fn held(&self, n: usize) -> usize {
        let mut ip = Command::new("ip");
        let show = || ip.args(["-4", "-o", "address", "show", "dev", "eth0"]).output();
        let output = self.cluster.segment.machine(n).run(show).unwrap().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("/32")).count()
    }

    fn words(&self) -> String {
        let daemons = self.cluster.daemons.iter().flatten();
        daemons.map(|daemon| daemon.output.text().lines().rev().take(20).collect::<Vec<_>>().join("\n")).collect()
    }
}
