//! The system calls of the VRRP thread that no library wraps: the one place of this subsystem with `unsafe`.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sends frames out of an interface (by its index) in one call through a socket of family AF_PACKET and type raw, and
/// says how many the kernel took.
///
/// # Errors
/// The kernel's, where it took none.
pub fn send_frames<const N: usize>(socket: BorrowedFd, index: u32, frames: &[[u8; N]]) -> io::Result<usize> {
    // SAFETY: sockaddr_ll is plain integers, for which zero is a value.
    let mut to: libc::sockaddr_ll = unsafe { zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = index as i32;
    let mut parts: Vec<libc::iovec> =
        frames.iter().map(|f| libc::iovec { iov_base: f.as_ptr().cast_mut().cast(), iov_len: N }).collect();
    let mut headers: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: mmsghdr is integers and pointers, for which zero is a value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut to).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    // SAFETY: the headers, the parts, the address and the frames outlive the call, which only reads what they point to.
    let taken = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, libc::MSG_DONTWAIT as _)
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// Runs the calling thread with SCHED_FIFO at this priority (1–99); threads and programs it starts do not inherit it.
///
/// # Errors
/// The kernel's: it needs CAP_SYS_NICE or a limit that allows it.
pub fn run_realtime(priority: i32) -> io::Result<()> {
    // SAFETY: sched_param is plain integers, for which zero is a value.
    let mut parameter: libc::sched_param = unsafe { zeroed() };
    parameter.sched_priority = priority;
    // SAFETY: the parameter outlives the call, which only reads it; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the runtime that is entered wait for a descriptor to become readable, by a descriptor of its own.
///
/// # Errors
/// The kernel's.
pub fn wait_for(fd: BorrowedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the duplicate, which nobody replaces or closes before it.
    unsafe { AsyncFd::register_with_interest(fd.try_clone_to_owned()?, Interest::READABLE) }.map_err(Into::into)
}
