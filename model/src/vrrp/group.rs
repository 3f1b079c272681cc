//! Virtual routers that change state together: the members of a group, and the two families of a vip.
//!
//! At the end of every turn no member is in another state than the others. One that cannot take part takes all to
//! FAULT; one that steps down takes all with it; all become master at once, when each of them would.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::bond::{Bond, Move};
use super::input::Report;
use super::router::{Id, Name, Router};
use super::turn::Turn;
use super::{Event, Settings, VipState};
use crate::units::{Family, Priority};

/// What a group is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupName {
    /// Its own name.
    Group(String),
    /// A vip in no group: its families.
    Vip(String),
}

impl GroupName {
    pub(super) fn of(settings: &Settings) -> GroupName {
        let vip = || GroupName::Vip(settings.name.clone());
        settings.group.clone().map_or_else(vip, GroupName::Group)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupName::Group(name) => write!(f, "group.{name}"),
            GroupName::Vip(name) => write!(f, "vip.{name}"),
        }
    }
}

/// The priority of a group: the least of its members', with the weight of each check that any of them tracks, once.
///
/// One for all, because members with an order of their own would hand the group to and fro between two machines of
/// which each is better at something. An owner of addresses has 255 all the same (RFC 9568 §5.2.4).
fn priority<'a>(members: impl Iterator<Item = &'a Settings>, reports: &BTreeMap<String, Report>) -> Priority {
    let mut least = Priority::OWNER;
    let mut weights: BTreeMap<&str, Option<i16>> = BTreeMap::new();
    for settings in members {
        least = least.min(settings.priority);
        for (check, weight) in &settings.track {
            let heaviest = weights.entry(check).or_default();
            *heaviest = (*heaviest).max_by_magnitude(*weight);
        }
    }
    let adds = |(check, weight): (&&str, &Option<i16>)| reports.get(*check).map_or(0, |report| report.adds(*weight));
    least.weighted(weights.iter().map(adds).sum())
}

trait MaxByMagnitude {
    fn max_by_magnitude(self, other: Self) -> Self;
}

impl MaxByMagnitude for Option<i16> {
    fn max_by_magnitude(self, other: Self) -> Self {
        let size = |weight: Option<i16>| weight.map(i16::unsigned_abs);
        if size(other) > size(self) { other } else { self }
    }
}

impl Router {
    /// What ties each of these virtual routers to its group, in the order of the file; nothing where it is alone.
    pub(super) fn bonds(&self, settings: &[Settings]) -> BTreeMap<Name, (GroupName, Bond)> {
        let mut groups: BTreeMap<GroupName, Vec<&Settings>> = BTreeMap::new();
        for s in settings {
            groups.entry(GroupName::of(s)).or_default().push(s);
        }
        groups.retain(|_, members| members.len() > 1);
        let mut bonds = BTreeMap::new();
        for (group, members) in groups {
            let priority = priority(members.iter().copied(), &self.checks);
            for (rank, s) in (0..).zip(members) {
                let priority = if s.priority == Priority::OWNER { Priority::OWNER } else { priority };
                bonds.insert(Name::of(s), (group.clone(), Bond { rank, priority }));
            }
        }
        bonds
    }

    /// Takes the weights over that a group's checks have now.
    pub(super) fn weigh(&mut self, group: &GroupName) {
        let Some(ids) = self.groups.get(group).cloned() else { return };
        let members = ids.iter().filter_map(|id| self.instances.get(id)).map(|i| &i.settings);
        let priority = priority(members, &self.checks);
        for id in ids {
            if let Some(i) = self.instances.get_mut(&id)
                && i.settings.priority != Priority::OWNER
                && let Some(bond) = &mut i.bond
            {
                bond.priority = priority;
            }
        }
    }

    /// Members that a reload has brought together with a master become master with it, so that an address added to a
    /// vip that is held costs it nothing. Where one of them follows a living master, the others step down instead.
    pub(super) fn join(&mut self, turn: &mut Turn, group: &GroupName) {
        let Some(ids) = self.groups.get(group).cloned() else { return };
        let members = || ids.iter().filter_map(|id| Some((*id, self.instances.get(id)?)));
        let may_hold =
            members().all(|(_, i)| i.waits(turn.now).is_none() && i.obstacle().is_none() && !i.is_led(turn.now));
        if !may_hold || !members().any(|(_, i)| i.name() == VipState::Master) {
            return;
        }
        let joining: Vec<Id> = members().filter(|(_, i)| i.name() != VipState::Master).map(|(id, _)| id).collect();
        for id in joining {
            self.with(id, |i| {
                i.hindrance = None;
                i.enter_master(turn, format!("{group} is master"));
            });
        }
    }

    /// Groups whose members were touched are of one state again.
    pub(super) fn unite(&mut self, turn: &mut Turn) {
        let touched = std::mem::take(&mut self.touched);
        for group in touched.into_iter().filter(|_| !self.stopped).collect::<Vec<_>>() {
            if let Some(ids) = self.groups.get(&group).cloned() {
                self.unite_group(turn, (&group, &ids));
            }
        }
        // Its own doing.
        self.touched.clear();
    }

    fn unite_group(&mut self, turn: &mut Turn, members: (&GroupName, &[Id])) {
        if self.all_wait(turn, members) || self.all_fail(turn, members) {
            return;
        }
        let (_, ids) = members;
        for id in ids {
            self.with(*id, |i| {
                if matches!(i.name(), VipState::Init | VipState::Fault) {
                    i.enter(turn);
                }
            });
        }
        let is = |state| ids.iter().filter_map(|id| self.instances.get(id)).any(|i| i.name() == state);
        if is(VipState::Backup) && is(VipState::Master) {
            return self.all_retreat(turn, members);
        }
        let ripe = |id: &Id| Some((*id, self.instances.get(id)?.ripe()?.to_owned()));
        let ripe: Vec<_> = ids.iter().filter_map(ripe).collect();
        if ripe.len() == ids.len() {
            for (id, why) in ripe {
                self.with(id, |i| i.enter_master(turn, why));
            }
        } else {
            // Nobody has followed, and it is not for it alone to be master again.
            for (id, _) in ripe {
                self.with(id, |i| i.let_go(turn));
            }
        }
    }

    /// None takes part before all do.
    fn all_wait(&mut self, turn: &mut Turn, (group, ids): (&GroupName, &[Id])) -> bool {
        let waits = |id: &Id| self.instances.get(id).and_then(|i| Some((i.settings.name.clone(), i.waits(turn.now)?)));
        let Some((vip, why)) = ids.iter().find_map(waits) else { return false };
        for id in ids {
            self.with(*id, |i| {
                let why = words(group, (&i.settings.name, &vip), &why);
                if i.name() != VipState::Init {
                    i.leave(turn, &why);
                }
                i.why = Some(why);
            });
        }
        true
    }

    /// None takes part where one cannot.
    fn all_fail(&mut self, turn: &mut Turn, (group, ids): (&GroupName, &[Id])) -> bool {
        let fails = |id: &Id| self.instances.get(id).and_then(|i| Some((i.settings.name.clone(), i.obstacle()?)));
        let failure = ids.iter().find_map(fails);
        for id in ids {
            self.with(*id, |i| {
                let words = |(vip, why): &(String, String)| words(group, (&i.settings.name, vip), why);
                i.hindrance = failure.as_ref().map(words);
                i.assess(turn);
            });
        }
        failure.is_some()
    }

    /// None is master where one is not any more.
    fn all_retreat(&mut self, turn: &mut Turn, (group, ids): (&GroupName, &[Id])) {
        let stepped = |m: &&Move| m.from == VipState::Master && m.to == VipState::Backup;
        let first = turn.moves.iter().rev().find(stepped).map(|m| (m.vip.clone(), m.why.clone()));
        let (vip, why) =
            first.unwrap_or_else(|| (String::new(), format!("a member of {group} follows a living master")));
        for id in ids {
            self.with(*id, |i| {
                if i.name() == VipState::Master {
                    i.retreat(turn, words(group, (&i.settings.name, &vip), &why));
                }
            });
        }
    }

    /// Tells of each vip's change once: from what it was to what it has become, with the reason of whoever was first.
    pub(super) fn tell(&self, turn: &mut Turn) {
        let moves = std::mem::take(&mut turn.moves);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for first in moves.iter().filter(|m| told.insert(&m.vip)) {
            let of_vip = || moves.iter().filter(|m| m.vip == first.vip);
            // A family that came or went while the other stayed what it was.
            let stayed = |family| {
                let name = Name { vip: first.vip.clone(), family };
                self.by_name.contains_key(&name) && of_vip().all(|m| m.family != family)
            };
            let Some(to) = of_vip().next_back().map(|m| m.to).filter(|to| *to != first.from) else { continue };
            if let Some(Move { priority, why, .. }) = of_vip().find(|m| m.to == to)
                && ![Family::V4, Family::V6].into_iter().any(stayed)
            {
                let (vip, from, priority, why) = (first.vip.clone(), first.from, *priority, why.clone());
                turn.tell(Event::State { vip, from, to, priority, why });
            }
        }
    }
}

/// Why a member does as another: the other's reason, and its name where it is another vip.
fn words(group: &GroupName, (own, other): (&str, &str), why: &str) -> String {
    match own == other || other.is_empty() {
        true => why.to_owned(),
        false => format!("with vip.{other} of {group}: {why}"),
    }
}
