//! IP protocol 112 on the wire: adverts out with the header of our making, adverts in with the interface they came by.
//!
//! One receiving socket of each family hears every interface: a raw socket that is bound to one no longer hears
//! multicast. It joins no group itself; a plain socket for each interface does, since the kernel limits the groups of
//! one socket to 20, and delivers what any socket joined. No packet is filtered in the kernel: each that is dropped has
//! a cause that people can read in `status`.
//!
//! What is sent has a header of our making in both families, so that an advert can leave by another interface than the
//! one whose address it carries: that of a virtual MAC.

mod v4;
mod v6;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use model::units::Family;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use v4::V4;
use v6::V6;

/// The group of RFC 9568 §5.1.1.2.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The group of RFC 9568 §5.1.2.2.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The group of a family.
pub fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => GROUP.into(),
        Family::V6 => GROUP_V6.into(),
    }
}

/// VRRP's protocol number (RFC 9568 §5.1.1.4 and §5.1.2.4).
const PROTOCOL: u8 = 112;

/// Time to live, or hop limit, of every advert (RFC 9568 §5.1.1.3 and §5.1.2.3).
const TTL: u8 = 255;

/// Precedence Internetwork Control, as routing protocols are sent.
const TOS: u8 = 0xc0;

/// What may wait in a receiving socket: half a second of 10,000 packets a second, at about 800 bytes with the kernel's
/// overhead.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Packets of one family before the other is asked, where both wait: a question costs as much as a packet.
const IN_A_ROW: u8 = 16;

/// The longest VRRP message is 4,088 bytes (version 3 with 255 IPv6 addresses), the longest header before it 60: what is
/// longer arrives cut and is dropped for its length.
const PACKET: usize = 4608;

/// A packet of protocol 112 as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Index of the interface.
    pub index: u32,
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Behind the IP header.
    pub message: Vec<u8>,
}

/// A pair of sockets for each family.
#[derive(Debug)]
pub struct VrrpSocket {
    v4: V4,
    /// `None` where the kernel has no IPv6.
    v6: Option<V6>,
    memberships: BTreeMap<(u32, IpAddr), Socket>,
    /// Which family is asked first for the next packet: noise of the one must not keep the other waiting.
    v6_first: bool,
    in_a_row: u8,
}

impl VrrpSocket {
    /// Opens all in the calling thread's network namespace; they never wait.
    ///
    /// # Errors
    /// The kernel's: it needs CAP_NET_RAW.
    pub fn open() -> io::Result<VrrpSocket> {
        let v6 = match V6::open() {
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            other => Some(other?),
        };
        Ok(VrrpSocket { v4: V4::open()?, v6, memberships: BTreeMap::new(), v6_first: false, in_a_row: 0 })
    }

    /// Hears exactly these groups, each on an interface by its index; says which could not be joined.
    pub fn join(&mut self, groups: impl IntoIterator<Item = (u32, IpAddr)>) -> Vec<(u32, io::Error)> {
        let wanted: Vec<(u32, IpAddr)> = groups.into_iter().collect();
        // The socket of an interface that vanished ends with it: a new one of the same name has another index.
        self.memberships.retain(|group, _| wanted.contains(group));
        let mut failed = Vec::new();
        for (index, group) in wanted {
            if let Entry::Vacant(place) = self.memberships.entry((index, group)) {
                match membership(index, group) {
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
        let families = if self.v6.is_some() { 2 } else { 1 };
        for _ in 0..families {
            let packet = match &mut self.v6 {
                Some(v6) if self.v6_first => v6.receive(),
                _ => self.v4.receive(),
            };
            self.in_a_row += 1;
            if matches!(packet, Ok(None)) || self.in_a_row >= IN_A_ROW {
                (self.v6_first, self.in_a_row) = (!self.v6_first, 0);
            }
            if !matches!(packet, Ok(None)) {
                return packet;
            }
        }
        Ok(None)
    }

    /// Packets that the kernel dropped because a buffer was full, as of the last packets received.
    pub fn overrun(&self) -> u64 {
        u64::from(self.v4.overrun()) + self.v6.as_ref().map_or(0, |v6| u64::from(v6.overrun()))
    }

    /// Sends a VRRP message from this address out of an interface, by its index, with TTL or hop limit 255.
    ///
    /// # Errors
    /// The kernel's; also where the addresses are of two families, or of one that the kernel does not have.
    pub fn send(&self, index: u32, way: (IpAddr, IpAddr), message: &[u8]) -> io::Result<()> {
        match (way, &self.v6) {
            ((IpAddr::V4(source), IpAddr::V4(to)), _) => self.v4.send(index, (source, to), message),
            ((IpAddr::V6(source), IpAddr::V6(to)), Some(v6)) => v6.send(index, (source, to), message),
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    /// The receiving sockets: readable when a packet waits.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.v4.as_fd()).chain(self.v6.as_ref().map(V6::as_fd))
    }
}

/// Not `new_raw`: programs that checks and notifications start would inherit it, as whatever user they run.
fn raw(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A raw socket that hears everything, and tells what it lost.
fn receiver(domain: Domain) -> io::Result<Socket> {
    let socket = raw(domain)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        // The system's limit is below what we ask for: as much as it gives.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    Ok(socket)
}

/// A raw socket that hears nothing: it is of the same protocol, and must not fill up with what nobody reads from it.
fn sender(domain: Domain) -> io::Result<Socket> {
    let socket = raw(domain)?;
    socket.attach_filter(&[socket2::SockFilter::new(0x06, 0, 0, 0)])?;
    Ok(socket)
}

fn membership(index: u32, group: IpAddr) -> io::Result<Socket> {
    match group {
        IpAddr::V4(group) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
            Ok(socket)
        }
        IpAddr::V6(group) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            socket.join_multicast_v6(&group, index)?;
            Ok(socket)
        }
    }
}

#[cfg(test)]
mod tests;
