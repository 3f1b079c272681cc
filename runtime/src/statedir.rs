//! The state directory: nobody but its owner looks in or locks anything there, and no symbolic link in it is followed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// How often a lock that another holds is looked at again: below what a person notices, far above what a look costs
/// (microseconds).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes the directory where it is not there.
///
/// # Errors
/// The system's.
pub(crate) fn make(state: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)
}

/// Opens a file for reading and writing, made where it is not there; what is in it stays. Its mode matters beyond its
/// content: whoever may read a file may also lock it.
///
/// # Errors
/// The system's; ELOOP for a symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Opens a file to be written from its start.
///
/// # Errors
/// As [`open`].
pub(crate) fn create(path: &Path) -> io::Result<File> {
    open(path).and_then(|file| file.set_len(0).map(|()| file))
}

/// What a file holds, of at most `limit` bytes.
///
/// # Errors
/// The system's, also where it holds more.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// Takes a file's lock, waiting at most `patience` for another holder.
///
/// # Errors
/// The file with EWOULDBLOCK where another has it to the end, or with the system's error.
pub(crate) fn lock(mut file: File, patience: Duration) -> Result<Flock<File>, (File, Errno)> {
    let deadline = Instant::now().checked_add(patience);
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((back, Errno::EWOULDBLOCK)) if deadline.is_some_and(|end| Instant::now() >= end) => {
                return Err((back, Errno::EWOULDBLOCK));
            }
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
            Err(other) => return Err(other),
        }
        sleep(LOOK_AGAIN);
    }
}

/// Whether another file description holds this file's lock; not known (no) where it may not be read.
pub(crate) fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_the_owner_may_look_in_or_hold_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        make(&state).unwrap();
        open(&state.join("lock")).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join("lock"))), (0o700, 0o600));
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (goal, link) = (dir.path().join("goal"), dir.path().join("lock"));
        std::fs::write(&goal, "precious").unwrap();
        symlink(&goal, &link).unwrap();
        assert!(open(&link).is_err() && create(&link).is_err());
        assert_eq!(std::fs::read(goal).unwrap(), b"precious");
    }

    #[test]
    fn more_than_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).is_err());
    }
}
