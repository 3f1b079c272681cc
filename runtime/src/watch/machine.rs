//! Links and addresses as the events leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use model::observed::OUR_MARK;
use model::units::{Cidr, InterfaceName};
use model::vrrp::LinkState;

use super::Seen;
use crate::hot::Port;
use crate::hot::address::Standing;
use crate::hot::message::{Message, attribute, text, u32_at};

/// Length of struct ifinfomsg, behind which a link's attributes stand.
const HEADER: usize = 16;

/// IFLA_ADDRESS and IFLA_IFNAME (linux/if_link.h).
const ADDRESS: u16 = 1;
const NAME: u16 = 3;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: InterfaceName,
    /// Administratively up and with a carrier (operational state up or unknown).
    pub running: bool,
    /// Hardware address where it speaks ARP.
    pub mac: Option<[u8; 6]>,
}

/// Links by index and their addresses in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<u32, Vec<Standing>>,
}

impl Machine {
    /// The interface of this index.
    pub fn name(&self, index: u32) -> Option<&InterfaceName> {
        self.links.get(&index).map(|link| &link.name)
    }

    /// The interface of this name, as the hot path wants it.
    pub fn port(&self, name: &InterfaceName) -> Option<Port> {
        self.links.iter().find(|(_, link)| link.name == *name).map(|(i, link)| Port { index: *i, mac: link.mac })
    }

    /// The interface of this index, as the hot path wants it.
    pub fn port_at(&self, index: u32) -> Option<Port> {
        self.links.get(&index).map(|link| Port { index, mac: link.mac })
    }

    /// An interface as a router sees it. Its primary address is the first that is not ours, and so is its link-local one.
    pub fn state(&self, name: &InterfaceName) -> LinkState {
        let Some((index, link)) = self.links.iter().find(|(_, link)| link.name == *name) else {
            return LinkState::Absent;
        };
        match link.running {
            false => LinkState::Down,
            true => {
                let addresses = self.addresses.get(index).map(Vec::as_slice).unwrap_or_default();
                let others = || addresses.iter().filter(|a| a.mark != OUR_MARK && !a.tentative).map(|a| a.address);
                let primary = others().find_map(|a| if let IpAddr::V4(a) = a { Some(a) } else { None });
                let local = |a: &Ipv6Addr| a.is_unicast_link_local();
                let v6 = others().filter_map(|a| if let IpAddr::V6(a) = a { Some(a) } else { None });
                LinkState::Up { primary, link_local: v6.into_iter().find(local) }
            }
        }
    }

    /// Those of the wanted addresses that stand on an interface without our mark.
    pub fn foreign(&self, name: &InterfaceName, wanted: &BTreeSet<Cidr>) -> BTreeSet<Cidr> {
        let index = self.links.iter().find(|(_, link)| link.name == *name).map(|(index, _)| index);
        let addresses = index.and_then(|index| self.addresses.get(index)).into_iter().flatten();
        let others = addresses.filter(|a| a.mark != OUR_MARK);
        others.flat_map(|other| in_the_way(other, wanted)).collect()
    }

    /// Takes in one event or one entry of a dump and says what it changed.
    pub(super) fn apply(&mut self, message: &Message) -> Vec<Seen> {
        match message.kind {
            libc::RTM_NEWLINK => self.link(message.payload),
            libc::RTM_DELLINK => self.unlink(message.payload),
            libc::RTM_NEWADDR => Standing::read(message.payload).map(|s| self.put(s)).unwrap_or_default(),
            libc::RTM_DELADDR => {
                Standing::read(message.payload).map(|s| self.take(&s, message.port)).unwrap_or_default()
            }
            // The filter lets through only those of ours.
            libc::RTM_DELROUTE => vec![Seen::RouteLost { by: message.port }],
            _ => Vec::new(),
        }
    }

    /// An address that stands now.
    pub(super) fn put(&mut self, new: Standing) -> Vec<Seen> {
        let list = self.addresses.entry(new.index).or_default();
        match list.iter_mut().find(|s| (s.address, s.prefix) == (new.address, new.prefix)) {
            // Every change of an address' lifetime is an event.
            Some(old) if *old == new => return Vec::new(),
            Some(old) => *old = new,
            None => list.push(new),
        }
        let (Some(interface), Some(cidr)) = (self.name(new.index).cloned(), new.cidr()) else { return Vec::new() };
        vec![Seen::Added { interface: interface.clone(), cidr, mark: new.mark }, Seen::Link(interface)]
    }

    fn take(&mut self, gone: &Standing, by: u32) -> Vec<Seen> {
        if let Some(list) = self.addresses.get_mut(&gone.index) {
            list.retain(|s| (s.address, s.prefix) != (gone.address, gone.prefix));
        }
        let (Some(interface), Some(cidr)) = (self.name(gone.index).cloned(), gone.cidr()) else { return Vec::new() };
        vec![Seen::Removed { interface: interface.clone(), index: gone.index, cidr, by }, Seen::Link(interface)]
    }

    fn link(&mut self, payload: &[u8]) -> Vec<Seen> {
        let Some((index, link)) = read(payload) else { return Vec::new() };
        let name = link.name.clone();
        match self.links.insert(index, link.clone()) {
            Some(old) if old == link => Vec::new(),
            Some(old) if old.name != name => vec![Seen::Link(old.name), Seen::Link(name)],
            _ => vec![Seen::Link(name)],
        }
    }

    fn unlink(&mut self, payload: &[u8]) -> Vec<Seen> {
        let Some((index, _)) = read(payload) else { return Vec::new() };
        self.addresses.remove(&index);
        self.links.remove(&index).map(|link| Seen::Link(link.name)).into_iter().collect()
    }

    /// What changed from this to a later reading, in an order in which it may have happened: first what went.
    pub(super) fn differences(&self, later: &Machine) -> Vec<Seen> {
        let mut seen = Vec::new();
        for (index, standing) in self.standing() {
            let gone = !later.addresses.get(&index).is_some_and(|l| l.iter().any(|s| s.cidr() == standing.cidr()));
            if let (true, Some(interface), Some(cidr)) = (gone, self.name(index).cloned(), standing.cidr()) {
                seen.push(Seen::Removed { interface, index, cidr, by: 0 });
            }
        }
        for (index, standing) in later.standing() {
            let same = self.addresses.get(&index).is_some_and(|l| l.contains(standing));
            if let (false, Some(interface), Some(cidr)) = (same, later.name(index).cloned(), standing.cidr()) {
                seen.push(Seen::Added { interface, cidr, mark: standing.mark });
            }
        }
        seen.extend(self.links.values().chain(later.links.values()).map(|link| Seen::Link(link.name.clone())));
        seen
    }

    fn standing(&self) -> impl Iterator<Item = (u32, &Standing)> {
        self.addresses.iter().flat_map(|(index, list)| list.iter().map(|s| (*index, s)))
    }
}

/// Those of the wanted addresses that cannot be added beside this one.
fn in_the_way(other: &Standing, wanted: &BTreeSet<Cidr>) -> impl Iterator<Item = Cidr> {
    // In order of address and then prefix: all of one address stand together.
    let least = Cidr::new(other.address, 0).ok().into_iter();
    let same = least.flat_map(|least| wanted.range(least..)).take_while(|w| w.address() == other.address);
    same.filter(|w| other.is_in_the_way_of(w)).copied()
}

/// Reads RTM_NEWLINK and RTM_DELLINK of the link itself.
fn read(payload: &[u8]) -> Option<(u32, Link)> {
    // Family AF_BRIDGE tells of a bridge's port: its RTM_DELLINK is no link's end.
    if i32::from(*payload.first()?) != libc::AF_UNSPEC {
        return None;
    }
    let kind = u16::from_ne_bytes(payload.get(2..4)?.try_into().ok()?);
    let index = u32_at(payload, 4)?;
    let flags = u32_at(payload, 8)? as i32;
    let name = text(attribute(payload, HEADER, NAME)?)?.parse().ok()?;
    let speaks_arp = kind == libc::ARPHRD_ETHER && flags & libc::IFF_NOARP == 0;
    let mac = attribute(payload, HEADER, ADDRESS).and_then(|a| a.try_into().ok()).filter(|_| speaks_arp);
    let running = flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0;
    Some((index, Link { name, running, mac }))
}
