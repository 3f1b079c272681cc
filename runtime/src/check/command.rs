//! Programs of the user's: run as somebody else, in a process group of their own, and never longer than allowed.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, geteuid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Outcome;
use crate::child::hear_signals;

/// Bytes of a program's output that are kept; what it writes beyond is read and thrown away.
const MAX_OUTPUT: usize = 4096;

/// Bytes of its last line that are shown.
const MAX_DETAIL: usize = 200;

/// How long after a program's end its pipe is still read: its group is dead, so the end is there at once.
const DRAIN: Duration = Duration::from_millis(100);

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The program and its arguments; no shell is between.
    pub argv: Vec<String>,
    /// As this user, with its group and no others; `None` as ourselves.
    pub user: Option<String>,
    /// Its whole environment beside PATH: ours may hold secrets.
    pub environment: BTreeMap<String, String>,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, with the last line that it wrote.
    Exited(ExitStatus, String),
    /// It was killed with all its children because its time was up.
    Killed,
    /// It could not be started.
    NotStarted(String),
}

/// A check: status 0 is health.
pub(super) async fn check(argv: &[String], user: Option<&str>, timeout: Duration) -> Outcome {
    let program = Program { argv: argv.to_vec(), user: user.map(str::to_owned), environment: BTreeMap::new() };
    match run(&program, timeout).await {
        Ended::Exited(status, line) if status.success() => Outcome::good("PROCOK", line),
        Ended::Exited(status, line) => {
            let line = if line.is_empty() { line } else { format!(": {line}") };
            Outcome::bad("PROCERR", format!("{status}{line}"))
        }
        Ended::Killed => Outcome::bad("PROCTOUT", "it did not end in time and was killed"),
        Ended::NotStarted(why) => Outcome::bad("PROCERR", why),
    }
}

/// Kills the whole group when dropped, so that nothing survives a timeout, an abort or its own parent.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // ESRCH: it has ended, all of it.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs a program to its end or for `limit`; then its whole process group is killed.
pub async fn run(program: &Program, limit: Duration) -> Ended {
    let mut command = match prepare(program) {
        Ok(command) => command,
        Err(why) => return Ended::NotStarted(why),
    };
    let name = program.argv.first().map_or("", String::as_str);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Ended::NotStarted(format!("cannot start {name}: {e}")),
    };
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reader = tokio::spawn(async move { tokio::join!(keep(out), keep(err)) });
    let status = tokio::time::timeout(limit, child.wait()).await;
    drop(group);
    let abort = reader.abort_handle();
    let output = tokio::time::timeout(DRAIN, reader).await;
    abort.abort();
    match status {
        Ok(Ok(status)) => {
            let (out, err) = output.ok().and_then(Result::ok).unwrap_or_default();
            let line = last_line(&out);
            Ended::Exited(status, if line.is_empty() { last_line(&err) } else { line })
        }
        Ok(Err(e)) => Ended::NotStarted(format!("cannot wait for {name}: {e}")),
        Err(_) => {
            // Reaped here, so that no zombie stays; it is dead already.
            let _ = tokio::time::timeout(DRAIN, child.wait()).await;
            Ended::Killed
        }
    }
}

fn prepare(program: &Program) -> Result<Command, String> {
    let (name, arguments) = program.argv.split_first().ok_or("no program is named")?;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
        .envs(&program.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true);
    hear_signals(command.as_std_mut());
    if let Some(name) = &program.user {
        let user = User::from_name(name)
            .map_err(|e| format!("cannot look up user {name}: {e}"))?
            .ok_or_else(|| format!("there is no user {name} on this machine"))?;
        // Becoming oneself needs no rights; asking for it would fail where there are none to give.
        if user.uid != geteuid() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }
    Ok(command)
}

/// The first [`MAX_OUTPUT`] bytes; the rest is read so that the writer does not block.
async fn keep(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut pipe) = pipe else { return vec![] };
    let mut kept = vec![];
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        let room = MAX_OUTPUT.saturating_sub(kept.len()).min(n);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    kept
}

/// The last line that says something, without control characters.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("").trim();
    line.chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn the_status_decides_and_the_last_line_is_told() {
        assert_eq!(check(&sh("exit 0"), None, PATIENCE).await, Outcome::good("PROCOK", ""));
        let outcome = check(&sh("echo first; echo disk is full >&2; exit 3"), None, PATIENCE).await;
        assert!(!outcome.ok && outcome.detail.starts_with("exit status: 3"), "{outcome:?}");
        assert!(!check(&["/no/such/program".into()], None, PATIENCE).await.ok);
    }

    #[tokio::test]
    async fn a_hanging_program_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("child");
        let script = format!("sleep 60 & echo $! > {0}; wait", fifo.display());
        let outcome = check(&sh(&script), None, Duration::from_millis(300)).await;
        assert_eq!(outcome.code, "PROCTOUT");
        let child: i32 = std::fs::read_to_string(&fifo).unwrap().trim().parse().unwrap();
        // Killed is soon a zombie at most; whether it is reaped is init's affair.
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child {child} lives on");
    }

    #[tokio::test]
    async fn endless_output_is_thrown_away() {
        let outcome = check(&sh("head -c 10000000 /dev/zero | tr '\\0' x; echo; exit 1"), None, PATIENCE).await;
        assert!(outcome.detail.len() < MAX_DETAIL + 50, "{outcome:?}");
    }

    #[tokio::test]
    async fn our_environment_is_not_handed_on() {
        let outcome =
            check(&sh("env | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD="), None, PATIENCE).await;
        assert!(!outcome.ok, "{outcome:?}");
    }

    #[tokio::test]
    async fn many_tries_leave_no_descriptor_and_no_child() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let tries = async |n: usize| {
            for _ in 0..n {
                assert!(check(&sh("exit 0"), None, PATIENCE).await.ok);
                assert_eq!(check(&sh("sleep 60 & sleep 60"), None, Duration::from_millis(1)).await.code, "PROCTOUT");
                assert!(!check(&["/no/such/program".into()], None, PATIENCE).await.ok);
            }
        };
        // What is opened once is no leak.
        tries(3).await;
        let before = open();
        tries(50).await;
        // Other tests of this process have some open, too, for a while.
        let deadline = std::time::Instant::now() + PATIENCE;
        while open() > before + 20 {
            assert!(std::time::Instant::now() < deadline, "{} descriptors, {before} before", open());
            tokio::task::yield_now().await;
        }
        let zombies = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        assert!(zombies.split_whitespace().count() < 10, "{zombies}");
    }

    #[tokio::test]
    async fn an_unknown_user_is_named() {
        let outcome = check(&sh("exit 0"), Some("nobody-at-all"), PATIENCE).await;
        assert_eq!(outcome.detail, "there is no user nobody-at-all on this machine");
    }
}
