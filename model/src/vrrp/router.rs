//! Every virtual router of one machine: inputs in, effects out.

mod parting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cause::Drops;
use super::input::Report;
use super::instance::Instance;
use super::turn::Turn;
use super::{Effect, Input, LinkState, Received, Settings, VipStatus, judge, packet, timing};
use crate::units::{Cidr, Family, InterfaceName, Moment, Vrid};

/// The virtual routers of one machine and what they know of it. Effects come in the order in which they are to be
/// carried out; a vip's state changes nowhere else.
#[derive(Debug, Default)]
pub struct Router {
    instances: BTreeMap<Id, Instance>,
    next: Id,
    /// Names in the order of the file, the order of [`Router::status`].
    order: Vec<Name>,
    by_name: BTreeMap<Name, Id>,
    /// Virtual routers that left and wait for the kernel to let go of their addresses.
    departed: BTreeMap<Name, Id>,
    by_vrid: BTreeMap<InterfaceName, BTreeMap<(Family, Vrid), Id>>,
    due: BTreeSet<(Moment, Id)>,
    /// Kept over reloads: what the driver said once, it need not say again.
    links: BTreeMap<InterfaceName, LinkState>,
    foreign: BTreeMap<InterfaceName, BTreeSet<Cidr>>,
    checks: BTreeMap<String, Report>,
    /// Packets for none of our virtual routers, by interface.
    strangers: BTreeMap<InterfaceName, Drops>,
    /// When it was last asked for anything.
    awake: Option<Moment>,
    /// Vips that are left to others, by name: also those that no settings name now.
    drained: BTreeSet<String>,
    stopped: bool,
}

type Id = u64;

/// A vip's name and one of its families.
type Name = (String, Family);

impl Router {
    /// Virtual routers that wait for word of their interfaces. Of two settings with one name, or with one vrid on one
    /// interface, the first counts: the configuration refuses such files.
    pub fn new(settings: Vec<Settings>) -> Self {
        let mut router = Router::default();
        router.load(&mut Turn::at(Moment::default()), settings);
        router
    }

    /// Takes one input at this moment and says what is to be done, in order. Moments do not go back. After
    /// [`Input::Stop`] it takes part no longer: only what it still answers for is handed over.
    pub fn handle(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let mut turn = Turn::at(now);
        if self.stopped {
            self.handle_stopped(&mut turn, input);
            return turn.effects;
        }
        self.wake(&mut turn, &input);
        match input {
            Input::Packet(packet) => self.packet(&mut turn, &packet),
            Input::Tick => self.tick(&mut turn),
            Input::Link { interface, state } => self.link(&mut turn, interface, state),
            Input::Check { name, up } => self.check(&mut turn, name, if up { Report::Up } else { Report::Down }),
            Input::Weight { name, weight } => self.check(&mut turn, name, Report::Weight(weight)),
            Input::AddressLost { interface, cidr } => {
                for id in self.on(&interface) {
                    self.with(id, |i| i.restore(&mut turn, cidr));
                }
            }
            Input::Foreign { interface, addresses } => {
                for id in self.on(&interface) {
                    self.with(id, |i| i.foreign_changed(&mut turn, addresses.clone()));
                }
                self.foreign.insert(interface, addresses);
            }
            Input::Done { vip, family, result } => {
                let name = (vip, family);
                if let Some(id) = self.by_name.get(&name).or(self.departed.get(&name)).copied() {
                    self.with(id, |i| i.done(&mut turn, result));
                }
                self.forget_settled();
            }
            Input::Announced { interface, address } => self.announced(&turn, &interface, address),
            Input::Drain(vips) => self.drain(&mut turn, vips),
            Input::StepDown { vip } => self.step_down(&mut turn, &vip),
            Input::Reload(settings) => self.load(&mut turn, settings),
            Input::Stop => self.stop(&mut turn),
        }
        turn.effects
    }

    /// Whether it was stopped and answers for nothing any more.
    pub fn is_over(&self) -> bool {
        self.stopped && self.instances.values().all(|i| i.lingering.is_none())
    }

    /// When [`Input::Tick`] is due; `None` while only something from outside can change anything. After a tick it lies
    /// ahead.
    pub fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The vips in the order of the file.
    pub fn status(&self) -> Vec<VipStatus> {
        let of = |name| self.by_name.get(name).and_then(|id| self.instances.get(id));
        self.order.iter().filter_map(of).map(Instance::status).collect()
    }

    /// Packets that were dropped because they were for none of our virtual routers: interface, cause, count.
    pub fn strangers(&self) -> BTreeMap<InterfaceName, BTreeMap<String, u64>> {
        self.strangers.iter().map(|(interface, drops)| (interface.clone(), drops.by_name())).collect()
    }

    /// The instances on an interface.
    fn on(&self, interface: &InterfaceName) -> Vec<Id> {
        self.by_vrid.get(interface).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Lets an instance do something and keeps the index of deadlines true.
    fn with(&mut self, id: Id, f: impl FnOnce(&mut Instance)) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        f(instance);
        let deadline = instance.deadline();
        if deadline != instance.registered {
            if let Some(old) = instance.registered {
                self.due.remove(&(old, id));
            }
            self.due.extend(deadline.map(|at| (at, id)));
            instance.registered = deadline;
        }
    }

    /// Looks before anything else whether it slept. Until its effects are done the driver was at work, not asleep.
    fn wake(&mut self, turn: &mut Turn, input: &Input) {
        let asleep = self.awake.replace(turn.now).map_or(Duration::ZERO, |last| turn.now.since(last));
        if timing::is_wink(asleep) || matches!(input, Input::Done { .. }) {
            return;
        }
        let ids: Vec<Id> = self.instances.keys().copied().collect();
        for id in ids {
            self.with(id, |i| i.wake(turn, asleep));
        }
    }

    fn tick(&mut self, turn: &mut Turn) {
        // Each once, so that a tick ends whatever the instances do.
        let due: Vec<Id> = self.due.range(..=(turn.now, Id::MAX)).map(|(_, id)| *id).collect();
        for id in due {
            self.with(id, |i| i.tick(turn));
        }
    }

    fn packet(&mut self, turn: &mut Turn, packet: &Received) {
        // An interface without a virtual router is not ours to keep accounts of.
        let Some(vrids) = self.by_vrid.get(&packet.interface) else { return };
        let vrid = packet::envelope(&packet.message).and_then(|e| Vrid::try_from(e.vrid).ok());
        let family = Family::of(packet.source);
        match vrid.and_then(|v| vrids.get(&(family, v))).copied() {
            Some(id) => self.with(id, |i| i.packet(turn, packet)),
            None => {
                let drops = self.strangers.entry(packet.interface.clone()).or_default();
                let told = drops.count(packet.interface.as_str(), judge::stranger(packet), packet.source);
                turn.tell(told);
            }
        }
    }

    fn link(&mut self, turn: &mut Turn, interface: InterfaceName, state: LinkState) {
        for id in self.on(&interface) {
            self.with(id, |i| {
                i.link_changed(turn, state.clone());
            });
        }
        self.links.insert(interface, state);
    }

    fn check(&mut self, turn: &mut Turn, name: String, report: Report) {
        let tracks = |i: &Instance| i.settings.track.iter().any(|(check, _)| *check == name);
        let named = self.by_name.values().filter_map(|id| Some((*id, self.instances.get(id)?)));
        let ids: Vec<Id> = named.filter(|(_, i)| tracks(i)).map(|(id, _)| id).collect();
        for id in ids {
            self.with(id, |i| {
                i.checks.insert(name.clone(), report);
                i.assess(turn);
            });
        }
        self.checks.insert(name, report);
    }

    /// Brings the instances in line with these settings: whoever leaves leaves first, so that an address that moves
    /// from one vip to another is let go of before it is taken.
    fn load(&mut self, turn: &mut Turn, settings: Vec<Settings>) {
        let settings = distinct(settings);
        let by_name: BTreeMap<Name, &Settings> = settings.iter().map(|s| (name_of(s), s)).collect();
        let mut gone = Vec::new();
        for (name, id) in &self.by_name {
            let new = by_name.get(name).copied();
            let Some(instance) = self.instances.get_mut(id) else { continue };
            match new {
                Some(new) if instance.is_same_router(new) => instance.shed(turn, new),
                Some(_) => gone.push((*id, "its interface, vrid or version was changed")),
                None => gone.push((*id, "it was removed from the configuration")),
            }
        }
        for (id, why) in gone {
            self.with(id, |i| i.leave(turn, why));
            self.depart(id);
        }
        self.order = settings.iter().map(name_of).collect();
        for new in settings {
            let name = name_of(&new);
            match self.by_name.get(&name).copied() {
                Some(id) => self.change(turn, (id, new)),
                None => {
                    let predecessor = self.departed.remove(&name).and_then(|id| self.remove(id));
                    let id = self.enter(turn.now, new);
                    self.with(id, |i| {
                        if let Some(predecessor) = predecessor {
                            i.inherit(predecessor);
                        }
                        i.assess(turn);
                    });
                }
            }
        }
        self.forget_settled();
        let used = &self.by_vrid;
        self.strangers.retain(|interface, _| used.contains_key(interface));
        self.links.retain(|interface, _| used.contains_key(interface));
        self.foreign.retain(|interface, _| used.contains_key(interface));
    }

    fn change(&mut self, turn: &mut Turn, change: (Id, Settings)) {
        let (id, new) = change;
        let known = self.known(&new);
        self.with(id, |i| {
            if i.settings != new {
                i.checks = known;
                i.adopt(turn, new);
            }
        });
    }

    fn enter(&mut self, now: Moment, new: Settings) -> Id {
        let id = self.next;
        self.next += 1;
        let mut instance = Instance::new(new, now);
        let settings = &instance.settings;
        instance.link = self.links.get(&settings.interface).cloned();
        instance.foreign = self.foreign.get(&settings.interface).cloned().unwrap_or_default();
        instance.checks = self.known(settings);
        instance.drained = self.is_drained(settings);
        self.by_name.insert(name_of(settings), id);
        let vrids = self.by_vrid.entry(settings.interface.clone()).or_default();
        vrids.insert((settings.family, settings.vrid), id);
        self.instances.insert(id, instance);
        id
    }

    /// What is known of the checks that these settings track.
    fn known(&self, settings: &Settings) -> BTreeMap<String, Report> {
        let result = |(name, _): &(String, _)| Some((name.clone(), *self.checks.get(name)?));
        settings.track.iter().filter_map(result).collect()
    }

    /// Takes an instance that has left out of everything but the kernel's answers to it.
    fn depart(&mut self, id: Id) {
        let Some(instance) = self.instances.get(&id) else { return };
        let settings = &instance.settings;
        let name = name_of(settings);
        self.by_name.remove(&name);
        self.departed.insert(name, id);
        if let Some(vrids) = self.by_vrid.get_mut(&settings.interface) {
            vrids.retain(|_, other| *other != id);
            if vrids.is_empty() {
                self.by_vrid.remove(&settings.interface);
            }
        }
    }

    /// Drops the departed that nothing is open of.
    fn forget_settled(&mut self) {
        let settled = |id: &Id| self.instances.get(id).is_none_or(Instance::is_settled);
        let gone: Vec<Id> = self.departed.values().copied().filter(settled).collect();
        for id in gone {
            self.departed.retain(|_, departed| *departed != id);
            self.remove(id);
        }
    }

    fn remove(&mut self, id: Id) -> Option<Instance> {
        let instance = self.instances.remove(&id)?;
        if let Some(at) = instance.registered {
            self.due.remove(&(at, id));
        }
        Some(instance)
    }
}

fn name_of(settings: &Settings) -> Name {
    (settings.name.clone(), settings.family)
}

/// Without those whose name and family, or interface, vrid and family, another before them has.
fn distinct(settings: Vec<Settings>) -> Vec<Settings> {
    let (mut names, mut vrids) = (BTreeSet::new(), BTreeSet::new());
    let is_new = |s: &Settings| names.insert(name_of(s)) && vrids.insert((s.interface.clone(), s.family, s.vrid));
    let mut settings = settings;
    settings.retain(is_new);
    settings
}
