//! New processes, told by the kernel (connector of process events, Documentation/driver-api/connector.rst): to who may
//! administrate the network in the machine's first namespaces, and to nobody else.

use std::io;
use std::os::fd::OwnedFd;

use netlink_sys::{Socket, SocketAddr};
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

use super::standing::readable;

/// CN_IDX_PROC: the group, and with CN_VAL_PROC the address of a message (linux/connector.h).
const GROUP: u32 = 1;

/// PROC_CN_MCAST_LISTEN and …_IGNORE (linux/cn_proc.h).
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

/// What happened: PROC_EVENT_NONE is the answer to a request, PROC_EVENT_EXEC a program that starts, PROC_EVENT_COMM a
/// process that takes another name.
const ANSWER: u32 = 0;
const EXEC: u32 = 2;
const COMM: u32 = 0x200;

/// Where a message says what happened, and to which process: after the headers of netlink (16 bytes) and of the connector
/// (20), and the processor and the time.
const WHAT: usize = 36;
const PROCESS: usize = 52;

/// Messages read in one go; then other tasks have their turn.
const READS: usize = 64;

/// Bytes of a message; they are 76.
const LENGTH: usize = 256;

/// The listening ear.
pub(super) struct Births {
    socket: Socket,
    readable: AsyncFd<OwnedFd>,
}

impl Births {
    /// `None` where the kernel does not tell us.
    pub fn open() -> Option<Births> {
        let mut socket = Socket::new(netlink_sys::protocols::NETLINK_CONNECTOR).ok()?;
        socket.set_non_blocking(true).ok()?;
        filter(&socket).ok()?;
        socket.bind(&SocketAddr::new(0, GROUP)).ok()?;
        ask(&socket, LISTEN).ok()?;
        // The kernel answers before `send` returns, but elsewhere than in the machine's first namespaces: there it says
        // nothing, now or ever.
        let (what, _) = receive(&socket).ok().flatten()?;
        let readable = readable(&socket).ok()?;
        (what == ANSWER).then_some(Births { socket, readable })
    }

    /// Returns when a process came for which `is_meant` holds, or when messages were lost.
    pub async fn next(&self, is_meant: impl Fn(i32) -> bool) {
        loop {
            let Ok(mut guard) = self.readable.readable().await else { return std::future::pending().await };
            for _ in 0..READS {
                match receive(&self.socket) {
                    Ok(Some((EXEC | COMM, pid))) if is_meant(pid) => return,
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        guard.clear_ready();
                        break;
                    }
                    // ENOBUFS: more came than was read.
                    Err(_) => return,
                }
            }
            // A machine that starts programs all the time does not keep us from the rest.
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        // Kernels before 6.6 otherwise go on making messages for nobody.
        let _ = ask(&self.socket, IGNORE);
    }
}

/// Forks and ends, most of what is told, never reach us.
fn filter(socket: &Socket) -> io::Result<()> {
    let instruction = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    // A filter reads words as the network writes them.
    let equal = |what: u32, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, 0, what.to_be());
    let program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, WHAT as u32),
        equal(EXEC, 3),
        equal(COMM, 2),
        equal(ANSWER, 1),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    SockRef::from(socket).attach_filter(&program)
}

/// A netlink header, the connector's, and the request.
fn ask(socket: &Socket, request: u32) -> io::Result<usize> {
    let mut message = vec![];
    message.extend(40_u32.to_ne_bytes());
    message.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
    message.extend([0; 2 + 4 + 4]);
    for word in [GROUP, GROUP, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(4_u16.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(request.to_ne_bytes());
    socket.send_to(&message, &SocketAddr::new(0, 0), 0)
}

/// What happened to which process; `None` for what is not the kernel's or has no such form.
fn receive(socket: &Socket) -> io::Result<Option<(u32, i32)>> {
    let mut buffer = Vec::with_capacity(LENGTH);
    let (_, from) = socket.recv_from(&mut buffer, 0)?;
    Ok(if from.port_number() == 0 { parse(&buffer) } else { None })
}

fn parse(message: &[u8]) -> Option<(u32, i32)> {
    let word = |at: usize| message.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    Some((word(WHAT)?, i32::try_from(word(PROCESS + 4)?).ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_program_that_starts_is_told_of_where_the_kernel_tells() {
        let Some(births) = Births::open() else {
            eprintln!("not shown: this machine's kernel tells of no processes here, as in every container");
            return;
        };
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let mut child = child.unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), births.next(|p| p == pid)).await.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn in_a_network_of_our_own_there_is_no_telling_and_that_is_known_at_once() {
        std::thread::spawn(|| {
            crate::netns::isolate().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { assert!(Births::open().is_none()) });
        })
        .join()
        .unwrap();
    }

    #[test]
    fn no_length_of_a_message_is_a_surprise() {
        let mut message = vec![0; 76];
        message[WHAT] = 2;
        message[PROCESS + 4] = 7;
        assert_eq!(parse(&message), Some((u32::from_ne_bytes([2, 0, 0, 0]), i32::from_ne_bytes([7, 0, 0, 0]))));
        assert!((0..PROCESS + 8).all(|n| parse(&message[..n]).is_none()));
    }
}
