//! The sockets against a real kernel.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::*;
use crate::netns::{Links, Namespace, isolate};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn sh(line: &str) {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn no_program_that_is_started_inherits_a_socket() {
    let vrrp = VrrpSocket::open().unwrap();
    let arp = crate::announce::Announcer::open().unwrap();
    let v6 = vrrp.v6.iter().flat_map(V6::both);
    for fd in vrrp.v4.both().into_iter().chain(v6).chain([arp.as_fd()]) {
        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

/// Two ends of a cable: v0 here, v1 there, with addresses that need no detection of duplicates.
fn cable() -> (u32, Namespace, u32) {
    isolate().unwrap();
    let there = Namespace::new().unwrap();
    let links = Links::here().unwrap();
    links.veth("v0", "v1", &there).unwrap();
    sh("ip link set v0 addrgenmode none; ip link set v0 up; ip -6 addr add fe80::1/64 dev v0 nodad");
    let up = "ip link set v1 addrgenmode none; ip link set v1 up; ip -6 addr add fe80::2/64 dev v1 nodad";
    there.run(|| sh(up)).unwrap();
    let far = there.links().unwrap().index("v1").unwrap();
    (links.index("v0").unwrap(), there, far)
}

fn hear(socket: &mut VrrpSocket) -> Packet {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(packet) = socket.receive().unwrap() {
            return packet;
        }
        assert!(Instant::now() < end, "nothing was heard");
    }
}

#[test]
fn an_ipv6_advert_is_heard_with_its_hop_limit_destination_and_interface() {
    let (near, there, far) = cable();
    let mut ear = there.run(VrrpSocket::open).unwrap().unwrap();
    let failed = there.run(|| ear.join([(far, GROUP_V6.into())])).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let mouth = VrrpSocket::open().unwrap();
    let source: IpAddr = "fe80::1".parse().unwrap();
    let mut packet = |to: &str| {
        let to: IpAddr = to.parse().unwrap();
        // A route to the link takes a moment after its carrier.
        let end = Instant::now() + PATIENCE;
        while let Err(e) = mouth.send(near, (source, to), &[0x31, 51, 100, 1]) {
            assert!(Instant::now() < end, "{e}");
        }
        let packet = hear(&mut ear);
        assert_eq!(packet, Packet { index: far, source, destination: to, ttl: 255, message: vec![0x31, 51, 100, 1] });
    };
    packet("ff02::12");
    packet("fe80::2");
}

#[test]
fn an_ipv6_advert_may_carry_an_address_that_its_interface_does_not_have() {
    let (near, there, far) = cable();
    let mut ear = there.run(VrrpSocket::open).unwrap().unwrap();
    there.run(|| ear.join([(far, GROUP_V6.into())])).unwrap();
    let mouth = VrrpSocket::open().unwrap();
    let other: IpAddr = "fe80::77".parse().unwrap();
    mouth.send(near, (other, GROUP_V6.into()), &[1]).unwrap();
    assert_eq!(hear(&mut ear).source, other);
}

#[test]
fn noise_of_one_family_keeps_the_other_not_waiting() {
    let (near, there, far) = cable();
    sh("ip addr add 192.0.2.1/24 dev v0");
    let mut ear = there.run(VrrpSocket::open).unwrap().unwrap();
    there.run(|| drop(ear.join([(far, GROUP.into()), (far, GROUP_V6.into())]))).unwrap();
    let mouth = VrrpSocket::open().unwrap();
    for _ in 0..100 {
        mouth.send(near, ("192.0.2.1".parse().unwrap(), GROUP.into()), &[4]).unwrap();
    }
    mouth.send(near, ("fe80::1".parse().unwrap(), GROUP_V6.into()), &[6]).unwrap();
    let mut waits: Vec<_> = ear.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    assert_eq!(poll(&mut waits[..1], 10_000u16).unwrap() + poll(&mut waits[1..], 10_000u16).unwrap(), 2);
    let next: Vec<_> = (0..=super::IN_A_ROW).map(|_| hear(&mut ear).message).collect();
    assert!(next.contains(&vec![6]), "{next:?}");
}

#[test]
fn a_group_that_is_left_is_no_longer_heard_and_an_absent_interface_is_told() {
    let (near, there, far) = cable();
    let mut ear = there.run(VrrpSocket::open).unwrap().unwrap();
    there.run(|| drop(ear.join([(far, GROUP_V6.into())]))).unwrap();
    let failed = there.run(|| ear.join([(9999, GROUP.into()), (9999, GROUP_V6.into())])).unwrap();
    assert_eq!(failed.len(), 2, "{failed:?}");
    let mouth = VrrpSocket::open().unwrap();
    mouth.send(near, ("fe80::1".parse().unwrap(), GROUP_V6.into()), &[1]).unwrap();
    mouth.send(near, ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap()), &[2]).unwrap();
    assert_eq!(hear(&mut ear).message, [2], "unicast is heard without a group");
}
