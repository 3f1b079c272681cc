//! The client: what a user of the vips sees, every millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::units::Family;
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use super::protocol::{Measured, Report, now};

/// Between two probes of one address.
pub const PERIOD: Duration = Duration::from_millis(1);

/// Between two reports of what was measured.
const REPORT_EVERY: Duration = Duration::from_millis(50);

/// Between two round trips of one connection.
const TRIP_EVERY: Duration = Duration::from_millis(100);

/// Source ports of the connections: from here on, beyond the well-known ones…
const FIRST_PORT: u16 = 10_000;

/// … and this many.
const PORTS: usize = 50_000;

/// A connection without an answer for this long is told of as silent.
const SILENT: Duration = Duration::from_millis(500);

/// Until a connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes remembered: numbers on the wire have 16 bits, so these are the last 65 seconds.
const REMEMBERED: usize = 1 << 16;

/// Takes a report to the world.
pub type Tell = Arc<dyn Fn(&Report) + Send + Sync>;

/// Probes every address every millisecond, for as long as the process lives.
///
/// # Errors
/// In words, where no raw socket can be had.
pub fn probe(addresses: &[IpAddr], tell: Tell) -> Result<(), String> {
    let told = |e: std::io::Error| format!("opening a raw socket to probe with: {e}");
    let book = Arc::new(Mutex::new(Book::new(addresses)));
    let mut mouths = BTreeMap::new();
    for family in addresses.iter().map(|a| Family::of(*a)).collect::<BTreeSet<_>>() {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(told)?;
        socket.set_read_timeout(Some(REPORT_EVERY)).map_err(told)?;
        let (ear, book, tell) = (socket.try_clone().map_err(told)?, Arc::clone(&book), Arc::clone(&tell));
        std::thread::spawn(move || hear(&ear, &book, &tell));
        mouths.insert(family, socket);
    }
    let writing = Arc::clone(&book);
    std::thread::spawn(move || send(&mouths, &writing));
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(REPORT_EVERY);
            let measured = lock(&book).measured();
            tell(&Report::Measured(measured));
        }
    });
    Ok(())
}

/// What was sent and what was answered.
struct Book {
    /// Sending time by number.
    sent: Vec<u64>,
    /// Number of the next probe.
    next: u64,
    lines: BTreeMap<IpAddr, Line>,
}

/// One address in the book.
#[derive(Default)]
struct Line {
    sent: u32,
    answered: u32,
    /// Number of the last probe answered.
    last: Option<u64>,
}

impl Book {
    fn new(addresses: &[IpAddr]) -> Book {
        let lines = addresses.iter().map(|address| (*address, Line::default())).collect();
        Book { sent: vec![0; REMEMBERED], next: 0, lines }
    }

    fn send(&mut self, at: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        if let Some(slot) = self.sent.get_mut(number as usize % REMEMBERED) {
            *slot = at;
        }
        self.lines.values_mut().for_each(|line| line.sent += 1);
        number
    }

    fn sent_at(&self, number: u64) -> u64 {
        self.sent.get(number as usize % REMEMBERED).copied().unwrap_or(0)
    }

    /// Enters an answer to the probe whose number ends in these 16 bits. Probes that were lost before it are a gap.
    fn answer(&mut self, address: IpAddr, low: u16) -> Option<Report> {
        let newest = self.next.checked_sub(1)?;
        let back = u64::from((newest as u16).wrapping_sub(low));
        let number = newest.checked_sub(back)?;
        let line = self.lines.get_mut(&address)?;
        let last = line.last;
        if last.is_some_and(|last| last >= number) {
            return None;
        }
        line.last = Some(number);
        line.answered += 1;
        let last = last.filter(|last| *last + 1 < number)?;
        Some(Report::Gap { address, from: self.sent_at(last), to: self.sent_at(number) })
    }

    fn measured(&mut self) -> Measured {
        let at = self.next.checked_sub(1).map_or(0, |newest| self.sent_at(newest));
        let last: Vec<u64> = self.lines.values().map(|l| l.last.map_or(0, |number| self.sent_at(number))).collect();
        let addresses = self.lines.iter_mut().zip(last).map(|((address, line), last)| {
            let counted = (std::mem::take(&mut line.sent), std::mem::take(&mut line.answered), last);
            (*address, counted)
        });
        Measured { at, addresses: addresses.collect() }
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(mouths: &BTreeMap<Family, Socket>, book: &Mutex<Book>) {
    let addresses: Vec<IpAddr> = lock(book).lines.keys().copied().collect();
    let period = u64::try_from(PERIOD.as_nanos()).unwrap_or(1);
    let mut due = now();
    loop {
        let number = lock(book).send(now());
        for address in &addresses {
            let family = Family::of(*address);
            if let Some(mouth) = mouths.get(&family) {
                // Unreachable is what an outage looks like from here: it is measured, not reported.
                let _ = mouth.send_to(&echo_request(family, number as u16), &SocketAddr::new(*address, 0).into());
            }
        }
        // A client that was kept from running does not make up for what it missed.
        due = (due + period).max(now().saturating_sub(period));
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(now())));
    }
}

fn hear(ear: &Socket, book: &Mutex<Book>, tell: &Tell) {
    let mut packet = [0; 256];
    loop {
        let heard = recvfrom::<SockaddrStorage>(ear.as_raw_fd(), &mut packet);
        let Ok((length, Some(from))) = heard else { continue };
        let v4 = from.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let Some(from) = v4.or_else(|| from.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()))) else { continue };
        if let Some(low) = packet.get(..length).and_then(|packet| echo_reply(Family::of(from), packet)) {
            let gap = lock(book).answer(from, low);
            gap.iter().for_each(|gap| tell(gap));
        }
    }
}

/// What tells the laboratory's probes from other people's.
const IDENTIFIER: [u8; 2] = [0x48, 0x41];

/// An ICMP echo request (RFC 792, RFC 4443 §4.1) with the laboratory's identifier. Of IPv6 the kernel fills the checksum
/// in, which covers the addresses.
fn echo_request(family: Family, number: u16) -> [u8; 8] {
    let ([i0, i1], [n0, n1]) = (IDENTIFIER, number.to_be_bytes());
    if family == Family::V6 {
        return [128, 0, 0, 0, i0, i1, n0, n1];
    }
    // The one's complement sum of type 8, the identifier and the number.
    let sum = 0x0800 + u32::from(u16::from_be_bytes(IDENTIFIER)) + u32::from(number);
    let folded = (sum & 0xffff) + (sum >> 16);
    let [c0, c1] = (!(((folded & 0xffff) + (folded >> 16)) as u16)).to_be_bytes();
    [8, 0, c0, c1, i0, i1, n0, n1]
}

/// The number of an echo reply; of IPv4 its header is in front.
fn echo_reply(family: Family, packet: &[u8]) -> Option<u16> {
    let (header, reply) = match family {
        Family::V4 => (usize::from(packet.first()? & 0x0f) * 4, 0),
        Family::V6 => (0, 129),
    };
    match packet.get(header..header + 8)? {
        [kind, _, _, _, i0, i1, n0, n1] if *kind == reply && [*i0, *i1] == IDENTIFIER => {
            Some(u16::from_be_bytes([*n0, *n1]))
        }
        _ => None,
    }
}

/// The long-lived connections of this client.
pub struct Connections {
    sources: Vec<Ipv4Addr>,
    answered: Arc<Mutex<BTreeMap<usize, Arc<AtomicU64>>>>,
    tell: Tell,
}

impl Connections {
    /// None yet; from now on it is told which are silent.
    pub fn new(sources: Vec<Ipv4Addr>, tell: Tell) -> Connections {
        let answered: Arc<Mutex<BTreeMap<usize, Arc<AtomicU64>>>> = Arc::default();
        let (seen, telling) = (Arc::clone(&answered), Arc::clone(&tell));
        let limit = u64::try_from(SILENT.as_nanos()).unwrap_or(u64::MAX);
        tokio::spawn(async move {
            let mut every = tokio::time::interval(TRIP_EVERY);
            loop {
                every.tick().await;
                let at = now();
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let last = seen.iter().map(|(id, last)| (*id, last.load(Ordering::Relaxed)));
                let quiet = last.filter(|(_, last)| *last != 0 && at.saturating_sub(*last) > limit);
                let silent = quiet.map(|(id, _)| id).collect();
                if !seen.is_empty() {
                    telling(&Report::Trips { silent, at });
                }
            }
        });
        Connections { sources, answered, tell }
    }

    /// Opens `count` connections, numbered from `first`, spread over the targets and this client's addresses.
    pub fn open(&self, count: usize, first: usize, targets: &[SocketAddrV4]) {
        for id in first..first.saturating_add(count) {
            let Some(target) = targets.get(id % targets.len().max(1)).copied() else { continue };
            let source = self.sources.get(id % self.sources.len().max(1)).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
            let last = Arc::new(AtomicU64::new(0));
            let answered = Arc::clone(&self.answered);
            answered.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&last));
            let tell = Arc::clone(&self.tell);
            let source = SocketAddr::new(IpAddr::V4(source), port_of(id));
            tokio::spawn(async move {
                let why = converse(source, target, &last, |backend| tell(&Report::Opened { id, backend })).await;
                answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                tell(&Report::Broken { id, why });
            });
        }
    }
}

/// Each connection has a source port of its own, as far as there are any. Two clients that use the same one towards
/// the same backend share a tuple behind the address translation: the first holder gives the second of them another
/// port, the next holder cannot know which, and whether such a pair exists would be up to the kernel's draw of ports.
fn port_of(id: usize) -> u16 {
    u16::try_from(id % PORTS).unwrap_or(0).saturating_add(FIRST_PORT)
}

/// Talks over one connection for as long as it lives; the answer says why it did not live on.
async fn converse(source: SocketAddr, target: SocketAddrV4, last: &AtomicU64, opened: impl FnOnce(String)) -> String {
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect(source, target)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return format!("could not connect to {target}: {e}"),
        Err(_) => return format!("could not connect to {target}: no answer for {}s", CONNECT_TIMEOUT.as_secs()),
    };
    let mut stream = BufReader::new(stream);
    let mut opened = Some(opened);
    let mut every = tokio::time::interval(TRIP_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        match trip(&mut stream).await {
            Ok(name) => {
                last.store(now(), Ordering::Relaxed);
                if let Some(opened) = opened.take() {
                    opened(name);
                }
            }
            Err(e) => return e.to_string(),
        }
    }
}

async fn connect(source: SocketAddr, target: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(source)?;
    socket.connect(target.into()).await
}

/// One line there and one back: the backend's name.
async fn trip(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    stream.write_all(b"ping\n").await?;
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "closed by the backend")),
        _ => Ok(line.trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 50));

    /// Sends `count` probes, one a millisecond from `from` milliseconds on.
    fn send(book: &mut Book, from: u64, count: u64) {
        for at in from..from + count {
            book.send(at * 1_000_000);
        }
    }

    #[test]
    fn an_answer_to_every_probe_leaves_no_gap() {
        let mut book = Book::new(&[VIP]);
        send(&mut book, 100, 3);
        for low in 0..3 {
            assert!(book.answer(VIP, low).is_none());
        }
        let measured = book.measured();
        assert_eq!((measured.at, measured.addresses[&VIP]), (102_000_000, (3, 3, 102_000_000)));
    }

    #[test]
    fn probes_without_an_answer_are_a_gap_between_those_around_them() {
        let mut book = Book::new(&[VIP]);
        send(&mut book, 100, 50);
        book.answer(VIP, 3);
        let Some(Report::Gap { from, to, .. }) = book.answer(VIP, 40) else { panic!("no gap") };
        assert_eq!((from, to), (103_000_000, 140_000_000));
        assert!(book.answer(VIP, 20).is_none(), "a late answer mends nothing");
    }

    #[test]
    fn numbers_wrap_after_16_bits() {
        let mut book = Book::new(&[VIP]);
        send(&mut book, 0, 65_535);
        book.answer(VIP, 65_534);
        send(&mut book, 65_535, 3);
        assert!(matches!(book.answer(VIP, 1), Some(Report::Gap { from: 65_534_000_000, to: 65_537_000_000, .. })));
    }

    #[test]
    fn an_echo_request_carries_a_checksum_that_adds_up() {
        for number in [0, 1, 0xabcd, 0xffff] {
            let sum: u32 =
                echo_request(Family::V4, number).chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}
