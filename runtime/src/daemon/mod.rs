//! `hactl run`: the machine kept as the file says, for as long as it runs.
//!
//! The VRRP thread ([`crate::driver`]) speaks the protocol and alone adds and deletes the vips' addresses. Everything
//! that may wait on programs, disks or people is here, on another thread: checks and probes, the plan that is made and
//! performed at start, at reload and whenever the kernel reports a foreign hand, the control socket, the programs told.
//!
//! At the end (SIGTERM, SIGINT) mastership is handed over and the addresses are released; sysctls and tables stay, for
//! the next start finds them as it needs them and established connections of other vips live on. `hactl destroy` takes
//! them away.

mod converge;
mod drains;
mod fights;
mod flaps;
mod found;
mod reload;
mod restart;
mod setup;
mod signals;
mod start;
mod state;
mod sysctls;
mod tell;
mod turn;
mod wishes;

pub use setup::SetupError;
pub use signals::{hold_hangup, release_hangup};
pub use start::run;
pub use tell::Said;

use std::path::PathBuf;

use crate::control::BindError;
use crate::driver::DriverError;
use crate::kernel::KernelError;

/// What a run is told on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's file; `None` looks in the usual places.
    pub file: Option<PathBuf>,
    /// Which peer this machine is; `None` finds out.
    pub node: Option<String>,
    /// Directory of the control socket, the lock and the record.
    pub state: PathBuf,
    /// Whether events go to standard output.
    pub json: bool,
}

/// Why a run did not start, or ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file cannot be run.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Another run has this state directory.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The rights that it needs are missing.
    #[error("run needs the capabilities {missing}, which this process does not have")]
    NotPermitted {
        /// By name.
        missing: String,
    },
    /// The machine cannot be seen, or the rules of the services not be loaded.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The VRRP thread could not start, or failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A signal, thread or runtime was not to be had.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
}

impl RunError {
    /// What to do about it, each a line.
    pub fn help(&self) -> Vec<String> {
        let lines: &[&str] = match self {
            RunError::Setup(e) => return e.help(),
            RunError::Kernel(e) => return e.help(),
            RunError::Bind(BindError::Elsewhere { .. }) => {
                &["two would fight over the rules and hold the same addresses: stop that one first"]
            }
            RunError::Bind(BindError::Running { .. }) => {
                &["hactl status shows it; systemctl reload hactl makes it read its file again"]
            }
            RunError::NotPermitted { .. } => {
                &["run it as root: sudo hactl run", "without root, try the cluster with hactl lab"]
            }
            RunError::Bind(_) | RunError::Driver(_) | RunError::System { .. } => &[],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}
