//! Whether processes run: by name in /proc for births, by pidfd for deaths.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tokio::io::unix::AsyncFd;

use super::{Outcome, pidfd};

/// Length that the kernel cuts `/proc/PID/comm` to.
const COMM: usize = 15;

/// Processes that a good result stands on.
type Standing = Vec<AsyncFd<OwnedFd>>;

/// Whether a process of every name runs, and those that do.
pub(super) async fn present(names: &[String]) -> (Outcome, Standing) {
    let mut found = find(names).await;
    let mut standing = vec![];
    // One that ended since it was read is as absent as one that never was.
    found.retain(|_, pid| pidfd::open(*pid).map(|fd| standing.push(fd)).is_some());
    let absent: Vec<&str> = names.iter().filter(|n| !found.contains_key(*n)).map(String::as_str).collect();
    let outcome = match absent.as_slice() {
        [] => {
            let each: Vec<String> = found.iter().map(|(name, pid)| format!("{name} (pid {pid})")).collect();
            let run = if each.len() == 1 { "runs" } else { "run" };
            Outcome::good("PROCOK", format!("{} {run}", each.join(", ")))
        }
        absent => Outcome::bad("PROCERR", format!("no process {}", absent.join(", "))),
    };
    (outcome, standing)
}

/// Returns when one of the processes ends; never, where there are none.
pub(super) async fn death(standing: &[AsyncFd<OwnedFd>]) {
    if standing.is_empty() {
        return std::future::pending().await;
    }
    let ends = standing.iter().map(|fd| Box::pin(async move { fd.readable().await.map(|_| ()) }));
    // An error of the descriptor is a reason to look again, too.
    let _ = futures_util::future::select_all(ends).await;
}

/// The process that stands for each name: of several the lowest pid, as a rule the parent.
async fn find(names: &[String]) -> BTreeMap<String, i32> {
    let names = names.to_vec();
    // Hundreds of small files: a few milliseconds that nobody else should wait for.
    tokio::task::spawn_blocking(move || scan(&names)).await.unwrap_or_default()
}

fn scan(names: &[String]) -> BTreeMap<String, i32> {
    let mut found = BTreeMap::new();
    let pids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        let Some(process) = Process::read(pid) else { continue };
        for name in names.iter().filter(|n| process.is(n)) {
            found.entry(name.clone()).and_modify(|p: &mut i32| *p = (*p).min(pid)).or_insert(pid);
        }
    }
    found
}

struct Process {
    comm: Vec<u8>,
    executable: Option<Vec<u8>>,
    argv0: Option<Vec<u8>>,
}

impl Process {
    /// `None` for one that is gone or a zombie.
    fn read(pid: i32) -> Option<Self> {
        let directory = format!("/proc/{pid}");
        let stat = fs::read(format!("{directory}/stat")).ok()?;
        // The name stands in parentheses and may hold any byte; the state is the letter after the last of them.
        let open = stat.iter().position(|b| *b == b'(')?;
        let close = stat.iter().rposition(|b| *b == b')')?;
        if matches!(stat.get(close + 2)?, b'Z' | b'X') {
            return None;
        }
        let comm = stat.get(open + 1..close)?.to_vec();
        let executable = fs::read_link(format!("{directory}/exe")).ok().and_then(|p| base(p.as_os_str().as_bytes()));
        let argv0 = fs::read(format!("{directory}/cmdline"))
            .ok()
            .and_then(|line| base(line.split(|b| *b == 0 || *b == b' ').next().unwrap_or_default()));
        Some(Process { comm, executable, argv0 })
    }

    fn is(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let cut = name.get(..COMM).unwrap_or(name);
        // A comm of full length may be a longer name cut off: then only the whole names decide.
        (self.comm == cut && name.len() <= COMM)
            || self.executable.as_deref() == Some(name)
            || self.argv0.as_deref() == Some(name)
    }
}

fn base(path: &[u8]) -> Option<Vec<u8>> {
    Path::new(OsStr::from_bytes(path)).file_name().map(|n| n.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::Duration;

    use super::*;

    /// A sleeping program under a name of its own.
    fn sleeper(directory: &Path, name: &str) -> Child {
        let program = directory.join(name);
        // By another program: had this one the copy open for writing while another test starts something, that child would
        // have it open too, and the copy could not be run for a moment.
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        Command::new(program).arg("60").spawn().unwrap()
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_name_and_missed_when_it_is_a_zombie() {
        let directory = tempfile::tempdir().unwrap();
        let names = vec![format!("hactl-long-name-{}", std::process::id())];
        assert_eq!(present(&names).await.0.code, "PROCERR");
        let mut child = sleeper(directory.path(), &names[0]);
        // The child's name is that of the test until its exec is through.
        let standing = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match present(&names).await {
                    (outcome, standing) if outcome.ok => return standing,
                    _ => tokio::task::yield_now().await,
                }
            }
        });
        let standing = standing.await.unwrap();
        child.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(5), death(&standing)).await.unwrap();
        let (outcome, standing) = present(&names).await;
        assert!(!outcome.ok && outcome.detail.contains(&names[0]) && standing.is_empty(), "{outcome:?}");
        child.wait().unwrap();
    }
}
