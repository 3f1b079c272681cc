//! The control socket `<state>/control.sock`: one JSON object a line, asked and answered. It is how `status`, `plan`
//! and `apply` speak to a running `hactl run`; only root may.

mod client;
mod report;
mod server;
mod sole;

pub use client::{AskError, ask, live};
pub use report::{
    BackendStatus, CheckStatus, DrainStatus, FailedReload, Health, STATUS_VERSION, ServiceStatus, StatusReport,
    ThreadStatus,
};
pub use server::{Asked, BindError, Bound, bind, serve};
pub use sole::{Sole, sole};

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::desired::Fingerprint;
use model::observed::Live;
use model::plan::Action;
use serde::{Deserialize, Serialize};

/// Longest request in bytes: far above the largest one, far below what could trouble the daemon.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Longest answer that a client reads, in bytes: the status of 255 vips with 100 backends each takes about 8 MB.
pub const MAX_REPLY: u64 = 32 * 1024 * 1024;

/// Connections served at once; a further one is told so and closed.
pub const MAX_CONNECTIONS: usize = 16;

/// How long the daemon waits for a connected client's next line before it hangs up.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for an answer: a reload loads tables and probes nothing, so seconds are plenty.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the socket stands.
pub fn socket(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// What a client can ask. More is to come; an unknown one is answered with [`Reply::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Everything that `hactl status` shows.
    Status,
    /// What a plan compares: see [`Live`].
    Live,
    /// Read the file again, plan and perform.
    Reload {
        /// Only if the daemon's own plan has this fingerprint ([`model::plan::Plan::fingerprint`]), so that what was reviewed is done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<Fingerprint>,
    },
    /// Leave vips to others from now on, with those of their groups.
    Drain {
        /// By name; none is all of them.
        vips: Vec<String>,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// For how long; `None` until it is taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
    },
    /// Take drains back.
    Undrain {
        /// By name; none is all of them.
        vips: Vec<String>,
    },
    /// Become the program on disk, with everything that is held.
    Restart,
    /// Be master of this vip and its group no longer, once.
    Failover {
        /// Its name.
        vip: String,
    },
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<StatusReport>),
    /// To [`Request::Live`].
    Live(Live),
    /// To [`Request::Reload`]: the file is in force, and these steps were tried, in order.
    Reloaded {
        /// Empty where nothing had to change on this machine.
        steps: Vec<StepResult>,
    },
    /// To [`Request::Restart`]: the program on disk has found the file good and takes over now; `status` shows when.
    Restarting,
    /// To [`Request::Drain`], [`Request::Undrain`] and [`Request::Failover`]: begun; `status` shows what comes of it.
    Begun {
        /// Those that it concerns, with those of their groups, in the order of the file.
        vips: Vec<String>,
        /// Of these the ones that this machine was master of.
        held: Vec<String>,
    },
    /// Nothing was done.
    Refused {
        /// Why; lower case, no full stop.
        what: String,
        /// What to do about it, each a line.
        #[serde(default)]
        help: Vec<String>,
    },
}

/// One performed step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepResult {
    /// The sign before its line.
    pub action: Action,
    /// Its object, as the plan names it.
    pub object: String,
    /// Why it failed; `None` where it was done.
    pub error: Option<String>,
}
