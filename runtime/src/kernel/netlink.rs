//! Links, addresses and the existence of our tables, over a netlink socket of the calling thread's namespace: one
//! request, its whole answer, every time with the kernel's acknowledgement.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use model::observed::{Address, Link, OUR_MARK};
use model::units::{Cidr, Family, InterfaceName};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage, State};
use netlink_packet_route::{AddressFamily, link::LinkLayerType};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::KernelError;

/// How often a dump that was disturbed by a change is asked for again: each takes about a millisecond, and a machine
/// that changes its addresses faster for so long has another trouble.
const DUMP_TRIES: usize = 20;

/// Longest wait for an answer: the kernel answers at once unless another holds its network lock for long.
const ANSWER_LIMIT_SECONDS: i64 = 10;

/// The network interfaces by name.
pub(super) fn links() -> Result<BTreeMap<InterfaceName, Link>, KernelError> {
    let mut ask = LinkMessage::default();
    // Statistics are half of the answer and of no interest.
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = dump(RouteNetlinkMessage::GetLink(ask)).map_err(|e| failed("reading interfaces", &e))?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => read_link(&link),
            _ => None,
        })
        .collect())
}

/// Every address on every one of those interfaces.
pub(super) fn addresses(links: &BTreeMap<InterfaceName, Link>) -> Result<Vec<Address>, KernelError> {
    let names: BTreeMap<u32, &InterfaceName> = links.iter().map(|(name, link)| (link.index, name)).collect();
    let answers = dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .map_err(|e| failed("reading addresses", &e))?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => {
                read_address(&message, names.get(&message.header.index).copied()?.clone())
            }
            _ => None,
        })
        .collect())
}

/// A socket for changes, each confirmed before the next.
pub(super) struct Changes(Socket);

impl Changes {
    /// Opens it in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Changes> {
        open(NETLINK_ROUTE).map(Changes)
    }

    /// Adds an address with our mark. `AlreadyExists` where an equal one stands, whoever put it there.
    pub(super) fn add_address(&self, index: u32, cidr: Cidr) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, cidr));
        self.acknowledged(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Deletes an address, whoever put it there. `AddrNotAvailable` where it is absent.
    pub(super) fn delete_address(&self, index: u32, cidr: Cidr) -> io::Result<()> {
        self.acknowledged(RouteNetlinkMessage::DelAddress(address_message(index, cidr)), 0)
    }

    fn acknowledged(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let message = NetlinkMessage::new(header(NLM_F_ACK | flags), NetlinkPayload::InnerMessage(message));
        converse(&self.0, message).map(drop)
    }
}

/// Whether a table of this name exists in this nftables family.
pub(super) fn has_table(family: u8, name: &str) -> Result<bool, KernelError> {
    let socket = match open(NETLINK_NETFILTER) {
        // A kernel without netfilter has no tables.
        Err(e) if e.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(false),
        socket => socket.map_err(|e| failed("asking for nftables", &e))?,
    };
    let ask = NetlinkMessage::new(header(NLM_F_ACK), NetlinkPayload::InnerMessage(GetTable::new(family, name)));
    match converse(&socket, ask) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::EOPNOTSUPP)) => Ok(false),
        Err(e) => Err(failed("reading nftables", &e)),
    }
}

/// The kernel's refusal as an error that says what was tried.
pub(super) fn failed(what: &str, error: &io::Error) -> KernelError {
    match error.kind() {
        ErrorKind::PermissionDenied => KernelError::NotPermitted { what: what.to_owned() },
        _ => KernelError::Refused { what: what.to_owned(), why: error.to_string() },
    }
}

fn read_link(message: &LinkMessage) -> Option<(InterfaceName, Link)> {
    let flags = message.header.flags;
    let mut name = None;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        arp: !flags.contains(LinkFlags::Noarp) && message.header.link_layer_type != LinkLayerType::None,
        mac: None,
        mtu: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text.parse().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::OperState(state) => link.carrier = matches!(state, State::Up | State::Unknown),
            LinkAttribute::Address(bytes) if !bytes.is_empty() => {
                link.mac = Some(bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"));
            }
            _ => {}
        }
    }
    Some((name?, link))
}

fn read_address(message: &AddressMessage, interface: InterfaceName) -> Option<Address> {
    let (mut local, mut address, mut mark) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(protocol) => mark = u8::from(*protocol),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end's.
    let ip: IpAddr = local.or(address)?;
    let cidr = Cidr::new(ip, message.header.prefix_len).ok()?;
    // The same bit says "temporary" of an IPv6 address.
    let secondary = ip.is_ipv4() && message.header.flags.contains(AddressHeaderFlags::Secondary);
    Some(Address { interface, cidr, mark, secondary })
}

fn address_message(index: u32, cidr: Cidr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = cidr.prefix();
    message.header.family = if cidr.address().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes = vec![
        AddressAttribute::Local(cidr.address()),
        AddressAttribute::Address(cidr.address()),
        AddressAttribute::Protocol(AddressProtocol::Other(OUR_MARK)),
    ];
    if cidr.family() == Family::V6 {
        // At once: the one who had it is gone or gone soon, and detection would take a second or find that one.
        message.header.flags = AddressHeaderFlags::Nodad;
        // Deprecated: this machine's own connections come from its own address.
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

fn dump(ask: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = open(NETLINK_ROUTE)?;
    for _ in 0..DUMP_TRIES {
        let message = NetlinkMessage::new(header(NLM_F_DUMP), NetlinkPayload::InnerMessage(ask.clone()));
        if let Some(answers) = converse(&socket, message)? {
            return Ok(answers);
        }
    }
    Err(io::Error::other(format!("it changed {DUMP_TRIES} times while it was read")))
}

fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_LIMIT_SECONDS))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn header(flags: u16) -> NetlinkHeader {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header
}

/// Sends one request and reads its answer to the end; `None` where a change disturbed the dump.
fn converse<I>(socket: &Socket, mut message: NetlinkMessage<I>) -> io::Result<Option<Vec<I>>>
where
    I: NetlinkSerializable + NetlinkDeserializable + Debug,
{
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (mut answers, mut whole) = (Vec::new(), true);
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "the kernel does not answer"),
            _ => e,
        })?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let length = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?.length() as usize;
            let one = rest.get(..length).unwrap_or(rest);
            // Messages are padded to four bytes, the last one not always.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let answer = NetlinkMessage::<I>::deserialize(one).map_err(io::Error::other)?;
            whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Error(e) if e.code.is_some() => return Err(e.to_io()),
                NetlinkPayload::Error(_) => return Ok(Some(answers)),
                NetlinkPayload::Done(d) if d.code < 0 => return Err(io::Error::from_raw_os_error(-d.code)),
                NetlinkPayload::Done(_) => return Ok(whole.then_some(answers)),
                NetlinkPayload::Overrun(_) => whole = false,
                _ => {}
            }
        }
    }
}

/// NFT_MSG_GETTABLE by name (linux/netfilter/nf_tables.h); of the answer only that there is one matters.
#[derive(Debug)]
struct GetTable(Vec<u8>);

impl GetTable {
    const TYPE: u16 = ((libc::NFNL_SUBSYS_NFTABLES as u16) << 8) | libc::NFT_MSG_GETTABLE as u16;
    /// NFTA_TABLE_NAME
    const TABLE_NAME: u16 = 1;

    fn new(family: u8, name: &str) -> GetTable {
        // nfgenmsg: family, version 0, resource 0; then NFTA_TABLE_NAME, a string with its NUL.
        let length = (4 + name.len() + 1) as u16;
        let mut bytes = vec![family, 0, 0, 0];
        bytes.extend(length.to_ne_bytes());
        bytes.extend((Self::TABLE_NAME).to_ne_bytes());
        bytes.extend(name.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        GetTable(bytes)
    }
}

impl NetlinkSerializable for GetTable {
    fn message_type(&self) -> u16 {
        Self::TYPE
    }
    fn buffer_len(&self) -> usize {
        self.0.len()
    }
    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

impl NetlinkDeserializable for GetTable {
    type Error = io::Error;
    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> io::Result<GetTable> {
        Ok(GetTable(payload.to_vec()))
    }
}
