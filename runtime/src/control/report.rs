//! What `hactl status` is told, versioned: fields are added, never renamed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::desired::Fingerprint;
use model::units::{InterfaceName, Moment};
use model::vrrp::VipStatus;
use serde::{Deserialize, Serialize};

/// Version of [`StatusReport`]; raised when the meaning of a field changes.
pub const STATUS_VERSION: u32 = 1;

/// The whole state of one running daemon. Times are moments on this machine's CLOCK_MONOTONIC; compare with `now`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// Version of the program that runs.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// When this was written.
    pub now: Moment,
    /// Since when it runs.
    pub started: Moment,
    /// When this program went on where another one was (`hactl restart`).
    #[serde(default)]
    pub resumed: Option<Moment>,
    /// The cluster's name.
    pub cluster: String,
    /// This machine's name in the file.
    pub peer: String,
    /// The file in force, absolute.
    pub config: String,
    /// Fingerprint of what is in force; equal on every peer of a cluster in agreement.
    pub fingerprint: Fingerprint,
    /// Vips of this machine.
    pub vips: Vec<VipStatus>,
    /// Checks of this machine.
    pub checks: Vec<CheckStatus>,
    /// Services on its vips.
    pub services: Vec<ServiceStatus>,
    /// How often something of ours was put right after somebody else changed it: `address`, `table`, `sysctl`.
    pub restored: BTreeMap<String, u64>,
    /// What this run should do now and cannot, each for people.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// What needs a person's eye, newest last.
    pub warnings: Vec<String>,
    /// What is left to others at somebody's wish.
    #[serde(default)]
    pub drains: Vec<DrainStatus>,
    /// The last reload, where it was refused: the file on disk is not what runs.
    pub reload: Option<FailedReload>,
    /// How well the VRRP thread keeps its time.
    pub thread: ThreadStatus,
    /// Packets dropped because they were for no virtual router of this machine: interface, cause, how many.
    #[serde(default)]
    pub strangers: BTreeMap<InterfaceName, BTreeMap<String, u64>>,
}

/// A vip that is left to others at somebody's wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrainStatus {
    /// Its name.
    pub vip: String,
    /// Since when.
    pub since: Moment,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// Why, as it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A reload that changed nothing because the file has mistakes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailedReload {
    /// When it was tried.
    pub at: Moment,
    /// What is wrong, each with its place.
    pub what: Vec<String>,
}

/// The VRRP thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ThreadStatus {
    /// Whether the kernel gave it a real-time priority.
    pub realtime: bool,
    /// The latest that it ever woke after its deadline, in microseconds.
    pub max_lateness_us: u64,
}

/// Up or down with what is on the way to change it: HAProxy's `UP`, `UP 1/3`, `DOWN`, `DOWN 1/2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// Whether it counts as up; `None` before the first result.
    pub up: Option<bool>,
    /// Results in a row against that state.
    pub against: u32,
    /// How many of them change it.
    pub needed: u32,
    /// HAProxy's short word for the last result: `L4OK`, `L4CON`, `L4TOUT`, `L6OK`, `L6RSP`, `L7OK`, `L7STS`…; for a
    /// process or command: `PROCOK`, `PROCERR`, `PROCTOUT`; `L3OK`, `L3TOUT` of a ping, `LINKOK`, `LINKDOWN`, `UNITOK`,
    /// `UNITERR`, and `WEIGHT` of a file. Empty before the first.
    pub code: String,
    /// The last result in words, where there is more to say than the code does.
    pub detail: String,
    /// How long the last try took, in microseconds.
    pub took_us: u64,
    /// Since when it is up or down.
    pub since: Moment,
    /// Failed tries so far.
    pub failures: u64,
    /// How often it went down.
    pub times_down: u64,
    /// The number in its file, where it looks at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i16>,
}

impl Health {
    /// Of what was never tried.
    pub fn unknown(since: Moment) -> Health {
        Health {
            up: None,
            against: 0,
            needed: 0,
            code: String::new(),
            detail: String::new(),
            took_us: 0,
            since,
            failures: 0,
            times_down: 0,
            weight: None,
        }
    }
}

/// A check of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckStatus {
    /// Its name.
    pub check: String,
    /// What it looks at, for people: `process haproxy pveproxy`.
    pub what: String,
    /// How it is.
    pub health: Health,
}

/// A service of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// Its vip.
    pub vip: String,
    /// Its port.
    pub port: u16,
    /// In the order of the file.
    pub backends: Vec<BackendStatus>,
}

/// A backend of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BackendStatus {
    /// Its name.
    pub backend: String,
    /// Address and port.
    pub target: SocketAddr,
    /// Configured weight.
    pub weight: u8,
    /// Slots it has at this moment.
    pub slots: u16,
    /// Slots of the service.
    pub of_slots: u16,
    /// How it is; `None` where the service has no probe and it counts as up.
    pub health: Option<Health>,
}
