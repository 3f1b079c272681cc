//! The adverts of the first virtual router as a machine on the segment hears them, with the kernel's timestamps: how late
//! they are does not depend on when the measurement gets a processor.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use runtime::netns::Namespace;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Ethernet's number for IPv4.
const ETHERTYPE_IPV4: u16 = 0x0800;
/// The virtual router that is listened to.
const VRID: u32 = 1;

/// An advert that was heard.
#[derive(Debug, Clone, Copy)]
pub struct Advert {
    /// When it arrived.
    pub at: Instant,
    /// The machine that sent it, counted from 0.
    pub from: usize,
    /// Its priority; 0 is a goodbye.
    pub priority: u8,
}

/// Hears until dropped.
pub struct Tap {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    more: Condvar,
}

#[derive(Default)]
struct Heard {
    adverts: Vec<Advert>,
    ended: bool,
}

impl Tap {
    /// Listens as this machine hears them.
    pub fn on(space: &Namespace) -> Tap {
        let socket = space.run(socket).unwrap();
        let shared = Arc::new(Shared::default());
        let listener = Arc::clone(&shared);
        std::thread::spawn(move || listener.listen(&socket));
        Tap { shared }
    }

    /// Waits for the next advert of this machine.
    pub fn next(&self, from: usize, patience: Duration) -> Option<Advert> {
        let heard = self.shared.heard.lock().unwrap();
        let start = heard.adverts.len();
        let next = |heard: &Heard| heard.adverts[start..].iter().find(|advert| advert.from == from).copied();
        let (heard, _) = self.shared.more.wait_timeout_while(heard, patience, |heard| next(heard).is_none()).unwrap();
        next(&heard)
    }

    /// The last advert of this machine before this moment.
    pub fn last(&self, from: usize, before: Instant) -> Option<Advert> {
        let heard = self.shared.heard.lock().unwrap();
        heard.adverts.iter().rev().find(|advert| advert.from == from && advert.at < before).copied()
    }

    /// From one advert of this machine to the next, since this moment.
    pub fn intervals(&self, from: usize, since: Instant) -> Vec<Duration> {
        let heard = self.shared.heard.lock().unwrap();
        let own: Vec<Instant> =
            heard.adverts.iter().filter(|a| a.from == from && a.at >= since).map(|a| a.at).collect();
        own.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// How often another machine than the one before spoke as master, since this moment.
    pub fn takeovers(&self, since: Instant) -> usize {
        let spoken = self.spoken(since);
        spoken.windows(2).filter(|pair| pair[0].from != pair[1].from).count()
    }

    /// For how long two machines spoke as masters, since this moment: from the first advert of the one that remained to
    /// the last of another.
    pub fn two_masters(&self, since: Instant) -> Duration {
        let spoken = self.spoken(since);
        let Some(remained) = spoken.last().map(|advert| advert.from) else { return Duration::ZERO };
        let first = spoken.iter().find(|advert| advert.from == remained).map(|advert| advert.at);
        let last = spoken.iter().rev().find(|advert| advert.from != remained).map(|advert| advert.at);
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

    /// What masters sent since this moment; a goodbye is no master's.
    fn spoken(&self, since: Instant) -> Vec<Advert> {
        let heard = self.shared.heard.lock().unwrap();
        heard.adverts.iter().filter(|advert| advert.at >= since && advert.priority > 0).copied().collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.heard.lock().unwrap().ended = true;
    }
}

impl Shared {
    fn listen(&self, socket: &Socket) {
        crate::client::urgent();
        let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec);
        loop {
            let mut packet = [0; 64];
            let mut parts = [IoSliceMut::new(&mut packet)];
            let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
            let stamp = received.ok().filter(|r| r.bytes >= 28).and_then(|r| {
                r.cmsgs().ok()?.find_map(|message| match message {
                    ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                    _ => None,
                })
            });
            let mut heard = self.heard.lock().unwrap();
            if heard.ended {
                return;
            }
            if let Some(stamp) = stamp {
                let ago = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + stamp).unwrap_or_default();
                // The last byte of its address, counted from 1.
                let (from, priority) = (usize::from(packet[15]) - 1, packet[22]);
                heard.adverts.push(Advert { at: Instant::now() - ago, from, priority });
                self.more.notify_all();
            }
        }
    }
}

fn socket() -> Socket {
    let protocol = Protocol::from(i32::from(ETHERTYPE_IPV4.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap();
    // Protocol 112 of a header without options, and the virtual router's number; everything else is not passed up.
    let (load, is, give) = (0x30, 0x15, 0x06);
    let filter =
        [(load, 0, 0, 9), (is, 0, 3, 112), (load, 0, 0, 21), (is, 0, 1, VRID), (give, 0, 0, 64), (give, 0, 0, 0)];
    socket.attach_filter(&filter.map(|(code, yes, no, k)| SockFilter::new(code, yes, no, k))).unwrap();
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}
