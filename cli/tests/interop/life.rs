//! The whole life of a cluster: start, power cut, partition, reload, restart, stop, and back again each time.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::logs::complaints;
use crate::support::Software::{self, Hactl};
use crate::support::cluster::Setup;
use crate::support::wire::PATIENCE;
use crate::support::{Cluster, Wire};

/// After so long of one machine's adverts alone nobody is about to yield any more: who has just yielded may ask its
/// successor once, within 250 ms, to announce the addresses.
const SETTLED: Duration = Duration::from_millis(400);
/// So many more adverts are listened to, all of the one master.
const LISTENED: usize = 2;
/// Adverts of who yields, after the first one of who prevails: one may have been under way.
const UNDER_WAY: usize = 2;

/// A cluster that is to live.
pub struct Member<'a> {
    /// For people.
    pub name: &'a str,
    /// What runs on each machine, the best one first.
    pub software: &'a [Software],
    /// What all are told.
    pub setup: Setup,
}

/// Lets clusters live side by side; fails with every one that did not.
pub fn together(members: &[Member]) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |member: &'_ Member| {
            let (name, software, setup) = (member.name.to_owned(), member.software.to_vec(), member.setup);
            let live = move || catch_unwind(AssertUnwindSafe(|| Life::new(&software, setup).live())).is_ok();
            std::thread::Builder::new().name(name).spawn_scoped(scope, live).unwrap()
        };
        let lives: Vec<_> = members.iter().map(start).collect();
        let well = lives.into_iter().map(|life| life.join().unwrap());
        members.iter().zip(well).filter(|(_, well)| !well).map(|(member, _)| member.name).collect()
    });
    assert!(failed.is_empty(), "did not live well: {failed:#?}");
}

struct Life {
    cluster: Cluster,
    wire: Wire,
    addresses: Vec<IpAddr>,
    // Where in the wire's frames the present chapter begins.
    chapter: usize,
}

impl Life {
    fn new(software: &[Software], setup: Setup) -> Life {
        let cluster = Cluster::new(software, setup);
        let wire = Wire::watch(&cluster.segment, cluster.client());
        let texts = (0..setup.routers).flat_map(|router| setup.addresses(router).chain(setup.addresses6(router)));
        let addresses = texts.map(|text| text.parse().unwrap()).collect();
        Life { cluster, wire, addresses, chapter: 0 }
    }

    fn live(mut self) {
        let machines = self.cluster.software().len();
        for machine in (0..machines).rev() {
            self.cluster.start(machine);
        }
        self.holds(0, "all have started");
        self.lose_and_regain();
        for (signal, after) in
            [(Signal::SIGHUP, "ours have read their file again"), (Signal::SIGUSR2, "ours began anew")]
        {
            for machine in self.machines_of(Hactl) {
                self.cluster.daemon(machine).signal(signal);
            }
            self.holds(0, after);
        }
        self.cluster.stop(0);
        self.holds(1, "the best one was stopped");
        self.cluster.start(0);
        self.holds(0, "the best one was started again");
        for machine in 1..machines {
            self.cluster.stop(machine);
        }
        self.holds(0, "the others were stopped");
        for machine in 0..machines {
            let complaints = complaints(self.cluster.software()[machine], &self.cluster.said(machine));
            assert!(complaints.is_empty(), "machine {machine} complains: {complaints:#?}\n{}", self.words());
        }
    }

    fn lose_and_regain(&mut self) {
        let machines = self.cluster.software().len();
        for machine in 0..machines - 1 {
            self.cluster.power_off(machine);
            self.holds(machine + 1, "the better ones lost power");
        }
        for machine in (0..machines - 1).rev() {
            self.cluster.power_on(machine);
            self.holds(machine, "a better one is back");
        }
        self.cluster.segment.cut(0);
        self.holds(1, "the best one was cut off");
        self.cluster.segment.heal(0);
        self.holds(0, "the best one is on the segment again");
    }

    fn machines_of(&self, software: Software) -> Vec<usize> {
        let all = self.cluster.software().iter().enumerate();
        all.filter(|(_, s)| **s == software).map(|(machine, _)| machine).collect()
    }

    /// Every virtual router is held by this machine and by no other, and stays so.
    fn holds(&mut self, machine: usize, after: &str) {
        for router in self.cluster.routers() {
            let settled = self.wire.settle(router, machine, SETTLED);
            assert!(settled, "{after}: machine {machine} should advertise {router:?}\n{}", self.words());
            let mark = self.wire.mark();
            let heard = self.wire.listen(router, mark, LISTENED);
            let alone = heard.len() >= LISTENED && heard.iter().all(|speaker| *speaker == machine);
            assert!(alone, "{after}: machine {machine} should be the only master, not {heard:?}\n{}", self.words());
            let all = self.wire.listen(router, self.chapter, 0);
            let late = all.iter().skip_while(|speaker| **speaker != machine).filter(|speaker| **speaker != machine);
            assert!(late.count() <= UNDER_WAY, "{after}: two masters too long: {all:?}\n{}", self.words());
        }
        for address in &self.addresses {
            // Who yielded to a machine answers beside it until it has heard it announce the address.
            let deadline = Instant::now() + PATIENCE;
            let mut owners = self.wire.owners(*address);
            while owners != [machine] && Instant::now() < deadline {
                owners = self.wire.owners(*address);
            }
            assert_eq!(owners, [machine], "{after}: who answers for {address}\n{}", self.words());
        }
        self.chapter = self.wire.mark();
    }

    /// What everybody said so far.
    fn words(&self) -> String {
        let machines = 0..self.cluster.software().len();
        let said = |machine| format!("--- machine {machine}\n{}", self.cluster.said(machine));
        format!("--- the wire\n{}{}", self.wire.transcript(self.chapter), machines.map(said).collect::<String>())
    }
}
