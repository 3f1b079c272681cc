//! What the kernel tells without being asked: links, addresses, and hands on our table.
//!
//! An overrun (the kernel dropped events because the buffer was full) is answered by reading everything again and by
//! telling the differences as if they had just happened.

mod machine;
pub mod tables;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use model::observed::OUR_MARK;
use model::units::{Cidr, InterfaceName};
use netlink_sys::{Socket, SocketAddr};
use socket2::SockFilter;

use crate::hot::address::Standing;
use crate::hot::message::{Batch, Message, messages};
use crate::hot::netlink::Netlink;
pub use machine::{Link, Machine};

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, …_IPV4_ROUTE, …_IPV6_IFADDR and …_IPV6_ROUTE (linux/rtnetlink.h).
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// What may wait in a socket for events: a thousand addresses that come and go at once.
const BUFFER: usize = 4 * 1024 * 1024;

/// The kernel makes no larger datagram of events.
const DATAGRAM: usize = 64 * 1024;

/// Something changed. [`Watch::machine`] is as of right after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An interface appeared, changed (also in its addresses) or vanished.
    Link(InterfaceName),
    /// An address is gone.
    Removed {
        /// From where.
        interface: InterfaceName,
        /// The interface's index.
        index: u32,
        /// Which.
        cidr: Cidr,
        /// Port of the socket that asked for it; 0 is the kernel's own doing, or not known.
        by: u32,
    },
    /// A route with our mark is gone.
    RouteLost {
        /// Port of the socket that asked for it.
        by: u32,
    },
    /// An address was added or replaced.
    Added {
        /// Where.
        interface: InterfaceName,
        /// Which.
        cidr: Cidr,
        /// IFA_PROTO now.
        mark: u8,
    },
}

/// The open subscription to links and addresses, and what is known of them.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    machine: Machine,
    buffer: Vec<u8>,
    waiting: VecDeque<Seen>,
    unread: VecDeque<u8>,
    /// Events were lost and the machine is yet to be read again.
    blind: bool,
}

impl Watch {
    /// Subscribes in the calling thread's network namespace and reads everything once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Watch> {
        let socket = subscribe(netlink_sys::protocols::NETLINK_ROUTE, &GROUPS)?;
        socket2::SockRef::from(&socket).attach_filter(&our_routes())?;
        // After subscribing: what changes in between is told by an event.
        let machine = read()?;
        Ok(Watch {
            socket,
            machine,
            buffer: Vec::with_capacity(DATAGRAM),
            waiting: VecDeque::new(),
            unread: VecDeque::new(),
            blind: false,
        })
    }

    /// Links and addresses as of the last change told.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The next change, `None` when none waits.
    ///
    /// # Errors
    /// The kernel's, also where not even reading everything again goes; the next step tries that anew.
    pub fn step(&mut self) -> io::Result<Option<Seen>> {
        loop {
            if let Some(seen) = self.waiting.pop_front() {
                return Ok(Some(seen));
            }
            if self.apply_one() {
                continue;
            }
            if self.blind {
                self.read_again()?;
                continue;
            }
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => self.unread.extend(&self.buffer),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => self.blind = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Applies one message of the datagram read last, so that whoever looks at the machine sees it as of that message.
    fn apply_one(&mut self) -> bool {
        let bytes = self.unread.make_contiguous();
        let Some(message) = messages(bytes).next() else {
            self.unread.clear();
            return false;
        };
        let length = (message.payload.len() + 16).next_multiple_of(4).min(bytes.len());
        self.waiting.extend(self.machine.apply(&message));
        self.unread.drain(..length);
        true
    }

    fn read_again(&mut self) -> io::Result<()> {
        let new = read()?;
        self.waiting.extend(self.machine.differences(&new));
        self.machine = new;
        self.blind = false;
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Of routes lets through only the end of those with our mark, in the kernel: a router has a million of others. Type of
/// the message at 4, in the byte order of this machine where a filter reads the network's; `rtm_protocol` at 21.
fn our_routes() -> [SockFilter; 7] {
    let (half, byte, equal, done) = (0x28, 0x30, 0x15, 0x06);
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        SockFilter::new(half, 0, 0, 4),
        SockFilter::new(equal, 4, 0, kind(libc::RTM_NEWROUTE)),
        SockFilter::new(equal, 0, 2, kind(libc::RTM_DELROUTE)),
        SockFilter::new(byte, 0, 0, 21),
        SockFilter::new(equal, 0, 1, OUR_MARK.into()),
        SockFilter::new(done, 0, 0, u32::MAX),
        SockFilter::new(done, 0, 0, 0),
    ]
}

/// A socket for events that never waits.
fn subscribe(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    if nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER).is_err() {
        // The system's limit is below what we ask for: as much as it gives.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &BUFFER)?;
    }
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn read() -> io::Result<Machine> {
    let mut netlink = Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)?;
    let dump = |kind: u16, family: i32| {
        move |batch: &mut Batch| {
            // struct ifinfomsg is the longer of the two headers, and a family at its start is all that is read of it.
            batch.request(kind, libc::NLM_F_DUMP, |body| {
                body.put(&[family as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            });
        }
    };
    let apply = |message: Message, machine: &mut Machine| drop(machine.apply(&message));
    let mut machine: Machine = netlink.dump_whole(dump(libc::RTM_GETLINK, libc::AF_UNSPEC), apply)?;
    let collect = |message: Message, found: &mut Vec<Standing>| found.extend(Standing::read(message.payload));
    for standing in netlink.dump_whole(dump(libc::RTM_GETADDR, libc::AF_UNSPEC), collect)? {
        machine.put(standing);
    }
    Ok(machine)
}

#[cfg(test)]
mod tests;
