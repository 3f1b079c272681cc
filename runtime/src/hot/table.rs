//! Edits of our nftables table over nfnetlink: the gate (set `active`) and the slots of services.
//!
//! One edit is one transaction: packets see the elements before it or those after it, and nothing between.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use model::rules::ACTIVE;

use super::HotError;
use super::message::{Batch, Body};
use super::netlink::{Netlink, Refusal};

/// Our table's name; its family is `ip` ([`model::rules::TABLE`]).
pub const TABLE: &str = "hactl";

/// Elements in one message: an attribute's length has 16 bits, and an element of ours takes at most 32 bytes.
const ELEMENTS: usize = 1000;

/// Subsystem of nf_tables in nfnetlink (linux/netfilter/nfnetlink.h).
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// A request's type and flags.
type Verb = (u16, i32);

const PUT: Verb = ((SUBSYSTEM << 8) | 12, libc::NLM_F_CREATE);
const PUT_AND_ANSWER: Verb = (PUT.0, libc::NLM_F_CREATE | libc::NLM_F_ACK);
const DELETE: Verb = ((SUBSYSTEM << 8) | 14, 0);

/// Attributes of linux/netfilter/nf_tables.h: NFTA_SET_ELEM_LIST_…, NFTA_LIST_ELEM, NFTA_SET_ELEM_…, NFTA_DATA_VALUE.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;

/// The long-lived socket for our table.
#[derive(Debug)]
pub struct Table {
    netlink: Netlink,
}

impl Table {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Table> {
        Ok(Table { netlink: Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)? })
    }

    /// The socket's port: what events of its own edits carry.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// Opens the gate for these addresses; open already is success.
    ///
    /// # Errors
    /// The kernel's refusal, [`HotError::NoTable`] where there is no such table or set.
    pub fn open_gate(&mut self, addresses: &[Ipv4Addr]) -> Result<(), HotError> {
        let mut edit = self.edit();
        edit.put(ACTIVE, &gate(addresses));
        self.commit(edit, ACTIVE)
    }

    /// Closes the gate for these addresses; closed already is success.
    ///
    /// # Errors
    /// As [`Table::open_gate`].
    pub fn close_gate(&mut self, addresses: &[Ipv4Addr]) -> Result<(), HotError> {
        let elements = gate(addresses);
        let mut edit = self.edit();
        edit.delete(ACTIVE, &elements);
        match self.commit(edit, ACTIVE) {
            // ENOENT is an absent element as well as an absent set, and one absent element fails the transaction.
            Err(HotError::NoTable { .. }) if elements.len() > 1 => self.close_one_by_one(&elements),
            // Nothing is open where there is no table, nor for an element that is absent.
            Err(HotError::NoTable { .. }) => Ok(()),
            other => other,
        }
    }

    /// Opens the gate for these addresses and closes it for every other.
    ///
    /// # Errors
    /// As [`Table::open_gate`].
    pub fn set_gate(&mut self, addresses: &[Ipv4Addr]) -> Result<(), HotError> {
        let mut edit = self.edit();
        edit.flush(ACTIVE);
        edit.put(ACTIVE, &gate(addresses));
        self.commit(edit, ACTIVE)
    }

    /// Replaces all elements of a slots map: slot 0, 1, 2… to `address . port`.
    ///
    /// # Errors
    /// As [`Table::open_gate`].
    pub fn set_slots(&mut self, map: &str, slots: &[SocketAddrV4]) -> Result<(), HotError> {
        let elements: Vec<Element> = (0u32..).zip(slots).map(|(slot, to)| Element::slot(slot, to)).collect();
        let mut edit = self.edit();
        edit.flush(map);
        edit.put(map, &elements);
        self.commit(edit, map)
    }

    fn close_one_by_one(&mut self, elements: &[Element]) -> Result<(), HotError> {
        for element in elements {
            let mut edit = self.edit();
            edit.delete(ACTIVE, std::slice::from_ref(element));
            match self.commit(edit, ACTIVE) {
                Ok(()) | Err(HotError::NoTable { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn edit(&self) -> Edit {
        let mut batch = self.netlink.batch();
        batch.request(BATCH_BEGIN, 0, |body| body.put(&family(0, SUBSYSTEM)));
        Edit { batch }
    }

    fn commit(&mut self, mut edit: Edit, set: &str) -> Result<(), HotError> {
        // An edit of nothing, with an acknowledgement: its answer comes after those of all before it.
        edit.message(PUT_AND_ANSWER, set, |_| {});
        edit.batch.request(BATCH_END, 0, |body| body.put(&family(0, SUBSYSTEM)));
        let refused =
            self.netlink.transaction(&edit.batch).map_err(|source| HotError::socket("editing nftables", source))?;
        match refused {
            None => Ok(()),
            Some((_, code)) => Err(error(set, code)),
        }
    }
}

fn error(set: &str, code: Refusal) -> HotError {
    match code {
        libc::ENOENT => HotError::NoTable { what: format!("{set} in table ip {TABLE}") },
        _ => HotError::Refused {
            what: format!("editing {set} in table ip {TABLE}"),
            source: io::Error::from_raw_os_error(code),
        },
    }
}

/// A transaction in the making.
struct Edit {
    batch: Batch,
}

impl Edit {
    fn put(&mut self, set: &str, elements: &[Element]) {
        for part in elements.chunks(ELEMENTS) {
            self.message(PUT, set, |list| write(list, part));
        }
    }

    fn delete(&mut self, set: &str, elements: &[Element]) {
        for part in elements.chunks(ELEMENTS) {
            self.message(DELETE, set, |list| write(list, part));
        }
    }

    /// A delete without elements deletes all.
    fn flush(&mut self, set: &str) {
        self.batch.request(DELETE.0, DELETE.1, |body| head(body, set));
    }

    fn message(&mut self, (kind, flags): Verb, set: &str, elements: impl FnOnce(&mut Body)) {
        self.batch.request(kind, flags, |body| {
            head(body, set);
            body.nest(LIST_ELEMENTS, elements);
        });
    }
}

fn head(body: &mut Body, set: &str) {
    body.put(&family(libc::AF_INET as u8, 0));
    body.text(LIST_TABLE, TABLE);
    body.text(LIST_SET, set);
}

/// `struct nfgenmsg`: family, version 0, resource in network order.
fn family(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// One element as it goes over the wire.
struct Element {
    key: [u8; 4],
    data: Option<[u8; 8]>,
}

impl Element {
    fn slot(slot: u32, to: &SocketAddrV4) -> Element {
        let [a, b, c, d] = to.ip().octets();
        let [high, low] = to.port().to_be_bytes();
        // A hash's result is in host order; each field of a concatenation is padded to four bytes.
        Element { key: slot.to_ne_bytes(), data: Some([a, b, c, d, high, low, 0, 0]) }
    }
}

fn gate(addresses: &[Ipv4Addr]) -> Vec<Element> {
    addresses.iter().map(|a| Element { key: a.octets(), data: None }).collect()
}

fn write(list: &mut Body, elements: &[Element]) {
    for element in elements {
        list.nest(ELEMENT, |e| {
            e.nest(KEY, |key| key.attribute(VALUE, &element.key));
            if let Some(data) = &element.data {
                e.nest(DATA, |d| d.attribute(VALUE, data));
            }
        });
    }
}
