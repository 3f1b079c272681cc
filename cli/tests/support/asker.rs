//! A client that asks an address a thousand times a second whether it is there, and counts what is not answered.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use runtime::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(1);

/// An answer that takes longer than this is none; on a machine that is busy with other tests some take tens.
const LATE: Duration = Duration::from_millis(500);

struct Question {
    asked: Instant,
    answered: bool,
}

#[derive(Default)]
struct Shared {
    questions: Vec<Question>,
    ended: bool,
}

/// A client at work, until it is dropped.
pub struct Asker {
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Of this address, from this machine. It has been answered before this returns.
    pub fn start(machine: &Namespace, target: IpAddr) -> Asker {
        let socket = machine.run(|| socket(target)).unwrap();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || ask(&socket, target, &shared)
        });
        let asker = Asker { shared, thread: Some(thread) };
        let end = Instant::now() + Duration::from_secs(10);
        while !asker.shared.lock().unwrap().questions.iter().any(|q| q.answered) {
            assert!(Instant::now() < end, "{target} does not answer");
            std::thread::sleep(EVERY);
        }
        asker
    }

    /// The moments of the questions since then that nobody answered; those of the last half second wait.
    pub fn lost(&self, since: Instant) -> Vec<Instant> {
        std::thread::sleep(LATE);
        let shared = self.shared.lock().unwrap();
        let mine = shared.questions.iter().filter(|q| q.asked >= since && q.asked.elapsed() >= LATE);
        mine.filter(|q| !q.answered).map(|q| q.asked).collect()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.lock().unwrap().ended = true;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn ask(socket: &Socket, target: IpAddr, shared: &Mutex<Shared>) {
    let mut next = Instant::now();
    for n in 0_u32.. {
        shared.lock().unwrap().questions.push(Question { asked: Instant::now(), answered: false });
        // What cannot be sent, for want of a neighbour, is not answered either.
        let _ = socket.send_to(&request(target, n), &SocketAddr::new(target, 0).into());
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let mut shared = shared.lock().unwrap();
        if shared.ended {
            return;
        }
        let mut packet = [0; 128];
        while let Ok(length) = (&mut &*socket).read(&mut packet) {
            if let Some(question) = reply(target, &packet[..length]).and_then(|n| shared.questions.get_mut(n)) {
                question.answered = true;
            }
        }
    }
}

fn socket(target: IpAddr) -> Socket {
    let socket = match target {
        IpAddr::V4(_) => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        IpAddr::V6(_) => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
    };
    let socket = socket.unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The kernel fills in ICMPv6's checksum.
fn request(target: IpAddr, n: u32) -> [u8; 12] {
    let kind = if target.is_ipv4() { 8 } else { 128 };
    let mut message = [kind, 0, 0, 0, 0x68, 0x61, 0, 0, 0, 0, 0, 0];
    message[8..].copy_from_slice(&n.to_be_bytes());
    if target.is_ipv4() {
        let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        message[2..4].copy_from_slice(&(!(((sum & 0xffff) + (sum >> 16)) as u16)).to_be_bytes());
    }
    message
}

/// The number of the question that this answers.
fn reply(target: IpAddr, packet: &[u8]) -> Option<usize> {
    let (kind, message) = if target.is_ipv4() { (0, packet.get(20..32)?) } else { (129, packet.get(..12)?) };
    let ours = message[0] == kind && message[4..6] == [0x68, 0x61];
    ours.then(|| u32::from_be_bytes(message[8..12].try_into().unwrap()) as usize)
}
