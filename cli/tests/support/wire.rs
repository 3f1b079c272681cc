//! What is on the wire: every frame that a machine sends, by the port of the bridge that it comes in at, so that nobody
//! can pretend to be somebody else.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::Segment;
use super::frame::{self, Said};
use super::segment::{address, address6};

/// Longer than any takeover, on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A frame that says something about virtual addresses.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the kernel saw it, by the wall clock.
    pub at: Duration,
    /// Which machine sent it.
    pub machine: usize,
    /// What it says.
    pub said: Said,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A virtual router as the wire knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Router {
    /// Its number.
    pub vrid: u8,
    /// Over IPv6 rather than IPv4.
    pub v6: bool,
}

/// Hears everything that the machines of a segment say about virtual addresses, while they are on the bridge.
pub struct Wire {
    shared: Arc<Shared>,
    mouth: Socket,
    mac: [u8; 6],
    client: usize,
}

struct Shared {
    frames: Mutex<Vec<Frame>>,
    came: Condvar,
    stop: AtomicBool,
}

impl Wire {
    /// Of this segment, from now on. The machine of this number is the one that asks.
    pub fn watch(segment: &Segment, client: usize) -> Wire {
        Wire::deaf_to(segment, client, None)
    }

    /// As [`Wire::watch`], but what one machine sends costs nothing, however much it is.
    pub fn deaf_to(segment: &Segment, client: usize, noisy: Option<usize>) -> Wire {
        let everything = Protocol::from(i32::from(3_u16.to_be()));
        let open = || Socket::new(Domain::PACKET, Type::RAW, Some(everything));
        let ear = segment.middle().run(open).unwrap().unwrap();
        ear.attach_filter(&sent_by_machines(noisy.map(|n| segment.port(n)))).unwrap();
        ear.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        setsockopt(&ear, sockopt::ReceiveTimestampns, &true).unwrap();
        let ports: Vec<u32> = (0..segment.machines()).map(|n| segment.port(n)).collect();
        let shared = Shared { frames: Mutex::default(), came: Condvar::new(), stop: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let (theirs, on) = (Arc::clone(&shared), segment.on());
        std::thread::spawn(move || {
            listen(&ear, &theirs, &|port| {
                let machine = ports.iter().position(|p| *p == port)?;
                on[machine].load(Ordering::SeqCst).then_some(machine)
            })
        });
        Wire { shared, mouth: mouth(segment, client), mac: segment.mac(client), client }
    }

    /// Everything so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.shared.frames.lock().unwrap().clone()
    }

    /// What was said since `mark`, a line for each, for people.
    pub fn transcript(&self, mark: usize) -> String {
        let frames = self.shared.frames.lock().unwrap();
        let start = frames.first().map_or(Duration::ZERO, |frame| frame.at);
        let line = |frame: &Frame| format!("{:>12?} machine {}: {:?}\n", frame.at - start, frame.machine, frame.said);
        frames[mark..].iter().map(line).collect()
    }

    /// How much there is so far: what follows is since now.
    pub fn mark(&self) -> usize {
        self.shared.frames.lock().unwrap().len()
    }

    /// Waits until `found` gives something for the frames so far.
    pub fn wait<T>(&self, patience: Duration, found: impl Fn(&[Frame]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut frames = self.shared.frames.lock().unwrap();
        loop {
            if let Some(it) = found(&frames) {
                return Some(it);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            frames = self.shared.came.wait_timeout(frames, left).unwrap().0;
        }
    }

    /// Waits until one machine alone has sent adverts of the virtual router for so long. What was said before that is as
    /// if it had not been.
    pub fn settle(&self, router: Router, machine: usize, alone: Duration) -> bool {
        let settled = |frames: &[Frame]| {
            let adverts = || frames.iter().rev().filter(|frame| advertises(frame, router));
            let first = adverts().take_while(|frame| frame.machine == machine).last()?;
            (adverts().next()?.at - first.at >= alone).then_some(())
        };
        self.wait(PATIENCE, settled).is_some()
    }

    /// Waits for so many adverts of the virtual router after `mark`: who sent them, in order.
    pub fn listen(&self, router: Router, mark: usize, adverts: usize) -> Vec<usize> {
        let heard = |frames: &[Frame]| {
            let speakers = speakers(&frames[mark..], router);
            (speakers.len() >= adverts).then_some(())
        };
        let _ = self.wait(PATIENCE, heard);
        speakers(&self.shared.frames.lock().unwrap()[mark..], router)
    }

    /// Asks everybody for an address until somebody answers, and then listens for as long as the answer took and ten
    /// times longer: the machines that answered.
    pub fn owners(&self, wanted: IpAddr) -> Vec<usize> {
        let own: IpAddr = if wanted.is_ipv4() { address(self.client).into() } else { address6(self.client).into() };
        let question = frame::question(self.mac, own, wanted);
        let start = Instant::now();
        let mark = self.mark();
        let answers = |frames: &[Frame]| -> Vec<usize> {
            let answer =
                |frame: &&Frame| matches!(frame.said, Said::Mine { address, asked: true, .. } if address == wanted);
            let mut machines: Vec<usize> = frames[mark..].iter().filter(answer).map(|frame| frame.machine).collect();
            machines.sort_unstable();
            machines.dedup();
            machines
        };
        while start.elapsed() < PATIENCE {
            self.mouth.send(&question).unwrap();
            let asked = Instant::now();
            let answered = |frames: &[Frame]| Some(answers(frames)).filter(|machines| !machines.is_empty());
            if self.wait(Duration::from_millis(100), answered).is_some() {
                let longer = (asked.elapsed() * 10).clamp(Duration::from_millis(5), Duration::from_millis(200));
                let _ = self.wait(longer, |_| None::<()>);
                return answers(&self.shared.frames.lock().unwrap());
            }
        }
        Vec::new()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// Whether a frame is an advert of a virtual router; a goodbye is none.
fn advertises(frame: &Frame, router: Router) -> bool {
    matches!(frame.said, Said::Advert { source, vrid, priority: 1.., .. }
        if (vrid, source.is_ipv6()) == (router.vrid, router.v6))
}

/// The machines that sent the adverts of a virtual router, in order.
fn speakers(frames: &[Frame], router: Router) -> Vec<usize> {
    frames.iter().filter(|frame| advertises(frame, router)).map(|frame| frame.machine).collect()
}

/// Lets through what comes in from the machines, without one of the ports, and nothing that goes out to them.
fn sent_by_machines(without: Option<u32>) -> [SockFilter; 6] {
    // PACKET_OUTGOING of linux/if_packet.h.
    const OUTGOING: u32 = 4;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let ancillary = |offset: i32| (libc::SKF_AD_OFF + offset).cast_unsigned();
    [
        SockFilter::new(LOAD, 0, 0, ancillary(libc::SKF_AD_PKTTYPE)),
        SockFilter::new(IF_EQUAL, 3, 0, OUTGOING),
        SockFilter::new(LOAD_WORD, 0, 0, ancillary(libc::SKF_AD_IFINDEX)),
        SockFilter::new(IF_EQUAL, 1, 0, without.unwrap_or(0)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn listen(ear: &Socket, shared: &Shared, machine: &dyn Fn(u32) -> Option<usize>) {
    let mut buffer = [0; 2048];
    while !shared.stop.load(Ordering::SeqCst) {
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<LinkAddr>(ear.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty());
        let Ok(received) = received else { continue };
        let stamp = received.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        });
        let (Some(stamp), Some(from)) = (stamp, received.address) else { continue };
        let length = received.bytes;
        let Some(machine) = machine(u32::try_from(from.ifindex()).unwrap()) else { continue };
        let bytes = &buffer[..length];
        if let Some(said) = frame::read(bytes) {
            let frame = Frame { at: stamp.into(), machine, said, bytes: bytes.to_vec() };
            shared.frames.lock().unwrap().push(frame);
            shared.came.notify_all();
        }
    }
}

/// A socket that sends whole frames out of a machine's `eth0` and receives none.
pub fn mouth(segment: &Segment, machine: usize) -> Socket {
    let index = segment.machine(machine).links().unwrap().index("eth0").unwrap();
    let open = || Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
    let socket = segment.machine(machine).run(open).unwrap();
    // SAFETY: what is filled in is a sockaddr_ll, which is shorter than the storage that it is told to be in; zero is
    // a value for all of its members.
    let link = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = u16::try_from(libc::AF_PACKET).unwrap();
            (*link).sll_ifindex = i32::try_from(index).unwrap();
            *length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
            Ok(())
        })
    };
    socket.bind(&link.unwrap().1).unwrap();
    socket
}
