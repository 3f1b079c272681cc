//! The daemon's side of the control socket. Whatever is sent, the answer is an answer.

use std::fs::File;
use std::io::{ErrorKind, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::Flock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::client::listener;
use super::{MAX_CONNECTIONS, MAX_REQUEST, READ_TIMEOUT, REPLY_TIMEOUT, Reply, Request, socket};
use crate::statedir;

/// How long a daemon that is just dying, or somebody who only asks whether one runs, may still have the lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// The largest lock file that is read: a process number.
const PID_LIMIT: u64 = 32;

/// A request on its way to the daemon, with where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Dropped unanswered: the client is told that the daemon is ending.
    pub reply: oneshot::Sender<Reply>,
}

/// The socket and the lock that make this process the one daemon of a state directory.
#[derive(Debug)]
pub struct Bound {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Why this process cannot be the daemon of a state directory.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another one is.
    #[error("hactl already runs here as process {pid}, with state in {}", .state.display())]
    Running {
        /// Its process; 0 where it could not be told.
        pid: i32,
        /// The directory.
        state: PathBuf,
    },
    /// Another one keeps this machine, with another directory.
    #[error("hactl already runs on this machine as process {pid}, with another state directory")]
    Elsewhere {
        /// Its process.
        pid: i32,
    },
    /// The directory cannot be used.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// Makes this process the daemon of a state directory: takes the lock, and the socket's place from a dead one.
///
/// # Errors
/// Where another daemon lives, or the directory cannot be written.
pub fn bind(state: &Path) -> Result<Bound, BindError> {
    let path = socket(state);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| BindError::Io { path, source }
    };
    statedir::make(state).map_err(io(state))?;
    let lock_path = lock_file(state);
    let file = statedir::open(&lock_path).map_err(io(&lock_path))?;
    let mut lock = statedir::lock(file, LOCK_PATIENCE).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => {
            let pid = noted(state).or_else(|| listener(state)).unwrap_or(0);
            BindError::Running { pid, state: state.to_owned() }
        }
        errno => BindError::Io { path: lock_path.clone(), source: errno.into() },
    })?;
    // The pid is a help for people, not what the lock stands on: a full disk is no reason to stay away.
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    // The lock is ours, so a socket that is there belongs to nobody.
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(BindError::Io { path, source: e }),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&path).map_err(io(&path))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(io(&path))?;
    listener.set_nonblocking(true).map_err(io(&path))?;
    Ok(Bound { listener, path, _lock: lock })
}

/// The process that is the daemon of a state directory, whether or not it can be asked; 0 where its number is not known.
pub(super) fn daemon(state: &Path) -> Option<i32> {
    statedir::is_locked(&lock_file(state)).then(|| noted(state).unwrap_or(0))
}

fn lock_file(state: &Path) -> PathBuf {
    state.join("run.lock")
}

fn noted(state: &Path) -> Option<i32> {
    let text = statedir::read(&lock_file(state), PID_LIMIT).ok()?;
    String::from_utf8(text).ok()?.trim().parse().ok()
}

/// Serves connections for ever, handing requests to the daemon through `asked`.
///
/// # Errors
/// Where the runtime cannot watch the socket. Failing accepts (no descriptors left) are waited out.
pub async fn serve(bound: &Bound, asked: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let asked = asked.clone();
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    // A client that goes away mid-answer is its own affair.
                    let _ = converse(stream, asked).await;
                    drop(place);
                });
            }
            Err(_) => {
                let mut stream = stream;
                let busy = refused(format!("{MAX_CONNECTIONS} clients are being served; try again"));
                let _ = tokio::time::timeout(Duration::from_millis(50), send(&mut stream, &busy)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, asked: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let line = match tokio::time::timeout(READ_TIMEOUT, read_line(&mut read)).await {
            Ok(Ok(Line::Whole(line))) => line,
            Ok(Ok(Line::End)) | Err(_) => return Ok(()),
            Ok(Ok(Line::TooLong)) => {
                send(&mut write, &refused(format!("a request has at most {MAX_REQUEST} bytes"))).await?;
                return Ok(());
            }
            Ok(Err(e)) => return Err(e),
        };
        let reply = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => answer(request, &asked).await,
            Err(e) => refused(format!("the request is not understood: {e}")),
        };
        tokio::time::timeout(READ_TIMEOUT, send(&mut write, &reply)).await??;
    }
}

async fn answer(request: Request, asked: &mpsc::Sender<Asked>) -> Reply {
    let (reply, answer) = oneshot::channel();
    if asked.send(Asked { request, reply }).await.is_err() {
        return refused("the daemon is ending".into());
    }
    match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => refused("the daemon is ending".into()),
        Err(_) => refused(format!("the daemon did not get to it within {} s", REPLY_TIMEOUT.as_secs())),
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(read: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let n = read.take(MAX_REQUEST as u64 + 1).read_until(b'\n', &mut line).await?;
    Ok(match n {
        0 => Line::End,
        n if n > MAX_REQUEST => Line::TooLong,
        _ => Line::Whole(line),
    })
}

async fn send(write: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    write.write_all(&line).await
}

fn refused(what: String) -> Reply {
    Reply::Refused { what, help: vec![] }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::control::{AskError, ask, live};

    #[test]
    fn a_daemon_that_does_not_answer_is_not_taken_for_none() {
        let state = tempfile::tempdir().unwrap();
        assert!(matches!(live(state.path()), Ok(None)));
        let bound = bind(state.path()).unwrap();
        let error = live(state.path()).unwrap_err().to_string();
        let pid = format!("(pid {}) does not answer", std::process::id());
        assert!(error.contains(&pid), "{error}");
        assert!(ask(state.path(), &Request::Status).unwrap_err().to_string().contains(&pid));
        std::fs::remove_file(socket(state.path())).unwrap();
        let error = live(state.path()).unwrap_err().to_string();
        assert!(error.contains(&pid) && error.contains("its socket is gone"), "{error}");
        drop(bound);
        assert!(matches!(live(state.path()), Ok(None)));
    }

    /// A daemon that refuses everything with one word, on a thread of its own.
    fn refuser(state: &Path) {
        let bound = bind(state).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (sender, mut asked) = mpsc::channel::<Asked>(1);
                tokio::spawn(async move {
                    while let Some(Asked { reply, .. }) = asked.recv().await {
                        reply.send(refused("heard".into())).unwrap();
                    }
                });
                serve(&bound, sender).await.unwrap();
            });
        });
    }

    fn say(stream: &UnixStream, bytes: &[u8]) -> String {
        // The daemon may hang up while a huge request is still being written.
        let _ = (&*stream).write_all(bytes);
        let mut answer = String::new();
        let _ = BufReader::new(stream).read_line(&mut answer);
        answer
    }

    #[test]
    fn a_request_is_answered() {
        let state = tempfile::tempdir().unwrap();
        refuser(state.path());
        assert_eq!(ask(state.path(), &Request::Status).unwrap(), refused("heard".into()));
    }

    #[test]
    fn garbage_is_answered_with_an_error_and_the_next_request_is_served() {
        let state = tempfile::tempdir().unwrap();
        refuser(state.path());
        let stream = UnixStream::connect(socket(state.path())).unwrap();
        for bytes in [&b"\xff\xfe\x00\n"[..], b"{\"ask\":\"explode\"}\n", b"[[[[[[\n", b"\n"] {
            assert!(say(&stream, bytes).contains("not understood"), "{bytes:?}");
        }
        assert!(say(&stream, b"{\"ask\":\"status\"}\n").contains("heard"));
    }

    #[test]
    fn a_huge_request_is_refused() {
        let state = tempfile::tempdir().unwrap();
        refuser(state.path());
        let stream = UnixStream::connect(socket(state.path())).unwrap();
        say(&stream, &vec![b'x'; 1 << 20]);
        assert_eq!(ask(state.path(), &Request::Live).unwrap(), refused("heard".into()));
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let state = tempfile::tempdir().unwrap();
        refuser(state.path());
        let mut others: Vec<_> =
            (0..MAX_CONNECTIONS).map(|_| UnixStream::connect(socket(state.path())).unwrap()).collect();
        for _ in 0..20 {
            let Ok(Reply::Refused { what, .. }) = ask(state.path(), &Request::Status) else { panic!("no answer") };
            assert!(what.contains("clients are being served"), "{what}");
        }
        others.clear();
    }

    #[test]
    fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
        let state = tempfile::tempdir().unwrap();
        let _first = bind(state.path()).unwrap();
        let error = bind(state.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn the_socket_of_a_dead_daemon_is_replaced() {
        let state = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(socket(state.path())).unwrap());
        assert!(matches!(ask(state.path(), &Request::Live), Err(AskError::NotRunning(_))));
        let bound = bind(state.path()).unwrap();
        assert!(listener(state.path()).is_some());
        drop(bound);
        assert!(!socket(state.path()).exists());
    }
}
