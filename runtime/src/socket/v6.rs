//! Protocol 112 over IPv6. The kernel checks no checksum of this protocol unless asked to: the router does, and counts.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Socket};

use super::{PACKET, PROTOCOL, Packet, TOS, TTL};

/// Length of an IPv6 header.
const HEADER: usize = 40;

/// The pair of sockets.
#[derive(Debug)]
pub(super) struct V6 {
    receiver: Socket,
    sender: Socket,
    buffer: Vec<u8>,
    control: Vec<u8>,
    overrun: u32,
}

impl V6 {
    pub fn open() -> io::Result<V6> {
        let receiver = super::receiver(Domain::IPV6)?;
        setsockopt(&receiver, sockopt::Ipv6RecvPacketInfo, &true)?;
        setsockopt(&receiver, sockopt::Ipv6RecvHopLimit, &true)?;
        let sender = super::sender(Domain::IPV6)?;
        sender.set_header_included_v6(true)?;
        sender.set_multicast_loop_v6(false)?;
        sender.set_multicast_all_v6(false)?;
        let control = nix::cmsg_space!(libc::in6_pktinfo, i32, u32);
        Ok(V6 { receiver, sender, buffer: vec![0; PACKET], control, overrun: 0 })
    }

    pub fn receive(&mut self) -> io::Result<Option<Packet>> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::empty();
        let received =
            match recvmsg::<SockaddrIn6>(self.receiver.as_raw_fd(), &mut parts, Some(&mut self.control), flags) {
                Err(Errno::EAGAIN) => return Ok(None),
                other => other?,
            };
        let (mut index, mut destination, mut ttl) = (0, Ipv6Addr::UNSPECIFIED, 0);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    (index, destination) = (info.ipi6_ifindex, Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).unwrap_or(0),
                ControlMessageOwned::RxqOvfl(count) => self.overrun = count,
                _ => {}
            }
        }
        let source = received.address.map_or(Ipv6Addr::UNSPECIFIED, |a| a.ip());
        let length = received.bytes;
        let message = self.buffer.get(..length).unwrap_or_default().to_vec();
        Ok(Some(Packet { index, source: source.into(), destination: destination.into(), ttl, message }))
    }

    pub fn send(&self, index: u32, (source, to): (Ipv6Addr, Ipv6Addr), message: &[u8]) -> io::Result<()> {
        let header = header(source, to, message.len());
        let parts = [IoSlice::new(&header), IoSlice::new(message)];
        // Without an address: the kernel takes only one of this interface here, and that of a virtual MAC may have none.
        let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: [0; 16] }, ipi6_ifindex: index };
        let way = [ControlMessage::Ipv6PacketInfo(&info)];
        let address = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, index));
        sendmsg(self.sender.as_raw_fd(), &parts, &way, MsgFlags::MSG_DONTWAIT, Some(&address))?;
        Ok(())
    }

    pub fn overrun(&self) -> u32 {
        self.overrun
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    #[cfg(test)]
    pub fn both(&self) -> [BorrowedFd<'_>; 2] {
        [self.receiver.as_fd(), self.sender.as_fd()]
    }
}

fn header(source: Ipv6Addr, to: Ipv6Addr, message: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let [high, low] = (message as u16).to_be_bytes();
    // The traffic class stands between version and flow label, half a byte on.
    let parts: [&[u8]; 4] =
        [&[0x60 | (TOS >> 4), TOS << 4, 0, 0], &[high, low, PROTOCOL, TTL], &source.octets(), &to.octets()];
    header.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_carries_class_length_protocol_and_hop_limit() {
        let from: Ipv6Addr = "fe80::1".parse().unwrap();
        let bytes = header(from, crate::socket::GROUP_V6, 0x128);
        assert_eq!(bytes[..8], [0x6c, 0, 0, 0, 1, 0x28, 112, 255]);
        assert_eq!((bytes[8..24].to_vec(), bytes[24..26].to_vec()), (from.octets().to_vec(), vec![0xff, 0x02]));
    }
}
