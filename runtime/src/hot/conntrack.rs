//! Forgetting connections: entries of connection tracking are deleted by their original destination.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::ControlFlow;

use super::HotError;
use super::message::{Batch, Message, attribute};
use super::netlink::Netlink;

/// Entries deleted for one call at most, so that those of a machine with a million connections need not all be kept in
/// memory. What is left is a next call's ([`Forgotten::more`]).
pub const ENTRIES: usize = 16_384;

/// Deletions in one `send`.
const DELETES: usize = 50;

/// IPCTNL_MSG_CT_GET and …_DELETE (linux/netfilter/nfnetlink_conntrack.h).
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;

/// CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_FILTER and what they hold.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const SOURCE_PORT: u16 = 2;
/// Bit of the destination address in CTA_FILTER_ORIG_FLAGS.
const BY_DESTINATION: u32 = 1 << 1;

/// What is forgotten.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Every connection to one of these addresses.
    To(&'a BTreeSet<Ipv4Addr>),
    /// Connections to one of these addresses that one of these backends answers.
    Answered(&'a BTreeSet<Ipv4Addr>, &'a [SocketAddrV4]),
}

impl Which<'_> {
    fn addresses(&self) -> &BTreeSet<Ipv4Addr> {
        match self {
            Which::To(addresses) | Which::Answered(addresses, _) => addresses,
        }
    }

    fn matches(&self, payload: &[u8]) -> bool {
        let to = attribute(payload, 4, ORIGINAL).and_then(|t| address(t, IP_DESTINATION));
        let ours = to.is_some_and(|to| self.addresses().contains(&to));
        match self {
            Which::To(_) => ours,
            Which::Answered(_, backends) => {
                let reply = attribute(payload, 4, REPLY);
                let from = reply.and_then(|t| Some(SocketAddrV4::new(address(t, IP_SOURCE)?, source_port(t)?)));
                ours && from.is_some_and(|from| backends.contains(&from))
            }
        }
    }
}

/// What a call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Entries deleted.
    pub entries: usize,
    /// Whether more are left than [`ENTRIES`] allowed.
    pub more: bool,
}

/// Deletes the entries meant, at most [`ENTRIES`]. Where the kernel has no connection tracking there is none.
///
/// # Errors
/// The kernel's refusal.
pub fn forget(which: Which) -> Result<Forgotten, HotError> {
    let failed = |source| HotError::socket("reading connection tracking", source);
    let found = match find(which) {
        Ok(found) => found,
        Err(e) if no_tracking(&e) => return Ok(Forgotten { entries: 0, more: false }),
        Err(e) => return Err(failed(e)),
    };
    if !found.is_empty() {
        delete(&found).map_err(|source| HotError::socket("deleting connection tracking entries", source))?;
    }
    Ok(Forgotten { entries: found.len(), more: found.len() >= ENTRIES })
}

/// The kernel's answers where nf_conntrack_netlink is not there.
fn no_tracking(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::EPROTONOSUPPORT))
}

/// An entry by what the kernel finds it by.
pub(super) struct Entry {
    original: Vec<u8>,
    id: Option<Vec<u8>>,
}

pub(super) fn find(which: Which) -> io::Result<Vec<Entry>> {
    // A socket of its own: closing it ends a dump that is broken off.
    let mut netlink = Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
    let mut batch = netlink.batch();
    request(&mut batch, which);
    let mut found = Vec::new();
    let take = |message: Message| {
        if which.matches(message.payload) {
            let original = attribute(message.payload, 4, ORIGINAL).map(<[u8]>::to_vec);
            let id = attribute(message.payload, 4, ID).map(<[u8]>::to_vec);
            found.extend(original.map(|original| Entry { original, id }));
        }
        if found.len() < ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    netlink.dump(&batch, take)?;
    Ok(found)
}

/// Where one address is meant the kernel (≥ 5.8) tells only of its entries; others tell of all, and [`Which::matches`]
/// decides in either case.
fn request(batch: &mut Batch, which: Which) {
    let mut addresses = which.addresses().iter();
    let only = addresses.next().filter(|_| addresses.next().is_none());
    batch.request(GET, libc::NLM_F_DUMP, |body| {
        body.put(&[libc::AF_INET as u8, 0, 0, 0]);
        if let Some(only) = only {
            body.nest(ORIGINAL, |t| t.nest(TUPLE_IP, |ip| ip.attribute(IP_DESTINATION, &only.octets())));
            body.nest(FILTER, |f| {
                f.attribute(FILTER_ORIGINAL, &BY_DESTINATION.to_ne_bytes());
                f.attribute(FILTER_REPLY, &0u32.to_ne_bytes());
            });
        }
    });
}

fn delete(entries: &[Entry]) -> io::Result<()> {
    let mut netlink = Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
    for part in entries.chunks(DELETES) {
        let mut batch = netlink.batch();
        for (n, entry) in (1..).zip(part) {
            // Refusals come unasked and in order, so one acknowledgement confirms all.
            let acknowledge = if n == part.len() { libc::NLM_F_ACK } else { 0 };
            batch.request(DELETE, acknowledge, |body| {
                body.put(&[libc::AF_INET as u8, 0, 0, 0]);
                // Never without a tuple: such a request deletes every entry of the machine.
                body.nest(ORIGINAL, |tuple| tuple.put(&entry.original));
                // The number tells it from a new entry of the same tuple.
                if let Some(id) = &entry.id {
                    body.attribute(ID, id);
                }
            });
        }
        let refused = netlink.each(&batch)?.into_iter().flatten().find(|code| *code != libc::ENOENT);
        if let Some(code) = refused {
            return Err(io::Error::from_raw_os_error(code));
        }
    }
    Ok(())
}

fn address(tuple: &[u8], kind: u16) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = attribute(attribute(tuple, 0, TUPLE_IP)?, 0, kind)?.try_into().ok()?;
    Some(Ipv4Addr::from(bytes))
}

fn source_port(tuple: &[u8]) -> Option<u16> {
    let bytes: [u8; 2] = attribute(attribute(tuple, 0, TUPLE_PROTOCOL)?, 0, SOURCE_PORT)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}
