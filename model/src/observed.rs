//! What a machine holds, as plain data: read by `runtime`, recorded by `hactl snapshot`, compared by `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::desired::Fingerprint;
use crate::units::{Cidr, InterfaceName};

/// Version of the recorded form.
pub const OBSERVED_VERSION: u32 = 1;

/// One machine at one moment. What was not asked for is absent, not empty: see [`Wanted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Observed {
    /// [`OBSERVED_VERSION`].
    pub version: u32,
    /// The machine's own name.
    pub hostname: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Network interfaces by name.
    pub links: BTreeMap<InterfaceName, Link>,
    /// Every address on every interface.
    pub addresses: BTreeSet<Address>,
    /// Values of the sysctls asked for; absent where the kernel has no such key.
    pub sysctls: BTreeMap<String, String>,
    /// Text of our tables as `nft list table` prints it, by `ip hactl` or `ip6 hactl`; absent where there is none.
    pub tables: BTreeMap<String, String>,
    /// What we changed before and what it was.
    pub record: Record,
    /// What the running service says; `None` where none answers.
    pub service: Option<Live>,
    /// Other holders of addresses found on this machine, in words: `keepalived (pid 812)`.
    pub others: Vec<String>,
}

/// What an observation must read beyond links, addresses and our own tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Keys of sysctls, dotted; an interface's name in a key has its dots written as `/`.
    pub sysctls: BTreeSet<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Link {
    /// The kernel's index.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier (operational state up or unknown).
    pub carrier: bool,
    /// Speaks ARP: false for WireGuard, tun and `NOARP`.
    pub arp: bool,
    /// Hardware address, `52:54:00:12:34:56`; absent where it has none.
    pub mac: Option<String>,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Address {
    /// The interface's name.
    pub interface: InterfaceName,
    /// Address and prefix.
    pub cidr: Cidr,
    /// IFA_PROTO: who put it there; [`OUR_MARK`] is ours, 18 keepalived's, 0 nobody's.
    pub mark: u8,
    /// A Linux secondary address, which goes with its primary unless `promote_secondaries` is 1.
    pub secondary: bool,
}

/// IFA_PROTO of the addresses that hactl adds: VRRP's IP protocol number.
pub const OUR_MARK: u8 = 112;

/// IFA_PROTO that keepalived gives.
pub const KEEPALIVED_MARK: u8 = 18;

/// What hactl changed that carries no mark of its own, kept under /run/hactl and so lost with a reboot, as the
/// changes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    /// Sysctls that we set, with the value before.
    pub sysctls: BTreeMap<String, SysctlBefore>,
    /// Vips that this machine was told to take part in, as they were planned.
    pub vips: BTreeMap<String, VipFacts>,
    /// Our tables as they were loaded, without what the service changes in them: tells a change of the file from one
    /// that somebody else made in the kernel.
    #[serde(default)]
    pub tables: BTreeMap<String, Fingerprint>,
}

impl Record {
    /// What the record says of a table from now on (`None`: nothing).
    pub fn put_table(&mut self, table: &str, fingerprint: Option<Fingerprint>) {
        match fingerprint {
            Some(fingerprint) => self.tables.insert(table.to_owned(), fingerprint),
            None => self.tables.remove(table),
        };
    }
}

/// A sysctl's value before hactl set it; where both are the same it was found so, and `destroy` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SysctlBefore {
    /// What `destroy` puts back.
    pub before: String,
    /// What we set.
    pub ours: String,
}

/// A vip as one machine takes part in it: what a change of it is compared by. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VipFacts {
    /// Addresses in the order of the file.
    pub addresses: Vec<Cidr>,
    /// Where they are held on this machine.
    pub interface: InterfaceName,
    /// Every other setting by its name in the language, as text: `priority`, `vrid`, `preempt`…; a secret's value is
    /// `(secret)` with where it is taken from.
    pub settings: BTreeMap<String, String>,
}

/// What the running service knows and the kernel does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Live {
    /// Its process.
    pub pid: u32,
    /// The file it keeps this machine as, absolute.
    pub config: String,
    /// Names of the vips that this machine is master of.
    pub master: BTreeSet<String>,
    /// Backends that fail their probe, by service.
    pub down: BTreeMap<String, BTreeSet<SocketAddr>>,
    /// The master's address of each vip whose master is another machine, as last heard.
    pub masters: BTreeMap<String, IpAddr>,
}
