//! Hands on our table: every change of table `ip hactl` that did not come over the VRRP thread's own socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::Socket;

use super::{DATAGRAM, subscribe};
use crate::hot::message::{Message, attribute, messages, text};
use crate::hot::table::TABLE;

/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
const GROUP: u32 = 7;

/// NFT_MSG_DELTABLE and NFT_MSG_NEWGEN of subsystem nf_tables: a table's end, and the end of a transaction.
const DELETE_TABLE: u16 = (10 << 8) | 2;
const TRANSACTION: u16 = (10 << 8) | 15;

/// The first attribute of every nf_tables object is its table's name.
const NAME: u16 = 1;

/// NFTA_GEN_PROC_PID and NFTA_GEN_PROC_NAME.
const PROCESS: u16 = 2;
const PROGRAM: u16 = 3;

/// Length of struct nfgenmsg.
const HEADER: usize = 4;

/// What somebody else did to our table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// The table itself is gone.
    pub removed: bool,
    /// `nft (pid 812)`; `None` where the kernel did not say or dropped it.
    pub by: Option<String>,
}

/// The open subscription to nf_tables.
#[derive(Debug)]
pub struct TableWatch {
    socket: Socket,
    /// Port of the VRRP thread's own edits.
    own: u32,
    buffer: Vec<u8>,
    pending: Option<Touched>,
}

impl TableWatch {
    /// Subscribes in the calling thread's network namespace; edits by the socket with port `own` are not told.
    ///
    /// # Errors
    /// The kernel's, also where it has no nf_tables.
    pub fn open(own: u32) -> io::Result<TableWatch> {
        let socket = subscribe(netlink_sys::protocols::NETLINK_NETFILTER, &[GROUP])?;
        Ok(TableWatch { socket, own, buffer: Vec::with_capacity(DATAGRAM), pending: None })
    }

    /// Reads at most `datagrams` and says what was done to our table, and whether more may wait.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self, datagrams: usize) -> io::Result<(Option<Touched>, bool)> {
        let mut done: Option<Touched> = None;
        for _ in 0..datagrams {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((done, false)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // Events were lost: whatever they were, our table may be meant.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    done.get_or_insert_default();
                    continue;
                }
                Err(e) => return Err(e),
            }
            for message in messages(&self.buffer) {
                if let Some(touched) = take(&message, self.own, &mut self.pending) {
                    let removed = done.is_some_and(|d| d.removed);
                    done = Some(Touched { removed: removed || touched.removed, ..touched });
                }
            }
        }
        Ok((done, true))
    }
}

impl AsFd for TableWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes in one event; at the end of a transaction that touched our table, says so.
fn take(message: &Message, own: u32, pending: &mut Option<Touched>) -> Option<Touched> {
    if message.port == own {
        return None;
    }
    if message.kind == TRANSACTION {
        return pending.take().map(|touched| Touched { by: by(message.payload), ..touched });
    }
    let family = message.payload.first().copied().map(i32::from);
    let name = attribute(message.payload, HEADER, NAME).and_then(text);
    if family == Some(libc::AF_INET) && name == Some(TABLE) {
        pending.get_or_insert_default().removed |= message.kind == DELETE_TABLE;
    }
    None
}

fn by(payload: &[u8]) -> Option<String> {
    let process: [u8; 4] = attribute(payload, HEADER, PROCESS)?.try_into().ok()?;
    let program = attribute(payload, HEADER, PROGRAM).and_then(text)?;
    Some(format!("{program} (pid {})", u32::from_be_bytes(process)))
}
