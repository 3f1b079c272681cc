//! Protocol 112 over IPv4.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Socket};

use super::{PACKET, PROTOCOL, Packet, TOS, TTL};

/// Length of an IP header without options.
const HEADER: usize = 20;

/// The pair of sockets.
#[derive(Debug)]
pub(super) struct V4 {
    receiver: Socket,
    sender: Socket,
    buffer: Vec<u8>,
    control: Vec<u8>,
    overrun: u32,
}

impl V4 {
    pub fn open() -> io::Result<V4> {
        let receiver = super::receiver(Domain::IPV4)?;
        setsockopt(&receiver, sockopt::Ipv4PacketInfo, &true)?;
        let sender = super::sender(Domain::IPV4)?;
        sender.set_header_included_v4(true)?;
        sender.set_multicast_loop_v4(false)?;
        sender.set_multicast_all_v4(false)?;
        let control = nix::cmsg_space!(libc::in_pktinfo, u32);
        Ok(V4 { receiver, sender, buffer: vec![0; PACKET], control, overrun: 0 })
    }

    pub fn receive(&mut self) -> io::Result<Option<Packet>> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::empty();
        let received =
            match recvmsg::<SockaddrIn>(self.receiver.as_raw_fd(), &mut parts, Some(&mut self.control), flags) {
                Err(Errno::EAGAIN) => return Ok(None),
                other => other?,
            };
        let mut index = 0;
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::Ipv4PacketInfo(info) => index = info.ipi_ifindex as u32,
                ControlMessageOwned::RxqOvfl(count) => self.overrun = count,
                _ => {}
            }
        }
        let length = received.bytes;
        let packet = self.buffer.get(..length).and_then(|b| parse(index, b));
        // The kernel hands out whole IP packets only; an empty message is dropped for its length by the router.
        Ok(Some(packet.unwrap_or(Packet {
            index,
            source: Ipv4Addr::UNSPECIFIED.into(),
            destination: Ipv4Addr::UNSPECIFIED.into(),
            ttl: 0,
            message: Vec::new(),
        })))
    }

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
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    let message = bytes.get(length.max(HEADER)..)?.to_vec();
    Some(Packet { index, source: address(12)?, destination: address(16)?, ttl: *bytes.get(8)?, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_is_what_the_parser_reads() {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), crate::socket::GROUP);
        let mut bytes = header(from, to, 3).to_vec();
        assert_eq!(bytes[2..4], [0, 23]);
        bytes.extend([7, 8, 9]);
        let packet = parse(4, &bytes).unwrap();
        let (source, destination) = (from.into(), to.into());
        assert_eq!(packet, Packet { index: 4, source, destination, ttl: 255, message: vec![7, 8, 9] });
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes: Vec<u8>) {
            parse(1, &bytes);
        }
    }
}
