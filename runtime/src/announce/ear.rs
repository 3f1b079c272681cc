//! Hears announcements of our addresses by others: gratuitous ARP and unsolicited neighbour advertisements.
//!
//! Filters in the kernel drop everything else before it is copied: all ARP but announcements, all neighbour
//! advertisements but unsolicited ones, and both for addresses that are not ours.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, SockaddrIn6, recvfrom, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::frame::NEIGHBOUR_ADVERTISEMENT;

/// Addresses that a filter compares with: a kernel before 6.3 gives filters 20 KiB, and an address takes up to 32 bytes.
/// Where there are more, every announcement gets through and is compared here.
const COMPARED: usize = 500;

/// Longest message of interest: a neighbour advertisement with some options; what is longer arrives cut.
const MESSAGE: usize = 128;

/// Classic BPF (linux/bpf_common.h): load a word, half word or byte from an offset, store in X, compare, test a bit.
const WORD: u16 = 0x20;
const HALF: u16 = 0x28;
const BYTE: u16 = 0x30;
const STORE_X: u16 = 0x07;
const EQUAL: u16 = 0x15;
const EQUAL_X: u16 = 0x1d;
const BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Returned by a filter that lets a message through.
const WHOLE: u32 = u32::MAX;

/// Offsets in ARP over Ethernet (RFC 826): sender's hardware and IPv4 address, target's IPv4 address.
const SENDER_MAC: usize = 8;
const SENDER: u32 = 14;
const TARGET: u32 = 24;

/// Offsets in a neighbour advertisement (RFC 4861 §4.4): flags, target, options.
const FLAGS: u32 = 4;
const SOLICITED: u32 = 0x40;
const NEIGHBOUR: u32 = 8;
const OPTIONS: usize = 24;

/// What may wait: a successor announces thousands of addresses at once, at about 800 bytes each with the kernel's
/// overhead.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// An announcement of one of the addresses that are listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Index of the interface it came in on.
    pub index: u32,
    /// Which.
    pub address: IpAddr,
    /// Where it is said to be; `None` where an advertisement does not say.
    pub mac: Option<[u8; 6]>,
}

/// The open sockets.
#[derive(Debug)]
pub struct Ear {
    arp: Socket,
    /// `None` where the kernel has no IPv6.
    neighbours: Option<Socket>,
    wanted: BTreeSet<IpAddr>,
    /// Which is asked first: noise on the one must not keep the other waiting.
    neighbours_first: bool,
}

impl Ear {
    /// Opens both in the calling thread's network namespace; they hear nothing yet, and never wait.
    ///
    /// # Errors
    /// The kernel's: it needs CAP_NET_RAW.
    pub fn open() -> io::Result<Ear> {
        let arp = arp()?;
        let neighbours = match neighbours() {
            Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            other => Some(other?),
        };
        Ok(Ear { arp, neighbours, wanted: BTreeSet::new(), neighbours_first: false })
    }

    /// Listens for exactly these addresses.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen(&mut self, wanted: BTreeSet<IpAddr>) -> io::Result<()> {
        if wanted == self.wanted {
            return Ok(());
        }
        let v4: BTreeSet<u32> = wanted.iter().filter_map(|a| v4(*a)).map(u32::from).collect();
        attach(&self.arp, arp_filter, v4)?;
        if let Some(neighbours) = &self.neighbours {
            // Their last words: what they share with other addresses is compared when it is read.
            let v6: BTreeSet<u32> = wanted.iter().filter_map(|a| v6(*a)).map(|a| u128::from(a) as u32).collect();
            attach(neighbours, neighbour_filter, v6)?;
        }
        self.wanted = wanted;
        Ok(())
    }

    /// The next announcement, `None` when none waits.
    ///
    /// # Errors
    /// The kernel's, or a message that is not what the filter lets through: the next may be good.
    pub fn hear(&mut self) -> io::Result<Option<Heard>> {
        self.neighbours_first = !self.neighbours_first;
        let neighbour = || self.neighbours.as_ref().map_or(Ok(None), hear_neighbour);
        let heard = match self.neighbours_first {
            true => neighbour()?.map_or_else(|| hear_arp(&self.arp), |heard| Ok(Some(heard))),
            false => hear_arp(&self.arp)?.map_or_else(neighbour, |heard| Ok(Some(heard))),
        };
        match heard? {
            Some(heard) if !self.wanted.contains(&heard.address) => Err(strange()),
            other => Ok(other),
        }
    }

    /// Readable when an announcement waits.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.arp.as_fd()).chain(self.neighbours.as_ref().map(AsFd::as_fd))
    }
}

fn arp() -> io::Result<Socket> {
    let arp = Protocol::from(i32::from((libc::ETH_P_ARP as u16).to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(arp))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        // The system's limit is below what we ask for: as much as it gives.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.attach_filter(&arp_filter(Wanted::These(&[])))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn neighbours() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&neighbour_filter(Wanted::These(&[])))?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
    Ok(socket)
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

/// Lets announcements of these addresses through, or of all where they are too many for a filter.
fn attach(socket: &Socket, filter: impl Fn(Wanted) -> Vec<SockFilter>, wanted: BTreeSet<u32>) -> io::Result<()> {
    let wanted = Vec::from_iter(wanted);
    if wanted.len() <= COMPARED && socket.attach_filter(&filter(Wanted::These(&wanted))).is_ok() {
        return Ok(());
    }
    socket.attach_filter(&filter(Wanted::All))
}

/// What a filter compares the word loaded last with.
enum Wanted<'a> {
    These(&'a [u32]),
    All,
}

/// Announcements: ARP over Ethernet for IPv4, of whatever operation, with sender and target address the same.
fn arp_filter(wanted: Wanted) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (at, is) in [(0, 1), (2, 0x0800), (4, 0x0604)] {
        program.extend([op(HALF, at), jump(EQUAL, is, (1, 0)), op(RETURN, 0)]);
    }
    program.extend([op(WORD, TARGET), op(STORE_X, 0), op(WORD, SENDER), jump(EQUAL_X, 0, (1, 0)), op(RETURN, 0)]);
    program.extend(choice(wanted));
    program
}

/// Unsolicited neighbour advertisements.
fn neighbour_filter(wanted: Wanted) -> Vec<SockFilter> {
    let mut program = vec![op(BYTE, 0), jump(EQUAL, NEIGHBOUR_ADVERTISEMENT.into(), (1, 0)), op(RETURN, 0)];
    program.extend([op(BYTE, FLAGS), jump(BIT, SOLICITED, (0, 1)), op(RETURN, 0), op(WORD, NEIGHBOUR + 12)]);
    program.extend(choice(wanted));
    program
}

fn choice(wanted: Wanted) -> Vec<SockFilter> {
    match wanted {
        Wanted::All => vec![op(RETURN, WHOLE)],
        Wanted::These(words) => {
            let each = words.iter().flat_map(|word| [jump(EQUAL, *word, (0, 1)), op(RETURN, WHOLE)]);
            each.chain([op(RETURN, 0)]).collect()
        }
    }
}

fn op(code: u16, k: u32) -> SockFilter {
    SockFilter::new(code, 0, 0, k)
}

/// Skips so many instructions where the comparison holds, and so many where not.
fn jump(code: u16, k: u32, (then, otherwise): (u8, u8)) -> SockFilter {
    SockFilter::new(code, then, otherwise, k)
}

fn hear_arp(socket: &Socket) -> io::Result<Option<Heard>> {
    let mut bytes = [0; MESSAGE];
    let (length, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut bytes) {
        Err(Errno::EAGAIN) => return Ok(None),
        other => other?,
    };
    let index = from.map_or(0, |from| from.ifindex() as u32);
    let heard = bytes.get(..length).and_then(|b| {
        let address: [u8; 4] = taken(b, SENDER as usize)?;
        Some(Heard { index, address: address.into(), mac: Some(taken(b, SENDER_MAC)?) })
    });
    heard.ok_or_else(strange).map(Some)
}

fn hear_neighbour(socket: &Socket) -> io::Result<Option<Heard>> {
    let mut bytes = [0; MESSAGE];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo, i32);
    let (length, index, hops) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let received = match recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EAGAIN) => return Ok(None),
            other => other?,
        };
        let (mut index, mut hops) = (0, 0);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv6PacketInfo(info) => index = info.ipi6_ifindex,
                ControlMessageOwned::Ipv6HopLimit(limit) => hops = limit,
                _ => {}
            }
        }
        (received.bytes, index, hops)
    };
    // RFC 4861 §7.1.2: one that came through a router is nobody's.
    let heard = bytes.get(..length).filter(|_| hops == 255).and_then(|b| {
        let address: [u8; 16] = taken(b, NEIGHBOUR as usize)?;
        Some(Heard { index, address: address.into(), mac: link_layer(b.get(OPTIONS..)?) })
    });
    heard.ok_or_else(strange).map(Some)
}

/// The option for the target's link-layer address.
fn link_layer(mut options: &[u8]) -> Option<[u8; 6]> {
    loop {
        let (kind, units) = (*options.first()?, usize::from(*options.get(1)?));
        match kind {
            2 => return taken(options, 2),
            // An option without a length would never end.
            _ => options = options.get(units.max(1) * 8..)?,
        }
    }
}

fn taken<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// What a filter lets through and is none of ours all the same: it came before the filter, or is malformed.
fn strange() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests;
