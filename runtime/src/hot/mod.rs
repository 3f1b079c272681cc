//! The hot path: what the VRRP thread does to the kernel when it becomes or ceases to be holder, over sockets that stay
//! open, without starting a program.
//!
//! Becoming holder: connection tracking of the addresses is forgotten, the gate is opened, the addresses are added in
//! batches, and each batch is announced as soon as it stands. Ceasing: the addresses are deleted, the gate is closed,
//! connection tracking is forgotten. In any other order the machine's own stack answers packets of balanced connections
//! with resets. Forgetting is the caller's ([`Hot::forget`]): a walk through the kernel's table takes up to 16 ms, so it
//! is done once for many addresses, and before a takeover only where the last tenure left something.

pub mod address;
pub mod conntrack;
mod forgetter;
pub mod link;
pub mod message;
pub mod netlink;
pub mod route;
pub mod sys;
pub mod table;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use model::units::Cidr;

use crate::announce::Announcer;
use address::{Addresses, BATCH};
use forgetter::Forgetter;
use link::Links;
use route::Routes;
use table::Table;

/// What the kernel refused or lacks.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// The address stands without our mark.
    #[error("{what} is already there and was not put there by hactl: remove it, or take it out of the file")]
    Foreign {
        /// Address and prefix.
        what: String,
    },
    /// Our table or what it should hold is not there.
    #[error("there is no {what}")]
    NoTable {
        /// Which part of it.
        what: String,
    },
    /// The interface has no IPv6.
    #[error("{what}: IPv6 is switched off on this interface: set its sysctl disable_ipv6 to 0")]
    NoIpv6 {
        /// What was tried.
        what: String,
    },
    /// The kernel refused.
    #[error("{what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// The kernel's words.
        source: io::Error,
    },
}

impl HotError {
    fn socket(what: &str, source: io::Error) -> HotError {
        HotError::Refused { what: what.into(), source }
    }
}

/// Something that went wrong beside the addresses themselves: it does not keep this machine from holding them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The gate, the slots or connection tracking: services suffer.
    Table(String),
    /// Gratuitous ARP: neighbours may keep the former holder for a while.
    Announce(String),
}

/// An interface to hold addresses on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The kernel's index.
    pub index: u32,
    /// Hardware address; `None` where the link has no ARP: nothing is announced there.
    pub mac: Option<[u8; 6]>,
}

/// The open sockets of the hot path.
#[derive(Debug)]
pub struct Hot {
    addresses: Addresses,
    /// Links with a virtual MAC.
    pub links: Links,
    /// Routes that follow the addresses.
    pub routes: Routes,
    table: Table,
    announcer: Announcer,
    forgetter: Forgetter,
    troubles: Vec<Trouble>,
    /// Deletions of ours whose event has not been seen yet, by interface.
    deleted: BTreeSet<(u32, Cidr)>,
}

impl Hot {
    /// Opens them in the calling thread's network namespace.
    ///
    /// # Errors
    /// What could not be opened, with the kernel's words.
    pub fn open() -> Result<Hot, (&'static str, io::Error)> {
        Ok(Hot {
            addresses: Addresses::open().map_err(|e| ("open a netlink socket for addresses", e))?,
            links: Links::open().map_err(|e| ("open a netlink socket for links", e))?,
            routes: Routes::open().map_err(|e| ("open a netlink socket for routes", e))?,
            table: Table::open().map_err(|e| ("open a netlink socket for nftables", e))?,
            announcer: Announcer::open().map_err(|e| ("open a packet socket for gratuitous ARP", e))?,
            forgetter: Forgetter::default(),
            troubles: Vec::new(),
            deleted: BTreeSet::new(),
        })
    }

    /// Whether the removal of an address, asked for by the socket with port `by`, is the event of a deletion of ours.
    /// One that went along with its primary address is not: nobody asked for that.
    /// IPv6's events do not say who asked: what stands is not gone.
    pub fn is_own_deletion(&mut self, by: u32, index: u32, cidr: Cidr) -> bool {
        match cidr.v4() {
            Some(_) => by == self.addresses.port() && self.deleted.remove(&(index, cidr)),
            None => {
                self.deleted.remove(&(index, cidr));
                self.addresses.stands_v6(index, cidr).unwrap_or(false)
            }
        }
    }

    /// How many addresses were deleted whose event has not been seen yet.
    pub fn deleted(&self) -> usize {
        self.deleted.len()
    }

    /// The port that events of our own edits of the table carry.
    pub fn table_port(&self) -> u32 {
        self.table.port()
    }

    /// What went wrong beside the addresses since the last call.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        self.troubles.extend(self.forgetter.refusals().map(Trouble::Table));
        std::mem::take(&mut self.troubles)
    }

    /// Becomes holder of these addresses. `gated` are those with a service that were not held before. Idempotent.
    ///
    /// # Errors
    /// Why an address could not be added; none of them is left then.
    pub fn hold(&mut self, port: Port, cidrs: &[Cidr], gated: &BTreeSet<Ipv4Addr>) -> Result<(), HotError> {
        if !gated.is_empty() {
            self.open_gate(gated);
        }
        let added = self.add_and_announce(port, cidrs);
        if added.is_err() {
            // The reason is what people need: that of a failed undo would hide it.
            let _ = self.release(port, cidrs, gated);
        }
        added
    }

    /// Ceases to be holder: what carries our mark is deleted, everything else left. Idempotent.
    ///
    /// # Errors
    /// Why an address could not be deleted, after all were tried.
    pub fn release(&mut self, port: Port, cidrs: &[Cidr], gated: &BTreeSet<Ipv4Addr>) -> Result<(), HotError> {
        let deleted = self.addresses.delete(port.index, cidrs);
        self.shut(gated);
        self.deleted.extend(deleted?.into_iter().map(|cidr| (port.index, cidr)));
        Ok(())
    }

    /// Closes the gate: what is left of a release where the interface is gone.
    pub fn shut(&mut self, gated: &BTreeSet<Ipv4Addr>) {
        if gated.is_empty() {
            return;
        }
        let closed = self.table.close_gate(&Vec::from_iter(gated.iter().copied()));
        self.note(closed);
    }

    /// Gratuitous ARP for addresses that stand.
    pub fn announce(&mut self, port: Port, cidrs: &[Cidr]) {
        if let Err(e) = self.announcer.announce(port, cidrs) {
            self.troubles.push(Trouble::Announce(format!("gratuitous ARP: {e}")));
        }
    }

    /// Puts our mark back on an address that we hold and somebody replaced.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn mark_again(&mut self, port: Port, cidr: &Cidr) -> Result<(), HotError> {
        self.addresses.mark_again(port.index, cidr)
    }

    /// Opens the gate for exactly these addresses.
    pub fn set_gate(&mut self, gated: &BTreeSet<Ipv4Addr>) {
        match self.table.set_gate(&Vec::from_iter(gated.iter().copied())) {
            // Without services there is no table, and nothing to open.
            Err(HotError::NoTable { .. }) if gated.is_empty() => {}
            other => self.note(other),
        }
    }

    /// Replaces a service's slots.
    pub fn set_slots(&mut self, map: &str, slots: &[SocketAddrV4]) {
        let done = self.table.set_slots(map, slots);
        self.note(done);
    }

    /// Has all connections to these addresses forgotten, beside everything else. Says whether that is under way.
    pub fn forget(&mut self, addresses: &BTreeSet<Ipv4Addr>) -> bool {
        self.forgetter.to(addresses)
    }

    /// Has the connections to these addresses forgotten that one of these backends answers.
    pub fn forget_backends(&mut self, addresses: &BTreeSet<Ipv4Addr>, backends: &[SocketAddrV4]) {
        if !self.forgetter.answered(addresses, backends) {
            self.troubles.push(Trouble::Table("connections to backends that left could not be forgotten".into()));
        }
    }

    /// Waits until all connections that were to be forgotten are, or `limit`.
    pub fn finish(&mut self, limit: Duration) {
        self.forgetter.finish(limit);
    }

    fn open_gate(&mut self, gated: &BTreeSet<Ipv4Addr>) {
        let opened = self.table.open_gate(&Vec::from_iter(gated.iter().copied()));
        self.note(opened);
    }

    fn note(&mut self, done: Result<(), HotError>) {
        if let Err(e) = done {
            self.troubles.push(Trouble::Table(e.to_string()));
        }
    }

    fn add_and_announce(&mut self, port: Port, cidrs: &[Cidr]) -> Result<(), HotError> {
        for batch in cidrs.chunks(BATCH) {
            self.addresses.add(port.index, batch)?;
            self.announce(port, batch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod tests_v6;
