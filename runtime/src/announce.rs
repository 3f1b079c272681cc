//! Gratuitous ARP: tells neighbours and switches where an address is now.
//!
//! The request form, broadcast, with sender and target address the same and a target hardware address of zeros: the
//! announcement of RFC 5227 §2.3, which RFC 9568 §6.4.2 asks for and keepalived sends. It updates the caches of hosts
//! that know the address, and every switch learns the port from the frame's source.

use std::io;
use std::net::Ipv4Addr;
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

/// Length of a frame: Ethernet header and ARP.
const FRAME: usize = 42;

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

    /// Sends one announcement for each IPv4 address; nothing where the link has no ARP.
    ///
    /// # Errors
    /// The kernel's, where some were not sent.
    pub fn announce(&self, port: Port, cidrs: &[Cidr]) -> io::Result<()> {
        let Some(mac) = port.mac else { return Ok(()) };
        let frames: Vec<_> = cidrs.iter().filter_map(|c| c.v4()).map(|address| frame(mac, address)).collect();
        frames.chunks(FRAMES).try_for_each(|part| self.send(port.index, part))
    }

    fn send(&self, index: u32, mut frames: &[[u8; FRAME]]) -> io::Result<()> {
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

/// Ethernet, broadcast, from the interface's own address; ARP request for the address by itself (RFC 826).
fn frame(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let parts: [&[u8]; 9] = [
        &[0xff; 6],
        &mac,
        // ARP; Ethernet, IPv4, lengths 6 and 4; request.
        &[0x08, 0x06],
        &[0x00, 0x01, 0x08, 0x00, 0x06, 0x04],
        &[0x00, 0x01],
        &mac,
        &address.octets(),
        &[0; 6],
        &address.octets(),
    ];
    frame.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_a_broadcast_request_for_the_address_by_itself() {
        let frame = frame([0x52, 0x54, 0, 1, 2, 3], Ipv4Addr::new(192, 0, 2, 10));
        let text = frame.map(|b| format!("{b:02x}")).join(" ");
        assert_eq!(
            text,
            "ff ff ff ff ff ff 52 54 00 01 02 03 08 06 00 01 08 00 06 04 00 01 \
             52 54 00 01 02 03 c0 00 02 0a 00 00 00 00 00 00 c0 00 02 0a"
        );
    }
}
