//! Whether processes run: what runs is found by its name in /proc; its death is told by a pidfd, the birth of one that is
//! missed by the kernel's process events. Where these are not to be had, /proc is read at the check's pace until all run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::births::Births;
use super::{Outcome, pidfd};

/// Length that the kernel cuts `/proc/PID/comm` to.
const COMM: usize = 15;

/// How often /proc is read while all run: for one that became another program under its number, of which nothing tells.
const SELDOM: Duration = Duration::from_secs(30);

/// What a result stands on.
pub(super) struct Processes {
    alive: Vec<AsyncFd<OwnedFd>>,
    absent: Vec<String>,
    /// Only while one is absent: nobody needs to hear of every program that starts.
    births: Option<Births>,
}

impl Processes {
    /// Returns when there is reason to look again.
    pub async fn changed(&self) {
        tokio::select! {
            () = death(&self.alive) => {}
            () = birth(self.births.as_ref(), &self.absent) => {}
            () = tokio::time::sleep(SELDOM), if self.absent.is_empty() => {}
        }
    }

    /// Whether nothing needs to be looked at until then.
    pub fn tells_everything(&self) -> bool {
        self.absent.is_empty() || self.births.is_some()
    }
}

/// Whether a process of every name runs, and what that stands on.
pub(super) async fn present(names: &[String], before: Option<Processes>) -> (Outcome, Processes) {
    let mut processes = scan_for(names).await;
    if !processes.1.absent.is_empty() {
        // Listened to first and looked at then, so that none comes unnoticed between the two.
        if let Some(births) = before.and_then(|p| p.births).or_else(Births::open) {
            processes = scan_for(names).await;
            let needed = !processes.1.absent.is_empty();
            processes.1.births = needed.then_some(births);
        } else {
            processes.0.detail.push_str(", looked for at its pace: no process events here");
        }
    }
    processes
}

async fn scan_for(names: &[String]) -> (Outcome, Processes) {
    let mut found = find(names).await;
    let mut alive = vec![];
    // One that ended since it was read is as absent as one that never was.
    found.retain(|_, pid| pidfd::open(*pid).map(|fd| alive.push(fd)).is_some());
    let absent: Vec<&str> = names.iter().filter(|n| !found.contains_key(*n)).map(String::as_str).collect();
    let outcome = match absent.as_slice() {
        [] => {
            let each: Vec<String> = found.iter().map(|(name, pid)| format!("{name} (pid {pid})")).collect();
            let run = if each.len() == 1 { "runs" } else { "run" };
            Outcome::good("PROCOK", format!("{} {run}", each.join(", ")))
        }
        absent => Outcome::bad("PROCERR", format!("no process {}", absent.join(", "))),
    };
    let absent = absent.into_iter().map(str::to_owned).collect();
    (outcome, Processes { alive, absent, births: None })
}

/// Returns when a process of one of these names may have come; never, where nothing tells of it.
async fn birth(births: Option<&Births>, names: &[String]) {
    let Some(births) = births else { return std::future::pending().await };
    births.next(|pid| Process::read(pid).is_some_and(|p| names.iter().any(|name| p.is(name)))).await;
}

/// Returns when one of the processes ends; never, where there are none.
async fn death(standing: &[AsyncFd<OwnedFd>]) {
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

    use super::*;

    /// A sleeping program under a name of its own.
    fn sleeper(directory: &Path, name: &str) -> Child {
        let program = directory.join(name);
        // By another program: had this one the copy open for writing while another test starts something, that child would
        // have it open too, and the copy could not be run for a moment.
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        Command::new(program).arg("60").spawn().unwrap()
    }

    async fn ends(processes: &Processes) {
        tokio::time::timeout(Duration::from_secs(10), processes.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_is_heard_of_when_it_comes_and_goes_and_is_missed_when_it_is_a_zombie() {
        let directory = tempfile::tempdir().unwrap();
        let names = vec![format!("hactl-long-name-{}", std::process::id())];
        let (outcome, mut processes) = present(&names, None).await;
        assert_eq!(outcome.code, "PROCERR");
        // Without process events the pace finds it.
        let told = processes.tells_everything();
        assert_ne!(told, outcome.detail.contains("no process events here"), "{outcome:?}");
        let mut child = sleeper(directory.path(), &names[0]);
        let here = async {
            loop {
                if told {
                    processes.changed().await;
                }
                let (outcome, now) = present(&names, Some(processes)).await;
                processes = now;
                if outcome.ok {
                    return processes;
                }
            }
        };
        let processes = tokio::time::timeout(Duration::from_secs(10), here).await.unwrap();
        assert!(processes.tells_everything() && processes.births.is_none());
        child.kill().unwrap();
        ends(&processes).await;
        let (outcome, processes) = present(&names, Some(processes)).await;
        assert!(!outcome.ok && outcome.detail.contains(&names[0]) && processes.alive.is_empty(), "{outcome:?}");
        child.wait().unwrap();
    }
}
