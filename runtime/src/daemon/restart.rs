//! Going on as another program: `hactl restart` and SIGUSR2. The process replaces itself (`exec`) with what is on disk
//! under its name, so that an upgrade moves no vip: addresses, rules, connections, and the process number stay.
//!
//! What the kernel does not keep is written to `handover.json` in the state directory, and read and removed by the next
//! program. It is of use to that process alone, for some seconds, and holds no secret.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::units::Moment;
use model::vrrp::Saved;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::signals::hold_all;
use super::start::EVENTS;
use super::turn::{ANSWER, Daemon, LAST_WORDS, ended};
use crate::check::{Ended, Program, Subject, run};
use crate::control::Health;
use crate::driver::{self, Command, DriverError, DriverEvent, Heritage};
use crate::lines::{FINISH, LOG};
use crate::{clock, statedir};

/// Of the format of the file.
const VERSION: u32 = 1;

/// The largest file that is read: 255 vips with a thousand backends.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How old it may be: starting a program takes milliseconds, on a machine that swaps some seconds.
const FRESH: Duration = Duration::from_secs(30);

/// How long the program on disk may take to check the file.
const VALIDATE: Duration = Duration::from_secs(20);

/// How long a handover that is under way is waited for.
const HANDOVER: Duration = Duration::from_secs(10);

/// How soon that is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// How often programs that the last one started are asked whether they have ended, and how many times.
const REAP: (Duration, usize) = (Duration::from_secs(1), 60);

/// What one program leaves to the next.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Handover {
    version: u32,
    pid: u32,
    boot: String,
    netns: String,
    at: Moment,
    /// Since when the service runs.
    pub started: Moment,
    /// What the VRRP thread was at.
    pub router: Saved,
    /// The last words on checks and backends.
    pub healths: Vec<(Subject, Health)>,
    /// How often something was put right, by kind.
    pub restored: BTreeMap<String, u64>,
}

impl Handover {
    /// What this process left itself, where it did. The file is gone then, whatever it holds.
    pub fn take(state: &Path) -> Option<Handover> {
        let path = path(state);
        let read = statedir::read(&path, LIMIT);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            _ => {}
        }
        let handover = read.and_then(|bytes| serde_json::from_slice::<Handover>(&bytes).map_err(Into::into));
        match handover.map_err(|e| format!("it is damaged: {e}")).and_then(Handover::judged) {
            Ok(handover) => Some(handover),
            Err(why) => {
                tracing::warn!("{} is not gone on from, and everything begins anew: {why}", path.display());
                None
            }
        }
    }

    fn judged(self) -> Result<Handover, String> {
        let age = clock::now().since(self.at);
        match () {
            () if self.version != VERSION => Err(format!("its format is {}, not {VERSION}", self.version)),
            () if self.boot != clock::boot() => Err("it is of an earlier boot".into()),
            () if self.pid != std::process::id() => Err(format!("process {} left it", self.pid)),
            () if self.netns != netns() => Err("it is of another network namespace".into()),
            () if age > FRESH || self.at > clock::now() => Err(format!("it is {} s old", age.as_secs())),
            () => Ok(self),
        }
    }

    /// Where this process cannot go on after all: its addresses must not answer beside the next master's.
    pub fn abandon(&self) {
        tracing::error!("not going on: releasing what was held");
        if let Err(e) = driver::abandon(&self.router) {
            tracing::error!("{e}");
        }
    }

    fn write(&self, state: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let path = path(state);
        let written = statedir::create(&path).and_then(|mut file| file.write_all(&text));
        written.inspect_err(|_| drop(std::fs::remove_file(&path)))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("handover.json")
}

/// `net:[4026531840]`.
fn netns() -> String {
    std::fs::read_link("/proc/self/ns/net").map(|link| link.display().to_string()).unwrap_or_default()
}

/// Why it does not go on as another program, and what to do about it.
pub(super) type Refused = (String, Vec<String>);

impl Daemon {
    /// Whether the program on disk can go on: asks it to check the file, and waits for what is being handed over.
    ///
    /// # Errors
    /// Why not: nothing was changed.
    pub async fn may_restart(&mut self) -> Result<(), Refused> {
        let refused = |what: &str, help: &str| Err((what.to_owned(), vec![help.to_owned()]));
        if self.stopping.is_some() {
            return refused("it was asked to end and is handing over", "let it end, and start it again");
        }
        if self.setup.path.as_os_str() == "-" {
            return refused("the file came from standard input and cannot be read again", "start it with -f FILE");
        }
        let Some(program) = self.program.to_str().filter(|_| self.program.is_absolute()) else {
            return refused("which program this is cannot be told", "systemctl restart hactl");
        };
        let file = self.setup.path.display().to_string();
        let argv = [program, "--file", &file, "validate"].map(str::to_owned).to_vec();
        let words = match run(&Program { argv, ..Program::default() }, VALIDATE).await {
            Ended::Exited(status, _) if status.success() => return self.nothing_moves().await,
            Ended::Exited(status, said) => format!("{status}: {said}"),
            Ended::Killed => format!("it did not end within {} s", VALIDATE.as_secs()),
            Ended::NotStarted(why) => why,
        };
        let what = format!("{program} cannot go on with {file}, so the program that runs does: {words}");
        refused(&what, "hactl validate shows what is wrong with the file")
    }

    /// Waits until no vip is being handed over.
    async fn nothing_moves(&self) -> Result<(), Refused> {
        let quiet = async {
            loop {
                match self.thread().await {
                    Some(thread) if thread.vips.iter().all(|v| !v.lingering) => return,
                    _ => sleep(AGAIN).await,
                }
            }
        };
        let late = || ("a vip is being handed over".to_owned(), vec!["try again in some seconds".to_owned()]);
        timeout(HANDOVER, quiet).await.map_err(|_| late())
    }

    /// Becomes the program on disk. Returns only where that did not work: then this one goes on as before.
    ///
    /// # Errors
    /// Where this one cannot go on either.
    pub async fn become_next(&mut self, events: &mut mpsc::Receiver<DriverEvent>) -> Result<(), DriverError> {
        tracing::info!("going on as {}", self.program.display());
        if self.work.is_some() {
            let outcome = ended(&mut self.work).await;
            self.tried(outcome);
        }
        self.notifier.drain(LAST_WORDS).await;
        self.watches.set(vec![]);
        let Some(saved) = self.suspend().await else {
            self.begin();
            self.trouble("the VRRP thread cannot be handed to another program now: it goes on in this one");
            return Ok(());
        };
        while let Ok(event) = events.try_recv() {
            self.event(Some(event));
        }
        let why = self.exec(&saved);
        // Still here.
        let (sender, receiver) = mpsc::channel(EVENTS);
        *events = receiver;
        let heritage = Heritage { drained: self.drains.names(), saved: Some(saved) };
        self.driver = driver::start(self.setup.driver.clone(), heritage, sender)?;
        self.begin();
        let program = self.program.display().to_string();
        self.trouble(&format!("{program} could not be started, so the program that runs goes on: {why}"));
        Ok(())
    }

    async fn suspend(&self) -> Option<Saved> {
        let (sender, saved) = oneshot::channel();
        self.driver.send(Command::Suspend(sender)).ok()?;
        timeout(ANSWER, saved).await.ok()?.ok()?
    }

    /// Why it is still this program.
    fn exec(&self, saved: &Saved) -> String {
        let handover = Handover {
            version: VERSION,
            pid: std::process::id(),
            boot: clock::boot(),
            netns: netns(),
            at: saved.at,
            started: self.state.started,
            router: saved.clone(),
            healths: self.state.healths.iter().map(|(s, h)| (s.clone(), h.clone())).collect(),
            restored: self.state.restored.clone(),
        };
        if let Err(e) = handover.write(&self.directory) {
            return format!("what it needs to go on cannot be written to {}: {e}", path(&self.directory).display());
        }
        self.out.finish();
        LOG.flush(FINISH);
        let text = |bytes: Vec<u8>| CString::new(bytes).ok();
        let arguments: Option<Vec<CString>> = std::env::args_os().map(|a| text(a.into_vec())).collect();
        let program = text(self.program.as_os_str().as_bytes().to_vec());
        let (Some(arguments), Some(program)) = (arguments, program) else { return "its name is none".into() };
        // What comes from here on is for the next program to hear.
        let held = hold_all();
        let Err(e) = nix::unistd::execv(&program, &arguments);
        drop(held);
        let _ = std::fs::remove_file(path(&self.directory));
        e.desc().to_owned()
    }

    /// Tells that this program goes on where another one was.
    pub fn goes_on(&mut self, saved: &Saved) {
        self.mastered = saved.routers.iter().filter(|r| r.is_master()).map(|r| r.vip.clone()).collect();
        self.resumed = Some(clock::now());
        let n = self.mastered.len();
        tracing::info!(
            "hactl {} goes on, master of {n} vip{}",
            env!("CARGO_PKG_VERSION"),
            if n == 1 { "" } else { "s" }
        );
        tokio::spawn(reap(children()));
    }
}

/// Programs that this process started when it was another one: nobody else asks how they ended.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| Some(Pid::from_raw(pid.parse().ok()?))).collect()
}

async fn reap(mut children: Vec<Pid>) {
    let (every, times) = REAP;
    for _ in 0..times {
        children.retain(|pid| matches!(waitpid(*pid, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)));
        if children.is_empty() {
            return;
        }
        sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use model::vrrp::Router;

    use super::*;

    fn handover() -> Handover {
        let at = clock::now();
        Handover {
            version: VERSION,
            pid: std::process::id(),
            boot: clock::boot(),
            netns: netns(),
            at,
            started: at,
            router: Router::new(vec![]).save(at),
            healths: vec![],
            restored: BTreeMap::new(),
        }
    }

    #[test]
    fn what_this_process_left_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Handover::take(dir.path()).is_none());
        handover().write(dir.path()).unwrap();
        assert!(Handover::take(dir.path()).is_some());
        assert!(Handover::take(dir.path()).is_none() && !path(dir.path()).exists());
    }

    #[test]
    fn what_is_stale_foreign_or_damaged_is_not_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = Moment(clock::now().0.saturating_sub(31_000_000_000));
        for wrong in [
            Handover { version: 2, ..handover() },
            Handover { pid: 1, ..handover() },
            Handover { boot: "another".into(), ..handover() },
            Handover { netns: "net:[1]".into(), ..handover() },
            Handover { at: long_ago, ..handover() },
            Handover { at: clock::now() + FRESH, ..handover() },
        ] {
            wrong.write(dir.path()).unwrap();
            assert!(Handover::take(dir.path()).is_none(), "{wrong:?}");
            assert!(!path(dir.path()).exists());
        }
        for damaged in ["", "{", "{\"version\":1}", "\u{0}\u{1}"] {
            std::fs::write(path(dir.path()), damaged).unwrap();
            assert!(Handover::take(dir.path()).is_none());
        }
    }
}
