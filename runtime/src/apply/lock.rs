//! One apply at a time: `<state>/lock`, held by flock(2), so that the kernel lets go when its holder dies.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::unistd::{Uid, User, getpid};
use serde::{Deserialize, Serialize};

use crate::kernel::KernelError;
use crate::statedir;

/// The largest holder's line that is read.
const HOLDER_LIMIT: u64 = 4096;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// Its process.
    pub pid: i32,
    /// Its user, and who became it through sudo: `root (sudo by ops)`.
    pub user: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// What it does: `apply`, `destroy`, `run`.
    pub verb: String,
}

impl Holder {
    fn this(verb: &str) -> Holder {
        let uid = Uid::current();
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name);
        let user = match std::env::var("SUDO_USER") {
            Ok(person) if !person.is_empty() && person != name => format!("{name} (sudo by {person})"),
            _ => name,
        };
        let since = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Holder { pid: getpid().as_raw(), user, since, verb: verb.to_owned() }
    }
}

/// Why the lock was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("hactl {} holds the lock {}: pid {}, user {}, since {}", .holder.verb, .path.display(), .holder.pid, .holder.user, .holder.since)]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// The directory or the file cannot be made.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Held until it is dropped, or until this process dies.
#[derive(Debug)]
pub struct Lock {
    state: PathBuf,
    file: Flock<File>,
}

impl Lock {
    /// Takes the lock of this state directory for a verb, waiting at most `patience` for another holder.
    ///
    /// # Errors
    /// With the holder's pid, user and since when, where another has it to the end.
    pub fn take(state: &Path, verb: &str, patience: Duration) -> Result<Lock, LockError> {
        let path = state.join("lock");
        statedir::make(state).map_err(|e| failed(state, e))?;
        let file = statedir::open(&path).map_err(|e| failed(&path, e))?;
        match statedir::lock(file, patience) {
            Ok(file) => Lock { state: state.to_owned(), file }.signed(verb, &path),
            Err((file, Errno::EWOULDBLOCK)) => Err(LockError::Held { path, holder: holder(file) }),
            Err((_, e)) => Err(failed(&path, e.into()).into()),
        }
    }

    /// The state directory that it guards.
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn signed(mut self, verb: &str, path: &Path) -> Result<Lock, LockError> {
        let line = serde_json::to_vec(&Holder::this(verb)).unwrap_or_default();
        let written = self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| self.file.write_all(&line));
        written.map_err(|e| failed(path, e))?;
        Ok(self)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A name that no longer holds would be shown to the next who looks in between.
        let _ = self.file.set_len(0);
    }
}

fn failed(path: &Path, error: std::io::Error) -> KernelError {
    KernelError::State { path: path.display().to_string(), why: error.to_string() }
}

/// What the holder wrote; it may be about to.
fn holder(file: File) -> Holder {
    let mut text = String::new();
    let mut start = file.take(HOLDER_LIMIT);
    let _ = start.get_mut().rewind();
    let _ = start.read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or_else(|_| Holder {
        pid: 0,
        user: "unknown".into(),
        since: "a moment ago".into(),
        verb: "apply".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_second_one_is_refused_with_the_holders_pid_user_and_since_when() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "apply", Duration::ZERO).unwrap();
        let error = Lock::take(dir.path(), "destroy", Duration::ZERO).unwrap_err();
        let LockError::Held { ref holder, .. } = error else { panic!("{error}") };
        assert_eq!((holder.pid, holder.verb.as_str()), (getpid().as_raw(), "apply"));
        assert!(!holder.user.is_empty() && holder.since.ends_with('Z'), "{holder:?}");
        assert!(error.to_string().contains(&format!("pid {}, user ", getpid())), "{error}");
        drop(first);
        Lock::take(dir.path(), "destroy", Duration::ZERO).unwrap();
    }

    #[test]
    fn one_that_waits_has_it_when_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "apply", Duration::ZERO).unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| tell.send(Lock::take(dir.path(), "apply", Duration::from_secs(30)).map(drop)));
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
            drop(first);
            told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
        });
    }

    #[test]
    fn a_dead_holders_name_does_not_hold() {
        let dir = tempfile::tempdir().unwrap();
        let dead = r#"{"pid":1,"user":"root","since":"2020-01-01T00:00:00Z","verb":"apply"}"#;
        fs::write(dir.path().join("lock"), dead).unwrap();
        let lock = Lock::take(dir.path(), "apply", Duration::ZERO).unwrap();
        let now = fs::read_to_string(lock.state().join("lock")).unwrap();
        assert!(now.contains(&format!("\"pid\":{}", getpid())), "{now}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Lock::take(&dir.path().join("file/state"), "apply", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("file/state"), "{error}");
    }
}
