//! (Desired, Observed) -> [`Plan`]: ordered steps, each with its reason, its effect on traffic and its undo.

mod addresses;
mod beyond;
mod notes;
mod sysctls;
mod tables;
mod traffic;
mod vips;

use serde::{Deserialize, Serialize};

use crate::desired::{Desired, Fingerprint, Reason};
use crate::observed::{Observed, SysctlBefore, VipFacts};
use crate::rules::BackendNames;
use crate::units::{Cidr, InterfaceName};

/// What changes on one machine, in the order it is done. The same inputs give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: String,
    /// The machine's name in the file.
    pub peer: String,
    /// What is done, in order; unchanged things are absent.
    pub steps: Vec<Step>,
    /// What a reader has to know and no step does.
    pub notes: Vec<Note>,
    /// Names of the backends, for whoever shows a table's slots.
    pub backends: BackendNames,
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// How the object changes, as the plan's sign shows it.
    pub action: Action,
    /// `sysctl net.ipv4.ip_forward`, `nftables ip hactl`, `address 192.0.2.1/24 on eth0`, `vip.ui`.
    pub object: String,
    /// The rest of the line: `= 1  (was 0)`, `priority 100 -> 140`.
    pub what: String,
    /// What is performed.
    pub operation: Operation,
    /// What takes it back; performed in reverse order when a later step fails.
    pub undo: Operation,
    /// Why; none where the file no longer says anything of the object.
    pub reasons: Vec<Reason>,
    /// What a person reads beneath the line: the value before, the effect on traffic.
    pub details: Vec<String>,
    /// Whether traffic is interrupted or something of the user's goes.
    pub impact: Impact,
}

/// The sign before a line of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `+`
    Create,
    /// `~`
    Change,
    /// `-`
    Remove,
    /// `-/+`
    Replace,
    /// `<-`: already so, and not ours: recorded so that `destroy` leaves it.
    Adopt,
    /// `!`: ours, and changed by somebody else; put back.
    Drift,
}

/// What a step does to traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nobody notices.
    None,
    /// Addresses move here where a lower member holds them, which is not known yet.
    MayMove,
    /// Something is deleted, nobody's traffic with it.
    Deletes,
    /// Established traffic is interrupted, or addresses move.
    Interrupts,
}

/// What the runtime is told to do. Each is idempotent: performed twice it leaves the same machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// Nothing: the undo of a step that has none, and the operation of a record.
    Nothing,
    /// Write a sysctl and what the record says of it from then on (`None`: forget it).
    SetSysctl {
        /// Dotted key, an interface's dots as `/`.
        key: String,
        /// The value to write.
        value: String,
        /// The record from then on.
        record: Option<SysctlBefore>,
    },
    /// Change only what the record says of a sysctl (`None`: forget it); the value stays.
    RecordSysctl {
        /// Dotted key, an interface's dots as `/`.
        key: String,
        /// The record from then on.
        record: Option<SysctlBefore>,
    },
    /// Replace one of our tables by this text in one transaction, whether it exists or not.
    LoadTable {
        /// `ip hactl`.
        table: String,
        /// `table ip hactl { … }`, complete.
        text: String,
        /// [`crate::observed::Record::tables`] from then on (`None`: forget it).
        record: Option<Fingerprint>,
    },
    /// Delete one of our tables where it exists.
    DeleteTable {
        /// `ip hactl`.
        table: String,
        /// [`crate::observed::Record::tables`] from then on (`None`: forget it).
        record: Option<Fingerprint>,
    },
    /// Add an address with our mark; an equal one of ours is success, an unmarked one an error.
    AddAddress {
        /// Where.
        interface: InterfaceName,
        /// Which.
        cidr: Cidr,
    },
    /// Delete an address if it still carries our mark; absent is success.
    DeleteAddress {
        /// Where.
        interface: InterfaceName,
        /// Which.
        cidr: Cidr,
    },
    /// Record a vip for `hactl run` to take part in.
    PutVip {
        /// Its name.
        name: String,
        /// As planned.
        facts: VipFacts,
    },
    /// Forget a vip.
    DropVip {
        /// Its name.
        name: String,
    },
}

/// What a reader has to know and no step does: a conflict's owner, a service that isn't running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// `apply` refuses while one of these stands.
    pub blocks: bool,
    /// What is the matter, lower case, no full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Where in the file it comes from.
    pub at: Option<crate::config::Place>,
}

impl Plan {
    /// Whether a note keeps `apply` from performing this.
    pub fn blocked(&self) -> bool {
        self.notes.iter().any(|n| n.blocks)
    }

    /// The gravest of the steps' impacts.
    pub fn impact(&self) -> Impact {
        self.steps.iter().map(|s| s.impact).max().unwrap_or(Impact::None)
    }

    /// How many steps have one of these actions.
    pub fn count(&self, actions: &[Action]) -> usize {
        self.steps.iter().filter(|s| actions.contains(&s.action)).count()
    }

    /// Of what every step does: the same changes have the same fingerprint, whoever planned them, by whatever name the
    /// file was read, and whatever is said of them.
    pub fn fingerprint(&self) -> Fingerprint {
        let done: Vec<_> = self.steps.iter().map(|s| (s.action, &s.object, &s.operation)).collect();
        Fingerprint::of(&format!("{done:?}"))
    }
}

/// What brings a machine to what it should be, in the order of doing: what others rest on first, sysctls, tables,
/// addresses, vips; what is taken away last and the other way round.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut notes = notes::notes(desired, observed);
    let mut steps = sysctls::set(desired, observed);
    steps.extend(tables::load(desired, observed));
    steps.extend(addresses::addresses(desired, observed, &mut notes));
    steps.extend(vips::put(desired, observed));
    steps.extend(vips::drop(Some(desired), observed));
    steps.extend(tables::delete(Some(desired), observed));
    steps.extend(sysctls::restore(Some(desired), observed));
    let (cluster, peer) = (desired.cluster.clone(), desired.peer.clone());
    Plan { cluster, peer, steps, notes, backends: crate::rules::backend_names(desired) }
}

/// What takes back everything that hactl put on a machine, and nothing else.
pub fn teardown(peer: &str, observed: &Observed) -> Plan {
    let mut steps = vips::drop(None, observed);
    steps.extend(addresses::remove_all(observed));
    steps.extend(tables::delete(None, observed));
    steps.extend(sysctls::restore(None, observed));
    let (cluster, backends) = (String::new(), BackendNames::new());
    Plan { cluster, peer: peer.to_owned(), steps, notes: notes::of_teardown(observed), backends }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;
