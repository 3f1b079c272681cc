//! Asking a running daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::observed::Live;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{MAX_REPLY, REPLY_TIMEOUT, Reply, Request, server, socket};

/// How long a question waits for its answer: what is asked must not hang on a daemon that does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

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
    #[error("hactl run (pid {pid}) does not answer on {}: {why}", .path.display())]
    Broken {
        /// Its process; 0 where that is not known.
        pid: i32,
        /// The socket.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
}

impl AskError {
    /// What to do about it, each a line.
    pub fn help(&self) -> Vec<String> {
        let line = match self {
            AskError::NotRunning(_) => "start it with `systemctl start hactl`, or `hactl run`".to_owned(),
            AskError::NotPermitted(_) => "ask as root: sudo hactl …".to_owned(),
            AskError::Broken { pid, .. } => {
                let end = if *pid > 0 { format!(", or kill -KILL {pid}") } else { String::new() };
                format!("what it holds is not known, so nothing was changed: systemctl restart hactl{end}")
            }
        };
        vec![line]
    }
}

/// Asks the daemon of this state directory.
///
/// # Errors
/// Where none runs, where the caller may not, or where it does not answer within two seconds ([`REPLY_TIMEOUT`] for a
/// reload).
pub fn ask(state: &Path, request: &Request) -> Result<Reply, AskError> {
    let patience = match request {
        Request::Reload { .. } | Request::Restart => REPLY_TIMEOUT,
        _ => ANSWER_TIMEOUT,
    };
    converse(connect(state)?, state, request, patience)
}

/// What the daemon of this state directory knows and the kernel does not; `None` where none runs, and for somebody who
/// may not ask.
///
/// # Errors
/// Where one runs and does not answer: the addresses that it holds are no dead one's leftovers.
pub fn live(state: &Path) -> Result<Option<Live>, AskError> {
    let broken = |why: String| broken(state, why);
    let stream = match connect(state) {
        Ok(stream) => stream,
        Err(AskError::NotPermitted(_)) => return Ok(None),
        Err(AskError::NotRunning(_)) => return Ok(None),
        Err(e) => return Err(e),
    };
    match converse(stream, state, &Request::Live, ANSWER_TIMEOUT)? {
        Reply::Live(live) => Ok(Some(live)),
        Reply::Refused { what, .. } => Err(broken(what)),
        _ => Err(broken("it answered something else than asked; same version?".into())),
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
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => match server::daemon(state) {
            None => AskError::NotRunning(path),
            Some(pid) => AskError::Broken { pid, path, why: "it runs, and its socket is gone".into() },
        },
        std::io::ErrorKind::PermissionDenied => AskError::NotPermitted(path),
        _ => broken(state, e.to_string()),
    })
}

fn broken(state: &Path, why: String) -> AskError {
    AskError::Broken { pid: server::daemon(state).unwrap_or(0), path: socket(state), why }
}

fn converse(stream: UnixStream, state: &Path, request: &Request, patience: Duration) -> Result<Reply, AskError> {
    let broken = |why: String| broken(state, why);
    let io = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::WouldBlock => broken(format!("nothing came within {} s", patience.as_secs())),
        _ => broken(e.to_string()),
    };
    stream.set_read_timeout(Some(patience)).map_err(io)?;
    stream.set_write_timeout(Some(patience)).map_err(io)?;
    let mut line = serde_json::to_vec(request).map_err(|e| broken(e.to_string()))?;
    line.push(b'\n');
    // A daemon that serves too many already answers unasked and hangs up.
    let asked = (&stream).write_all(&line);
    let mut answer = String::new();
    let read = BufReader::new(stream.take(MAX_REPLY)).read_line(&mut answer);
    if answer.is_empty() {
        asked.and(read).map_err(io)?;
    }
    if answer.is_empty() {
        return Err(broken("it hung up".into()));
    }
    serde_json::from_str(&answer).map_err(|e| broken(format!("its answer is not understood ({e}); same version?")))
}
