//! The one seam to the machine: [`Kernel`]. The real one is a Linux kernel over netlink, `nft` and /proc/sys, the tests' one is a fake that fails
//! where it is told to.

use model::observed::{Observed, Wanted};
use model::plan::Operation;

/// A machine that can be seen and changed. Blocking; called from threads that may wait.
pub trait Kernel {
    /// Reads everything that a plan compares.
    ///
    /// # Errors
    /// Says what could not be read and what to do about it.
    fn observe(&mut self, wanted: &Wanted) -> Result<Observed, KernelError>;

    /// Performs one operation and returns when the kernel has confirmed it.
    ///
    /// # Errors
    /// Says what the kernel refused; nothing of the operation is left behind.
    fn perform(&mut self, operation: &Operation) -> Result<(), KernelError>;
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
    /// Anything else, with the kernel's or the program's words.
    #[error("{what}: {why}")]
    Refused {
        /// What was tried.
        what: String,
        /// The words.
        why: String,
    },
}
