//! An outsider on the segment that forges adverts, and processes that want every processor.

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::cluster::CLIENT;
use crate::support::segment::address;
use crate::support::wire::mouth;
use crate::support::{Cluster, Segment};

/// A portion of packets is sent so often: as many a second as are asked for, whenever the sender gets a processor.
const PORTION_EVERY: Duration = Duration::from_millis(1);

/// Sends forged adverts until dropped.
pub struct Flood {
    shared: Arc<(AtomicBool, AtomicU64)>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// So many a second, from the client's machine.
    pub fn start(cluster: &Cluster, a_second: u64) -> Flood {
        let shared = Arc::new((AtomicBool::new(false), AtomicU64::new(0)));
        let (socket, frames, theirs) =
            (mouth(&cluster.segment, CLIENT), forgeries(&cluster.segment), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            for (sent, frame) in (0_u64..).zip(frames.iter().cycle()) {
                while sent >= start.elapsed().as_micros() as u64 * a_second / 1_000_000 {
                    if theirs.0.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(PORTION_EVERY);
                }
                socket.send(frame).unwrap();
                theirs.1.fetch_add(1, Ordering::Relaxed);
            }
        });
        Flood { shared, thread: Some(thread) }
    }

    /// How many were sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.1.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.0.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The best priority there is, in packets that are wrong in one way each: time to live, virtual router, checksum,
/// version, length.
fn forgeries(segment: &Segment) -> [Vec<u8>; 5] {
    let good = Forgery { ttl: 255, version: 3, vrid: 1, spoilt: 0, addresses: 1 };
    [
        Forgery { ttl: 64, ..good },
        Forgery { vrid: 200, ..good },
        Forgery { spoilt: 1, ..good },
        Forgery { version: 7, ..good },
        Forgery { addresses: 0, ..good },
    ]
    .map(|forgery| forgery.frame(segment.mac(CLIENT)))
}

#[derive(Clone, Copy)]
struct Forgery {
    ttl: u8,
    version: u8,
    vrid: u8,
    spoilt: u16,
    addresses: usize,
}

impl Forgery {
    fn frame(self, mac: [u8; 6]) -> Vec<u8> {
        let (source, group) = (address(CLIENT).octets(), [224, 0, 0, 18]);
        // It says that it has one address, at 1 s.
        let mut message = vec![self.version << 4 | 1, self.vrid, 255, 1, 0, 100, 0, 0];
        message.extend([10, 77, 1, 1].repeat(self.addresses));
        let pseudo = [&source[..], &group, &[0, 112, 0, message.len() as u8]].concat();
        let sum = checksum(&[&pseudo[..], &message].concat()) ^ self.spoilt;
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        let length = 20 + message.len() as u8;
        let mut header = [&[0x45, 0, 0, length, 0, 0, 0, 0, self.ttl, 112, 0, 0], &source[..], &group].concat();
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&[0x01, 0, 0x5e, 0, 0, 0x12], &mac[..], &[8, 0], &header, &message].concat()
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// Processes that do nothing, and want a processor for it. Ended when dropped.
pub struct Busy(Vec<Child>);

impl Busy {
    /// Two for each processor.
    pub fn start() -> Busy {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // In sessions of their own, as services are: the kernel shares processors out among sessions first, and a program
        // of ours is in this one.
        let spin = |_| Command::new("setsid").args(["sh", "-c", "while :; do :; done"]).spawn().unwrap();
        Busy((0..2 * processors).map(spin).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
