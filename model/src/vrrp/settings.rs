//! What one virtual router is told: the configuration with its secret resolved.

use std::net::IpAddr;
use std::time::Duration;

use super::packet;
use crate::config::{Announce, Checksum, Preempt, Route, Version};
use crate::desired::{DesiredRouter, DesiredVip, Reach};
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Priority, Vrid};

/// VRRPv2's simple password: at most 8 bytes, zero-padded, never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; 8]);

impl Password {
    /// Pads with zeros; `None` where the text has more than 8 bytes or none.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        let text = text.as_bytes();
        bytes.get_mut(..text.len()).filter(|b| !b.is_empty())?.copy_from_slice(text);
        Some(Password(bytes))
    }

    /// As it stood in a packet.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Password(bytes)
    }

    /// As it stands in the packet.
    pub fn bytes(&self) -> [u8; 8] {
        self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// One virtual router's settings. A vip with addresses of both families is two virtual routers of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The vip's name.
    pub name: String,
    /// The family of its adverts and addresses.
    pub family: Family,
    /// The group that it changes state with. The two families of a vip always do.
    pub group: Option<String>,
    /// Where it lives.
    pub interface: InterfaceName,
    /// The macvlan of that interface with the virtual router's MAC, which then holds the addresses and sends the
    /// adverts (RFC 9568 §7.2, §7.3).
    pub virtual_mac: Option<InterfaceName>,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Configured priority, before weights.
    pub priority: Priority,
    /// Addresses in the order of the file.
    pub addresses: Vec<Cidr>,
    /// Where adverts go.
    pub reach: Reach,
    /// Version of the protocol.
    pub version: Version,
    /// Advert interval.
    pub advertise: Centiseconds,
    /// Whether it takes over from a worse master that lives.
    ///
    /// `Never` is the RFC's Preempt_Mode false: a living master stays whatever the priorities become, also when its own
    /// is lowered by the weight of a check or by a reload. Priorities then decide only who follows a master that has
    /// gone silent or has said goodbye; what must move a held vip in this mode is a check without weight (FAULT).
    /// `After` takes over when a worse master has been heard for that long, and skew time more, without a better one in
    /// between. The address owner (255) always preempts (RFC 9568 §6.1).
    pub preempt: Preempt,
    /// VRRPv2's simple password.
    pub password: Option<Password>,
    /// Form of the checksum that version 3 sends.
    pub checksum: Checksum,
    /// Tracked checks by name with their weights; `None` is FAULT when down, and for a file, whose number is the weight.
    pub track: Vec<(String, Option<i16>)>,
    /// Routes of this family that follow the addresses.
    pub routes: Vec<Route>,
    /// Whether a master that is not the owner takes packets for the addresses (RFC 9568 §6.1, Accept_Mode).
    pub accept: bool,
    /// How long it waits after the start of the process before it takes part.
    pub start_delay: Duration,
    /// When the addresses are announced beyond the moment of taking over.
    pub announce: Announce,
}

impl Settings {
    /// What the machine's own vip says, one for each family of its addresses and IPv4 first, with its password resolved
    /// by the caller.
    pub fn of(vip: &DesiredVip, password: Option<Password>) -> Vec<Settings> {
        let one = |router: &DesiredRouter| Settings {
            name: vip.name.clone(),
            family: router.family,
            group: vip.group.clone(),
            interface: vip.interface.clone(),
            virtual_mac: router.virtual_mac.as_ref().map(|mac| mac.name.clone()),
            vrid: vip.vrid,
            priority: vip.priority,
            addresses: router.addresses.clone(),
            reach: router.reach.clone(),
            version: vip.version,
            advertise: vip.advertise,
            preempt: vip.preempt,
            password,
            checksum: vip.checksum,
            track: vip.track.clone(),
            routes: router.routes.clone(),
            accept: vip.accept,
            start_delay: vip.start_delay,
            announce: vip.announce,
        };
        vip.routers.iter().map(one).collect()
    }

    /// The addresses that an advert lists: as many as it carries, in the order of the file, but for IPv6's link-local
    /// ones, which come first.
    ///
    /// RFC 9568 §5.2.9 wants the virtual router's link-local address first. Where none is configured none is made up:
    /// keepalived and FRR accept such a list and send it themselves.
    pub fn listed(&self) -> Vec<IpAddr> {
        let local = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
        let addresses = self.addresses.iter().map(|a| a.address());
        let (mut listed, others): (Vec<_>, Vec<_>) = addresses.partition(local);
        listed.extend(others);
        listed.truncate(packet::most_addresses(self.family));
        listed
    }
}
