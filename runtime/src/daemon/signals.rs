//! The signals that a run obeys.

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::RunError;
use super::turn::Next;

/// Keeps SIGHUP and SIGUSR2 for the time when they are listened to: whoever sends one just after the start does not
/// mean to end the process. SIGTERM ends it until then, for nothing was changed yet.
pub fn hold_hangup() {
    // Where it cannot be had, a hangup ends the process, as it does everywhere.
    let _ = held().thread_block();
}

/// Lets what [`hold_hangup`] held through.
pub fn release_hangup() {
    let _ = held().thread_unblock();
}

/// The signals that a run obeys.
fn obeyed() -> SigSet {
    [Number::SIGHUP, Number::SIGUSR2, Number::SIGTERM, Number::SIGINT].into_iter().collect()
}

/// Of these the ones that mean nothing but to a run.
fn held() -> SigSet {
    [Number::SIGHUP, Number::SIGUSR2].into_iter().collect()
}

/// Keeps all of them for the next program, which lets them through when it listens, or until dropped.
pub(super) fn hold_all() -> Hold {
    let _ = obeyed().thread_block();
    Hold
}

/// See [`hold_all`].
pub(super) struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = obeyed().thread_unblock();
    }
}

/// The signals that a run listens to.
pub(super) struct Signals {
    pub end: End,
    pub hangup: Signal,
    pub restart: Signal,
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
        let restart = listen(SignalKind::user_defined2())?;
        let _ = obeyed().thread_unblock();
        Ok(Signals { end, hangup, restart })
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
