//! hactl in one cluster with Debian's keepalived and with FRR's vrrpd: one master always, failover and preemption both
//! ways, no complaint from anybody. What counts is the wire: who advertises, and who answers for the addresses.
//!
//! Clusters mostly wait, so that those of a test live side by side.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod life;
mod logs;
#[path = "../support/mod.rs"]
mod support;

use life::{Member, together};
use support::Software::{Frr, Hactl, Keepalived};
use support::cluster::Setup;

/// Adverts of version 3 in this many milliseconds: a machine that is starved for half a second moves nothing.
const V3: Setup = Setup { advert: 200, detailed_log: true, ..Setup::PLAIN };
const V2: Setup = Setup { version: 2, advert: 1000, ..V3 };

#[test]
fn hactl_and_keepalived_live_together_in_version_3() {
    let unicast = Setup { unicast: true, ..V3 };
    together(&[
        Member { name: "hactl over keepalived, multicast", software: &[Hactl, Keepalived], setup: V3 },
        Member { name: "keepalived over hactl, multicast", software: &[Keepalived, Hactl], setup: V3 },
        Member { name: "hactl over keepalived, unicast", software: &[Hactl, Keepalived], setup: unicast },
        Member { name: "keepalived over hactl, unicast", software: &[Keepalived, Hactl], setup: unicast },
    ]);
}

#[test]
fn hactl_and_vrrpd_live_together_in_version_3() {
    together(&[
        Member { name: "hactl over FRR", software: &[Hactl, Frr], setup: V3 },
        Member { name: "FRR over hactl", software: &[Frr, Hactl], setup: V3 },
    ]);
}

#[test]
fn three_machines_live_together_in_version_3() {
    together(&[
        Member { name: "hactl, keepalived, FRR", software: &[Hactl, Keepalived, Frr], setup: V3 },
        Member { name: "FRR, hactl, keepalived", software: &[Frr, Hactl, Keepalived], setup: V3 },
        Member { name: "keepalived, FRR, hactl", software: &[Keepalived, Frr, Hactl], setup: V3 },
        Member { name: "hactl, hactl, keepalived", software: &[Hactl, Hactl, Keepalived], setup: V3 },
    ]);
}

#[test]
fn everybody_lives_together_in_version_2() {
    let (password, unicast) = (Setup { password: true, ..V2 }, Setup { password: true, unicast: true, ..V2 });
    together(&[
        Member { name: "hactl over keepalived, multicast", software: &[Hactl, Keepalived], setup: password },
        Member { name: "keepalived over hactl, multicast", software: &[Keepalived, Hactl], setup: password },
        Member { name: "hactl over keepalived, unicast", software: &[Hactl, Keepalived], setup: unicast },
        Member { name: "keepalived over hactl, unicast", software: &[Keepalived, Hactl], setup: unicast },
        Member { name: "hactl over FRR", software: &[Hactl, Frr], setup: V2 },
        Member { name: "FRR over hactl", software: &[Frr, Hactl], setup: V2 },
        Member { name: "hactl, keepalived, FRR", software: &[Hactl, Keepalived, Frr], setup: V2 },
        Member { name: "keepalived, hactl, hactl", software: &[Keepalived, Hactl, Hactl], setup: password },
    ]);
}

#[test]
fn everybody_lives_together_over_ipv6() {
    let v6 = Setup { v4: false, v6: true, ..V3 };
    together(&[
        Member { name: "hactl over keepalived", software: &[Hactl, Keepalived], setup: v6 },
        Member { name: "keepalived over hactl", software: &[Keepalived, Hactl], setup: v6 },
        Member { name: "hactl over FRR", software: &[Hactl, Frr], setup: v6 },
        Member { name: "FRR over hactl", software: &[Frr, Hactl], setup: v6 },
        Member { name: "hactl, keepalived, FRR", software: &[Hactl, Keepalived, Frr], setup: v6 },
        Member { name: "hactl, hactl", software: &[Hactl, Hactl], setup: v6 },
    ]);
}

#[test]
fn groups_and_both_families_of_a_vip_move_together() {
    let dual = Setup { v6: true, ..V3 };
    let group = Setup { routers: 3, group: true, ..V3 };
    together(&[
        Member { name: "dual stack, hactl over keepalived", software: &[Hactl, Keepalived], setup: dual },
        Member { name: "dual stack, keepalived over hactl", software: &[Keepalived, Hactl], setup: dual },
        Member { name: "dual stack, hactl over hactl", software: &[Hactl, Hactl], setup: dual },
        Member { name: "dual stack, hactl over FRR", software: &[Hactl, Frr], setup: dual },
        Member { name: "group, hactl over keepalived", software: &[Hactl, Keepalived], setup: group },
        Member { name: "group, keepalived over hactl", software: &[Keepalived, Hactl], setup: group },
        Member { name: "group, hactl over hactl", software: &[Hactl, Hactl], setup: group },
    ]);
}

#[test]
fn an_address_moves_to_a_virtual_mac_of_keepalived_and_back() {
    let v4 = Setup { virtual_mac: true, ..V3 };
    let v6 = Setup { v4: false, v6: true, ..v4 };
    together(&[
        Member { name: "hactl over keepalived", software: &[Hactl, Keepalived], setup: v4 },
        Member { name: "keepalived over hactl", software: &[Keepalived, Hactl], setup: v4 },
        Member { name: "IPv6, hactl over keepalived", software: &[Hactl, Keepalived], setup: v6 },
        Member { name: "IPv6, keepalived over hactl", software: &[Keepalived, Hactl], setup: v6 },
    ]);
}
