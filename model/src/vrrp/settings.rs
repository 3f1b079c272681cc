//! What one virtual router is told: the configuration with its secret resolved.

use crate::config::{Checksum, Preempt, Version};
use crate::desired::{DesiredVip, Reach};
use crate::units::{Centiseconds, Cidr, InterfaceName, Priority, Vrid};

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

/// One virtual router's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The vip's name.
    pub name: String,
    /// Where it lives.
    pub interface: InterfaceName,
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
}

impl Settings {
    /// What the machine's own vip says, with its password resolved by the caller.
    pub fn new(vip: &DesiredVip, password: Option<Password>) -> Settings {
        Settings {
            name: vip.name.clone(),
            interface: vip.interface.clone(),
            vrid: vip.vrid,
            priority: vip.priority,
            addresses: vip.addresses.clone(),
            reach: vip.routers.first().map_or(Reach::Multicast, |r| r.reach.clone()),
            version: vip.version,
            advertise: vip.advertise,
            preempt: vip.preempt,
            password,
            checksum: vip.checksum,
            track: vip.track.clone(),
        }
    }
}
