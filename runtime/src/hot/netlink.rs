//! A blocking, long-lived netlink socket for requests: each is confirmed by the kernel before the caller goes on.

use std::io;
use std::ops::ControlFlow;

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{Batch, Message, messages, u32_at};

/// The kernel answers within microseconds; a second without an answer is a bug there, and the VRRP thread must not hang
/// on it.
const PATIENCE_SECONDS: i64 = 1;

/// Largest datagram that the kernel makes for a dump is 32 KiB (NLMSG_GOODSIZE limits); twice that is never truncated.
const DATAGRAM: usize = 64 * 1024;

/// A dump that the kernel says was disturbed by a change is read again this often; then what was read is used.
const DUMPS: usize = 4;

/// Datagrams of answers read for one request at most: far above a dump of a million entries, and an end.
const DATAGRAMS: usize = 1_000_000;

/// A request's refusal, as errno.
pub type Refusal = i32;

/// A netlink socket for requests.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket of this protocol in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(protocol: isize) -> io::Result<Netlink> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        // Short refusals: without the request's copy, 50 of which would fill the buffer.
        socket.set_cap_ack(true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
        Ok(Netlink { socket, port, sequence: 1, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// The socket's port: what events that its requests cause carry.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// An empty batch with fresh numbers.
    pub fn batch(&self) -> Batch {
        Batch::new(self.sequence)
    }

    /// Answers dumps by the filters of the request (kernel ≥ 4.20); older kernels answer with everything.
    pub fn filter_dumps(&self) {
        let _ = self.socket.set_netlink_get_strict_chk(true);
    }

    /// Sends requests of which the last asks for an acknowledgement and waits for it: the refusal of each, in order,
    /// `None` where it was done. The kernel works through them one after the other.
    ///
    /// # Errors
    /// Of the socket itself.
    pub fn each(&mut self, batch: &Batch) -> io::Result<Vec<Option<Refusal>>> {
        let mut answers = vec![None; batch.count() as usize];
        let Some(last) = answers.len().checked_sub(1) else { return Ok(answers) };
        self.send(batch)?;
        self.receive(|message| {
            let at = message.sequence.wrapping_sub(batch.first()) as usize;
            let (Some(answer), Some(code)) = (answers.get_mut(at), refusal(message)) else {
                return ControlFlow::Continue(());
            };
            *answer = Some(code).filter(|code| *code != 0);
            if at == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(answers)
    }

    /// Sends an nfnetlink transaction, whose last message but one asks for an acknowledgement: the first refusal with
    /// the number of its message, `None` where all was done. Nothing was done where there is one.
    ///
    /// # Errors
    /// Of the socket itself.
    pub fn transaction(&mut self, batch: &Batch) -> io::Result<Option<(u32, Refusal)>> {
        self.send(batch)?;
        let last = batch.count().saturating_sub(2);
        let mut refused = None;
        self.receive(|message| {
            let at = message.sequence.wrapping_sub(batch.first());
            let Some(code) = refusal(message).filter(|_| at < batch.count()) else {
                return ControlFlow::Continue(());
            };
            if code != 0 && refused.is_none() {
                refused = Some((at, code));
            }
            // A refusal of the opening message is one of the whole transaction: nothing else need follow.
            if at == last || (at == 0 && code != 0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(refused)
    }

    /// Sends one request whose answer is one message, and reads that.
    ///
    /// # Errors
    /// Of the socket, or the kernel's refusal.
    pub fn one<T>(&mut self, batch: &Batch, read: impl FnOnce(Message) -> T) -> io::Result<T> {
        self.send(batch)?;
        let mut answer = Err(io::ErrorKind::InvalidData.into());
        let mut read = Some(read);
        self.receive(|message| {
            if message.sequence != batch.first() {
                return ControlFlow::Continue(());
            }
            answer = match (refusal(message), read.take()) {
                (Some(code), _) => Err(io::Error::from_raw_os_error(code)),
                (None, Some(read)) => Ok(read(message)),
                (None, None) => return ControlFlow::Break(()),
            };
            ControlFlow::Break(())
        })?;
        answer
    }

    /// Sends one dump request and hands each message of the answer to `take`, which may break off; the socket must not
    /// be used again then.
    ///
    /// # Errors
    /// Of the socket, or the kernel's refusal.
    pub fn dump(
        &mut self,
        batch: &Batch,
        mut take: impl FnMut(Message) -> ControlFlow<()>,
    ) -> io::Result<Completeness> {
        self.send(batch)?;
        let mut refused = None;
        let mut disturbed = false;
        self.receive(|message| {
            if message.sequence != batch.first() {
                return ControlFlow::Continue(());
            }
            disturbed |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
            match i32::from(message.kind) {
                libc::NLMSG_DONE => ControlFlow::Break(()),
                libc::NLMSG_ERROR => {
                    refused = refusal(message).filter(|code| *code != 0);
                    ControlFlow::Break(())
                }
                _ => take(message),
            }
        })?;
        match refused {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None if disturbed => Ok(Completeness::Disturbed),
            None => Ok(Completeness::Complete),
        }
    }

    /// Dumps again while the kernel says that a change came between, a few times; `read` starts anew each time.
    ///
    /// # Errors
    /// As [`Netlink::dump`].
    pub fn dump_whole<T: Default>(
        &mut self,
        request: impl Fn(&mut Batch),
        read: impl Fn(Message, &mut T),
    ) -> io::Result<T> {
        let mut found = T::default();
        for _ in 0..DUMPS {
            found = T::default();
            let mut batch = self.batch();
            request(&mut batch);
            let whole = self.dump(&batch, |message| {
                read(message, &mut found);
                ControlFlow::Continue(())
            })?;
            if whole == Completeness::Complete {
                break;
            }
        }
        Ok(found)
    }

    fn send(&mut self, batch: &Batch) -> io::Result<()> {
        // 0 is the kernel's own: no request carries it.
        self.sequence = self.sequence.wrapping_add(batch.count()).max(1);
        self.socket.send(batch.bytes(), 0).map(drop)
    }

    fn receive(&mut self, mut take: impl FnMut(Message) -> ControlFlow<()>) -> io::Result<()> {
        for _ in 0..DATAGRAMS {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer within a second"));
                }
                Err(e) => return Err(e),
            }
            if messages(&self.buffer).any(|message| take(message).is_break()) {
                return Ok(());
            }
        }
        Err(io::Error::other("the kernel's answer has no end"))
    }
}

/// Whether a dump is of one state of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// It is.
    Complete,
    /// Something changed while it was made: entries may be missing.
    Disturbed,
}

/// What an acknowledgement says: 0 for done, else the errno; `None` for another message.
fn refusal(message: Message) -> Option<Refusal> {
    match i32::from(message.kind) == libc::NLMSG_ERROR {
        true => u32_at(message.payload, 0).map(|code| (code as i32).wrapping_neg()),
        false => None,
    }
}
