//! What a result stands on: descriptors that become readable when it may be out of date.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::file::Told;
use super::interface::Link;
use super::process::Processes;

/// What the last result stands on.
pub(super) enum Standing {
    /// On nothing that tells: it is tried again at its pace.
    Nothing,
    /// On these processes.
    Processes(Processes),
    /// On what the kernel tells of links.
    Link(Link),
    /// On what the kernel tells of a file.
    File(Told),
}

impl Standing {
    /// Returns when there is reason to look again; never, where nothing tells of one.
    pub async fn shaken(&mut self) {
        match self {
            Standing::Nothing => std::future::pending().await,
            Standing::Processes(processes) => processes.changed().await,
            Standing::Link(link) => link.changed().await,
            Standing::File(told) => told.changed().await,
        }
    }

    /// Whether every change is told of, so that nothing needs to be tried while all is settled.
    pub fn tells_everything(&self) -> bool {
        match self {
            Standing::Nothing => false,
            Standing::Processes(processes) => processes.tells_everything(),
            Standing::Link(_) | Standing::File(_) => true,
        }
    }
}

/// Registers a second descriptor of `of` with the runtime of the calling task.
pub(super) fn readable(of: &impl AsFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = of.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is owned by what is registered, and so open for as long.
    unsafe { AsyncFd::register(fd) }.map_err(std::io::Error::other)
}
