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
    cluster: Cluster,
    client: Client,
    tap: Tap,
    advert: Duration,
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

    /// Waits until machine 0 has every address and machine 1 none.
    pub fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.held(0) < self.addresses || self.held(1) > 0 {
            assert!(Instant::now() < deadline, "{} and {} addresses\n{}", self.held(0), self.held(1), self.words());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(self.client.wait_for(TTL[0], self.settled_after, PATIENCE), "not settled\n{}", self.words());
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

    /// Stops machine 0 with SIGTERM, measures, and starts it again.
    pub fn stop(&mut self) -> Duration {
        let start = Instant::now();
        assert!(self.cluster.daemon(0).stop().success());
        let (last, first) = self.outage(start);
        self.cluster.start(0);
        self.settle();
        first - last
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
            eprintln!("only {} of {} announcements were heard", moments.len(), self.addresses);
        }
        *moments.last().unwrap() - moments[0]
    }

    /// Resident memory of the program on machine `n`, in MB: (VmRSS, Pss), summed over its processes.
    pub fn memory(&self, n: usize) -> (f64, f64) {
        let sum =
            |file: &str, key: &str| self.pids(n).iter().map(|pid| kilobytes(*pid, file, key)).sum::<f64>() / 1024.0;
        (sum("status", "VmRSS:"), sum("smaps_rollup", "Pss:"))
    }

    /// Processor time that the program on machine `n` has used.
    pub fn processor(&self, n: usize) -> Duration {
        let threads = self.pids(n).into_iter().flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap());
        let spent = |thread: std::io::Result<std::fs::DirEntry>| {
            // Nanoseconds on a processor, nanoseconds waiting, number of times.
            let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(threads.map(spent).sum())
    }

    fn pids(&self, n: usize) -> Vec<u32> {
        self.cluster.daemons[n].as_ref().unwrap().family()
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

fn kilobytes(pid: u32, file: &str, key: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}
