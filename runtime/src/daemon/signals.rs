//! The signals that a run obeys.

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::RunError;
use super::turn::Next;

/// Keeps a SIGHUP for the time when it is listened to: whoever has the file read again just after the start does not
/// mean to end the process. SIGTERM ends it until then, for nothing was changed yet.
pub fn hold_hangup() {
    // Where it cannot be had, a hangup ends the process, as it does everywhere.
    let _ = SigSet::from(Number::SIGHUP).thread_block();
}

/// Lets what [`hold_hangup`] held through.
pub fn release_hangup() {
    let _ = SigSet::from(Number::SIGHUP).thread_unblock();
}

/// The signals that a run listens to.
pub(super) struct Signals {
    pub end: End,
    pub hangup: Signal,
}

/// Those that ask for the end.
pub(super) struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process.
    ///
    /// # Errors
    /// Where the system has no more signal handlers to give.
    pub fn listen() -> Result<Self, RunError> {
        let listen = |kind| signal(kind).map_err(|source| RunError::System { what: "listen for signals", source });
        let end = End { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? };
        let hangup = listen(SignalKind::hangup())?;
        release_hangup();
        Ok(Signals { end, hangup })
    }
}

impl End {
    /// Returns when one of them came.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Carries on until the end is asked for: a reload may hang on a file (a dead network share) or on `nft`.
    pub async fn or(&mut self, work: impl Future<Output = Next>) -> Next {
        tokio::select! {
            biased;
            next = work => next,
            () = self.asked() => Next::Stop,
        }
    }
}
