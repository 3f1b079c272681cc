//! A number in a file: heard of by inotify, as keepalived's track files are, and read when its writer closes it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::vrrp::FAULT_WEIGHT;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::Outcome;
use super::standing::{Standing, readable};

/// Bytes that are read: a number has four.
const LENGTH: u64 = 64;

/// Reads of events in one go, 4 KiB each; then other tasks have their turn.
const READS: usize = 64;

/// The listening ear.
pub(super) struct Told {
    inotify: Inotify,
    readable: AsyncFd<OwnedFd>,
    path: PathBuf,
    /// Where the next part of the path is awaited, and that part's name.
    directory: Option<(WatchDescriptor, PathBuf)>,
    file: Option<WatchDescriptor>,
}

impl Told {
    fn open(path: &str) -> std::io::Result<Told> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let readable = readable(&inotify)?;
        Ok(Told { inotify, readable, path: path.into(), directory: None, file: None })
    }

    /// Listens to the file and to the deepest directory there is on the way to it.
    fn listen(&mut self) -> std::io::Result<()> {
        let comes_or_goes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        // A directory that came while its parent was looked at is seen in the next round; a path has finitely many.
        loop {
            let below = |d: &Path| self.path.ancestors().take_while(|a| *a != d).last().map(Path::to_owned);
            let Some(deepest) = self.path.ancestors().skip(1).find(|d| d.is_dir()).map(Path::to_owned) else {
                return Err(ErrorKind::NotFound.into());
            };
            let watch = self.inotify.add_watch(&deepest, comes_or_goes)?;
            let next = below(&deepest).unwrap_or_default();
            if let Some((old, _)) = self.directory.replace((watch, next.clone()))
                && old != watch
            {
                // Gone by itself where its directory is.
                let _ = self.inotify.rm_watch(old);
            }
            if next == self.path || !next.is_dir() {
                break;
            }
        }
        // Through a symbolic link or another name of it, the directory tells nothing.
        self.file = self.inotify.add_watch(&self.path, AddWatchFlags::IN_CLOSE_WRITE).ok();
        Ok(())
    }

    /// Returns when the file was written, came or went.
    pub async fn changed(&mut self) {
        loop {
            let Ok(mut guard) = self.readable.readable().await else { return std::future::pending().await };
            let mut events = vec![];
            // To the end: what is left unread is not told of again.
            for _ in 0..READS {
                match self.inotify.read_events() {
                    Ok(more) => events.extend(more),
                    Err(_) => {
                        guard.clear_ready();
                        break;
                    }
                }
            }
            let is_ours = |wd: WatchDescriptor, name: Option<&OsStr>| match &self.directory {
                Some((directory, next)) if *directory == wd => name.is_none_or(|name| next.file_name() == Some(name)),
                _ => self.file == Some(wd),
            };
            // An overflow has no watch of its own.
            let lost = AddWatchFlags::IN_Q_OVERFLOW;
            if events.iter().any(|e| e.mask.contains(lost) || is_ours(e.wd, e.name.as_deref())) {
                return;
            }
        }
    }
}

/// Reads the number; listens first where that has not been done, so that no write is missed.
pub(super) fn look(path: &str, standing: &mut Standing) -> Outcome {
    if !matches!(standing, Standing::File(told) if told.path == Path::new(path)) {
        *standing = Told::open(path).map_or(Standing::Nothing, Standing::File);
    }
    if let Standing::File(told) = standing
        && told.listen().is_err()
    {
        // inotify's limits, as a rule: then it is read at its pace.
        *standing = Standing::Nothing;
    }
    let (number, why) = match read(path) {
        Ok(text) => number(&text),
        Err(e) if e.kind() == ErrorKind::NotFound => (0, "there is no such file".to_owned()),
        Err(e) => (0, format!("it cannot be read: {e}")),
    };
    let deaf = if matches!(standing, Standing::Nothing) { ", without inotify" } else { "" };
    let detail = if why.is_empty() { format!("{number}{deaf}") } else { format!("{number}: {why}{deaf}") };
    Outcome { ok: number > FAULT_WEIGHT, code: "WEIGHT", detail, weight: Some(number) }
}

fn read(path: &str) -> std::io::Result<String> {
    // A fifo without a writer would be waited for.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut bytes = vec![];
    file.take(LENGTH).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number of a text, and what is to be said of it. Anything else than a number counts as 0.
fn number(text: &str) -> (i16, String) {
    let word = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    match word.parse::<i64>() {
        Ok(n) => match i16::try_from(n.clamp(i64::from(FAULT_WEIGHT), -i64::from(FAULT_WEIGHT))) {
            Ok(fits) if i64::from(fits) == n => (fits, String::new()),
            Ok(nearest) => (nearest, format!("{n} is beyond -254 to 254")),
            Err(_) => (0, String::new()),
        },
        Err(_) if word.is_empty() => (0, "it is empty".into()),
        Err(_) => {
            let shown: String = word.chars().filter(|c| !c.is_control()).take(16).collect();
            (0, format!("\"{shown}\" is not a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    async fn becomes(path: &str, standing: &mut Standing, weight: i16) -> Outcome {
        let turned = async {
            loop {
                let outcome = look(path, standing);
                if outcome.weight == Some(weight) {
                    return outcome;
                }
                standing.shaken().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), turned).await.unwrap()
    }

    #[test]
    fn what_is_no_number_counts_as_0_and_what_is_too_large_as_the_limit() {
        assert_eq!(number(" -30\n"), (-30, String::new()));
        assert_eq!(number("+7"), (7, String::new()));
        assert_eq!(number("1000"), (254, "1000 is beyond -254 to 254".into()));
        assert_eq!(number("-99999999999"), (-254, "-99999999999 is beyond -254 to 254".into()));
        assert_eq!(number(""), (0, "it is empty".into()));
        assert_eq!(number("up"), (0, "\"up\" is not a number".into()));
        assert_eq!(number("99999999999999999999").0, 0);
    }

    #[tokio::test]
    async fn a_file_is_heard_of_when_it_is_written_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("not/yet");
        let file = folder.join("weight");
        let path = file.to_str().unwrap();
        let mut standing = Standing::Nothing;
        let outcome = look(path, &mut standing);
        assert_eq!((outcome.ok, outcome.detail.as_str()), (true, "0: there is no such file"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(&file, "-30\n").unwrap();
        becomes(path, &mut standing, -30).await;
        fs::write(&file, "-254").unwrap();
        assert!(!becomes(path, &mut standing, -254).await.ok);
        fs::write(folder.join("new"), "12").unwrap();
        fs::rename(folder.join("new"), &file).unwrap();
        becomes(path, &mut standing, 12).await;
        fs::remove_file(&file).unwrap();
        becomes(path, &mut standing, 0).await;
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "5").unwrap();
        becomes(path, &mut standing, 5).await;
        // What is told of the same write again.
        while tokio::time::timeout(Duration::from_millis(20), standing.shaken()).await.is_ok() {
            look(path, &mut standing);
        }
        fs::write(folder.join("neighbour"), "1").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(20), standing.shaken()).await;
        assert!(quiet.is_err(), "another file is none of ours");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(look(path, &mut standing).detail, "0: it cannot be read: it is no regular file");
    }
}
