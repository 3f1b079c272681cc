//! Asking a running daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::observed::Live;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{MAX_REPLY, REPLY_TIMEOUT, Reply, Request, socket};

/// How long [`live`] waits: an observation must not hang on a daemon that does.
const LIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// None runs with this state directory.
    #[error("no hactl runs here: nobody listens on {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket belongs to root.
    #[error("{}: permission denied", .0.display())]
    NotPermitted(PathBuf),
    /// It runs and does not answer as it should.
    #[error("the daemon does not answer on {}: {why}", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
}

/// Asks the daemon of this state directory.
///
/// # Errors
/// Where none runs, where the caller may not, or where it does not answer within [`REPLY_TIMEOUT`].
pub fn ask(state: &Path, request: &Request) -> Result<Reply, AskError> {
    converse(connect(state)?, state, request, REPLY_TIMEOUT)
}

/// What the daemon of this state directory knows and the kernel does not; `None` where none answers, and for the
/// daemon itself, which knows without asking.
pub fn live(state: &Path) -> Option<Live> {
    let stream = connect(state).ok()?;
    let listener = getsockopt(&stream, PeerCredentials).ok()?;
    if listener.pid() == nix::unistd::getpid().as_raw() {
        return None;
    }
    match converse(stream, state, &Request::Live, LIVE_TIMEOUT) {
        Ok(Reply::Live(live)) => Some(live),
        _ => None,
    }
}

/// The process that listens on the socket, where one does.
pub(super) fn listener(state: &Path) -> Option<i32> {
    let stream = connect(state).ok()?;
    Some(getsockopt(&stream, PeerCredentials).map(|c| c.pid()).unwrap_or(0))
}

fn connect(state: &Path) -> Result<UnixStream, AskError> {
    let path = socket(state);
    UnixStream::connect(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => AskError::NotRunning(path),
        std::io::ErrorKind::PermissionDenied => AskError::NotPermitted(path),
        _ => AskError::Broken { path, why: e.to_string() },
    })
}

fn converse(stream: UnixStream, state: &Path, request: &Request, patience: Duration) -> Result<Reply, AskError> {
    let broken = |why: String| AskError::Broken { path: socket(state), why };
    let io = |e: std::io::Error| broken(e.to_string());
    stream.set_read_timeout(Some(patience)).map_err(io)?;
    stream.set_write_timeout(Some(patience)).map_err(io)?;
    let mut line = serde_json::to_vec(request).map_err(|e| broken(e.to_string()))?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(io)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_REPLY)).read_line(&mut answer).map_err(io)?;
    if answer.is_empty() {
        return Err(broken("it hung up".into()));
    }
    serde_json::from_str(&answer).map_err(|e| broken(format!("its answer is not understood ({e}); same version?")))
}
