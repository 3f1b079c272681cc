//! What a router wants done, and what it says of itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Anomaly;
use crate::config::Route;
use crate::units::{Cidr, Family, InterfaceName, Moment, Priority};

/// One thing to do, in the order given. Effects of one input are carried out before the next input is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a VRRP message with TTL, or hop limit, 255. The first advert of a virtual MAC's mastership comes before
    /// `Hold`: its link is set up for it.
    Advert {
        /// Out of this interface.
        interface: InterfaceName,
        /// The macvlan of that interface to send it out of instead, with the virtual MAC.
        virtual_mac: Option<InterfaceName>,
        /// From this address.
        source: IpAddr,
        /// To each of these: 224.0.0.18 or ff02::12, or the unicast peers.
        destinations: Vec<IpAddr>,
        /// The VRRP message with its checksum, without the IP header.
        message: Vec<u8>,
    },
    /// Become holder: set up the macvlan where there is one, forget connection tracking of the addresses, open the
    /// `active` gate for them, add them and the routes, and announce each as soon as it stands. What stands already is
    /// no mistake. Answered by `Input::Done`.
    Hold {
        /// The vip's name.
        vip: String,
        /// Of its two virtual routers, which.
        family: Family,
        /// Where.
        interface: InterfaceName,
        /// The macvlan of that interface that holds the addresses instead.
        virtual_mac: Option<InterfaceName>,
        /// In the order of the file.
        addresses: Vec<Cidr>,
        /// In the order of the file.
        routes: Vec<Route>,
        /// Whether packets for the addresses are taken, beside those of ARP and neighbour discovery (RFC 9568 §6.1,
        /// Accept_Mode).
        accept: bool,
    },
    /// Cease to be holder: delete the routes and the addresses that carry our mark, close the gate, forget connection
    /// tracking, set the macvlan down where none of its addresses is left. What is gone already is no mistake. Answered
    /// by `Input::Done`.
    Release {
        /// The vip's name.
        vip: String,
        /// Of its two virtual routers, which.
        family: Family,
        /// Where.
        interface: InterfaceName,
        /// The macvlan of that interface that holds the addresses instead.
        virtual_mac: Option<InterfaceName>,
        /// In the order of the file.
        addresses: Vec<Cidr>,
        /// In the order of the file.
        routes: Vec<Route>,
    },
    /// Gratuitous ARP, or unsolicited neighbour advertisements, again for addresses that stand.
    Announce {
        /// The vip's name.
        vip: String,
        /// Of its two virtual routers, which.
        family: Family,
        /// Where.
        interface: InterfaceName,
        /// The macvlan of that interface that holds the addresses instead.
        virtual_mac: Option<InterfaceName>,
        /// Which.
        addresses: Vec<Cidr>,
    },
    /// Tell the notify program, the log, `status` and whoever watches.
    Event(Event),
}

/// Something that people and programs are told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A vip's state changed.
    State {
        /// The vip's name.
        vip: String,
        /// Before.
        from: VipState,
        /// Now.
        to: VipState,
        /// Effective priority now.
        priority: Priority,
        /// Why, for people: `master 192.168.31.11 was silent for 3.4s`.
        why: String,
    },
    /// Packets were dropped: the first of its cause and sender, then by powers of ten, so that noise cannot fill a log.
    Dropped {
        /// The vip's name, or the interface's where no vip is meant.
        subject: String,
        /// Sender.
        source: IpAddr,
        /// The cause's stable name: `ttl`, `checksum`, `authentication`…
        cause: String,
        /// How many of this cause so far.
        count: u64,
    },
    /// Something that needs a person's eye and changes no state: a differing address list, a differing interval, two
    /// masters heard.
    Warning {
        /// The vip's name.
        vip: String,
        /// What, for people.
        what: String,
    },
    /// Somebody else changed what is ours, and it was put right.
    Restored {
        /// The vip's name.
        vip: String,
        /// What was lost, for people.
        what: String,
    },
}

/// A vip's state on this machine, by keepalived's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VipState {
    /// Not taking part yet or any more (RFC: Initialize).
    Init,
    /// Listening (RFC: Backup).
    Backup,
    /// Holding the addresses (RFC: Active).
    Master,
    /// Unable to hold them: a check without weight is down, the interface is, or the kernel refused.
    Fault,
}

/// A vip on this machine as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VipStatus {
    /// The vip's name.
    pub vip: String,
    /// Its state.
    pub state: VipState,
    /// Why it is in FAULT or cannot be master, for people.
    pub why: Option<String>,
    /// Since when.
    pub since: Moment,
    /// How often it became master.
    pub became_master: u64,
    /// Priority with weights.
    pub priority: Priority,
    /// Configured priority.
    pub configured_priority: Priority,
    /// Where it is held.
    pub interface: InterfaceName,
    /// The macvlans that hold it there instead.
    #[serde(default)]
    pub virtual_macs: Vec<InterfaceName>,
    /// The group that it changes state with.
    #[serde(default)]
    pub group: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Those of them that adverts do not list, because they are more than an advert carries; they are held all the same.
    #[serde(default)]
    pub unlisted: Vec<Cidr>,
    /// Address and priority of the master last heard, and when, in each family.
    pub masters: BTreeMap<Family, (IpAddr, u8, Moment)>,
    /// Adverts sent.
    pub sent: u64,
    /// Adverts received and accepted.
    pub received: u64,
    /// Dropped packets by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Addresses that somebody else removed and that were put back.
    pub restored: u64,
    /// Longest silence of a living master, in thousandths of the down interval: 1000 is a failover.
    pub nearest_failover: u16,
    /// What other routers do that they should not, the newest last; each may be over.
    #[serde(default)]
    pub anomalies: Vec<Anomaly>,
    /// It is to be left to others: priority 1, the last resort.
    #[serde(default)]
    pub drained: bool,
    /// It is master no longer and still answers for the addresses, until its successor does.
    #[serde(default)]
    pub lingering: bool,
}

impl VipStatus {
    /// Address and priority of the master last heard, and when: of the vip's first family that hears one.
    pub fn master(&self) -> Option<(IpAddr, u8, Moment)> {
        self.masters.values().next().copied()
    }
}
