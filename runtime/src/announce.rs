//! Gratuitous ARP and unsolicited neighbour advertisements: tell neighbours and switches where an address is now, and
//! hear when somebody else tells it of one of ours.

pub mod ear;
pub mod frame;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use model::units::Cidr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::hot::{Port, sys::send_frames};

/// Frames in one system call: a batch of addresses.
const FRAMES: usize = crate::hot::address::BATCH;

/// What may wait in the socket: 1,000 frames of about 800 bytes with the kernel's overhead, and room for more.
const SEND_BUFFER: usize = 2 * 1024 * 1024;

/// How often the socket is waited for when it takes no frame, a millisecond each time: a link that takes none for longer
/// keeps no VRRP thread waiting; the router announces again later.
const WAITS: usize = 3;

/// An open packet socket that receives nothing.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
}

impl Announcer {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's: it needs CAP_NET_RAW.
    pub fn open() -> io::Result<Announcer> {
        // Protocol 0: no frame is ever delivered to it.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            // The system's limit is below what we ask for: as much as it gives.
            let _ = socket.set_send_buffer_size(SEND_BUFFER);
        }
        Ok(Announcer { socket })
    }

    /// Sends one announcement for each address; nothing where the link has no neighbours to tell.
    ///
    /// # Errors
    /// The kernel's, where some were not sent.
    pub fn announce(&self, port: Port, cidrs: &[Cidr]) -> io::Result<()> {
        let Some(mac) = port.mac else { return Ok(()) };
        let (mut arp, mut advertisements) = (Vec::new(), Vec::new());
        for cidr in cidrs {
            match cidr.address() {
                IpAddr::V4(address) => arp.push(frame::arp(mac, address)),
                IpAddr::V6(address) => advertisements.push(frame::advertisement(mac, address)),
            }
        }
        arp.chunks(FRAMES).try_for_each(|part| self.send(port.index, part))?;
        advertisements.chunks(FRAMES).try_for_each(|part| self.send(port.index, part))
    }

    fn send<const N: usize>(&self, index: u32, mut frames: &[[u8; N]]) -> io::Result<()> {
        let mut waits = 0;
        while !frames.is_empty() {
            match send_frames(self.socket.as_fd(), index, frames) {
                Ok(taken) => frames = frames.get(taken.max(1)..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && waits < WAITS => {
                    waits += 1;
                    let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut ready, PollTimeout::from(1u8))?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl AsFd for Announcer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
