//! (Config, peer) -> Desired: every default written out, every implied sysctl and rule named with its reason.

mod build;
mod empty;
mod facts;
mod identify;
mod routers;
mod sysctls;

pub use build::desire;
pub use identify::{IdentifyError, identify};
pub use sysctls::{FORWARD_EVERYWHERE, conf, conf6, interface_of, is_forwarding, same_value};

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Announce, Backend, Balance, Check, Checksum, Place, Preempt, Probe, Route, Secret, Version};
use crate::observed::{Record, Wanted};
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Priority, UnitError, Vrid};

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
    /// Groups of them that change state together, in the order of the file.
    pub groups: Vec<DesiredGroup>,
    /// Checks that those vips track.
    pub checks: Vec<Check>,
    /// Services on those vips.
    pub services: Vec<DesiredService>,
    /// Sysctls by key, an interface's name in a key with its dots written as `/`.
    pub sysctls: BTreeMap<String, DesiredSysctl>,
    /// Sysctls of the file that take away what a vip or service needs; a plan with one of these is not applied.
    pub contradictions: Vec<Contradiction>,
}

impl Desired {
    /// What a machine has to be asked for so that a plan can be made.
    pub fn wanted(&self, record: &Record) -> Wanted {
        let mut sysctls: BTreeSet<String> = self.sysctls.keys().chain(record.sysctls.keys()).cloned().collect();
        if !self.services.is_empty() {
            sysctls.insert(TCP_LOOSE.to_owned());
        }
        Wanted { sysctls }
    }

    /// The service's vip.
    pub fn vip(&self, name: &str) -> Option<&DesiredVip> {
        self.vips.iter().find(|v| v.name == name)
    }
}

/// With 1, the kernel's default, connection tracking takes a connection up in mid-stream: what lets the new holder
/// of a vip go on with the old one's connections.
pub const TCP_LOOSE: &str = "net.netfilter.nf_conntrack_tcp_loose";

/// A sysctl that the file sets to another value than one that a vip or service implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Dotted, an interface's dots as `/`.
    pub key: String,
    /// The value written in the file.
    pub value: String,
    /// Where it stands.
    pub at: Place,
    /// The value that is needed.
    pub needed: String,
    /// What needs it, at least one.
    pub reasons: Vec<Reason>,
}

/// A 64-bit fingerprint, shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of some text: FNV-1a, the same on every machine and in every version.
    pub fn of(text: &str) -> Self {
        Fingerprint(crate::balance::stable_hash(text.as_bytes()))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Fingerprint> for String {
    fn from(f: Fingerprint) -> String {
        f.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = UnitError;
    fn try_from(s: String) -> Result<Self, UnitError> {
        u64::from_str_radix(&s, 16)
            .ok()
            .filter(|_| s.len() == 16)
            .map(Fingerprint)
            .ok_or_else(|| UnitError(format!("\"{s}\" is not a fingerprint of 16 hexadecimal digits")))
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

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.what, self.at)
    }
}

/// A sysctl with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSysctl {
    /// As it is written to `/proc/sys`.
    pub value: String,
    /// At least one.
    pub reasons: Vec<Reason>,
}

/// Vips that change state together, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredGroup {
    /// Its name.
    pub name: String,
    /// Where its node stands.
    pub at: Place,
    /// Names of its vips, in the order of the file.
    pub vips: Vec<String>,
    /// Program told of each change of the group.
    pub notify: Option<String>,
}

/// One vip on one machine, complete.
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
    /// The other members, by name: what the plan's words on traffic are made from.
    pub others: BTreeMap<String, Member>,
    /// Its virtual routers, one for each family of its addresses, IPv4 first: at least one, also without an address.
    pub routers: Vec<DesiredRouter>,
    /// The group that it changes state with.
    pub group: Option<String>,
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
    /// Whether a holder that does not own the addresses takes packets for them (RFC 9568 §6.1, Accept_Mode).
    pub accept: bool,
    /// How long the service waits after its start before it takes part.
    pub start_delay: Duration,
    /// When the addresses are announced.
    pub announce: Announce,
}

impl DesiredVip {
    /// Its virtual router of a family.
    pub fn router(&self, family: Family) -> Option<&DesiredRouter> {
        self.routers.iter().find(|r| r.family == family)
    }
}

/// The virtual router of one family of a vip on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredRouter {
    /// The family of its adverts and addresses.
    pub family: Family,
    /// The vip's addresses of this family, in the order of the file.
    pub addresses: Vec<Cidr>,
    /// Where adverts go.
    pub reach: Reach,
    /// The macvlan that holds the addresses, where the virtual MAC is asked for.
    pub virtual_mac: Option<VirtualMac>,
    /// The vip's routes of this family, in the order of the file.
    pub routes: Vec<Route>,
}

/// A macvlan in bridge mode on a vip's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMac {
    /// Its name, the same whatever else the file says: of the interface, the family and the VRID.
    pub name: InterfaceName,
    /// 00:00:5e:00:01:VRID for IPv4, 00:00:5e:00:02:VRID for IPv6 (RFC 9568 §7.3).
    pub mac: [u8; 6],
}

/// Another member of a vip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached: one address, or one of each family.
    pub addresses: Vec<IpAddr>,
    /// Its configured priority.
    pub priority: Priority,
}

/// Where a virtual router's adverts go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// To 224.0.0.18 or ff02::12 on the interface.
    Multicast,
    /// To each other member; adverts from anybody else are counted and dropped.
    Unicast {
        /// This machine's own address: what unicast adverts are sent from.
        local: IpAddr,
        /// The other members' addresses.
        peers: Vec<IpAddr>,
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
