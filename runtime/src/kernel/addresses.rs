//! Addresses with our mark: looked at once for a whole run of additions or deletions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use model::observed::{Address, Link, OUR_MARK};
use model::units::{Cidr, InterfaceName};

use super::run::Stopped;
use super::{KernelError, netlink, sysctl};

/// Where an address stands.
pub(super) type Place<'a> = (&'a InterfaceName, Cidr);

/// The interfaces and the addresses on them.
struct Seen {
    links: BTreeMap<InterfaceName, Link>,
    addresses: Vec<Address>,
}

impl Seen {
    fn now() -> Result<Seen, KernelError> {
        let links = netlink::links()?;
        Ok(Seen { addresses: netlink::addresses(&links)?, links })
    }

    fn index(&self, interface: &InterfaceName) -> Result<u32, KernelError> {
        let no_interface = || KernelError::NoInterface { name: interface.to_string() };
        self.links.get(interface).map(|link| link.index).ok_or_else(no_interface)
    }

    fn by_place(&self) -> BTreeMap<Place<'_>, &Address> {
        self.addresses.iter().map(|a| ((&a.interface, a.cidr), a)).collect()
    }
}

/// Adds these, in order; an equal one of ours is success.
pub(super) fn add(places: &[Place<'_>]) -> Result<(), Stopped> {
    let seen = Seen::now().map_err(Stopped::before)?;
    let there = seen.by_place();
    let mut socket = None;
    for (done, place) in places.iter().enumerate() {
        let added = match there.get(place) {
            Some(address) if address.mark == OUR_MARK => Ok(()),
            Some(_) => Err(foreign(*place)),
            None => seen.index(place.0).and_then(|index| add_one(&mut socket, index, *place)),
        };
        added.map_err(|error| Stopped { done, error })?;
    }
    Ok(())
}

fn add_one(socket: &mut Option<netlink::Changes>, index: u32, place: Place<'_>) -> Result<(), KernelError> {
    match changes(socket).and_then(|socket| socket.add_address(index, place.1)) {
        // Somebody else was faster by a moment, or an equal operation came before.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => match Seen::now()?.by_place().get(&place) {
            Some(address) if address.mark == OUR_MARK => Ok(()),
            _ => Err(foreign(place)),
        },
        Err(e) => Err(netlink::failed(&format!("adding {}", show(place)), &e)),
        Ok(()) => Ok(()),
    }
}

/// Deletes those of these that are there and ours. Secondary addresses go first, so that none goes with its primary;
/// where one of ours that stays does, it is put back.
pub(super) fn delete(places: &[Place<'_>]) -> Result<(), Stopped> {
    let seen = Seen::now().map_err(Stopped::before)?;
    let falling = falling(&seen).map_err(Stopped::before)?;
    let there = seen.by_place();
    let ours = |(number, place)| Some((number, there.get(place).copied().filter(|a| a.mark == OUR_MARK)?));
    let mut targets: Vec<(usize, &Address)> = places.iter().enumerate().filter_map(ours).collect();
    for (number, address) in &targets {
        if let Some(foreign) = fallen(&falling, address).find(|a| a.mark != OUR_MARK) {
            return stop_at(*number, places, would_fall(address, foreign));
        }
    }
    targets.sort_by_key(|(number, address)| (!address.secondary, *number));
    let mut socket = None;
    for (position, (number, address)) in targets.iter().enumerate() {
        if let Err(error) = delete_one(&mut socket, &seen, place(address)) {
            // Only what comes before it in the caller's order may be in force.
            let early = targets.iter().take(position).filter(|(n, _)| n > number).map(|(_, a)| place(a));
            let _ = add(&early.collect::<Vec<_>>());
            return stop_at(*number, places, error);
        }
    }
    let going: BTreeSet<Place<'_>> = targets.iter().map(|(_, a)| place(a)).collect();
    let fell = targets.iter().flat_map(|(_, a)| fallen(&falling, a)).map(place).filter(|p| !going.contains(p));
    add(&fell.collect::<Vec<_>>()).map_err(|s| Stopped { done: places.len().saturating_sub(1), error: s.error })
}

/// Deletes what comes before the one that cannot be.
fn stop_at(number: usize, places: &[Place<'_>], error: KernelError) -> Result<(), Stopped> {
    delete(places.get(..number).unwrap_or_default())?;
    Err(Stopped { done: number, error })
}

fn delete_one(socket: &mut Option<netlink::Changes>, seen: &Seen, place: Place<'_>) -> Result<(), KernelError> {
    let index = seen.index(place.0)?;
    match changes(socket).and_then(|socket| socket.delete_address(index, place.1)) {
        // With its interface, an address is gone too.
        Err(e) if e.kind() == ErrorKind::AddrNotAvailable || e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        Err(e) => Err(netlink::failed(&format!("deleting {}", show(place)), &e)),
        Ok(()) => Ok(()),
    }
}

/// An interface, a prefix's length, a network.
type Network<'a> = (&'a InterfaceName, u8, u64);

fn network(address: &Address) -> Option<Network<'_>> {
    let (ip, prefix) = (address.cidr.v4()?, address.cidr.prefix());
    Some((&address.interface, prefix, u64::from(u32::from(ip)) >> 32_u8.saturating_sub(prefix)))
}

/// The secondary addresses that the kernel takes away with their primary, by network.
fn falling(seen: &Seen) -> Result<BTreeMap<Network<'_>, Vec<&Address>>, KernelError> {
    let mut promoted: BTreeMap<&InterfaceName, bool> = BTreeMap::new();
    let mut falling: BTreeMap<Network<'_>, Vec<&Address>> = BTreeMap::new();
    for address in seen.addresses.iter().filter(|a| a.secondary) {
        let promoted = match promoted.get(&address.interface) {
            Some(known) => *known,
            None => *promoted.entry(&address.interface).or_insert(promotes(&address.interface)?),
        };
        if let (false, Some(network)) = (promoted, network(address)) {
            falling.entry(network).or_default().push(address);
        }
    }
    Ok(falling)
}

/// Those of them that go with this address.
fn fallen<'a>(
    falling: &'a BTreeMap<Network<'_>, Vec<&'a Address>>,
    primary: &'a Address,
) -> impl Iterator<Item = &'a Address> {
    let network = network(primary).filter(|_| !primary.secondary);
    network.and_then(|n| falling.get(&n)).into_iter().flatten().copied()
}

/// Whether the kernel makes a secondary address the primary one where that is deleted.
fn promotes(interface: &InterfaceName) -> Result<bool, KernelError> {
    for scope in ["all", &interface.as_str().replace('.', "/")] {
        if sysctl::read(&format!("net.ipv4.conf.{scope}.promote_secondaries"))?.as_deref() == Some("1") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn would_fall(address: &Address, foreign: &Address) -> KernelError {
    let why = format!(
        "{} would go with it; set sysctl net.ipv4.conf.{}.promote_secondaries to 1 first",
        foreign.cidr,
        address.interface.as_str().replace('.', "/")
    );
    KernelError::Refused { what: format!("deleting {}", show(place(address))), why }
}

fn changes(socket: &mut Option<netlink::Changes>) -> std::io::Result<&netlink::Changes> {
    match socket {
        Some(open) => Ok(open),
        None => Ok(socket.insert(netlink::Changes::open()?)),
    }
}

fn place(address: &Address) -> Place<'_> {
    (&address.interface, address.cidr)
}

fn show((interface, cidr): Place<'_>) -> String {
    format!("address {cidr} on {interface}")
}

fn foreign(place: Place<'_>) -> KernelError {
    KernelError::Foreign { what: show(place) }
}
