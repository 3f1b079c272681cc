//! Every single failure of a configured cluster, each by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rehearse::Rehearsal;
use crate::config::Config;
use crate::config::scenario::Step;
use crate::desired::desire;

/// What one failure does to one vip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The failure, as a step of a scenario: `kill "pve1"`.
    pub failure: String,
    /// The vip.
    pub vip: String,
    /// Who held it before.
    pub before: Vec<String>,
    /// Who holds it when the rest has settled; more than one where they do not hear each other.
    pub after: Vec<String>,
    /// How long nobody held it whom anybody could reach.
    pub outage: Duration,
    /// Who holds it when everything has healed.
    pub healed: Vec<String>,
}

impl Row {
    /// Nobody holds it although somebody could, or healing leaves it without exactly one holder.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.after.is_empty() || self.healed.len() != 1
    }
}

/// Tries every single failure: of each peer, each interface, each link between two, each check on each machine that
/// tracks it.
#[must_use]
pub fn explore(config: &Config) -> Vec<Row> {
    let vips: Vec<String> = config.vips.iter().map(|vip| vip.name.clone()).collect();
    let mut rows = Vec::new();
    for (failure, step) in failures(config) {
        let mut rehearsal = Rehearsal::new(config);
        let before: Vec<_> = vips.iter().map(|vip| rehearsal.holders(vip)).collect();
        rehearsal.disturb(&step);
        let outages = rehearsal.outages(&vips);
        let after: Vec<_> = vips.iter().map(|vip| rehearsal.holders(vip)).collect();
        rehearsal.disturb(&Step::Heal);
        rehearsal.settle();
        for ((vip, before), after) in vips.iter().zip(before).zip(after) {
            let outage = outages.get(vip).copied().unwrap_or_default();
            let healed = rehearsal.holders(vip);
            rows.push(Row { failure: failure.clone(), vip: vip.clone(), before, after, outage, healed });
        }
    }
    rows
}

fn failures(config: &Config) -> Vec<(String, Step)> {
    let peers: Vec<String> = config.peers.iter().map(|peer| peer.name.clone()).collect();
    let mut failures = Vec::new();
    for peer in &peers {
        failures.push((format!("kill {peer}"), Step::Kill(peer.clone())));
        failures.push((format!("stop {peer}"), Step::Stop(peer.clone())));
        failures.push((format!("freeze {peer}"), Step::Freeze(peer.clone())));
        failures.push((format!("cut {peer}"), Step::Cut(peer.clone(), None)));
    }
    for peer in &peers {
        let desired = desire(config, peer);
        let interfaces: BTreeSet<String> =
            desired.iter().flat_map(|d| &d.vips).map(|vip| vip.interface.to_string()).collect();
        for interface in interfaces {
            let failure = format!("unplug {peer} {interface}");
            failures.push((failure, Step::Plug { on: peer.clone(), interface: Some(interface), up: false }));
        }
    }
    // Of two machines, cutting one off is cutting them apart.
    if peers.len() > 2 {
        for (n, first) in peers.iter().enumerate() {
            for second in peers.iter().skip(n + 1) {
                let step = Step::Cut(first.clone(), Some(second.clone()));
                failures.push((format!("cut {first} {second}"), step));
            }
        }
    }
    for peer in &peers {
        for check in desire(config, peer).into_iter().flat_map(|desired| desired.checks) {
            let step = Step::Check { check: check.name.clone(), on: peer.clone(), up: false };
            failures.push((format!("fail {} on {peer}", check.name), step));
        }
    }
    failures
}
