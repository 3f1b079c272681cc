//! What can happen to a router.

use std::net::Ipv4Addr;

use crate::units::{Cidr, InterfaceName};
use crate::vrrp::Settings;

/// One thing that happened. `Router::handle` takes it with the moment it is handled at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An IPv4 packet of protocol 112.
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
    /// Somebody else removed an address that this machine holds.
    AddressLost {
        /// Where.
        interface: InterfaceName,
        /// Which.
        cidr: Cidr,
    },
    /// An effect that changes the kernel was carried out ([`super::Effect::Hold`], [`super::Effect::Release`]).
    Done {
        /// The vip's name.
        vip: String,
        /// `Err` with the kernel's words.
        result: Result<(), String>,
    },
    /// A valid new configuration: what did not change is not touched. Say first what the interfaces are that it brings.
    Reload(Vec<Settings>),
    /// The process is asked to end: hand over.
    Stop,
}

/// An IPv4 packet of protocol 112 as the socket gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Interface it came in on.
    pub interface: InterfaceName,
    /// IPv4 source.
    pub source: Ipv4Addr,
    /// IPv4 destination.
    pub destination: Ipv4Addr,
    /// Time to live as received.
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
    },
    /// Present, and down or without a carrier.
    Down,
    /// Not there.
    Absent,
}
