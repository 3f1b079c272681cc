//! Looking after health: single tries at processes, programs and ports, and the watches that repeat them.

mod births;
mod command;
mod file;
mod interface;
mod net;
mod pidfd;
mod ping;
mod process;
mod standing;
mod unit;
mod watch;

pub use command::{Ended, Program, run};
pub use watch::{Finding, Healths, Subject, Watch, Watches};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::config::{Check, CheckKind, ProbeKind};
use model::desired::DesiredService;
use model::units::InterfaceName;

use standing::Standing;

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// All processes of these names run.
    Process(Vec<String>),
    /// A program ends with status 0, as this user.
    Command(Vec<String>, Option<String>),
    /// A TCP connection opens.
    Tcp(SocketAddr),
    /// A TLS handshake completes.
    Tls(SocketAddr),
    /// `GET` of this path is answered with this status.
    Http(SocketAddr, String, u16),
    /// An interface is up.
    Interface(InterfaceName),
    /// An ICMP echo request is answered.
    Ping(IpAddr),
    /// A unit of systemd is active.
    Systemd(String),
    /// The number in a file is a weight.
    File(String),
}

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it means health.
    pub ok: bool,
    /// The number in a file, where one was read for.
    pub weight: Option<i16>,
    /// HAProxy's short word: `L4OK`, `L7STS`…
    pub code: &'static str,
    /// More, for people.
    pub detail: String,
}

impl Outcome {
    fn good(code: &'static str, detail: impl Into<String>) -> Self {
        Outcome { ok: true, weight: None, code, detail: detail.into() }
    }

    fn bad(code: &'static str, detail: impl Into<String>) -> Self {
        Outcome { ok: false, weight: None, code, detail: detail.into() }
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attempt::Process(names) => write!(f, "process {}", names.join(" ")),
            Attempt::Command(argv, None) => write!(f, "command {}", argv.join(" ")),
            Attempt::Command(argv, Some(user)) => write!(f, "command {} as {user}", argv.join(" ")),
            Attempt::Tcp(target) => write!(f, "tcp {target}"),
            Attempt::Tls(target) => write!(f, "tls {target}"),
            Attempt::Interface(name) => write!(f, "interface {name}"),
            Attempt::Ping(target) => write!(f, "ping {target}"),
            Attempt::Systemd(unit) => write!(f, "systemd {unit}"),
            Attempt::File(path) => write!(f, "file {path}"),
            Attempt::Http(target, path, expect) => write!(f, "http http://{target}{path} expect={expect}"),
        }
    }
}

/// What a check tries.
pub fn of_check(check: &Check) -> Attempt {
    match &check.kind {
        CheckKind::Process { names } => Attempt::Process(names.clone()),
        CheckKind::Command { argv, user } => Attempt::Command(argv.clone(), user.clone()),
        CheckKind::Tcp { target } => Attempt::Tcp(*target),
        CheckKind::Tls { target } => Attempt::Tls(*target),
        CheckKind::Interface { name } => Attempt::Interface(name.clone()),
        CheckKind::Ping { target } => Attempt::Ping(*target),
        CheckKind::Systemd { unit } => Attempt::Systemd(unit.clone()),
        CheckKind::File { path } => Attempt::File(path.clone()),
        CheckKind::Http { target, path, expect } => Attempt::Http(*target, path.clone(), *expect),
    }
}

/// The watches of a service's backends; none where it has no probe.
pub fn of_service(service: &DesiredService) -> Vec<Watch> {
    let Some(probe) = &service.probe else { return vec![] };
    let attempt = |target: SocketAddr| {
        let at = SocketAddr::new(target.ip(), probe.port.unwrap_or(target.port()));
        match &probe.kind {
            ProbeKind::Tcp => Attempt::Tcp(at),
            ProbeKind::Tls => Attempt::Tls(at),
            ProbeKind::Http { path, expect } => Attempt::Http(at, path.clone(), *expect),
        }
    };
    service
        .backends
        .iter()
        .map(|b| Watch {
            subject: Subject::Backend { service: service.name.clone(), backend: b.name.clone(), target: b.target },
            attempt: attempt(b.target),
            pace: probe.pace,
        })
        .collect()
}

/// Tries once, and keeps what the result stands on. Ends within `timeout`, whatever the other side does.
async fn attempt(attempt: &Attempt, standing: &mut Standing, timeout: Duration) -> Outcome {
    match attempt {
        Attempt::Process(names) => {
            let before = match std::mem::replace(standing, Standing::Nothing) {
                Standing::Processes(processes) => Some(processes),
                _ => None,
            };
            let (outcome, processes) = process::present(names, before).await;
            *standing = Standing::Processes(processes);
            outcome
        }
        Attempt::Command(argv, user) => command::check(argv, user.as_deref(), timeout).await,
        Attempt::Tcp(target) => net::tcp(*target, timeout).await,
        Attempt::Tls(target) => net::tls(*target, timeout).await,
        Attempt::Http(target, path, expect) => net::http(*target, (path, *expect), timeout).await,
        Attempt::Interface(name) => interface::look(name, standing),
        Attempt::Ping(target) => ping::echo(*target, timeout).await,
        Attempt::Systemd(unit) => unit::active(unit, timeout).await,
        Attempt::File(path) => file::look(path, standing),
    }
}
