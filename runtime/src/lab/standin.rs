//! Stand-ins for what checks look at: processes by their names, programs that end as they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use model::config::{Check, CheckKind};

use super::props;
use super::sandbox::{SCRATCH, cover, own_program, place, uncover};
use super::topology::target_of;
use crate::child::hear_signals;

/// All of one machine.
pub struct StandIns {
    checks: Vec<Check>,
    processes: BTreeMap<String, Child>,
    failing: BTreeSet<String>,
}

/// How a command check is made to fail.
enum Lever {
    /// The stand-in looks for this file.
    Flag(PathBuf),
    /// The real program is covered.
    Cover(PathBuf),
}

impl StandIns {
    /// Stands in for every check, all healthy. Also what could not be stood in for, in words.
    pub fn new(checks: Vec<Check>) -> (StandIns, Vec<String>) {
        let mut all = StandIns { checks, processes: BTreeMap::new(), failing: BTreeSet::new() };
        let mut troubles = vec![];
        for check in all.checks.clone() {
            let made = match &check.kind {
                CheckKind::Process { .. } => all.set(&check.name, true).map(|_| ()),
                CheckKind::Command { argv, .. } => all.stand_in(&check.name, argv),
                CheckKind::Interface { name } => props::interface(name.as_str()),
                CheckKind::Systemd { unit } => props::unit(unit, true),
                CheckKind::File { path } => props::file(Path::new(path)),
                CheckKind::Tcp { .. } | CheckKind::Tls { .. } | CheckKind::Http { .. } | CheckKind::Ping { .. } => {
                    Ok(())
                }
            };
            troubles.extend(made.err().map(|e| format!("check \"{}\": {e}", check.name)));
        }
        (all, troubles)
    }

    /// Makes a check succeed or fail. The answer is a server to be opened or closed.
    ///
    /// # Errors
    /// In words.
    pub fn set(&mut self, name: &str, healthy: bool) -> Result<Option<SocketAddr>, String> {
        let check =
            self.checks.iter().find(|c| c.name == name).ok_or_else(|| format!("there is no check \"{name}\""))?;
        let check = check.clone();
        match &check.kind {
            CheckKind::Process { names } => {
                names.iter().try_for_each(|process| self.process(process, healthy))?;
            }
            CheckKind::Command { argv, .. } => self.command(name, argv, healthy)?,
            CheckKind::Interface { name } => props::plug(name.as_str(), healthy)?,
            CheckKind::Systemd { unit } => props::unit(unit, healthy)?,
            CheckKind::File { path } => props::weigh(Path::new(path), healthy)?,
            CheckKind::Ping { target } if self.mark(name, healthy) => props::answers(*target, healthy)?,
            CheckKind::Ping { .. } => {}
            CheckKind::Tcp { .. } | CheckKind::Tls { .. } | CheckKind::Http { .. } => {
                return Ok(target_of(&check));
            }
        }
        Ok(None)
    }

    /// Remembers how a check is; whether that is new.
    fn mark(&mut self, check: &str, healthy: bool) -> bool {
        if healthy { self.failing.remove(check) } else { self.failing.insert(check.to_owned()) }
    }

    fn process(&mut self, name: &str, runs: bool) -> Result<(), String> {
        if !runs {
            let Some(mut child) = self.processes.remove(name) else { return Ok(()) };
            return child.kill().and_then(|()| child.wait()).map(|_| ()).map_err(|e| format!("{name}: {e}"));
        }
        if self.processes.contains_key(name) {
            return Ok(());
        }
        let child = impersonate(name).map_err(|e| format!("standing in for process {name}: {e}"))?;
        self.processes.insert(name.to_owned(), child);
        Ok(())
    }

    fn stand_in(&self, check: &str, argv: &[String]) -> Result<(), String> {
        let Lever::Flag(flag) = lever(check, argv)? else { return Ok(()) };
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let path = if program.contains('/') { program.into() } else { Path::new(SCRATCH).join("bin").join(program) };
        let script =
            format!("#!/bin/sh\n# A stand-in: this machine has no such program.\n[ ! -e '{}' ]\n", flag.display());
        place(&path, &script, 0o755).map_err(|e| e.to_string())?;
        // What tells a stand-in from the real program later.
        fs::write(flag.with_extension("is-stand-in"), "").map_err(|e| e.to_string())
    }

    fn command(&mut self, check: &str, argv: &[String], healthy: bool) -> Result<(), String> {
        let changed = self.mark(check, healthy);
        let told = |e: std::io::Error| e.to_string();
        match (lever(check, argv)?, healthy) {
            _ if !changed => Ok(()),
            (Lever::Flag(flag), true) => fs::remove_file(flag).map_err(told),
            (Lever::Flag(flag), false) => fs::write(flag, "").map_err(told),
            (Lever::Cover(path), true) => uncover(&path).map_err(|e| e.to_string()),
            (Lever::Cover(path), false) => {
                let fails = Path::new(SCRATCH).join("fails");
                place(&fails, "#!/bin/sh\nexit 1\n", 0o755).map_err(|e| e.to_string())?;
                cover(&path, &fails).map_err(|e| e.to_string())
            }
        }
    }
}

fn lever(check: &str, argv: &[String]) -> Result<Lever, String> {
    let program = argv.first().ok_or("has no program")?;
    let name: String = check.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let flag = Path::new(SCRATCH).join(format!("failing-{name}"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = match program.contains('/') {
        true => vec![program.into()],
        false => std::env::split_paths(&path).map(|directory| directory.join(program)).collect(),
    };
    match candidates.into_iter().find(|path| path.is_file()) {
        Some(real) if !flag.with_extension("is-stand-in").exists() => Ok(Lever::Cover(real)),
        _ => Ok(Lever::Flag(flag)),
    }
}

/// Starts this program under another name, to do nothing: the kernel names a process after the file it was started by.
fn impersonate(name: &str) -> std::io::Result<Child> {
    let directory = Path::new(SCRATCH).join("as");
    fs::create_dir_all(&directory)?;
    let path = directory.join(Path::new(name).file_name().unwrap_or_default());
    if !path.exists() {
        symlink(own_program(), &path)?;
    }
    let mut command = Command::new(path);
    hear_signals(&mut command).args(["lab-inside", "stand-in", name]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// Is such a process: does nothing, for as long as the machine lives.
pub fn stand_in() {
    loop {
        nix::unistd::pause();
    }
}
