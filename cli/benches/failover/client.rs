//! A client on the segment: pings an address every millisecond and listens for announcements.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use runtime::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// From one probe to the next.
const PROBE_EVERY: Duration = Duration::from_millis(1);
/// Above everything else that wants a processor: a late probe would be an outage that nobody had. Below the programs' own
/// real-time threads.
const URGENCY: i32 = 10;
/// Ethernet's number for ARP.
const ETHERTYPE_ARP: u16 = 0x0806;

/// A probe: when it was sent, and the TTL of its answer, which tells who answered.
#[derive(Debug, Clone, Copy)]
struct Probe {
    sent: Instant,
    answered: Option<u8>,
}

/// What the client sees.
#[derive(Default)]
struct Seen {
    probes: Vec<Probe>,
    /// First announcement of each address since they were last forgotten, by the announcer's hardware address.
    announced: BTreeMap<([u8; 6], Ipv4Addr), Instant>,
    ended: bool,
}

/// Pings and listens until dropped.
#[derive(Clone)]
struct Shared(Arc<(Mutex<Seen>, Condvar)>);

/// A client at work.
pub struct Client {
    shared: Shared,
}

impl Client {
    /// Of this address, from this namespace.
    pub fn start(space: &Namespace, target: Ipv4Addr) -> Client {
        let shared = Shared(Arc::default());
        let (echo, arp) = space.run(|| (echo_socket(), arp_socket())).unwrap();
        let (pinger, listener) = (shared.clone(), shared.clone());
        std::thread::spawn(move || pinger.ping(&echo, target));
        std::thread::spawn(move || listener.listen(&arp));
        Client { shared }
    }

    /// Waits until this many probes in a row were answered by who answers with this TTL.
    pub fn wait_for(&self, ttl: u8, in_a_row: usize, patience: Duration) -> bool {
        self.shared.wait(patience, |seen| {
            let last = seen.probes.iter().rev().skip_while(|probe| probe.sent.elapsed() < 5 * PROBE_EVERY);
            last.take_while(|probe| probe.answered == Some(ttl)).take(in_a_row).count() == in_a_row
        })
    }

    /// When nobody answered: the last probe that `from` answered and the first that `to` answered, of those sent since
    /// `since`.
    pub fn outage(&self, since: Instant, from: u8, to: u8) -> Option<(Instant, Instant)> {
        let seen = self.shared.0.0.lock().unwrap();
        let first = seen.probes.iter().find(|probe| probe.sent >= since && probe.answered == Some(to))?;
        let last = seen.probes.iter().rev().find(|probe| probe.sent < first.sent && probe.answered == Some(from))?;
        Some((last.sent, first.sent))
    }

    /// How many probes nobody answered, of those sent since this moment; the last ones may still be answered.
    pub fn lost(&self, since: Instant) -> usize {
        let seen = self.shared.0.0.lock().unwrap();
        let sent = seen.probes.iter().filter(|probe| probe.sent >= since && probe.sent.elapsed() > 5 * PROBE_EVERY);
        sent.filter(|probe| probe.answered.is_none()).count()
    }

    /// Forgets all announcements.
    pub fn forget(&self) {
        self.shared.0.0.lock().unwrap().announced.clear();
    }

    /// When each address was first announced by this machine, in order of time.
    pub fn announced(&self, by: [u8; 6]) -> Vec<Instant> {
        let seen = self.shared.0.0.lock().unwrap();
        let mut moments: Vec<Instant> =
            seen.announced.iter().filter(|((mac, _), _)| *mac == by).map(|(_, at)| *at).collect();
        moments.sort();
        moments
    }

    /// Waits until this machine has announced this many addresses.
    pub fn wait_announced(&self, by: [u8; 6], addresses: usize, patience: Duration) -> bool {
        self.shared.wait(patience, |seen| seen.announced.keys().filter(|(mac, _)| *mac == by).count() >= addresses)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.0.0.lock().unwrap().ended = true;
    }
}

/// Gives the calling thread a processor before others, where that is allowed.
pub fn urgent() {
    let _ = runtime::hot::sys::run_realtime(URGENCY);
}

impl Shared {
    fn wait(&self, patience: Duration, until: impl Fn(&Seen) -> bool) -> bool {
        let seen = self.0.0.lock().unwrap();
        !self.0.1.wait_timeout_while(seen, patience, |seen| !until(seen)).unwrap().1.timed_out()
    }

    fn ping(&self, socket: &Socket, target: Ipv4Addr) {
        urgent();
        let mut next = Instant::now();
        for sequence in 0_u32.. {
            // What cannot be sent, for want of a neighbour, is a probe without an answer.
            let _ = socket.send_to(&echo_request(sequence), &SocketAddrV4::new(target, 0).into());
            let mut seen = self.0.0.lock().unwrap();
            seen.probes.push(Probe { sent: Instant::now(), answered: None });
            drop(seen);
            next += PROBE_EVERY;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let mut seen = self.0.0.lock().unwrap();
            if seen.ended {
                return;
            }
            let mut packet = [0; 128];
            while let Ok(length) = (&mut &*socket).read(&mut packet) {
                if let Some((sequence, ttl)) = echo_reply(&packet[..length])
                    && let Some(probe) = seen.probes.get_mut(sequence as usize)
                {
                    probe.answered.get_or_insert(ttl);
                }
            }
            self.0.1.notify_all();
        }
    }

    fn listen(&self, socket: &Socket) {
        urgent();
        let mut packet = [0; 128];
        loop {
            let length = (&mut &*socket).read(&mut packet);
            let mut seen = self.0.0.lock().unwrap();
            if seen.ended {
                return;
            }
            // Sender's hardware and protocol addresses; gratuitous where the target's protocol address is the same.
            if let (Ok(28..), [.., a, b, c, d]) = (&length, &packet[..28])
                && packet[14..18] == [*a, *b, *c, *d]
            {
                let mac = packet[8..14].try_into().unwrap();
                seen.announced.entry((mac, Ipv4Addr::new(*a, *b, *c, *d))).or_insert_with(Instant::now);
                self.0.1.notify_all();
            }
        }
    }
}

fn echo_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn arp_socket() -> Socket {
    let protocol = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap();
    // Thousands of addresses are announced in a few milliseconds.
    if setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).is_err() {
        // As much as the kernel permits.
        socket.set_recv_buffer_size(32 << 20).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

fn echo_request(sequence: u32) -> [u8; 12] {
    let mut message = [8, 0, 0, 0, 0x68, 0x61, 0, 0, 0, 0, 0, 0];
    message[8..].copy_from_slice(&sequence.to_be_bytes());
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!folded as u16).to_be_bytes());
    message
}

/// Sequence and TTL of an answer to one of ours.
fn echo_reply(packet: &[u8]) -> Option<(u32, u8)> {
    let message = packet.get(20..32)?;
    let ours = message[0] == 0 && message[4..6] == [0x68, 0x61];
    ours.then(|| (u32::from_be_bytes(message[8..12].try_into().unwrap()), packet[8]))
}
