//! (Config, peer) -> Desired: every default written out, every implied sysctl and rule named with its reason.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::config::{Backend, Balance, Check, Checksum, Place, Preempt, Probe, Secret, Version};
use crate::units::{Centiseconds, Cidr, InterfaceName, Priority, Vrid};

/// What one machine should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The cluster's name.
    pub cluster: String,
    /// The machine's name in the file.
    pub peer: String,
    /// Of the whole configuration, independent of layout and comments; peers compare it.
    pub fingerprint: Fingerprint,
    /// Vips that this machine is a member of, in the order of the file.
    pub vips: Vec<DesiredVip>,
    /// Checks that those vips track.
    pub checks: Vec<Check>,
    /// Services on those vips.
    pub services: Vec<DesiredService>,
    /// Sysctls by key, an interface's name in a key with its dots written as `/`.
    pub sysctls: BTreeMap<String, DesiredSysctl>,
}

/// A 64-bit fingerprint, shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why something is there: the words and the place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// `service.ui`, `vip.ui`, `sysctl`.
    pub what: String,
    /// Where it stands in the file.
    pub at: Place,
}

/// A sysctl with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSysctl {
    /// As it is written to `/proc/sys`.
    pub value: String,
    /// At least one.
    pub reasons: Vec<Reason>,
}

/// One virtual router on one machine, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredVip {
    /// Its name.
    pub name: String,
    /// Where its node stands.
    pub at: Place,
    /// Addresses in the order of the file.
    pub addresses: Vec<Cidr>,
    /// This machine's name for the interface.
    pub interface: InterfaceName,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// This machine's configured priority.
    pub priority: Priority,
    /// Where that stands.
    pub priority_at: Place,
    /// The configured priorities of the other members, by name: what the plan's words on traffic are made from.
    pub others: BTreeMap<String, Priority>,
    /// Where adverts go.
    pub reach: Reach,
    /// Version of the protocol.
    pub version: Version,
    /// Advert interval.
    pub advertise: Centiseconds,
    /// Whether this machine takes over from a worse master.
    pub preempt: Preempt,
    /// VRRPv2's simple password.
    pub auth_pass: Option<Secret>,
    /// Form of the checksum that version 3 sends.
    pub checksum: Checksum,
    /// Names of the tracked checks with their weights; `None` is FAULT when down.
    pub track: Vec<(String, Option<i16>)>,
    /// Program told of each change.
    pub notify: Option<String>,
}

/// Where a virtual router's adverts go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// To 224.0.0.18 on the interface.
    Multicast,
    /// To each other member; adverts from anybody else are counted and dropped.
    Unicast {
        /// This machine's own address: what unicast adverts are sent from.
        local: Ipv4Addr,
        /// The other members' addresses.
        peers: Vec<Ipv4Addr>,
    },
}

/// One service on one machine, complete: what the ruleset is rendered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name.
    pub name: String,
    /// Where its node stands.
    pub at: Place,
    /// Name of its vip.
    pub vip: String,
    /// The vip's IPv4 addresses, without prefix.
    pub addresses: Vec<Ipv4Addr>,
    /// TCP port on each of them.
    pub port: u16,
    /// How a flow's backend is picked.
    pub balance: Balance,
    /// At least one.
    pub backends: Vec<Backend>,
    /// How they are probed.
    pub probe: Option<Probe>,
    /// Seed of the hash: the same on every peer, from the cluster's and the service's names.
    pub seed: u32,
    /// Number of slots: 251 up to 10 backends, 1021 above.
    pub slots: u16,
}
