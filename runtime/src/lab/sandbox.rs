//! Rooms that vanish: a process leaves this machine's namespaces for its own, and when it ends, however it ends, the
//! kernel ends everything that was in them. So there is no cleaning up, and none can be forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Uid, getgid, getuid, sethostname};

/// Where the laboratory keeps what it makes up: stand-ins, secrets. In a tmpfs of each machine's own.
pub const SCRATCH: &str = "/run/hactl-lab";

/// Why no room could be made, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct SandboxError {
    /// What was tried.
    pub what: String,
    /// The kernel's words.
    pub why: String,
    /// Remedies, each a line.
    pub help: Vec<String>,
}

fn failed(what: impl Into<String>, why: impl ToString) -> SandboxError {
    SandboxError { what: what.into(), why: why.to_string(), help: vec![] }
}

/// Leaves this machine: the calling process, which must have one thread, has its own mounts, network and host name,
/// and its next child is the first process of a new process namespace. As an ordinary user it becomes root of a new
/// user namespace first.
///
/// # Errors
/// Where this machine forbids it; the remedy names the setting.
pub fn leave() -> Result<(), SandboxError> {
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUTS;
    let (uid, gid) = (getuid(), getgid());
    // Root of a container may lack the right and have user namespaces all the same.
    if !(Uid::effective().is_root() && unshare(own).is_ok()) {
        unshare(own | CloneFlags::CLONE_NEWUSER).map_err(forbidden)?;
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(forbidden)
}

/// Settles in, as the first process of a namespace that [`leave`] made: /proc, /run and the host name are its own,
/// and it ends when its parent does.
///
/// # Errors
/// Where a mount is refused, as in a container that hides parts of /proc.
pub fn settle(name: &str) -> Result<(), SandboxError> {
    die_with_parent()?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).map_err(|e| SandboxError {
        help: vec![
            "inside a container, start it with an unmasked /proc (docker run --security-opt systempaths=unconfined)"
                .into(),
        ],
        ..failed("mounting /proc in the laboratory", e)
    })?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(|e| failed("mounting /run in the laboratory", e))?;
    sethostname(name).map_err(|e| failed("setting the host name", e))?;
    fs::create_dir_all(Path::new(SCRATCH).join("bin")).map_err(|e| failed(SCRATCH, e))
}

/// The kernel kills this process as soon as its parent is gone, whatever ended that.
///
/// # Errors
/// The kernel's.
pub fn die_with_parent() -> Result<(), SandboxError> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| failed("tying this process to its parent", e))
}

/// Signals that ask a process to end, blocked in this thread and those that it will start, to be waited for with
/// [`SigSet::wait`]. A child process inherits this: see [`hear_signals`].
///
/// # Errors
/// The kernel's.
pub fn hold_signals() -> Result<SigSet, SandboxError> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(|e| failed("holding signals", e))?;
    Ok(signals)
}

/// Blocks no signal in this thread and what it starts, whatever the parent held.
///
/// # Errors
/// The kernel's.
pub fn hear_signals() -> Result<(), SandboxError> {
    SigSet::empty().thread_set_mask().map_err(|e| failed("hearing signals", e))
}

/// This program's own file, to be started again in another role.
pub fn own_program() -> PathBuf {
    // A binary replaced by a newer build is still this one under /proc.
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// Puts a file where there is none, in this machine's view alone: the directory is overlaid, the real one untouched.
/// A file that exists is left as it is.
///
/// # Errors
/// Where the directory cannot be overlaid.
pub fn place(path: &Path, text: &str, mode: u32) -> Result<(), SandboxError> {
    let what = path.display().to_string();
    if path.exists() {
        return Ok(());
    }
    let parent = path.parent().ok_or_else(|| failed(&*what, "has no directory"))?;
    if !path.starts_with("/run") {
        overlay(parent.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")))?;
    }
    fs::create_dir_all(parent).and_then(|()| fs::write(path, text)).map_err(|e| failed(&*what, e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| failed(&*what, e))
}

/// Lays a tmpfs over a directory, what was in it still to be seen: writing to it changes nothing outside.
fn overlay(directory: &Path) -> Result<(), SandboxError> {
    const SOURCE: &str = "hactl-lab";
    let what = format!("laying a file system over {}", directory.display());
    let name = directory.to_string_lossy().replace('/', "-");
    if name.len() < 2 || name.contains([',', ':']) {
        return Err(failed(what, "not this directory"));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|e| failed("/proc/self/mounts", e))?;
    let ours = format!("{SOURCE} {} overlay ", directory.display());
    if mounts.lines().any(|line| line.starts_with(&ours)) {
        return Ok(());
    }
    let [upper, work] = ["upper", "work"].map(|kind| Path::new(SCRATCH).join(format!("{kind}{name}")));
    for made in [&upper, &work] {
        fs::create_dir_all(made).map_err(|e| failed(&*what, e))?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={},userxattr", directory.display(), upper.display(), work.display());
    mount(Some(SOURCE), directory, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|e| failed(what, e))
}

/// Lets `path` show what is in `instead`, both files, in this machine's view alone.
///
/// # Errors
/// The kernel's.
pub fn cover(path: &Path, instead: &Path) -> Result<(), SandboxError> {
    mount(Some(instead), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| failed(format!("covering {}", path.display()), e))
}

/// Takes back what [`cover`] did.
///
/// # Errors
/// The kernel's.
pub fn uncover(path: &Path) -> Result<(), SandboxError> {
    umount2(path, MntFlags::MNT_DETACH).map_err(|e| failed(format!("uncovering {}", path.display()), e))
}

/// Where only one user is known (an ordinary user's laboratory), every name of /etc/passwd is that user: checks
/// that run as another one still run.
///
/// # Errors
/// Where /etc/passwd cannot be read or covered.
pub fn unite_users() -> Result<(), SandboxError> {
    let map = fs::read_to_string("/proc/self/uid_map").map_err(|e| failed("/proc/self/uid_map", e))?;
    let known: u64 = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    if known > 1 {
        return Ok(());
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|e| failed("/etc/passwd", e))?;
    let united: String = users.lines().filter_map(united).collect();
    let path = Path::new(SCRATCH).join("passwd");
    fs::write(&path, united).map_err(|e| failed("/etc/passwd", e))?;
    cover(Path::new("/etc/passwd"), &path)
}

/// One line of /etc/passwd with user and group 0.
fn united(line: &str) -> Option<String> {
    let mut fields: Vec<&str> = line.split(':').collect();
    for id in [2, 3] {
        *fields.get_mut(id)? = "0";
    }
    Some(fields.join(":") + "\n")
}

fn write(path: &str, text: &str) -> Result<(), SandboxError> {
    fs::write(path, text).map_err(|e| SandboxError { help: remedies(), ..failed(format!("writing {path}"), e) })
}

fn forbidden(why: nix::Error) -> SandboxError {
    SandboxError { help: remedies(), ..failed("making namespaces for the laboratory", why.desc()) }
}

/// What stands in the way on this machine, as far as it can be read; else all that is known to.
fn remedies() -> Vec<String> {
    let known = [
        ("kernel.unprivileged_userns_clone", "1", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0", "1"),
        ("user.max_user_namespaces", "10000", "0"),
    ];
    let is = |key: &str| fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).unwrap_or_default();
    let mut help: Vec<String> = known
        .iter()
        .filter(|(key, _, forbids)| is(key).trim() == *forbids)
        .map(|(key, allows, forbids)| {
            format!("{key} is {forbids} here: sudo sysctl {key}={allows} lets ordinary users make namespaces")
        })
        .collect();
    help.push("or run the laboratory as root: sudo hactl lab FILE".into());
    help.push("inside a container, start it with --privileged, or outside of it".into());
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_becomes_the_only_one() {
        let line = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin";
        assert_eq!(united(line).unwrap(), "nobody:x:0:0:nobody:/nonexistent:/usr/sbin/nologin\n");
        assert_eq!(united("+"), None);
    }

    #[test]
    fn a_refusal_tells_what_to_do() {
        let error = forbidden(nix::Error::EPERM);
        assert_eq!(error.to_string(), "making namespaces for the laboratory: Operation not permitted");
        assert!(error.help.iter().any(|line| line.contains("sudo hactl lab FILE")));
    }
}
