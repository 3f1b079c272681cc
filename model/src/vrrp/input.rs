//! What can happen to a router.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::units::{Cidr, Family, InterfaceName};
use crate::vrrp::Settings;

/// A weight that takes a vip to FAULT, as in keepalived: no priority is left after it.
pub const FAULT_WEIGHT: i16 = -254;

/// One thing that happened. `Router::handle` takes it with the moment it is handled at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A packet of protocol 112.
    Packet(Received),
    /// A deadline has come, or nothing in particular: due timers run.
    Tick,
    /// An interface appeared, changed or vanished.
    Link {
        /// Its name.
        interface: InterfaceName,
        /// What it is now.
        state: LinkState,
    },
    /// A tracked check changed its state (after rise and fall), or has its first result. Until then a check without
    /// weight keeps its vips from becoming master, for a minute at most (then FAULT until it reports), and one with a
    /// weight counts as neither up nor down.
    Check {
        /// Its name.
        name: String,
        /// Whether it is up.
        up: bool,
    },
    /// A tracked file says this much: its number is added to the priority of the vips that track it, and
    /// [`FAULT_WEIGHT`] or less is FAULT. Counts as the check's report; the last word of either kind holds.
    Weight {
        /// The check's name.
        name: String,
        /// The number, −254 to 254.
        weight: i16,
    },
    /// Somebody else removed an address that this machine holds.
    AddressLost {
        /// Where.
        interface: InterfaceName,
        /// Which.
        cidr: Cidr,
    },
    /// The addresses of our vips that stand on an interface and are somebody else's: all of them, each time one comes
    /// or goes, and before word of a link that brings some. None that this machine holds: those it makes its own again.
    Foreign {
        /// Where.
        interface: InterfaceName,
        /// Which.
        addresses: BTreeSet<Cidr>,
    },
    /// An effect that changes the kernel was carried out ([`super::Effect::Hold`], [`super::Effect::Release`]).
    Done {
        /// The vip's name.
        vip: String,
        /// Of its two virtual routers, which.
        family: Family,
        /// `Err` with the kernel's words.
        result: Result<(), String>,
    },
    /// Somebody else announced one of our addresses: a gratuitous ARP or an unsolicited neighbour advertisement that
    /// another MAC than ours sent. Who ceases to be master lets go of its addresses when their successor has said so.
    Announced {
        /// Where it was heard.
        interface: InterfaceName,
        /// Which.
        address: IpAddr,
    },
    /// The vips, by name, that are to be left to others from now on: all of them, each time one comes or goes.
    ///
    /// A drained vip takes part with priority 1 and never preempts. Its master steps down; where nobody follows it
    /// goes on: it is the last resort.
    Drain(BTreeSet<String>),
    /// Be master of this vip no longer, once: the best of the others follows, and is left alone for as long as it lives.
    /// Where nobody follows, this machine is master again.
    StepDown {
        /// The vip's name.
        vip: String,
    },
    /// A valid new configuration: what did not change is not touched. Say first what the interfaces are that it brings.
    Reload(Vec<Settings>),
    /// The process is asked to end: hand over, then [`super::Router::is_over`]. Asked again, everything is let go of at
    /// once.
    Stop,
}

/// A packet of protocol 112 as the socket gave it; source and destination are of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Interface it came in on.
    pub interface: InterfaceName,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Time to live, or hop limit, as received.
    pub ttl: u8,
    /// The VRRP message, without the IP header.
    pub message: Vec<u8>,
}

/// An interface as a router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Up and with a carrier.
    Up {
        /// Primary IPv4 address: what multicast adverts are sent from; `None` while it has none but ours.
        primary: Option<Ipv4Addr>,
        /// Its link-local IPv6 address, past duplicate address detection: what IPv6 adverts are sent from.
        link_local: Option<Ipv6Addr>,
    },
    /// Present, and down or without a carrier.
    Down,
    /// Not there.
    Absent,
}

/// The last word on a tracked check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    Up,
    Down,
    /// The number in a file.
    Weight(i16),
}

impl Report {
    /// Whether a vip that tracks it may take part.
    pub(super) fn is_good(self) -> bool {
        match self {
            Report::Up => true,
            Report::Down => false,
            Report::Weight(weight) => weight > FAULT_WEIGHT,
        }
    }

    /// What it adds to the priority of a vip that tracks it with this weight.
    pub(super) fn adds(self, weight: Option<i16>) -> i32 {
        match (self, weight) {
            (Report::Weight(number), _) => i32::from(number),
            (Report::Down, Some(weight)) => i32::from(weight.min(0)),
            (Report::Up, Some(weight)) => i32::from(weight.max(0)),
            (_, None) => 0,
        }
    }
}
