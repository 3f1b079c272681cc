//! What a laboratory has to tell: to a person through a face, to a test as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

/// Something that happened or was found, and when.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// Milliseconds since the laboratory began.
    pub ms: f64,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Something that happened or was found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// The machines and their wires stand.
    Built {
        /// The cluster's name.
        cluster: String,
        /// Machines that run hactl.
        peers: Vec<String>,
        /// Other machines that the file speaks of.
        hosts: Vec<String>,
        /// Whether this was done without root.
        ordinary_user: bool,
    },
    /// A command is carried out.
    Command {
        /// As written.
        text: String,
    },
    /// The script's own words.
    Said {
        /// Which.
        text: String,
    },
    /// What a machine's daemon told, as it printed it.
    Event {
        /// The machine.
        peer: String,
        /// The daemon's JSON object.
        event: serde_json::Value,
    },
    /// A machine's daemon started or ended.
    Daemon {
        /// The machine.
        peer: String,
        /// Whether it runs now.
        runs: bool,
        /// How it ended, in words.
        how: String,
        /// Whether it did so unasked.
        unasked: bool,
    },
    /// A machine's power or network changed.
    Machine {
        /// The machine.
        name: String,
        /// `on`, `off`, `frozen`, `thawed`, `cut`, `healed`.
        now: &'static str,
    },
    /// Every vip has one holder that answers.
    Settled {
        /// Holder by vip.
        holders: BTreeMap<String, String>,
        /// Milliseconds since the last disturbance.
        after_ms: f64,
    },
    /// Probes of one address went unanswered for a while, and are answered again.
    Outage {
        /// The vip.
        vip: String,
        /// The address.
        address: IpAddr,
        /// Between the last probe answered before and the first one after, less the period.
        ms: f64,
    },
    /// Probes of one address since the last time this was told.
    Measured {
        /// The vip.
        vip: String,
        /// The address.
        address: IpAddr,
        /// Sent.
        sent: u32,
        /// Answered.
        answered: u32,
    },
    /// All connections that were asked for stand, or could not be opened.
    Connected {
        /// How many stand.
        open: usize,
        /// By backend.
        backends: BTreeMap<String, usize>,
    },
    /// A connection broke.
    Broken {
        /// Its number.
        id: usize,
        /// Its backend, where it had one.
        backend: Option<String>,
        /// In words.
        why: String,
        /// Whether its backend is gone too: then no failover could have saved it.
        with_backend: bool,
    },
    /// An expectation was put to the test.
    Expectation {
        /// As written.
        text: String,
        /// Whether it is so.
        met: bool,
        /// What was seen instead, or as well.
        saw: String,
    },
    /// Lines that were asked for: `status`, `log`, `help`.
    Lines {
        /// Each a line.
        lines: Vec<String>,
    },
    /// Something that could not be done.
    Trouble {
        /// The machine, or what else is meant.
        subject: String,
        /// In words.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// The end.
    Summary(Summary),
}

/// How it all went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// What was done to the cluster, and what the client saw of it.
    pub disturbances: Vec<Disturbance>,
    /// The connections at the end.
    pub connections: Tally,
    /// Expectations that were met.
    pub met: usize,
    /// Those that were not, as written.
    pub unmet: Vec<String>,
    /// Commands that a mistake or an unmet expectation kept from being carried out, as written.
    pub left: Vec<String>,
}

/// Something that was done to the cluster, and what the client saw of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Disturbance {
    /// What was done.
    pub what: String,
    /// When, in monotonic nanoseconds.
    #[serde(skip)]
    pub at: u64,
    /// By vip: the longest outage after it in milliseconds, the holder before and the holder after.
    pub vips: BTreeMap<String, (f64, String, String)>,
}

/// Connections, each counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// That stood at some time.
    pub opened: usize,
    /// Of these: that answer still.
    pub alive: usize,
    /// Of these: whose backend is gone; no failover could have saved them.
    pub with_backend: usize,
    /// Of these: that broke although their backend lives.
    pub lost: usize,
    /// Of these: that have not answered lately although their backend lives.
    pub silent: usize,
    /// That never came to stand.
    pub refused: usize,
}
