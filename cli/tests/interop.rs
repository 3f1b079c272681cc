//! hactl and Debian's keepalived in one cluster: one master always, failover both ways, no complaint.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod support;

use std::time::Duration;

use support::Software::{Hactl, Keepalived};
use support::cluster::Setup;
use support::{Cluster, Holding, Software};

/// Words of keepalived's that say that what it heard displeases it.
const COMPLAINTS: &[&str] = &[
    "bogus",
    "checksum",
    "discard",
    "dropp",
    "error",
    "expected",
    "ignor",
    "incorrect",
    "invalid",
    "malformed",
    "mismatch",
    "not match",
    "unexpected",
    "unknown",
    "wrong",
];

/// What it says of its own surroundings, in a namespace without privileges, and of what is as it should be: who is
/// about to preempt does not heed the worse one.
const HARMLESS: &[&str] =
    &["unable to", "permission denied", "operation not permitted", "default user", "received lower priority"];

fn setup(version: u8, unicast: bool) -> Setup {
    let advert = if version == 2 { 1000 } else { 100 };
    Setup { version, advert, unicast, routers: 1, addresses: 1, detailed_log: true }
}

/// The whole life of a cluster. Machine 0 is the better one.
fn lives_together(software: [Software; 2], setup: Setup) {
    let mut cluster = Cluster::new(software, setup);
    let holding = Holding::watch(&cluster.segment, 2, &Setup::address(0));
    // A takeover takes less than 4 intervals; the rest is for a machine that is busy with something else.
    let patience = Duration::from_millis(u64::from(setup.advert) * 4) + Duration::from_secs(10);
    let holds = |cluster: &Cluster, machine: usize, after: &str| {
        let other = 1 - machine;
        let settled = holding.wait(machine, true, patience) && holding.wait(other, false, patience);
        assert!(settled, "{after}: machine {machine} should hold the address\n{}", words(cluster));
    };

    cluster.start(0);
    holds(&cluster, 0, "alone");
    cluster.start(1);
    cluster.power_off(0);
    holds(&cluster, 1, "the better one lost power");
    cluster.power_on(0);
    holds(&cluster, 0, "the better one is back");
    assert!(cluster.daemon(0).stop().success());
    holds(&cluster, 1, "the better one was stopped");
    cluster.start(0);
    holds(&cluster, 0, "the better one is back again");
    assert!(cluster.daemon(1).stop().success());
    holds(&cluster, 0, "the worse one was stopped");

    let overlap = holding.overlap();
    // Two hold it for as long as the worse one needs to hear the better one's first advert and to let go.
    assert!(overlap < Duration::from_millis(500), "two masters for {overlap:?}\n{}", words(&cluster));
    assert_eq!(holding.changes(0).len(), 5, "machine 0 came and went\n{}", words(&cluster));
    assert_eq!(holding.changes(1).len(), 4, "machine 1 came and went\n{}", words(&cluster));
    for machine in [0, 1] {
        let complaints = complaints(software[machine], &cluster.daemon(machine).output.text());
        assert!(complaints.is_empty(), "machine {machine} complains: {complaints:#?}\n{}", words(&cluster));
    }
}

/// What both said so far.
fn words(cluster: &Cluster) -> String {
    let said = |(machine, daemon): (usize, &Option<support::Daemon>)| {
        let text = daemon.as_ref().map(|daemon| daemon.output.text()).unwrap_or_default();
        format!("--- machine {machine}\n{text}")
    };
    cluster.daemons.iter().enumerate().map(said).collect()
}

fn complaints(software: Software, log: &str) -> Vec<String> {
    let displeased = |line: &&str| {
        let line = line.to_lowercase();
        match software {
            Hactl => line.contains(r#""event":"dropped""#) || line.contains(r#""event":"warning""#),
            Keepalived => {
                COMPLAINTS.iter().any(|word| line.contains(word)) && !HARMLESS.iter().any(|words| line.contains(words))
            }
        }
    };
    log.lines().filter(displeased).map(str::to_owned).collect()
}

macro_rules! interop {
    ($($name:ident: $better:ident over $worse:ident, version $version:literal, unicast $unicast:literal;)*) => {$(
        #[test]
        fn $name() {
            lives_together([$better, $worse], setup($version, $unicast));
        }
    )*};
}

interop! {
    hactl_over_keepalived_2_multicast: Hactl over Keepalived, version 2, unicast false;
    keepalived_over_hactl_2_multicast: Keepalived over Hactl, version 2, unicast false;
    hactl_over_keepalived_2_unicast: Hactl over Keepalived, version 2, unicast true;
    keepalived_over_hactl_2_unicast: Keepalived over Hactl, version 2, unicast true;
    hactl_over_keepalived_3_multicast: Hactl over Keepalived, version 3, unicast false;
    keepalived_over_hactl_3_multicast: Keepalived over Hactl, version 3, unicast false;
    hactl_over_keepalived_3_unicast: Hactl over Keepalived, version 3, unicast true;
    keepalived_over_hactl_3_unicast: Keepalived over Hactl, version 3, unicast true;
}
