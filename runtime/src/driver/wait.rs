//! What the VRRP thread waits for.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::Command;
use crate::hot::sys::wait_for;

/// Sockets and the timer.
pub(super) struct Readiness {
    fds: Vec<AsyncFd<OwnedFd>>,
}

impl Readiness {
    /// Of the driver's sockets, by descriptors of their own: the driver goes on using its own.
    pub fn of<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<Readiness> {
        Ok(Readiness { fds: fds.map(wait_for).collect::<io::Result<_>>()? })
    }

    /// Returns when something waits, or nobody can command any more; with the command where it is one.
    pub async fn wait(&self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let any = async {
            let waiting = self.fds.iter().map(|fd| Box::pin(fd.readable()));
            // Cleared before it is read: what comes later is a new edge.
            if let (Ok(mut guard), _, _) = futures_util::future::select_all(waiting).await {
                guard.clear_ready();
            }
        };
        tokio::select! {
            command = commands.recv() => command,
            () = any => None,
        }
    }
}
