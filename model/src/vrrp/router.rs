//! Every virtual router of one machine: inputs in, effects out.

mod parting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bond::Bond;
use super::cause::Drops;
use super::group::GroupName;
use super::input::Report;
use super::instance::Instance;
use super::turn::Turn;
use super::{Effect, Input, LinkState, Received, Settings, VipStatus, judge, packet, timing};
use crate::units::{Cidr, Family, InterfaceName, Moment, Vrid};

/// The virtual routers of one machine and what they know of it. Effects come in the order in which they are to be
/// carried out; a vip's state changes nowhere else.
#[derive(Debug, Default)]
pub struct Router {
    pub(super) instances: BTreeMap<Id, Instance>,
    next: Id,
    /// Names in the order of the file, the order of [`Router::status`].
    order: Vec<Name>,
    pub(super) by_name: BTreeMap<Name, Id>,
    /// Virtual routers that left and wait for the kernel to let go of their addresses.
    departed: BTreeMap<Name, Id>,
    by_vrid: BTreeMap<InterfaceName, BTreeMap<(Family, Vrid), Id>>,
    due: BTreeSet<(Moment, Id)>,
    /// Kept over reloads: what the driver said once, it need not say again.
    links: BTreeMap<InterfaceName, LinkState>,
    foreign: BTreeMap<InterfaceName, BTreeSet<Cidr>>,
    pub(super) checks: BTreeMap<String, Report>,
    /// Members of each group in the order of the file; of those that have more than one.
    pub(super) groups: BTreeMap<GroupName, Vec<Id>>,
    /// Groups of which a member was touched in this turn.
    pub(super) touched: BTreeSet<GroupName>,
    /// Packets for none of our virtual routers, by interface.
    strangers: BTreeMap<InterfaceName, Drops>,
    /// When it was last asked for anything.
    awake: Option<Moment>,
    /// Vips that are left to others, by name: also those that no settings name now.
    drained: BTreeSet<String>,
    /// Groups of which one is.
    drained_groups: BTreeSet<String>,
    pub(super) stopped: bool,
    /// When it was first asked for anything: the start of the process.
    born: Option<Moment>,
}

pub(super) type Id = u64;

/// A vip's name and one of its families.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) vip: String,
    pub(super) family: Family,
}

impl Name {
    pub(super) fn of(settings: &Settings) -> Name {
        Name { vip: settings.name.clone(), family: settings.family }
    }
}

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
        self.be_born(&mut turn);
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
                    self.with(id, |i| i.foreign_changed(&mut turn, (&interface, &addresses)));
                }
                self.foreign.insert(interface, addresses);
            }
            Input::Done { vip, family, result } => {
                let name = Name { vip, family };
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
        self.unite(&mut turn);
        self.tell(&mut turn);
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
        let mut rows: Vec<VipStatus> = Vec::new();
        for status in self.order.iter().filter_map(of).map(Instance::status) {
            match rows.last_mut().filter(|row| row.vip == status.vip) {
                Some(row) => row.add(status),
                None => rows.push(status),
            }
        }
        rows
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
    pub(super) fn with(&mut self, id: Id, f: impl FnOnce(&mut Instance)) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        f(instance);
        if instance.bond.is_some() {
            self.touched.insert(GroupName::of(&instance.settings));
        }
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
        // Before anything else is taken: a member whose group has left must not speak as a master once more.
        self.unite(turn);
    }

    fn be_born(&mut self, turn: &mut Turn) {
        if self.born.is_none() {
            self.born = Some(turn.now);
            let ids: Vec<Id> = self.instances.keys().copied().collect();
            for id in ids {
                self.with(id, |i| {
                    i.start_at(turn.now, turn.now);
                    i.warn_of_unlisted(turn);
                });
            }
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
            self.with(id, |i| match interface == i.settings.interface {
                true => i.link_changed(turn, state.clone()),
                false => i.virtual_mac_changed(turn, state.clone()),
            });
        }
        self.links.insert(interface, state);
    }

    fn check(&mut self, turn: &mut Turn, name: String, report: Report) {
        let tracks = |i: &Instance| i.settings.track.iter().any(|(check, _)| *check == name);
        let named = self.by_name.values().filter_map(|id| Some((*id, self.instances.get(id)?)));
        let tracking = || named.clone().filter(|(_, i)| tracks(i));
        let groups: BTreeSet<GroupName> = tracking().map(|(_, i)| GroupName::of(&i.settings)).collect();
        let ids: Vec<Id> = tracking().map(|(id, _)| id).collect();
        self.checks.insert(name.clone(), report);
        groups.iter().for_each(|group| self.weigh(group));
        for id in ids {
            self.with(id, |i| {
                i.checks.insert(name.clone(), report);
                i.assess(turn);
            });
        }
    }

    /// Brings the instances in line with these settings: whoever leaves leaves first, so that an address that moves
    /// from one vip to another is let go of before it is taken.
    fn load(&mut self, turn: &mut Turn, settings: Vec<Settings>) {
        let settings = distinct(settings);
        let by_name: BTreeMap<Name, &Settings> = settings.iter().map(|s| (Name::of(s), s)).collect();
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
        self.order = settings.iter().map(Name::of).collect();
        let mut bonds = self.bonds(&settings);
        let drained = settings.iter().filter(|s| self.drained.contains(&s.name));
        self.drained_groups = drained.filter_map(|s| s.group.clone()).collect();
        self.groups.clear();
        for new in settings {
            let name = Name::of(&new);
            let (group, bond) = bonds.remove(&name).unzip();
            let id = match self.by_name.get(&name).copied() {
                Some(id) => self.change(turn, (id, new, bond)),
                None => {
                    let predecessor = self.departed.remove(&name).and_then(|id| self.remove(id));
                    let id = self.enter(turn.now, new, bond);
                    self.with(id, |i| {
                        if let Some(predecessor) = predecessor {
                            i.inherit(predecessor);
                        }
                        i.warn_of_unlisted(turn);
                        i.assess(turn);
                    });
                    id
                }
            };
            if let Some(group) = group {
                self.groups.entry(group).or_default().push(id);
            }
        }
        self.drain_all(turn);
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.join(turn, &group);
        }
        self.unite(turn);
        for id in self.by_name.values().copied().collect::<Vec<_>>() {
            self.with(id, |i| i.hold_owed(turn));
        }
        self.forget_settled();
        let used = &self.by_vrid;
        self.strangers.retain(|interface, _| used.contains_key(interface));
        self.links.retain(|interface, _| used.contains_key(interface));
        self.foreign.retain(|interface, _| used.contains_key(interface));
    }

    fn change(&mut self, turn: &mut Turn, change: (Id, Settings, Option<Bond>)) -> Id {
        let (id, new, bond) = change;
        let known = self.known(&new);
        self.with(id, |i| {
            i.bind(turn, bond);
            if i.settings != new {
                i.checks = known;
                i.adopt(turn, new);
            }
        });
        id
    }

    fn enter(&mut self, now: Moment, new: Settings, bond: Option<Bond>) -> Id {
        let id = self.next;
        self.next += 1;
        let mut instance = Instance::new(new, now);
        let settings = &instance.settings;
        instance.link = self.links.get(&settings.interface).cloned();
        let places = || std::iter::once(&settings.interface).chain(&settings.virtual_mac);
        let foreign = |place: &InterfaceName| Some((place.clone(), self.foreign.get(place)?.clone()));
        instance.foreign = places().filter_map(foreign).collect();
        instance.virtual_mac = settings.virtual_mac.as_ref().and_then(|name| self.links.get(name)).cloned();
        instance.bond = bond;
        instance.checks = self.known(settings);
        instance.drained = self.is_drained(settings);
        self.by_name.insert(Name::of(settings), id);
        for place in places() {
            self.by_vrid.entry(place.clone()).or_default().insert((settings.family, settings.vrid), id);
        }
        if let Some(born) = self.born {
            instance.start_at(born, now);
        }
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
        let name = Name::of(settings);
        self.by_name.remove(&name);
        self.departed.insert(name, id);
        for place in std::iter::once(&settings.interface).chain(&settings.virtual_mac) {
            if let Some(vrids) = self.by_vrid.get_mut(place) {
                vrids.retain(|_, other| *other != id);
            }
        }
        self.by_vrid.retain(|_, vrids| !vrids.is_empty());
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

/// Without those whose name and family, or interface, vrid and family, another before them has.
fn distinct(settings: Vec<Settings>) -> Vec<Settings> {
    let (mut names, mut vrids) = (BTreeSet::new(), BTreeSet::new());
    let is_new = |s: &Settings| names.insert(Name::of(s)) && vrids.insert((s.interface.clone(), s.family, s.vrid));
    let mut settings = settings;
    settings.retain(is_new);
    // The families of a vip are of one group: the first's.
    let mut groups: BTreeMap<String, Option<String>> = BTreeMap::new();
    for s in &mut settings {
        s.group.clone_from(groups.entry(s.name.clone()).or_insert_with(|| s.group.clone()));
    }
    settings
}
