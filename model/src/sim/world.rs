//! The cluster in virtual time: one thing happens at a time, in an order that the seed alone decides.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fate::Fate;
use super::invariants::{HELD, Step, broken, check_held};
use super::network::{Network, reaches};
use super::node::{Known, Node};
use super::rng::Rng;
use crate::units::{Cidr, Family, InterfaceName, Moment};
use crate::vrrp::{Effect, Event, Input, Received, Router, VipState, packet};

/// Something done to the cluster; machines by their index.
#[derive(Debug, Clone)]
pub enum Action {
    /// One machine meets its fate.
    Node(usize, Fate),
    /// Nothing gets from the first to the second any more.
    Cut(usize, usize),
    /// The same on one segment alone.
    CutOn(usize, usize, String),
    /// An old packet is heard again.
    Replay,
    /// A machine is sent bytes that look like an advert, or do not.
    Noise(usize),
}

/// A cluster.
#[derive(Debug)]
pub struct World {
    /// Its machines.
    pub nodes: Vec<Node>,
    /// The segment between them.
    pub network: Network,
    /// The moment, on the world's clock.
    pub now: Moment,
    /// What decides everything that is not decided otherwise.
    pub rng: Rng,
    /// What happened, a line each, for people.
    pub trace: Vec<String>,
    /// Over every effect with its moment and machine: equal where everything happened equally.
    pub digest: u64,
    /// The first thing that was wrong; nothing happens after it.
    pub violation: Option<String>,
    /// How often each vip got a master.
    pub takeovers: BTreeMap<String, u64>,
    /// How often each vip got or lost one.
    pub transitions: BTreeMap<String, u64>,
    /// Changes what the routers want done: a router that is broken on purpose.
    #[cfg(test)]
    pub(super) saboteur: Option<fn(usize, &Input, &mut Vec<Effect>)>,
    wire: BTreeMap<(Moment, u64), (usize, Input)>,
    sent: u64,
}

impl World {
    /// Machines that are off, on a perfect segment.
    pub fn new(nodes: Vec<Node>, rng: Rng) -> Self {
        World {
            nodes,
            network: Network::default(),
            now: Moment::default(),
            rng,
            trace: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            violation: None,
            takeovers: BTreeMap::new(),
            transitions: BTreeMap::new(),
            #[cfg(test)]
            saboteur: None,
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Does something to the cluster now.
    pub fn act(&mut self, action: Action) {
        if self.violation.is_some() {
            return;
        }
        match action {
            Action::Node(n, fate) => {
                let Some(node) = self.nodes.get_mut(n) else { return };
                let (name, is_stop) = (node.name.clone(), matches!(fate, Fate::Stop));
                if is_stop && node.paused {
                    return;
                }
                if let Some(line) = node.meet(fate) {
                    self.note(format!("{name} {line}"));
                }
                if is_stop {
                    self.handle(n, Input::Stop);
                    self.end_stopped(n);
                }
            }
            Action::Cut(from, to) => {
                self.note(format!("machine {from} is not heard any more by machine {to}"));
                self.network.cut.insert((from, to));
            }
            Action::CutOn(from, to, segment) => {
                self.note(format!("machine {from} is not heard any more by machine {to} on {segment}"));
                self.network.cut_on.insert((from, to, segment));
            }
            Action::Noise(to) => self.noise(to),
            Action::Replay => {
                self.note("somebody replays a packet".into());
                if let Some((to, packet)) = self.network.replay(&mut self.rng) {
                    self.put((to, Input::Packet(packet)), Duration::ZERO);
                }
            }
        }
    }

    /// A machine that was stopped is off once it has handed over.
    fn end_stopped(&mut self, n: usize) {
        let over = |node: &&mut Node| node.stopping && node.router.as_ref().is_none_or(Router::is_over);
        let Some(node) = self.nodes.get_mut(n).filter(over) else { return };
        let left = node.held.iter().find(|a| !node.stuck.contains(a)).map(|(vip, cidr)| format!("{cidr} of {vip}"));
        let name = node.name.clone();
        node.crash();
        if let Some(left) = left {
            self.violate(broken(HELD, format!("{name} has ended and left {left}")));
        }
    }

    /// Runs until that moment.
    pub fn run_until(&mut self, end: Moment) {
        while self.violation.is_none() && self.step(end) {}
        self.now = self.now.max(end);
    }

    /// Lets one thing happen, at `end` at the latest; false where nothing is left until then.
    pub fn advance(&mut self, end: Moment) -> bool {
        let more = self.violation.is_none() && self.step(end);
        if !more {
            self.now = self.now.max(end);
        }
        more
    }

    /// The machines that are master of a vip.
    pub fn masters(&self, vip: &str) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes.get(*n).is_some_and(|node| node.is_master(vip))).collect()
    }

    /// Fails the run.
    pub fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            self.note(format!("VIOLATION: {what}"));
            self.violation = Some(what);
        }
    }

    /// Writes a line into the trace.
    pub fn note(&mut self, line: String) {
        let at = Duration::from_nanos(self.now.0).as_secs_f64();
        self.trace.push(format!("{at:>9.4}s {line}"));
    }

    /// One thing, up to `end`: a packet arrives, or a machine handles one input. False where there is none.
    fn step(&mut self, end: Moment) -> bool {
        let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
        let ready = self.nodes.iter().enumerate().filter_map(|(n, node)| Some((node.ready_at(self.now)?, n))).min();
        match (arrival, ready) {
            (Some(at), other) if at <= end && other.is_none_or(|(ready, _)| at <= ready) => {
                self.now = self.now.max(at);
                if let Some((_, (to, input))) = self.wire.pop_first()
                    && let Some(node) = self.nodes.get_mut(to).filter(|node| hears(node, &input))
                {
                    node.give(input);
                }
                true
            }
            (_, Some((at, n))) if at <= end => {
                self.now = self.now.max(at);
                self.turn(n);
                true
            }
            _ => false,
        }
    }

    /// A machine handles its oldest input, or its timers, whichever it happens to look at first; what its own driver
    /// has to say comes before both.
    fn turn(&mut self, n: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(n) else { return };
        let answered = matches!(node.inbox.front(), Some(Input::Done { .. }));
        let tick = node.is_due(now) && !answered && (node.inbox.is_empty() || self.rng.chance(500));
        let input = if tick { Input::Tick } else { node.inbox.pop_front().unwrap_or(Input::Tick) };
        self.handle(n, input);
        self.end_stopped(n);
        if let Some(Err(what)) = self.nodes.get(n).filter(|node| node.is_quiet(now)).map(check_held) {
            self.violate(what);
        }
    }

    fn handle(&mut self, n: usize, input: Input) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(n) else { return };
        let local = node.local(now);
        let Some(router) = &mut node.router else { return };
        let old = node.settings.clone();
        match &input {
            // One that hands over reads nothing any more.
            Input::Reload(settings) if !node.stopping => node.settings.clone_from(settings),
            Input::Foreign { interface, addresses } => {
                node.told.retain(|(on, _)| on != interface);
                node.told.extend(addresses.iter().map(|a| (interface.clone(), *a)));
            }
            Input::Check { name, up } => drop(node.known.insert(name.clone(), Known::Up(*up))),
            Input::Weight { name, weight } => drop(node.known.insert(name.clone(), Known::Number(*weight))),
            Input::Drain(vips) => node.known_drained.clone_from(vips),
            _ => {}
        }
        let before = std::mem::take(&mut node.last);
        #[cfg_attr(not(test), expect(unused_mut, reason = "a test may break the router on purpose"))]
        let mut effects = router.handle(local, input.clone());
        #[cfg(test)]
        if let Some(saboteur) = self.saboteur {
            saboteur(n, &input, &mut effects);
        }
        node.last = router.status();
        let step =
            Step { node, now: local, input: &input, effects: &effects, old: &old, before: &before, after: &node.last };
        if let Err(what) = step.check() {
            let what = format!("{}: {what}, given {input:?} and answered with {effects:?}", node.name);
            return self.violate(what);
        }
        node.refused = step.refused();
        let mut answers = Vec::new();
        for effect in effects {
            self.mix(n, &effect);
            answers.extend(self.execute(n, effect));
        }
        if let Some(node) = self.nodes.get_mut(n)
            && !answers.is_empty()
        {
            let most = u64::try_from(Node::BUSY.as_nanos()).unwrap_or(0);
            node.busy_until = now + Duration::from_nanos(self.rng.below(most));
            answers.into_iter().rev().for_each(|answer| node.inbox.push_front(answer));
        }
    }

    /// Carries an effect out and says what the driver answers.
    fn execute(&mut self, n: usize, effect: Effect) -> Option<Input> {
        let node = self.nodes.get_mut(n)?;
        let name = node.name.clone();
        match effect {
            Effect::Advert { interface, source, destinations, message, .. } => {
                for destination in destinations {
                    let (ttl, interface, message) = (packet::TTL, interface.clone(), message.clone());
                    self.send(n, Received { interface, source, destination, ttl, message });
                }
                None
            }
            Effect::Hold { vip, family, addresses, interface, .. } => {
                let is_foreign = |a: &Cidr| node.foreign.contains(&(interface.clone(), *a));
                let taken = addresses.iter().any(is_foreign);
                let refused = node.refuses || taken || !node.is_up(&interface) && self.rng.chance(500);
                node.refusals += u32::from(refused);
                // What is refused may have been half done.
                let stood = if refused { self.rng.index(addresses.len() + 1) } else { addresses.len() };
                let mut free: Vec<Cidr> = addresses.iter().filter(|a| !is_foreign(a)).copied().collect();
                free.truncate(stood);
                for address in free.iter().map(|a| (vip.clone(), *a)) {
                    node.unseen.remove(&address);
                    node.stuck.remove(&address);
                    node.announced.insert(address.clone());
                    node.held.insert(address);
                }
                self.announce(n, &interface, &free);
                self.note(format!("{name} holds {vip}{}", if refused { ", refused" } else { "" }));
                let result = if refused { Err("refused".to_owned()) } else { Ok(()) };
                Some(Input::Done { vip, family, result })
            }
            Effect::Release { vip, family, addresses, .. } => Some(self.release(n, (vip, family), &addresses)),
            Effect::Announce { interface, addresses, .. } => {
                self.announce(n, &interface, &addresses);
                self.note(format!("{name} announces again"));
                None
            }
            Effect::Event(Event::State { vip, from, to, priority, why }) => {
                self.note(format!("{name} {vip} {from:?} -> {to:?} at priority {priority}: {why}"));
                if to == VipState::Master {
                    *self.takeovers.entry(vip.clone()).or_default() += 1;
                }
                if to == VipState::Master || from == VipState::Master {
                    *self.transitions.entry(vip).or_default() += 1;
                }
                None
            }
            Effect::Event(_) => None,
        }
    }

    fn release(&mut self, n: usize, (vip, family): (String, Family), addresses: &[Cidr]) -> Input {
        let mut result = Ok(());
        if let Some(node) = self.nodes.get_mut(n) {
            for address in addresses.iter().map(|a| (vip.clone(), *a)) {
                node.unseen.remove(&address);
                if node.clings && node.held.contains(&address) {
                    node.stuck.insert(address);
                } else {
                    node.stuck.remove(&address);
                    node.announced.remove(&address);
                    node.held.remove(&address);
                }
            }
            if node.clings {
                result = Err("refused".to_owned());
            }
            let line = format!("{} releases {vip}{}", node.name, if node.clings { ", refused" } else { "" });
            self.note(line);
        }
        Input::Done { vip, family, result }
    }

    fn send(&mut self, from: usize, packet: Received) {
        let sender = self.nodes.get(from).filter(|node| node.is_up(&packet.interface));
        let Some(segment) = sender.and_then(|node| node.ports.get(&packet.interface)).cloned() else { return };
        for to in 0..self.nodes.len() {
            let hears = |node: &&Node| to != from && reaches(packet.destination, &node.addresses);
            let port = self.nodes.get(to).filter(hears).and_then(|node| node.port_on(&segment));
            let Some(interface) = port.filter(|_| self.network.connects((from, to), &segment)) else { continue };
            let packet = Received { interface, ..packet.clone() };
            for delay in self.network.carry((from, to), &packet, &mut self.rng) {
                self.put((to, Input::Packet(packet.clone())), delay);
            }
        }
    }

    /// Tells every other machine of the segment where these addresses are now.
    fn announce(&mut self, from: usize, interface: &InterfaceName, addresses: &[Cidr]) {
        let sender = self.nodes.get(from).filter(|node| node.is_up(interface));
        let Some(segment) = sender.and_then(|node| node.ports.get(interface)).cloned() else { return };
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let port = self.nodes.get(to).and_then(|node| node.port_on(&segment));
            let Some(interface) = port.filter(|_| self.network.connects((from, to), &segment)) else { continue };
            for address in addresses {
                if let Some(delay) = self.network.carry_word(&mut self.rng) {
                    let word = Input::Announced { interface: interface.clone(), address: address.address() };
                    self.put((to, word), delay);
                }
            }
        }
    }

    /// Bytes from nowhere: a past packet with a few bytes changed, or none that was ever sent.
    fn noise(&mut self, to: usize) {
        self.note("somebody sends noise".into());
        let port = self.nodes.get(to).and_then(|node| node.ports.keys().next().cloned());
        let Some(interface) = port else { return };
        let past =
            self.network.replay(&mut self.rng).map(|(_, packet)| Received { interface: interface.clone(), ..packet });
        let mut packet = past.unwrap_or_else(|| {
            let (source, destination) = ([192, 0, 2, 66].into(), packet::GROUP.into());
            Received { interface, source, destination, ttl: packet::TTL, message: vec![0x31; 24] }
        });
        for _ in 0..=self.rng.below(4) {
            let at = self.rng.index(packet.message.len());
            let byte = self.rng.bits().to_be_bytes();
            packet.message.iter_mut().skip(at).take(1).zip(byte).for_each(|(old, new)| *old = new);
        }
        if self.rng.chance(300) {
            packet.message.truncate(self.rng.index(packet.message.len() + 1));
        }
        self.put((to, Input::Packet(packet)), Duration::ZERO);
    }

    fn put(&mut self, delivery: (usize, Input), delay: Duration) {
        self.sent += 1;
        self.wire.insert((self.now + delay, self.sent), delivery);
    }

    /// FNV-1a over what an effect is, when and where.
    fn mix(&mut self, n: usize, effect: &Effect) {
        let (kind, bytes): (u8, &[u8]) = match effect {
            Effect::Advert { message, .. } => (1, message),
            Effect::Hold { vip, .. } => (2, vip.as_bytes()),
            Effect::Release { vip, .. } => (3, vip.as_bytes()),
            Effect::Announce { interface, .. } => (4, interface.as_str().as_bytes()),
            Effect::Event(_) => (5, &[]),
        };
        let place = [kind, u8::try_from(n).unwrap_or(u8::MAX)];
        for byte in self.now.0.to_be_bytes().iter().chain(&place).chain(bytes) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Whether what comes in on an interface gets as far as the driver.
fn hears(node: &Node, input: &Input) -> bool {
    match input {
        Input::Packet(Received { interface, .. }) | Input::Announced { interface, .. } => node.is_up(interface),
        _ => true,
    }
}
