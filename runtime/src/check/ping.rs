//! ICMP echo. The kernel's ping sockets need no rights where `net.ipv4.ping_group_range` allows them; else a raw socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::Outcome;
use super::standing::readable;

/// Room for an answer: an IPv4 header with options, the ICMP header and what we sent.
const LENGTH: usize = 128;

/// Packets for others that a raw socket is shown in one go; then other tasks have their turn.
const PACKETS: usize = 64;

/// Tells the tries of this process apart.
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

/// One echo request, answered in time.
pub(super) async fn echo(target: IpAddr, timeout: Duration) -> Outcome {
    let echo = match Echo::send(target) {
        Ok(echo) => echo,
        Err(e) => return Outcome::bad("L3ERR", e.to_string()),
    };
    match tokio::time::timeout(timeout, echo.answered()).await {
        Ok(Ok(())) => Outcome::good("L3OK", ""),
        Ok(Err(e)) => Outcome::bad("L3ERR", format!("{target}: {e}")),
        Err(_) => Outcome::bad("L3TOUT", format!("{target} did not answer in time")),
    }
}

#[derive(Debug, thiserror::Error)]
enum EchoError {
    #[error(
        "pinging is not permitted: run as root or with CAP_NET_RAW, or let `sysctl net.ipv4.ping_group_range` hold \
         the group"
    )]
    Forbidden,
    #[error("{0}: {1}")]
    Send(IpAddr, std::io::Error),
    #[error("no socket: {0}")]
    Socket(std::io::Error),
}

/// A request under way.
struct Echo {
    socket: Socket,
    readable: AsyncFd<OwnedFd>,
    expected: Expected,
}

/// What the answer must be.
#[derive(Debug, Clone, Copy)]
struct Expected {
    is_v4: bool,
    is_raw: bool,
    id: u16,
    sequence: u16,
}

impl Echo {
    fn send(target: IpAddr) -> Result<Echo, EchoError> {
        let (socket, is_raw) = socket(target)?;
        let readable = readable(&socket).map_err(EchoError::Socket)?;
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        // A ping socket has the kernel's own identifier. Of a process id, the lower half is the part that differs.
        let id = (std::process::id() & 0xffff) as u16;
        let expected = Expected { is_v4: target.is_ipv4(), is_raw, id, sequence };
        let refused = |e| EchoError::Send(target, e);
        socket.connect(&SockAddr::from(SocketAddr::new(target, 0))).map_err(refused)?;
        socket.send(&expected.request()).map_err(refused)?;
        Ok(Echo { socket, readable, expected })
    }

    /// Returns when the answer is there; `Err` where the kernel says that none will come.
    async fn answered(&self) -> std::io::Result<()> {
        loop {
            let mut guard = self.readable.readable().await?;
            for _ in 0..PACKETS {
                let mut buffer = [0; LENGTH];
                match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => {
                        if self.expected.is_answer(buffer.get(..length).unwrap_or_default()) {
                            return Ok(());
                        }
                    }
                    Err(Errno::EAGAIN) => {
                        guard.clear_ready();
                        break;
                    }
                    Err(Errno::EINTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A socket for echo requests, and whether it is a raw one.
fn socket(target: IpAddr) -> Result<(Socket, bool), EchoError> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let open = |kind: Type| Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol));
    let is_forbidden =
        |e: &std::io::Error| matches!(Errno::from_raw(e.raw_os_error().unwrap_or(0)), Errno::EACCES | Errno::EPERM);
    match open(Type::DGRAM) {
        Ok(socket) => return Ok((socket, false)),
        // A kernel without ping sockets says that there is no such protocol.
        Err(e) if is_forbidden(&e) || e.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {}
        Err(e) => return Err(EchoError::Socket(e)),
    }
    match open(Type::RAW) {
        Ok(socket) => Ok((socket, true)),
        Err(e) if is_forbidden(&e) => Err(EchoError::Forbidden),
        Err(e) => Err(EchoError::Socket(e)),
    }
}

impl Expected {
    /// The ICMP message: type, code, checksum, identifier, sequence (RFC 792, RFC 4443 §4.1).
    fn request(&self) -> Vec<u8> {
        let mut message = vec![if self.is_v4 { 8 } else { 128 }, 0, 0, 0];
        message.extend(self.id.to_be_bytes());
        message.extend(self.sequence.to_be_bytes());
        message.extend(b"hactl ping");
        // The kernel computes ICMPv6's, which covers addresses.
        if self.is_v4 {
            let sum = checksum(&message);
            if let Some(field) = message.get_mut(2..4) {
                field.copy_from_slice(&sum.to_be_bytes());
            }
        }
        message
    }

    fn is_answer(&self, packet: &[u8]) -> bool {
        // Only raw IPv4 sockets are given the IP header.
        let header = match packet.first() {
            Some(first) if self.is_raw && self.is_v4 => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        let Some([kind, 0, _, _, id1, id2, sequence1, sequence2, ..]) = packet.get(header..) else { return false };
        *kind == if self.is_v4 { 0 } else { 129 }
            && (!self.is_raw || [*id1, *id2] == self.id.to_be_bytes())
            && [*sequence1, *sequence2] == self.sequence.to_be_bytes()
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::isolate;

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        let request = Expected { is_v4: true, is_raw: true, id: 0x1234, sequence: 7 }.request();
        assert_eq!(checksum(&request), 0);
    }

    #[test]
    fn only_the_answer_to_this_request_counts() {
        let expected = Expected { is_v4: true, is_raw: true, id: 0x1234, sequence: 7 };
        let mut packet = vec![0x45; 20];
        packet.extend([0, 0, 0, 0, 0x12, 0x34, 0, 7]);
        assert!(expected.is_answer(&packet));
        for (byte, other) in [(20, 8), (21, 1), (24, 0), (27, 8)] {
            let mut packet = packet.clone();
            packet[byte] = other;
            assert!(!expected.is_answer(&packet), "{byte}");
        }
        assert!((0..packet.len()).all(|n| !expected.is_answer(&packet[..n])));
        let any_id = Expected { is_raw: false, id: 0, ..expected };
        assert!(any_id.is_answer(&packet[20..]));
    }

    fn in_namespace(groups: Option<&'static str>) -> [Outcome; 4] {
        std::thread::spawn(move || {
            isolate().unwrap();
            if let Some(groups) = groups {
                std::fs::write("/proc/sys/net/ipv4/ping_group_range", groups).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let patience = Duration::from_secs(5);
                let here = echo("127.0.0.1".parse().unwrap(), patience).await;
                let six = echo("::1".parse().unwrap(), patience).await;
                let nowhere = echo("192.0.2.1".parse().unwrap(), patience).await;
                std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").unwrap();
                let silent = echo("127.0.0.1".parse().unwrap(), Duration::from_millis(50)).await;
                [here, six, nowhere, silent]
            })
        })
        .join()
        .unwrap()
    }

    #[test]
    fn who_answers_is_told_from_who_is_silent_or_out_of_reach_by_both_kinds_of_socket() {
        // A new namespace lets no group have ping sockets; the test's own group is 0 whoever runs it.
        for groups in [None, Some("0 0")] {
            let [here, six, nowhere, silent] = in_namespace(groups);
            assert_eq!((here.code, six.code, nowhere.code, silent.code), ("L3OK", "L3OK", "L3ERR", "L3TOUT"));
            assert!(nowhere.detail.starts_with("192.0.2.1: Network is unreachable"), "{nowhere:?}");
        }
    }
}
