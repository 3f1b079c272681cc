//! Addresses with our mark: added and deleted in confirmed batches over one long-lived socket.
//!
//! An address is added as `ip addr add` does it: scope global, no broadcast address, and with the connected route of
//! its prefix where it is the first of its network on the interface (no `noprefixroute`), as keepalived does too.
//!
//! An IPv6 address is added without detection of duplicates, which would keep it from answering for a second or more:
//! the election has decided that it is ours. And with a preferred lifetime of zero, so that it answers but is not the
//! source of what this machine says first, as a secondary IPv4 address is not either.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use model::observed::OUR_MARK;
use model::units::Cidr;
use netlink_packet_core::Emitable;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo};

use super::HotError;
use super::message::Batch;
use super::netlink::{Netlink, Refusal};

/// Addresses in one `send`: batches of 200 and more are known to hang, as the answers overflow the socket's buffer, and
/// the first address is announced only when its batch is done.
pub const BATCH: usize = 50;

/// A request's type and flags.
type Verb = (u16, i32);

/// Adds, and must not replace.
const ADD: Verb = (libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL);

/// Puts the mark back.
const REPLACE: Verb = (libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);

/// Deletes by address and prefix.
const DELETE: Verb = (libc::RTM_DELADDR, 0);

/// An address on an interface as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The interface's index.
    pub index: u32,
    /// Which.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
    /// IFA_PROTO.
    pub mark: u8,
    /// Goes with the primary address of its network.
    pub secondary: bool,
    /// Not yet, or not at all, past the detection of duplicates: nothing may be sent from it.
    pub tentative: bool,
}

impl Standing {
    /// Reads RTM_NEWADDR and RTM_DELADDR; `None` for another family and for what cannot be read.
    pub fn read(payload: &[u8]) -> Option<Standing> {
        let message = AddressMessage::parse(payload).ok()?;
        let mut local = None;
        let mut far = None;
        let mut mark = 0;
        let mut flags = u32::from(message.header.flags.bits());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(a) => local = Some(*a),
                AddressAttribute::Address(a) => far = Some(*a),
                AddressAttribute::Protocol(p) => mark = u8::from(*p),
                AddressAttribute::Flags(f) => flags |= f.bits(),
                _ => {}
            }
        }
        // IFA_LOCAL is ours also on a point-to-point link, where IFA_ADDRESS is the other end's.
        let address = local.or(far)?;
        let v4 = address.is_ipv4();
        Some(Standing {
            index: message.header.index,
            address,
            prefix: message.header.prefix_len,
            mark,
            // IPv6 gives temporary addresses this bit.
            secondary: v4 && flags & libc::IFA_F_SECONDARY != 0,
            tentative: !v4 && flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) != 0,
        })
    }

    /// Address and prefix together.
    pub fn cidr(&self) -> Option<Cidr> {
        Cidr::new(self.address, self.prefix).ok()
    }

    /// Whether this is that address with that prefix.
    pub fn is(&self, cidr: &Cidr) -> bool {
        cidr.address() == self.address && cidr.prefix() == self.prefix
    }

    /// Whether that address cannot be added beside this one: an interface has an IPv6 address once, whatever its prefix.
    pub fn is_in_the_way_of(&self, cidr: &Cidr) -> bool {
        self.is(cidr) || (self.address.is_ipv6() && cidr.address() == self.address)
    }
}

/// The long-lived socket for addresses.
#[derive(Debug)]
pub struct Addresses {
    netlink: Netlink,
}

impl Addresses {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Addresses> {
        let netlink = Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)?;
        netlink.filter_dumps();
        Ok(Addresses { netlink })
    }

    /// The socket's port: what events of its own changes carry.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// Adds at most [`BATCH`] addresses with our mark. One that stands and is ours is success.
    ///
    /// # Errors
    /// The first refusal; one that stands without our mark is refused. Others of the batch may stand then.
    pub fn add(&mut self, index: u32, cidrs: &[Cidr]) -> Result<(), HotError> {
        let answers = self.change(ADD, index, cidrs)?;
        let mut standing = None;
        for (cidr, code) in cidrs.iter().zip(answers) {
            match code {
                None => {}
                Some(libc::EEXIST) => {
                    let standing = match &standing {
                        Some(list) => list,
                        None => standing.insert(self.standing(index)?),
                    };
                    if !standing.iter().any(|s| s.is(cidr) && s.mark == OUR_MARK) {
                        return Err(HotError::Foreign { what: cidr.to_string() });
                    }
                }
                Some(code) => return Err(refused("adding", cidr, code)),
            }
        }
        Ok(())
    }

    /// Deletes those of the addresses that carry our mark; what is absent or another's is left alone. Says which were
    /// deleted.
    ///
    /// # Errors
    /// The first refusal, after all were tried.
    pub fn delete(&mut self, index: u32, cidrs: &[Cidr]) -> Result<Vec<Cidr>, HotError> {
        // The kernel ignores IFA_PROTO in a delete: only reading again tells whether it is ours.
        let standing = self.standing(index)?;
        let asked: BTreeSet<Cidr> = cidrs.iter().copied().collect();
        let ours = standing.iter().filter(|s| s.mark == OUR_MARK).filter_map(|s| Some((s.secondary, s.cidr()?)));
        let mut ours: Vec<_> = ours.filter(|(_, cidr)| asked.contains(cidr)).collect();
        // Secondaries first: with promote_secondaries each deleted primary moves the routes of all the others, which
        // takes seconds for a thousand.
        ours.sort_by_key(|(secondary, _)| !secondary);
        let doomed: Vec<Cidr> = ours.into_iter().map(|(_, cidr)| cidr).collect();
        let mut failure = None;
        for batch in doomed.chunks(BATCH) {
            let answers = self.change(DELETE, index, batch)?;
            for (cidr, code) in batch.iter().zip(answers) {
                match code {
                    // Gone with its primary address, or with its interface.
                    None | Some(libc::EADDRNOTAVAIL | libc::ENODEV) => {}
                    Some(code) => failure = failure.or(Some(refused("deleting", cidr, code))),
                }
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(doomed),
        }
    }

    /// Puts our mark back on an address that we hold and somebody replaced.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn mark_again(&mut self, index: u32, cidr: &Cidr) -> Result<(), HotError> {
        let answers = self.change(REPLACE, index, std::slice::from_ref(cidr))?;
        match answers.first() {
            Some(Some(code)) => Err(refused("marking", cidr, *code)),
            _ => Ok(()),
        }
    }

    /// Whether this IPv6 address stands on this interface with our mark.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stands_v6(&mut self, index: u32, cidr: Cidr) -> Result<bool, HotError> {
        let mut batch = self.netlink.batch();
        let IpAddr::V6(address) = cidr.address() else { return Ok(false) };
        batch.request(libc::RTM_GETADDR, 0, |body| {
            body.put(&[libc::AF_INET6 as u8, 0, 0, 0]);
            body.put(&index.to_ne_bytes());
            body.attribute(libc::IFA_ADDRESS, &address.octets());
        });
        let found = self.netlink.one(&batch, |m| Standing::read(m.payload));
        match found {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(false),
            Err(source) => Err(HotError::socket("reading an address", source)),
            Ok(found) => Ok(found.is_some_and(|s| s.is(&cidr) && s.mark == OUR_MARK)),
        }
    }

    /// The addresses of an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn standing(&mut self, index: u32) -> Result<Vec<Standing>, HotError> {
        let request = |batch: &mut Batch| {
            batch.request(libc::RTM_GETADDR, libc::NLM_F_DUMP, |body| {
                body.put(&[libc::AF_UNSPEC as u8, 0, 0, 0]);
                body.put(&index.to_ne_bytes());
            });
        };
        let found = self.netlink.dump_whole(request, |message, found: &mut Vec<Standing>| {
            // Kernels that ignore the filter tell of every interface.
            found.extend(Standing::read(message.payload).filter(|s| s.index == index));
        });
        match found {
            // The interface has vanished, and its addresses with it.
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
            other => other.map_err(|source| HotError::socket("reading addresses", source)),
        }
    }

    fn change(&mut self, (kind, flags): Verb, index: u32, cidrs: &[Cidr]) -> Result<Vec<Option<Refusal>>, HotError> {
        let mut batch = self.netlink.batch();
        for (n, cidr) in (1..).zip(cidrs) {
            // Refusals come unasked and in order, so one acknowledgement confirms all.
            let acknowledge = if n == cidrs.len() { libc::NLM_F_ACK } else { 0 };
            batch.request(kind, flags | acknowledge, |body| body.put(&message(index, cidr)));
        }
        self.netlink.each(&batch).map_err(|source| HotError::socket("changing addresses", source))
    }
}

fn message(index: u32, cidr: &Cidr) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.family = if cidr.v4().is_some() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = cidr.prefix();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(cidr.address()),
        AddressAttribute::Address(cidr.address()),
        AddressAttribute::Protocol(AddressProtocol::Other(OUR_MARK)),
    ];
    if cidr.v4().is_none() {
        let mut lifetime = CacheInfo::default();
        (lifetime.ifa_preferred, lifetime.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn refused(doing: &str, cidr: &Cidr, code: Refusal) -> HotError {
    if code == libc::EACCES && cidr.v4().is_none() {
        return HotError::NoIpv6 { what: format!("{doing} {cidr}") };
    }
    HotError::Refused { what: format!("{doing} {cidr}"), source: io::Error::from_raw_os_error(code) }
}
