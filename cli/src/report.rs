//! Words for everything that goes wrong, and the exit codes. Nothing else prints errors.

use std::process::ExitCode;

/// Exit codes, as `--help` lists them; never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Changes pending.
    Pending = 2,
    /// Changes pending, and some of them interrupt traffic or delete.
    PendingDisruptive = 3,
    /// The saved plan is stale.
    Stale = 4,
    /// Verification failed and everything was rolled back.
    RolledBack = 5,
    /// Someone else holds the lock.
    Locked = 6,
    /// Wrong usage.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> ExitCode {
        ExitCode::from(e as u8)
    }
}

/// Why a verb failed, as facts.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What is wrong, with the thing and the place; lower case, no full stop.
    pub what: String,
    /// What to do, each a line.
    pub help: Vec<String>,
}

/// Prints a failure and returns its exit code.
pub fn failure(failure: &Failure, _json: bool) -> Exit {
    anstream::eprintln!("error: {}", failure.what);
    for help in &failure.help {
        anstream::eprintln!("  help: {help}");
    }
    failure.exit
}
