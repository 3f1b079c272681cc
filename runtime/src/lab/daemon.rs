//! A peer's `hactl run`: started, asked to end, listened to.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use super::client::Tell;
use super::protocol::{MadeUp, Report};
use super::sandbox::{SCRATCH, own_program, place};
use crate::child::hear_signals;

/// What stands in for a secret that this machine does not have: 8 bytes, as many as VRRPv2 carries.
const SECRET: &str = "lab-only";

/// How long a verb may take: a handover is a second at most where anybody follows.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where programs that daemons need may be that an ordinary user's PATH leaves out.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// One peer's daemon.
pub struct Daemon {
    file: PathBuf,
    name: String,
    environment: Vec<(String, String)>,
    /// 0 while it does not run.
    pid: Arc<AtomicI32>,
    asked: Arc<AtomicBool>,
    tell: Tell,
}

impl Daemon {
    /// Not yet running. Also what of the secrets could not be made up, in words.
    pub fn new(file: PathBuf, name: String, secrets: &MadeUp, tell: Tell) -> (Daemon, Vec<String>) {
        let (mut environment, troubles) = make_up(secrets);
        let path = std::env::var("PATH").unwrap_or_default();
        environment.push(("PATH".into(), format!("{SCRATCH}/bin:{path}:{SYSTEM_PATH}")));
        (Daemon { file, name, environment, pid: Arc::default(), asked: Arc::default(), tell }, troubles)
    }

    /// Starts it.
    ///
    /// # Errors
    /// In words, where it runs already or cannot be started.
    pub fn start(&mut self) -> Result<(), String> {
        if self.pid.load(Ordering::Relaxed) != 0 {
            return Err("its hactl run runs already".into());
        }
        let mut command = Command::new(own_program());
        hear_signals(command.as_std_mut());
        let mut child = command
            .args(["run", "--json", "--node", &self.name, "--file"])
            .arg(&self.file)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("starting hactl run: {e}"))?;
        self.pid.store(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0), Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
        let output =
            child.stdout.take().map(|o| tokio::spawn(lines(o, Arc::clone(&self.tell), |line| Report::Event { line })));
        let errors =
            child.stderr.take().map(|e| tokio::spawn(lines(e, Arc::clone(&self.tell), |line| Report::Log { line })));
        let (pid, asked, tell) = (Arc::clone(&self.pid), Arc::clone(&self.asked), Arc::clone(&self.tell));
        tell(&Report::Started);
        tokio::spawn(async move {
            let how = child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string());
            pid.store(0, Ordering::Relaxed);
            // Its last words come before the news of its end.
            for reading in [output, errors].into_iter().flatten() {
                let _ = reading.await;
            }
            tell(&Report::Ended { how, asked: asked.load(Ordering::Relaxed) });
        });
        Ok(())
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// In words, where it does not run.
    pub fn stop(&mut self) -> Result<(), String> {
        self.asked.store(true, Ordering::Relaxed);
        self.signal(Signal::SIGTERM)
    }

    /// Asks it to read its file again.
    ///
    /// # Errors
    /// In words, where it does not run.
    pub fn reload(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGHUP)
    }

    /// Asks it for something by a verb of hactl's, which is told of when it has ended.
    ///
    /// # Errors
    /// In words, where that cannot be started.
    pub fn ask(&mut self, words: &[String]) -> Result<(), String> {
        let mut command = Command::new(own_program());
        hear_signals(command.as_std_mut());
        let verb = command
            .args(words)
            .arg("--file")
            .arg(&self.file)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let tell = Arc::clone(&self.tell);
        tokio::spawn(async move {
            let (good, said) = match tokio::time::timeout(PATIENCE, verb).await {
                Ok(Ok(output)) => (output.status.success(), [output.stdout, output.stderr].concat()),
                Ok(Err(e)) => (false, e.to_string().into_bytes()),
                Err(_) => (false, format!("it did not end within {PATIENCE:?}").into_bytes()),
            };
            let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            tell(&Report::Answer { lines, good });
        });
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        match self.pid.load(Ordering::Relaxed) {
            0 => Err("its hactl run does not run".into()),
            pid => kill(Pid::from_raw(pid), signal).map_err(|e| e.to_string()),
        }
    }
}

async fn lines(from: impl AsyncRead + Unpin, tell: Tell, wrap: fn(String) -> Report) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tell(&wrap(line));
    }
}

/// Gives every secret that is missing here a value, so that the file runs as it stands in git.
fn make_up(secrets: &MadeUp) -> (Vec<(String, String)>, Vec<String>) {
    let mut troubles = vec![];
    let mut put = |path: &Path| {
        if let Err(e) = place(path, &format!("{SECRET}\n"), 0o600) {
            troubles.push(e.to_string());
        }
    };
    let missing = secrets.env.iter().filter(|name| std::env::var_os(name).is_none());
    let mut environment: Vec<(String, String)> = missing.map(|name| (name.clone(), SECRET.to_owned())).collect();
    secrets.files.iter().for_each(|path| put(path));
    let given = std::env::var("CREDENTIALS_DIRECTORY").map(PathBuf::from).ok();
    if secrets.credentials.iter().any(|name| !given.as_ref().is_some_and(|d| d.join(name).exists())) {
        let directory = format!("{SCRATCH}/credentials");
        secrets.credentials.iter().for_each(|name| put(&Path::new(&directory).join(name)));
        environment.push(("CREDENTIALS_DIRECTORY".into(), directory));
    }
    (environment, troubles)
}
