//! Carries effects out: the hands of the VRRP thread.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use model::config::Route;
use model::units::{Cidr, Family, InterfaceName, Moment, Priority};
use model::vrrp::{Effect, Event, Input, LinkState, Saved, Settings};
use tokio::sync::mpsc;

use super::{Command, DriverEvent};
use crate::hot::route::{Leaving, without};
use crate::hot::{Hot, Port, Trouble};
use crate::socket::VrrpSocket;
use crate::watch::Machine;

/// The sockets that change the kernel and the wire, and what is held through them.
#[derive(Debug)]
pub(super) struct Hands {
    pub hot: Hot,
    pub socket: VrrpSocket,
    events: mpsc::Sender<DriverEvent>,
    /// Addresses with a service.
    gated: BTreeSet<Ipv4Addr>,
    /// Of these, the ones not held that may have connections in the kernel's table: their last holder's leftovers, and
    /// what came while our table, which keeps them from being tracked, was in somebody else's hands.
    stale: BTreeSet<Ipv4Addr>,
    /// What is held: for which vip.
    held: BTreeMap<(InterfaceName, Cidr), String>,
    /// Addresses of vips whose owner this machine is: it may have them as its own, without our mark.
    owned: BTreeSet<(InterfaceName, Cidr)>,
    /// Routes that follow the addresses held: of which vip and family, and by which interface where they name none.
    led: BTreeMap<(String, Family), (InterfaceName, Vec<Route>)>,
    /// Index of the link that an interface's addresses were last put on: it may lose its name while it is up.
    links: BTreeMap<InterfaceName, u32>,
    /// A vip of each interface, to speak of where a failure is the interface's.
    vips: BTreeMap<InterfaceName, String>,
    /// Interfaces whose last advert was not sent: told once, not with each advert.
    mute: BTreeSet<InterfaceName>,
    /// Events nobody took.
    pub dropped: u64,
}

impl Hands {
    pub fn new(hot: Hot, socket: VrrpSocket, events: mpsc::Sender<DriverEvent>) -> Hands {
        Hands {
            hot,
            socket,
            events,
            gated: BTreeSet::new(),
            stale: BTreeSet::new(),
            held: BTreeMap::new(),
            owned: BTreeSet::new(),
            led: BTreeMap::new(),
            links: BTreeMap::new(),
            vips: BTreeMap::new(),
            mute: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// From now on these are the vips and the addresses with a service.
    pub fn settle(&mut self, routers: &[Settings], gated: BTreeSet<Ipv4Addr>) {
        self.vips = routers.iter().rev().map(|s| (s.interface.clone(), s.name.clone())).collect();
        self.gated = gated;
        self.owned = owned(routers);
        self.distrust_connections();
    }

    /// Our table was touched: whatever is not held may have connections.
    pub fn distrust_connections(&mut self) {
        let held: BTreeSet<Ipv4Addr> = self.held.keys().filter_map(|(_, cidr)| cidr.v4()).collect();
        self.stale.extend(self.gated.difference(&held));
    }

    /// Has stale connections forgotten.
    pub fn forget_stale(&mut self, now: Moment) {
        if !self.stale.is_empty() && self.hot.forget(&self.stale) {
            self.stale.clear();
        }
        self.tell_troubles(now, "");
    }

    /// Until the reload is done, what loses its service is still shut when it is released.
    pub fn widen(&mut self, routers: &[Settings], gated: &BTreeSet<Ipv4Addr>) {
        self.gated.extend(gated);
        self.owned.extend(owned(routers));
    }

    /// The vip that holds this address here.
    pub fn holder(&self, interface: &InterfaceName, cidr: Cidr) -> Option<&String> {
        self.held.get(&(interface.clone(), cidr))
    }

    /// Carries one effect out; `Some` where the router awaits an answer.
    pub fn perform(&mut self, now: Moment, machine: &Machine, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Advert { interface, virtual_mac, source, destinations, message } => {
                let port = self.raised(machine, (&interface, virtual_mac.as_ref()));
                let sent = port.and_then(|port| self.advert(port, (source, &destinations), &message));
                self.speak(now, interface, sent);
                None
            }
            Effect::Hold { vip, family, interface, virtual_mac, addresses, routes, .. } => {
                let port = self.raised(machine, (&interface, virtual_mac.as_ref()));
                let place = virtual_mac.unwrap_or_else(|| interface.clone());
                let done = port.and_then(|port| self.hold((machine, port), (&interface, &place), &addresses));
                if done.is_ok() {
                    self.held.extend(addresses.iter().map(|c| ((place.clone(), *c), vip.clone())));
                    self.lead((now, machine), (vip.clone(), family, interface), routes);
                }
                self.tell_troubles(now, &vip);
                Some(Input::Done { vip, family, result: done })
            }
            Effect::Release { vip, family, interface, virtual_mac, addresses, .. } => {
                let place = virtual_mac.clone().unwrap_or_else(|| interface.clone());
                self.keep_none_of(&place, &addresses);
                // A part of them may go while the others stay.
                let last = !self.held.iter().any(|((p, c), v)| (p, v, c.family()) == (&place, &vip, family));
                if last {
                    self.lead((now, machine), (vip.clone(), family, interface), Vec::new());
                }
                let done = self.release(machine, (&place, last && virtual_mac.is_some()), &addresses);
                self.tell_troubles(now, &vip);
                Some(Input::Done { vip, family, result: done })
            }
            Effect::Announce { vip, interface, virtual_mac, addresses, .. } => {
                if let Some(port) = machine.port(virtual_mac.as_ref().unwrap_or(&interface)) {
                    self.hot.announce(port, &addresses);
                    self.tell_troubles(now, &vip);
                }
                None
            }
            Effect::Event(event) => {
                self.tell(DriverEvent::Router { at: now, event });
                None
            }
        }
    }

    /// Takes over what another thread holds and these settings go on with.
    pub fn adopt(&mut self, machine: &Machine, saved: &Saved, routers: &[Settings]) {
        for s in routers.iter().filter(|s| saved.goes_on_as_master(s)) {
            let place = s.virtual_mac.as_ref().unwrap_or(&s.interface);
            if let Some(port) = machine.port(place) {
                self.links.insert(place.clone(), port.index);
            }
            self.led.insert((s.name.clone(), s.family), (s.interface.clone(), s.routes.clone()));
            let stood = saved.routers.iter().find(|r| r.vip == s.name && r.family == s.family);
            let stood: BTreeSet<Cidr> = stood.into_iter().flat_map(|r| &r.addresses).copied().collect();
            let each = s.addresses.iter().filter(|cidr| stood.contains(cidr));
            self.held.extend(each.map(|cidr| ((place.clone(), *cidr), s.name.clone())));
        }
    }

    /// Deletes what another thread was master of and these settings do not go on with.
    pub fn release_abandoned(&mut self, machine: &Machine, saved: &Saved) -> Result<(), String> {
        let mut failure = Ok(());
        for router in saved.routers.iter().filter(|r| r.is_master()) {
            let Some(port) = machine.port(&router.interface) else { continue };
            let abandoned = |cidr: &&Cidr| !self.held.contains_key(&(router.interface.clone(), **cidr));
            let abandoned: Vec<Cidr> = router.addresses.iter().filter(abandoned).copied().collect();
            let released = self.hot.release(port, &abandoned, &BTreeSet::new());
            failure = failure.and(released.map_err(|e| e.to_string()));
        }
        failure
    }

    /// Deletes what a killed run left of these vips, and shuts the gate. In one edit: the kernel takes back an edit that
    /// deletes what is not there, and waits for all processors before it says so.
    pub fn release_leftovers(&mut self, machine: &Machine, routers: &[Settings]) -> Result<(), String> {
        let mut failure = Ok(());
        for s in routers {
            let place = s.virtual_mac.as_ref().unwrap_or(&s.interface);
            let left = |cidr: &&Cidr| !self.held.contains_key(&(place.clone(), **cidr));
            let left: Vec<Cidr> = s.addresses.iter().filter(left).copied().collect();
            // Who goes on as master has its routes, and some addresses perhaps that nobody wants any more.
            let goes_on = self.led.contains_key(&(s.name.clone(), s.family));
            if goes_on && left.is_empty() {
                continue;
            }
            let leaves = |r: &Route| machine.port(r.dev.as_ref().unwrap_or(&s.interface)).map(|port| port.index);
            let routes = s.routes.iter().filter(|_| !goes_on);
            let routes: Vec<Leaving> = routes.filter_map(|r| Some((r, leaves(r)?))).collect();
            failure = failure.and(self.hot.routes.delete(&routes).map_err(|e| e.to_string()));
            let Some(port) = machine.port(place) else { continue };
            if s.virtual_mac.is_some() && !goes_on {
                failure = failure.and(self.hot.links.lower(port.index).map_err(|e| e.to_string()));
            }
            let released = self.hot.release(port, &left, &BTreeSet::new());
            failure = failure.and(released.map_err(|e| e.to_string()));
        }
        if !self.gated.is_empty() && self.held.is_empty() {
            self.hot.set_gate(&BTreeSet::new());
        }
        failure
    }

    /// Fills the gate with what is held and has a service.
    pub fn set_gate(&mut self, now: Moment) {
        let open = self.held.keys().filter_map(|(_, cidr)| cidr.v4()).filter(|a| self.gated.contains(a)).collect();
        self.hot.set_gate(&open);
        self.tell_troubles(now, "");
    }

    /// Carries a slot edit out.
    pub fn slots(&mut self, now: Moment, command: Command) {
        let Command::Slots { map, slots, gone } = command else { return };
        self.hot.set_slots(&map, &slots);
        if !gone.is_empty() {
            self.hot.forget_backends(&self.gated, &gone);
        }
        self.tell_troubles(now, "");
    }

    /// Puts our mark back on an address that we hold and somebody replaced.
    pub fn mark_again(&mut self, now: Moment, machine: &Machine, (interface, cidr): (InterfaceName, Cidr)) {
        if self.owned.contains(&(interface.clone(), cidr)) {
            return;
        }
        let Some(vip) = self.holder(&interface, cidr).cloned() else { return };
        let Some(port) = machine.port(&interface) else { return };
        let event = match self.hot.mark_again(port, &cidr) {
            Ok(()) => Event::Restored { vip, what: format!("the mark of {cidr} on {interface} is put back") },
            Err(e) => Event::Warning { vip, what: e.to_string() },
        };
        self.tell(DriverEvent::Router { at: now, event });
    }

    /// Never waits: what does not fit is dropped and counted.
    pub fn tell(&mut self, event: DriverEvent) {
        self.dropped += u64::from(self.events.try_send(event).is_err());
    }

    fn advert(&self, port: Port, (source, to): (IpAddr, &[IpAddr]), message: &[u8]) -> Result<(), String> {
        let mut failure = Ok(());
        for to in to {
            let sent = self.socket.send(port.index, (source, *to), message);
            failure = failure.and(sent.map_err(|e| format!("sending an advert from {source} to {to}: {e}")));
        }
        failure
    }

    /// Tells of the first advert that failed and of the first that went again.
    fn speak(&mut self, at: Moment, interface: InterfaceName, sent: Result<(), String>) {
        let vip = self.vip_of(&interface);
        let what = match sent {
            Err(what) if self.mute.insert(interface.clone()) => what,
            Ok(()) if self.mute.remove(&interface) => format!("adverts are sent again on {interface}"),
            _ => return,
        };
        self.tell(DriverEvent::Router { at, event: Event::Warning { vip, what } });
    }

    /// Where a vip is held and speaks: its interface, or the link with its virtual MAC, which is set up for it.
    fn raised(
        &mut self,
        machine: &Machine,
        (interface, virtual_mac): (&InterfaceName, Option<&InterfaceName>),
    ) -> Result<Port, String> {
        let name = virtual_mac.unwrap_or(interface);
        let port = machine.port(name).ok_or_else(|| absent(name))?;
        match virtual_mac {
            Some(_) => self.hot.links.raise(port.index).map(|()| port).map_err(|e| e.to_string()),
            None => Ok(port),
        }
    }

    /// From now on exactly these routes follow a vip's addresses of a family; what could not be done is told and keeps
    /// nobody from being master.
    fn lead(&mut self, (at, machine): (Moment, &Machine), of: (String, Family, InterfaceName), routes: Vec<Route>) {
        let (vip, family, interface) = of;
        let led = self.led.remove(&(vip.clone(), family)).map(|(_, routes)| routes).unwrap_or_default();
        let leaves = |r: &Route| machine.port(r.dev.as_ref().unwrap_or(&interface)).map(|port| port.index);
        let gone = without(&led, &routes);
        let gone: Vec<Leaving> = gone.iter().filter_map(|r| Some((r, leaves(r)?))).collect();
        let mut failures = vec![self.hot.routes.delete(&gone).map_err(|e| e.to_string())];
        let absent = routes.iter().filter(|r| leaves(r).is_none());
        failures.extend(absent.map(|r| Err(format!("the route to {}: there is no interface for it", r.to))));
        let (new, old): (Vec<&Route>, Vec<&Route>) = routes.iter().partition(|r| !led.contains(r));
        let reach =
            |of: Vec<&'_ Route>| of.into_iter().filter_map(|r| Some((r.clone(), leaves(r)?))).collect::<Vec<_>>();
        let (new, old) = (reach(new), reach(old));
        failures.push(self.hot.routes.add(&borrowed(&new)).map_err(|e| e.to_string()));
        failures.push(self.hot.routes.put_back(&borrowed(&old)).map(drop).map_err(|e| e.to_string()));
        for what in failures.into_iter().filter_map(Result::err) {
            self.tell(DriverEvent::Router { at, event: Event::Warning { vip: vip.clone(), what } });
        }
        if !routes.is_empty() {
            self.led.insert((vip, family), (interface, routes));
        }
    }

    /// Puts back routes that somebody else deleted; those of a link that is down come back with it.
    pub fn lead_again(&mut self, at: Moment, machine: &Machine) {
        let mut told = Vec::new();
        for ((vip, _), (interface, routes)) in &self.led {
            let leaves = |r: &Route| {
                let name = r.dev.as_ref().unwrap_or(interface);
                let up = matches!(machine.state(name), LinkState::Up { .. });
                machine.port(name).filter(|_| up).map(|port| port.index)
            };
            let routes: Vec<Leaving> = routes.iter().filter_map(|r| Some((r, leaves(r)?))).collect();
            let vip = vip.clone();
            match self.hot.routes.put_back(&routes) {
                Ok(back) => told.extend(back.into_iter().map(|r| Event::Restored {
                    vip: vip.clone(),
                    what: format!("the route to {} was removed by someone else, and is put back", r.to),
                })),
                Err(e) => told.push(Event::Warning { vip, what: e.to_string() }),
            }
        }
        told.into_iter().for_each(|event| self.tell(DriverEvent::Router { at, event }));
    }

    fn hold(
        &mut self,
        (machine, port): (&Machine, Port),
        (interface, place): (&InterfaceName, &InterfaceName),
        addresses: &[Cidr],
    ) -> Result<(), String> {
        // What is held already keeps its connections.
        let held = |c: &Cidr| self.held.contains_key(&(place.clone(), *c));
        let new = self.gated_of(addresses.iter().filter(|c| !held(c)));
        let stale: BTreeSet<Ipv4Addr> = new.intersection(&self.stale).copied().collect();
        if !stale.is_empty() {
            // Asked for before the gate is open: connections that come through it are not among those that are listed
            // then, but for the ones of the very first milliseconds, which find their backend again by the same hash.
            self.hot.forget(&stale);
            self.stale.retain(|a| !stale.contains(a));
        }
        self.links.insert(place.clone(), port.index);
        let asked = addresses.iter().copied().filter(|c| self.owned.contains(&(interface.clone(), *c))).collect();
        let own = machine.foreign(interface, &asked);
        let others: Vec<Cidr> = addresses.iter().filter(|c| !own.contains(c)).copied().collect();
        self.hot.hold(port, &others, &new).map_err(|e| e.to_string())?;
        self.hot.announce(port, &Vec::from_iter(own));
        Ok(())
    }

    /// Before they are released: the events of our own deletions are no losses.
    fn keep_none_of(&mut self, place: &InterfaceName, addresses: &[Cidr]) {
        for cidr in addresses {
            self.held.remove(&(place.clone(), *cidr));
        }
    }

    /// Releases addresses; `lower` is for a virtual MAC that is no longer ours.
    fn release(
        &mut self,
        machine: &Machine,
        (place, lower): (&InterfaceName, bool),
        addresses: &[Cidr],
    ) -> Result<(), String> {
        let gated = self.gated_of(addresses.iter());
        self.stale.extend(&gated);
        let renamed = || self.links.get(place).and_then(|index| machine.port_at(*index));
        match machine.port(place).or_else(renamed) {
            Some(port) => {
                // Silent at once: leaving the groups of its addresses would be said with the virtual MAC.
                let lowered = if lower { self.hot.links.lower(port.index) } else { Ok(()) };
                self.hot.release(port, addresses, &gated).and(lowered).map_err(|e| e.to_string())
            }
            // The addresses went with the interface.
            None => {
                self.hot.shut(&gated);
                Ok(())
            }
        }
    }

    fn gated_of<'a>(&self, addresses: impl Iterator<Item = &'a Cidr>) -> BTreeSet<Ipv4Addr> {
        addresses.filter_map(|c| c.v4()).filter(|a| self.gated.contains(a)).collect()
    }

    fn vip_of(&self, interface: &InterfaceName) -> String {
        self.vips.get(interface).cloned().unwrap_or_else(|| interface.to_string())
    }

    fn tell_troubles(&mut self, at: Moment, vip: &str) {
        for trouble in self.hot.take_troubles() {
            self.tell(match trouble {
                Trouble::Table(what) => DriverEvent::TableFailed { at, what },
                Trouble::Announce(what) => {
                    DriverEvent::Router { at, event: Event::Warning { vip: vip.to_owned(), what } }
                }
            });
        }
    }
}

fn borrowed(routes: &[(Route, u32)]) -> Vec<Leaving<'_>> {
    routes.iter().map(|(route, index)| (route, *index)).collect()
}

fn owned(routers: &[Settings]) -> BTreeSet<(InterfaceName, Cidr)> {
    let owner = routers.iter().filter(|s| s.priority == Priority::OWNER);
    owner.flat_map(|s| s.addresses.iter().map(|cidr| (s.interface.clone(), *cidr))).collect()
}

fn absent(interface: &InterfaceName) -> String {
    format!("there is no interface {interface}")
}
