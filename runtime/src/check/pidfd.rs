//! `pidfd_open(2)`: a descriptor that becomes readable when a process ends.

use std::os::fd::{FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Waits on the end of a process, whoever's child it is. `None` where it has ended already.
pub(super) fn open(pid: i32) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just given us this descriptor (close-on-exec by itself), and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor is owned by what is registered, and so open for as long.
    unsafe { AsyncFd::register(fd) }.ok()
}
