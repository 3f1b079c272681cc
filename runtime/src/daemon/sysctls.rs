//! Hearing at once when somebody writes a sysctl: inotify on /proc/sys.
//!
//! A file of /proc/sys has an inode only while somebody uses it; each is therefore kept open, so that every later
//! writer of this namespace meets the watched one. What inotify cannot see (a second mount of proc, the kernel's own
//! changes) the slow look every minute finds.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// The watch over a set of sysctls.
#[derive(Debug)]
pub(super) struct Sysctls {
    inotify: Option<Inotify>,
    readable: Option<AsyncFd<OwnedFd>>,
    open: BTreeMap<String, File>,
}

impl Sysctls {
    /// Over none yet. Where inotify is not to be had, nothing is ever heard, and the log says so.
    pub fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let readable = inotify.as_ref().ok().and_then(|i| {
            let fd = i.as_fd().try_clone_to_owned().ok()?;
            // SAFETY: the descriptor is owned by what is registered, and so open for as long.
            unsafe { AsyncFd::register(fd) }.ok()
        });
        if readable.is_none() {
            tracing::warn!("sysctls are looked at once a minute only: inotify is not to be had");
        }
        Sysctls { inotify: inotify.ok(), readable, open: BTreeMap::new() }
    }

    /// Watches these keys (dotted, an interface's dots as `/`), and those that change them in passing. Keys that do not
    /// exist yet are left for the next call.
    pub fn watch<'a>(&mut self, keys: impl Iterator<Item = &'a String>) {
        let Some(inotify) = &self.inotify else { return };
        for key in keys.flat_map(|k| with_causes(k)) {
            let path = crate::kernel::sysctl_path(&key);
            let Some(path) = path else { continue };
            let Ok(file) = File::open(&path) else { continue };
            // An interface that was made anew under its old name has new files; those watched are dead.
            let same = |old: &File| inode(old).is_some_and(|i| Some(i) == inode(&file));
            if self.open.get(&key).is_some_and(same) {
                continue;
            }
            if inotify.add_watch(&path, AddWatchFlags::IN_MODIFY).is_ok() {
                self.open.insert(key, file);
            }
        }
    }

    /// Returns when one of them was written, by whomever.
    pub async fn written(&self) {
        let (Some(inotify), Some(readable)) = (&self.inotify, &self.readable) else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut guard) = readable.readable().await else { return std::future::pending().await };
            let events = inotify.read_events();
            guard.clear_ready();
            // Not the end of a watch whose file is gone.
            if events.is_ok_and(|e| e.iter().any(|e| e.mask.contains(AddWatchFlags::IN_MODIFY))) {
                return;
            }
        }
    }
}

fn inode(file: &File) -> Option<u64> {
    file.metadata().ok().map(|m| m.ino())
}

/// A key and those whose change changes it without a write of its own: `conf.all.forwarding` and `ip_forward` set every
/// interface's `forwarding`.
fn with_causes(key: &str) -> Vec<String> {
    let mut keys = vec![key.to_owned()];
    if let Some(rest) = key.strip_prefix("net.ipv4.conf.")
        && let Some((_, name)) = rest.rsplit_once('.')
        && name == "forwarding"
    {
        keys.extend(["net.ipv4.ip_forward".to_owned(), "net.ipv4.conf.all.forwarding".to_owned()]);
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_interface_made_anew_is_watched_anew() {
        let ip = |line: &str| {
            let done = std::process::Command::new("ip").args(line.split(' ')).status();
            assert!(done.unwrap().success(), "{line}");
        };
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut sysctls = Sysctls::new();
                let key = "net.ipv4.conf.eth0.forwarding".to_owned();
                ip("link add eth0 type veth peer name far");
                sysctls.watch([&key].into_iter());
                ip("link del eth0");
                ip("link add eth0 type veth peer name far");
                sysctls.watch([&key].into_iter());
                std::fs::write("/proc/sys/net/ipv4/conf/eth0/forwarding", "1").unwrap();
                tokio::time::timeout(Duration::from_secs(5), sysctls.written()).await.unwrap();
            });
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_write_in_this_namespace_is_heard() {
        std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut sysctls = Sysctls::new();
                let key = "net.ipv4.conf.lo.forwarding".to_owned();
                sysctls.watch([key].iter());
                for (path, value) in [("conf/lo/forwarding", "1"), ("ip_forward", "0"), ("conf/lo/forwarding", "0")] {
                    std::fs::write(format!("/proc/sys/net/ipv4/{path}"), value).unwrap();
                    tokio::time::timeout(Duration::from_secs(5), sysctls.written()).await.unwrap();
                }
                let nothing = tokio::time::timeout(Duration::from_millis(20), sysctls.written());
                assert!(nothing.await.is_err(), "reading is not writing");
            });
        })
        .join()
        .unwrap();
    }
}
