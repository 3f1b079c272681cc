//! The one seam to the machine: [`Kernel`]. The real one is a Linux kernel over netlink, `nft` and /proc/sys, the
//! tests' one is a fake that fails where it is told to.

mod addresses;
pub mod fake;
pub mod linux;
mod netlink;
mod nftables;
mod others;
mod program;
pub mod record;
mod run;
mod sysctl;

pub use run::{Stopped, runs};

use model::observed::{Observed, Wanted};
use model::plan::Operation;

/// Where a sysctl stands in /proc/sys; `None` for what is no sysctl's name.
pub(crate) fn sysctl_path(key: &str) -> Option<std::path::PathBuf> {
    sysctl::path(key).ok()
}

/// A sysctl's value; `None` where the kernel has no such key.
pub(crate) fn sysctl_value(key: &str) -> Result<Option<String>, KernelError> {
    sysctl::read(key)
}

/// A machine that can be seen and changed. Blocking; called from threads that may wait.
pub trait Kernel {
    /// Reads everything that a plan compares.
    ///
    /// # Errors
    /// Says what could not be read and what to do about it.
    fn observe(&mut self, wanted: &Wanted) -> Result<Observed, KernelError>;

    /// Performs operations in order and returns when the kernel has confirmed them. Those of one kind that follow each
    /// other ([`runs`]) are performed as one.
    ///
    /// # Errors
    /// At the first that is refused: those before it are in force, nothing is of it and of those after it.
    fn perform_all(&mut self, operations: &[&Operation]) -> Result<(), Stopped>;

    /// Performs each of these, whatever becomes of those before it; returns what became of each.
    fn perform_each(&mut self, operations: &[&Operation]) -> Vec<Result<(), KernelError>> {
        let mut results = Vec::with_capacity(operations.len());
        while let Some(left) = operations.get(results.len()..).filter(|left| !left.is_empty()) {
            match self.perform_all(left) {
                Ok(()) => results.resize(operations.len(), Ok(())),
                Err(Stopped { done, error }) => {
                    results.extend(left.iter().take(done).map(|_| Ok(())));
                    results.push(Err(error));
                }
            }
        }
        results
    }

    /// Performs one operation and returns when the kernel has confirmed it.
    ///
    /// # Errors
    /// Says what the kernel refused; nothing of the operation is left behind.
    fn perform(&mut self, operation: &Operation) -> Result<(), KernelError> {
        self.perform_all(&[operation]).map_err(|stopped| stopped.error)
    }
}

/// What the machine refused or lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Needs rights that this process does not have.
    #[error("{what}: permission denied")]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// A program that is needed is not installed.
    #[error("{program} is not installed")]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// No such interface.
    #[error("there is no interface {name}")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The address is there and not ours.
    #[error("{what} is already there and was not put there by hactl")]
    Foreign {
        /// Which object.
        what: String,
    },
    /// The record of what was here before cannot be understood.
    #[error("the record {path} cannot be understood: {why}")]
    BadRecord {
        /// Its file.
        path: String,
        /// What is wrong in it.
        why: String,
    },
    /// Nothing can be written where the record, the journal and the lock are kept.
    #[error("cannot write {path}: {why}")]
    State {
        /// The file.
        path: String,
        /// The kernel's words.
        why: String,
    },
    /// A `hactl run` is there and cannot be asked what it holds.
    #[error("{what}")]
    Unasked {
        /// The control socket's words.
        what: String,
        /// What to do about it.
        help: Vec<String>,
    },
    /// Anything else, with the kernel's or the program's words.
    #[error("{what}: {why}")]
    Refused {
        /// What was tried.
        what: String,
        /// The words.
        why: String,
    },
}

impl KernelError {
    /// What to do about it, each a line.
    pub fn help(&self) -> Vec<String> {
        let lines: &[&str] = match self {
            KernelError::NotPermitted { .. } => {
                &["run it as root: sudo hactl …", "without root, try the cluster with hactl lab"]
            }
            KernelError::NoProgram { program } => {
                return vec![
                    format!("install it (Debian: apt install {}), or add its directory to PATH", package(program)),
                    "a file without services does without it".into(),
                ];
            }
            KernelError::NoInterface { .. } => &["ip link shows the interfaces of this machine"],
            KernelError::Foreign { .. } => {
                &["remove it there, or take it out of the file: hactl never changes what is not its own"]
            }
            KernelError::BadRecord { path, .. } => {
                return vec![
                    format!("move it away (mv {path} {path}.bad): sysctls then stay as they are now,"),
                    "and destroy leaves them so; their values before stand in that file".into(),
                ];
            }
            KernelError::State { why, .. } if why.contains("No space left") => {
                &["make room there, or name another directory with --state DIR; nothing was changed"]
            }
            KernelError::State { .. } => {
                &["it has to be a directory that can be written to, with room in it; --state DIR names another"]
            }
            KernelError::Unasked { help, .. } => return help.clone(),
            KernelError::Refused { .. } => &[],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}

fn package(program: &str) -> &str {
    match program {
        "nft" => "nftables",
        other => other,
    }
}
