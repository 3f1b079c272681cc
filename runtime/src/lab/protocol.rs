//! What the world and its machines say to each other: one JSON object a line, orders down a machine's standard input,
//! reports up its standard output.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use model::config::Check;
use serde::{Deserialize, Serialize};

/// What the world wants of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// The first: what kind of machine to be. Its network stands.
    Be(Box<Role>),
    /// Start `hactl run`.
    Start,
    /// Ask `hactl run` to end, with SIGTERM.
    Stop,
    /// Ask `hactl run` to read its file again, with SIGHUP.
    Reload,
    /// Ask `hactl run` for something, with a verb of hactl's and its arguments.
    Verb {
        /// Both.
        words: Vec<String>,
    },
    /// Make a check fail.
    Fail {
        /// Its name.
        check: String,
    },
    /// Make it succeed again.
    Recover {
        /// Its name.
        check: String,
    },
    /// Open connections, spread over the targets.
    Connect {
        /// How many.
        count: usize,
        /// Number of the first.
        first: usize,
        /// Addresses of services.
        targets: Vec<SocketAddrV4>,
    },
}

/// What a machine is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Role {
    /// One of the cluster's.
    Peer {
        /// Its stub servers and their names.
        serve: Vec<Listener>,
        /// The file and the name for `hactl run`.
        daemon: (PathBuf, String),
        /// The checks, to be stood in for.
        checks: Vec<Check>,
        /// Secrets that this machine may lack.
        secrets: MadeUp,
    },
    /// A backend, or another machine that the file speaks of.
    Host {
        /// Its stub servers.
        serve: Vec<Listener>,
    },
    /// The client that measures.
    Client {
        /// Its own addresses.
        sources: Vec<Ipv4Addr>,
        /// The addresses it probes.
        probe: Vec<IpAddr>,
    },
}

/// Where a stub server listens, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Address and port.
    pub at: SocketAddr,
    /// Answered to every line.
    pub name: String,
    /// Status of an answer to an HTTP request.
    pub status: u16,
}

/// Names of secrets that get a value of the laboratory's where this machine has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeUp {
    /// Environment variables.
    pub env: Vec<String>,
    /// Files.
    pub files: Vec<PathBuf>,
    /// systemd credentials.
    pub credentials: Vec<String>,
}

/// What a machine tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub enum Report {
    /// It has its namespaces: the network can be laid.
    Room,
    /// It is what it was told to be.
    Ready,
    /// A line that the daemon printed: an event.
    Event {
        /// As printed.
        line: String,
    },
    /// A line of the daemon's log.
    Log {
        /// As printed.
        line: String,
    },
    /// The daemon runs.
    Started,
    /// The daemon ended.
    Ended {
        /// In words.
        how: String,
        /// Whether it was asked to.
        asked: bool,
    },
    /// A verb of hactl's has ended.
    Answer {
        /// What it printed.
        lines: Vec<String>,
        /// Whether it succeeded.
        good: bool,
    },
    /// Something that the machine could not do.
    Trouble {
        /// In words.
        what: String,
    },
    /// What the client measured since the last time.
    Measured(Measured),
    /// Probes went unanswered for a while, and are answered again.
    Gap {
        /// The address.
        address: IpAddr,
        /// Sending time of the last probe answered before, nanoseconds of the monotonic clock.
        from: u64,
        /// Sending time of the first probe answered after.
        to: u64,
    },
    /// A connection stands and has told its backend.
    Opened {
        /// Its number.
        id: usize,
        /// The backend's name.
        backend: String,
    },
    /// A connection is no more.
    Broken {
        /// Its number.
        id: usize,
        /// In words.
        why: String,
    },
    /// Round trips of the connections.
    Trips {
        /// Those whose last answer is older than half a second.
        silent: BTreeSet<usize>,
        /// When this was true.
        at: u64,
    },
}

/// A client's measurement of every address it probes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Sending time of the last probe.
    pub at: u64,
    /// By address: probes sent, probes answered, sending time of the last one answered (0: none ever).
    pub addresses: BTreeMap<IpAddr, (u32, u32, u64)>,
}

/// The monotonic clock in nanoseconds, one for all machines.
pub fn now() -> u64 {
    let time = nix::time::ClockId::CLOCK_MONOTONIC.now().unwrap_or_else(|_| nix::sys::time::TimeSpec::new(0, 0));
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_out_of_the_pipe_as_they_went_in() {
        let address = IpAddr::from([192, 0, 2, 50]);
        let measured = Measured { at: 7, addresses: BTreeMap::from([(address, (50, 49, 6))]) };
        for report in [
            Report::Trips { silent: BTreeSet::from([1, 20]), at: 5 },
            Report::Measured(measured),
            Report::Gap { address, from: 1, to: 2 },
            Report::Ended { how: "exit status: 1".into(), asked: true },
        ] {
            let line = serde_json::to_string(&report).unwrap();
            let back: Report = serde_json::from_str(&line).unwrap();
            assert_eq!(format!("{back:?}"), format!("{report:?}"));
        }
    }
}
