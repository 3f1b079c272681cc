//! IP protocol 112 on the wire: adverts out with the header of our making, adverts in with the interface they came by.
//!
//! One receiving socket hears every interface: a raw socket that is bound to one no longer hears multicast. It joins no
//! group itself; a plain socket for each interface does ([`Membership`]), since the kernel limits the groups of one
//! socket to 20, and delivers what any socket joined. No packet is filtered in the kernel: each that is dropped has a
//! cause that people can read in `status`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// The group of RFC 9568 §5.1.1.2.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// VRRP's protocol number (RFC 9568 §5.1.1.4).
const PROTOCOL: u8 = 112;

/// Time to live of every advert (RFC 9568 §5.1.1.3).
const TTL: u8 = 255;

/// Precedence Internetwork Control, as routing protocols are sent.
const TOS: u8 = 0xc0;

/// What may wait in the receiving socket: half a second of 10,000 packets a second, at about 800 bytes with the
/// kernel's overhead.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// The longest VRRP message is 1,028 bytes (version 2 with 255 addresses and a password), its header 60: what is longer
/// arrives cut and is dropped for its length.
const PACKET: usize = 2048;

/// Length of an IP header without options.
const HEADER: usize = 20;

/// A packet of protocol 112 as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Index of the interface.
    pub index: u32,
    /// IPv4 source.
    pub source: Ipv4Addr,
    /// IPv4 destination.
    pub destination: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Behind the IP header.
    pub message: Vec<u8>,
}

/// The pair of sockets.
#[derive(Debug)]
pub struct VrrpSocket {
    receiver: Socket,
    sender: Socket,
    memberships: BTreeMap<u32, Socket>,
    overrun: u32,
}

impl VrrpSocket {
    /// Opens both in the calling thread's network namespace; they never wait.
    ///
    /// # Errors
    /// The kernel's: it needs CAP_NET_RAW.
    pub fn open() -> io::Result<VrrpSocket> {
        let receiver = raw()?;
        setsockopt(&receiver, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&receiver, sockopt::RxqOvfl, &1)?;
        if setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // The system's limit is below what we ask for: as much as it gives.
            receiver.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        let sender = raw()?;
        sender.set_header_included_v4(true)?;
        sender.set_multicast_loop_v4(false)?;
        // It is of the same protocol, and must not fill up with what nobody reads from it.
        sender.set_multicast_all_v4(false)?;
        sender.attach_filter(&[socket2::SockFilter::new(0x06, 0, 0, 0)])?;
        Ok(VrrpSocket { receiver, sender, memberships: BTreeMap::new(), overrun: 0 })
    }

    /// Hears the group on exactly these interfaces, by index; says which could not be joined.
    pub fn join(&mut self, indexes: impl IntoIterator<Item = u32>) -> Vec<(u32, io::Error)> {
        let wanted: Vec<u32> = indexes.into_iter().collect();
        // The socket of an interface that vanished ends with it: a new one of the same name has another index.
        self.memberships.retain(|index, _| wanted.contains(index));
        let mut failed = Vec::new();
        for index in wanted {
            if let Entry::Vacant(place) = self.memberships.entry(index) {
                match membership(index) {
                    Ok(socket) => drop(place.insert(socket)),
                    Err(e) => failed.push((index, e)),
                }
            }
        }
        failed
    }

    /// The next packet, `None` when none waits.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&mut self) -> io::Result<Option<Packet>> {
        let mut bytes = [0; PACKET];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!(libc::in_pktinfo, u32);
        let (length, index, overrun) = {
            let received =
                recvmsg::<SockaddrIn>(self.receiver.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
            let received = match received {
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                other => other?,
            };
            let mut index = 0;
            let mut overrun = None;
            for message in received.cmsgs()? {
                match message {
                    ControlMessageOwned::Ipv4PacketInfo(info) => index = info.ipi_ifindex as u32,
                    ControlMessageOwned::RxqOvfl(count) => overrun = Some(count),
                    _ => {}
                }
            }
            (received.bytes, index, overrun)
        };
        self.overrun = overrun.unwrap_or(self.overrun);
        let packet = bytes.get(..length).and_then(|b| parse(index, b));
        // The kernel hands out whole IP packets only; an empty message is dropped for its length by the router.
        Ok(Some(packet.unwrap_or(Packet {
            index,
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
            ttl: 0,
            message: Vec::new(),
        })))
    }

    /// Packets that the kernel dropped because the buffer was full, as of the last packet received.
    pub fn overrun(&self) -> u64 {
        u64::from(self.overrun)
    }

    /// Sends a VRRP message from this address out of an interface, by its index, with TTL 255.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, index: u32, (source, to): (Ipv4Addr, Ipv4Addr), message: &[u8]) -> io::Result<()> {
        let header = header(source, to, message.len());
        let parts = [IoSlice::new(&header), IoSlice::new(message)];
        let info = libc::in_pktinfo {
            ipi_ifindex: index as i32,
            ipi_spec_dst: libc::in_addr { s_addr: 0 },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let way = [ControlMessage::Ipv4PacketInfo(&info)];
        let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
        sendmsg(self.sender.as_raw_fd(), &parts, &way, MsgFlags::MSG_DONTWAIT, Some(&address))?;
        Ok(())
    }
}

impl AsFd for VrrpSocket {
    /// The receiving socket's.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

fn raw() -> io::Result<Socket> {
    // Not `new_raw`: programs that checks and notifications start would inherit it, as whatever user they run.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn membership(index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
    Ok(socket)
}

/// The kernel fills in identification and checksum.
fn header(source: Ipv4Addr, to: Ipv4Addr, message: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let length = ((HEADER + message) as u16).to_be_bytes();
    let parts: [&[u8]; 5] = [&[0x45, TOS], &length, &[0, 0, 0, 0, TTL, PROTOCOL, 0, 0], &source.octets(), &to.octets()];
    header.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    header
}

fn parse(index: u32, bytes: &[u8]) -> Option<Packet> {
    let length = usize::from(bytes.first()? & 0x0f) * 4;
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let message = bytes.get(length.max(HEADER)..)?.to_vec();
    Some(Packet { index, source: address(12)?, destination: address(16)?, ttl: *bytes.get(8)?, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_program_that_is_started_inherits_a_socket() {
        let vrrp = VrrpSocket::open().unwrap();
        let arp = crate::announce::Announcer::open().unwrap();
        for fd in [vrrp.receiver.as_fd(), vrrp.sender.as_fd(), arp.as_fd()] {
            let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn the_header_is_what_the_parser_reads() {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), GROUP);
        let mut bytes = header(from, to, 3).to_vec();
        assert_eq!(bytes[2..4], [0, 23]);
        bytes.extend([7, 8, 9]);
        let packet = parse(4, &bytes).unwrap();
        assert_eq!(packet, Packet { index: 4, source: from, destination: to, ttl: 255, message: vec![7, 8, 9] });
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>) {
            parse(1, &bytes);
        }
    }
}
