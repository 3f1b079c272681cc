//! The nodes of the language, decoded: names, places and values as they were written, defaults filled in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Priority, Vrid};

/// File and line that something was written at: `ha.kdl:14`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Place {
    /// The source's name.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A value and the place it was written at (for a default: the place of the node it belongs to).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Place,
}

/// A value that may have to be taken from elsewhere. Its `Debug` never shows a literal.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Written out in the file.
    Literal(String),
    /// `(env)"NAME"`.
    Env(String),
    /// `(file)"/path"`: the file's first line.
    File(String),
    /// `(credential)"name"`: a file of that name in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Literal(_) => f.write_str("(secret)"),
            Secret::Env(n) => write!(f, "(env){n:?}"),
            Secret::File(n) => write!(f, "(file){n:?}"),
            Secret::Credential(n) => write!(f, "(credential){n:?}"),
        }
    }
}

/// A whole cluster. Every reference in it (peer, check, vip) has been resolved to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name, shown everywhere and part of seeds and marks.
    pub cluster: At<String>,
    /// Key of the daemons' own channel.
    pub key: Option<Secret>,
    /// The machines, in the order of the file.
    pub peers: Vec<Peer>,
    /// Health of this machine, for vips to track.
    pub checks: Vec<Check>,
    /// Addresses that move together.
    pub vips: Vec<Vip>,
    /// Vips that change state together; no vip is in two of them.
    pub groups: Vec<Group>,
    /// Ports on vips, balanced over backends.
    pub services: Vec<Service>,
    /// Sysctls beyond those that vips and services imply.
    pub sysctls: Vec<Sysctl>,
}

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, usually its hostname.
    pub name: String,
    /// Where the node stands.
    pub at: Place,
    /// Where the other peers reach it, and what it is known by.
    pub address: IpAddr,
    /// Its address of the other family, where it has one.
    pub second: Option<IpAddr>,
    /// This peer's name for the interface, over the vip's.
    pub interface: Option<At<InterfaceName>>,
}

impl Peer {
    /// Its address, and that of the other family where it has one.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.second)
    }

    /// Its address of a family.
    pub fn address_of(&self, family: Family) -> Option<IpAddr> {
        self.addresses().find(|a| Family::of(*a) == family)
    }
}

/// A check of this machine, for vips to track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Where the node stands.
    pub at: Place,
    /// What is looked at.
    pub kind: CheckKind,
    /// How often and how patiently.
    pub pace: Pace,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// All processes of these names run.
    Process {
        /// Names as in `/proc/PID/comm` or the base name of the executable.
        names: Vec<String>,
    },
    /// A program ends with status 0.
    Command {
        /// The program and its arguments; no shell.
        argv: Vec<String>,
        /// Run as this user.
        user: Option<String>,
    },
    /// A TCP connection opens.
    Tcp {
        /// Where to.
        target: SocketAddr,
    },
    /// A TLS handshake completes; the certificate is not verified.
    Tls {
        /// Where to.
        target: SocketAddr,
    },
    /// An interface is up and has its carrier.
    Interface {
        /// Its name on this machine.
        name: InterfaceName,
    },
    /// An ICMP echo request is answered.
    Ping {
        /// Whom to ask.
        target: IpAddr,
    },
    /// A unit of systemd is active.
    Systemd {
        /// Its name with its suffix: `haproxy.service`.
        unit: String,
    },
    /// A number in a file is the weight, [`FAULT_WEIGHT`](crate::vrrp::FAULT_WEIGHT) or less is FAULT.
    File {
        /// Where it is.
        path: String,
    },
    /// An HTTP request is answered with the status expected.
    Http {
        /// `http://127.0.0.1:8008/primary`, decoded.
        target: SocketAddr,
        /// The path with its query.
        path: String,
        /// The status that means health.
        expect: u16,
    },
}

/// How often something is tried and how many results in a row change its state (HAProxy's inter, rise and fall).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// From the start of a try to the start of the next.
    pub every: Duration,
    /// A try that takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row until down, at least 1.
    pub fall: u32,
    /// Successes in a row until up, at least 1.
    pub rise: u32,
    /// How long a changed state has to last before it counts; zero: at once.
    pub debounce: Duration,
}

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// RFC 3768 with RFC 2338's simple password.
    V2,
    /// RFC 9568.
    V3,
}

/// Whether a better router takes mastership from a living one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preempt {
    /// `"always"`: at once.
    Immediately,
    /// `"after" delay="5m"`: when it has seen a worse master for this long.
    After(Duration),
    /// `"never"`.
    Never,
}

/// Which form of checksum version 3 sends over IPv4; both are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// RFC 5798's, with the pseudo-header: what keepalived and FRR send and require.
    #[default]
    PseudoHeader,
    /// RFC 9568 §5.2.8's, over the message alone.
    Message,
}

/// A tracked check. Without a weight its failure is FAULT; with one it moves the priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Name of the check.
    pub check: String,
    /// Negative: lowered while down; positive: raised while up; never 0.
    pub weight: Option<i16>,
    /// Where it stands.
    pub at: Place,
}

/// When a holder announces its addresses beyond the moment it takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// Once more so long after taking over; zero: not.
    pub again: Duration,
    /// From then on as often as this; `None`: not.
    pub every: Option<Duration>,
}

impl Default for Announce {
    fn default() -> Self {
        Announce { again: crate::vrrp::timing::ANNOUNCE_AGAIN, every: None }
    }
}

/// A route that follows a vip: the holder has it, nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network, without host bits; `0.0.0.0/0` or `::/0` is the default route.
    pub to: Cidr,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface it leaves by, where it is not the vip's.
    pub dev: Option<InterfaceName>,
    /// The source of what this machine sends along it.
    pub src: Option<IpAddr>,
    /// Its metric, the lowest wins; `None` is the kernel's own.
    pub metric: Option<u32>,
    /// The table it is in; `None` is `main`.
    pub table: Option<u32>,
}

impl Route {
    /// The family it is of.
    pub fn family(&self) -> Family {
        self.to.family()
    }
}

/// Vips whose members change state together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Where the node stands.
    pub at: Place,
    /// Names of the vips, at least two, in the order of the file.
    pub vips: Vec<String>,
    /// Program told of each change of the group.
    pub notify: Option<At<String>>,
}

/// Addresses that move together: one virtual router for each family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// Its name.
    pub name: String,
    /// Where the node stands.
    pub at: Place,
    /// No two equal; none where the notify program moves something else, such as a provider's elastic address.
    pub addresses: Vec<At<Cidr>>,
    /// Where they are held, unless the peer has its own name for it.
    pub interface: At<InterfaceName>,
    /// Virtual router identifier.
    pub vrid: At<Vrid>,
    /// One entry per member, by the peer's name.
    pub priorities: BTreeMap<String, At<Priority>>,
    /// Adverts go to each member's address rather than to the group.
    pub unicast: bool,
    /// Version of the protocol; 2 where the file says so or gives a password, else 3.
    pub version: Version,
    /// Advert interval; whole seconds in version 2, up to 40.95 s in version 3.
    pub advertise: At<Centiseconds>,
    /// Whether a better router takes over.
    pub preempt: At<Preempt>,
    /// VRRPv2's simple password, at most 8 bytes.
    pub auth_pass: Option<At<Secret>>,
    /// Form of the checksum that version 3 sends.
    pub checksum: Checksum,
    /// Checks that this vip depends on.
    pub track: Vec<Track>,
    /// Program told of each change, in order.
    pub notify: Option<At<String>>,
    /// Held on a macvlan with the RFC's virtual MAC, rather than with the interface's own.
    pub virtual_mac: bool,
    /// Whether a holder that does not own the addresses takes packets for them (RFC 9568 §6.1, Accept_Mode).
    pub accept: bool,
    /// How long the service waits after its start before it takes part.
    pub start_delay: Duration,
    /// When the addresses are announced.
    pub announce: Announce,
    /// Routes that follow the addresses, in the order of the file.
    pub routes: Vec<At<Route>>,
}

/// How the backend of a new flow is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// By the client's address and port.
    #[default]
    Flow,
    /// By the client's address alone: sticky.
    Source,
}

/// What a service's backends are probed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A TCP connection opens.
    Tcp,
    /// A TLS handshake completes; the certificate is not verified.
    Tls,
    /// An HTTP request is answered with the status expected.
    Http {
        /// The path with its query.
        path: String,
        /// The status that means health.
        expect: u16,
    },
}

/// How a service's backends are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is tried.
    pub kind: ProbeKind,
    /// Another port than the backend's own.
    pub port: Option<u16>,
    /// How often and how patiently.
    pub pace: Pace,
}

/// Where a service's packets go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its name: a peer's, or its own.
    pub name: String,
    /// Where it stands.
    pub at: Place,
    /// Address and port, the peer's address filled in.
    pub target: SocketAddr,
    /// Share of the slots, 1–255.
    pub weight: u8,
}

/// What backends see as the source of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum SourceAddress {
    /// The vip with the client's port: connections survive a failover.
    #[default]
    Vip,
}

/// A port on a vip, balanced over backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where the node stands.
    pub at: Place,
    /// Name of the vip.
    pub vip: String,
    /// TCP port on every address of the vip.
    pub port: At<u16>,
    /// How a flow's backend is picked.
    pub balance: Balance,
    /// At least one; no two of one name or target.
    pub backends: Vec<Backend>,
    /// How they are probed; without it they count as up.
    pub probe: Option<Probe>,
    /// What they see as the source.
    pub source_address: SourceAddress,
}

/// A sysctl beyond the implied ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Dotted, `net.ipv4.ip_nonlocal_bind`; the dots of an interface's name as `/`, as in sysctl(8).
    pub key: String,
    /// As it is written to `/proc/sys`.
    pub value: String,
    /// Where it stands.
    pub at: Place,
}
