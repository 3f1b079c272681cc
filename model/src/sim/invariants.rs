//! What must hold after every input, whatever happened before. Each property has a name, which begins the words of
//! whoever breaks it.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use super::truth;
use crate::units::{Cidr, Family, Moment};
use crate::vrrp::{Effect, Input, Received, Settings, VipState, VipStatus, packet, timing};

/// Every add has its remove on every way out.
pub const HELD: &str = "an address is held if and only if its vip is master";
/// RFC 9568 §6.4.3.
pub const BETTER: &str = "no master has been handed a better advert since it became one";
/// RFC 9568 §6.4.1, §6.4.2.
pub const SILENCE: &str = "backup, fault and start send no advert";
/// RFC 9568 §5.2.4.
pub const GOODBYE: &str = "priority 0 is said on leaving mastership only";
/// At least one for each address, and none before it stands.
pub const ANNOUNCED: &str = "addresses are announced while they are held, each at least once";
/// RFC 9568 §7.2.
pub const TRUTH: &str = "every advert is what configuration and effective priority say now";
/// Also the two families of a vip.
pub const TOGETHER: &str = "members of a group are never seen apart";
/// Nothing spins.
pub const AHEAD: &str = "after a tick the deadline lies ahead";
/// Queues, and effects of one input.
pub const BOUNDED: &str = "queues and effects of one input are bounded";
/// Nobody takes part for an address that is somebody else's.
pub const FOREIGN: &str = "nobody takes part while somebody else has its address here";
/// A living master does not lose its vip for nothing again and again.
pub const FORBEARING: &str = "who was refused leaves a living master alone for a while";

/// Most effects of one input for one virtual router: a goodbye to each of four peers, both kernel effects, an
/// announcement, events.
const EFFECTS: usize = 24;

/// Most things that a router has in any one queue.
const QUEUE: usize = 16;

/// How a property was broken.
pub fn broken(property: &str, what: impl std::fmt::Display) -> String {
    format!("{property}: {what}")
}

/// One input and what came of it.
pub struct Step<'a> {
    /// The machine, after the input and before its effects are carried out.
    pub node: &'a Node,
    /// The moment on its own clock.
    pub now: Moment,
    /// What it was given.
    pub input: &'a Input,
    /// What it wants done.
    pub effects: &'a [Effect],
    /// Its settings before: a goodbye of a reload is said with them.
    pub old: &'a [Settings],
    /// Its vips before.
    pub before: &'a [VipStatus],
    /// Its vips after.
    pub after: &'a [VipStatus],
}

impl Step<'_> {
    /// The first thing that is wrong.
    ///
    /// # Errors
    /// Says what, for people.
    pub fn check(&self) -> Result<(), String> {
        self.check_bounds()?;
        self.effects.iter().try_for_each(|effect| self.check_effect(effect))?;
        self.check_together()?;
        self.check_foreign()?;
        self.check_forbearance()?;
        self.check_better_advert()
    }

    fn check_bounds(&self) -> Result<(), String> {
        let routers = self.old.len().max(self.node.settings.len()).max(1);
        if self.effects.len() > EFFECTS * routers {
            return Err(broken(BOUNDED, format!("{} effects", self.effects.len())));
        }
        let Some(router) = &self.node.router else { return Ok(()) };
        if router.longest_queue() > QUEUE {
            return Err(broken(BOUNDED, format!("{} in a queue", router.longest_queue())));
        }
        match (self.input, router.deadline()) {
            (Input::Tick, Some(at)) if at <= self.now => Err(broken(AHEAD, format!("{:?}", self.now.since(at)))),
            _ => Ok(()),
        }
    }

    /// Both families of a vip, and all vips of a group, are in one state.
    fn check_together(&self) -> Result<(), String> {
        let Some(router) = &self.node.router else { return Ok(()) };
        let mut groups = BTreeMap::new();
        for (member, state) in router.states() {
            let alone = member.group.is_none().then_some(&member.name);
            let (first, shared) = *groups.entry((member.group.as_ref(), alone)).or_insert((member, state));
            if shared != state {
                let (one, other) = ((&first.name, first.family), (&member.name, member.family));
                return Err(broken(TOGETHER, format!("{one:?} is {shared:?} and {other:?} is {state:?}")));
            }
        }
        Ok(())
    }

    fn check_foreign(&self) -> Result<(), String> {
        let is_told = |s: &VipStatus, a: &Cidr| self.node.told.contains(&(s.interface.clone(), *a));
        let taken = |s: &&VipStatus| s.addresses.iter().any(|a| is_told(s, a));
        match self.after.iter().filter(taken).find(|s| matches!(s.state, VipState::Backup | VipState::Master)) {
            Some(s) => Err(broken(FOREIGN, format!("{} is {:?}", s.vip, s.state))),
            None => Ok(()),
        }
    }

    /// A router that was refused takes mastership from a living holder once in its time of forbearance at most.
    fn check_forbearance(&self) -> Result<(), String> {
        for after in self.after.iter().filter(|s| s.state == VipState::Master) {
            let Some((refusals, at)) = self.node.refused.get(&after.vip) else { continue };
            let Some(before) = self.before.iter().find(|s| s.vip == after.vip) else { continue };
            let settings = self.node.settings.iter().find(|s| s.name == after.vip);
            let interval = settings.map(|s| s.advertise.duration()).unwrap_or_default();
            let alive = |heard: Moment| self.now.since(heard) < interval * 3 / 2;
            let living = before.masters.values().any(|(_, priority, heard)| *priority != 0 && alive(*heard));
            let soon = self.now.since(*at) < timing::preempt_after(*refusals);
            if before.state != VipState::Master && living && soon {
                let what = format!("{} preempts {:?} after refusal {refusals}", after.vip, self.now.since(*at));
                return Err(broken(FORBEARING, what));
            }
        }
        Ok(())
    }

    /// The machine's account of refused Holds after this step.
    pub fn refused(&self) -> BTreeMap<String, (u32, Moment)> {
        let mut refused = self.node.refused.clone();
        match self.input {
            Input::Done { vip, result, .. } if state(self.before, vip) == Some(VipState::Master) => {
                let in_a_row = refused.get(vip).map_or(0, |(n, _)| *n);
                let left = state(self.after, vip) == Some(VipState::Fault);
                match result {
                    Ok(()) => drop(refused.remove(vip)),
                    Err(_) if left => drop(refused.insert(vip.clone(), (in_a_row.saturating_add(1), self.now))),
                    Err(_) => {}
                }
            }
            // What the kernel refused before may be over.
            Input::Foreign { .. } | Input::Link { .. } | Input::Reload(_) => refused.clear(),
            _ => {}
        }
        refused
    }

    fn check_effect(&self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Advert { .. } => self.check_advert(effect),
            Effect::Announce { vip, addresses, .. } => self.check_announcement(vip, addresses),
            Effect::Hold { vip, .. } => match state(self.after, vip) {
                // A Hold that another effect of the same input takes back is no harm, and no sense either.
                Some(VipState::Master) => Ok(()),
                _ => Err(broken(HELD, format!("holds the addresses of {vip} without being master"))),
            },
            Effect::Release { .. } | Effect::Event(_) => Ok(()),
        }
    }

    fn check_announcement(&self, vip: &str, addresses: &[Cidr]) -> Result<(), String> {
        // Unless somebody else has just taken it, which it cannot know yet.
        let lost = |input: &Input| matches!(input, Input::AddressLost { .. });
        let ignorant = self.node.inbox.iter().any(lost);
        let known = || self.node.held.iter().chain(&self.node.unseen);
        let stands = |a: &Cidr| ignorant || known().any(|(_, held)| held == a);
        match (state(self.after, vip), addresses.iter().find(|a| !stands(a))) {
            (Some(VipState::Master), None) => Ok(()),
            (Some(VipState::Master), Some(cidr)) => Err(broken(ANNOUNCED, format!("{cidr} does not stand"))),
            (state, _) => Err(broken(ANNOUNCED, format!("{vip} is {state:?}"))),
        }
    }

    fn check_advert(&self, effect: &Effect) -> Result<(), String> {
        let Effect::Advert { source, destinations, message, .. } = effect else { return Ok(()) };
        let to = destinations.first().copied().unwrap_or(*source);
        let advert = packet::decode(message, *source, to).map_err(|e| broken(TRUTH, e))?;
        let family = Family::of(*source);
        let is_ours = |s: &&Settings| (s.vrid, s.family) == (advert.vrid, family);
        // A goodbye of a reload is said with what was before.
        let old = self.old.iter().filter(|_| matches!(self.input, Input::Reload(_)));
        let ours: Vec<&Settings> = self.node.settings.iter().chain(old).filter(is_ours).collect();
        let Some(names) = ours.first().map(|s| &s.name) else {
            return Err(broken(TRUTH, format!("vrid {} is not configured", advert.vrid)));
        };
        let lingers = matches!(self.input, Input::Tick) && self.after.iter().any(|s| s.vip == *names && s.lingering);
        let was = |of| ours.iter().any(|s| state(of, &s.name) == Some(VipState::Master));
        match (advert.priority, was(self.before), was(self.after)) {
            // It may ask a worse successor to announce.
            (0, true, false) | (0, _, _) if lingers || matches!(self.input, Input::Reload(_)) && was(self.before) => {}
            (0, true, false) => {}
            (0, ..) => return Err(broken(GOODBYE, format!("{names} goes on"))),
            (_, _, true) => {}
            (_, _, false) if lingers => {}
            _ => return Err(broken(SILENCE, format!("{names} is {:?}", state(self.after, names)))),
        }
        match ours.iter().any(|s| truth::is_advert(self.node, s, (effect, advert.priority))) {
            true => Ok(()),
            false => Err(broken(TRUTH, format!("{advert:?} from {source} to {destinations:?}"))),
        }
    }

    fn check_better_advert(&self) -> Result<(), String> {
        let Input::Packet(packet) = self.input else { return Ok(()) };
        let Ok(advert) = packet::decode(&packet.message, packet.source, packet.destination) else { return Ok(()) };
        for (before, after) in self.before.iter().zip(self.after) {
            let heard = after.received > before.received;
            if heard && after.state == VipState::Master && self.is_better(packet, &advert, after) {
                let what =
                    format!("{} stayed master over {} with priority {}", after.vip, packet.source, advert.priority);
                return Err(broken(BETTER, what));
            }
        }
        Ok(())
    }

    /// A tie is for the first member of a group to decide.
    fn is_better(&self, packet: &Received, advert: &packet::Advert, ours: &VipStatus) -> bool {
        let family = Family::of(packet.source);
        let settings = self.node.settings.iter().find(|s| s.name == ours.vip && s.family == family);
        let decides = settings.is_some_and(|s| truth::is_first(&self.node.settings, s));
        let higher = settings.and_then(|s| truth::source(self.node, s)).is_some_and(|own| packet.source > own);
        let tied = advert.priority == ours.priority.get() && ours.priority.get() != 255;
        advert.priority > ours.priority.get() || tied && decides && higher
    }
}

/// A machine with nothing under way holds exactly the addresses of the vips that it is master of, each announced since
/// it stands, but for those that it lingers with, that its kernel refused to let go of, and those whose loss it was not
/// told of.
///
/// # Errors
/// Says what is held wrongly or missing.
pub fn check_held(node: &Node) -> Result<(), String> {
    if node.router.is_none() {
        return Ok(());
    }
    let mut wanted: BTreeSet<(&str, Cidr)> = BTreeSet::new();
    let mut lingering: BTreeSet<(&str, Cidr)> = BTreeSet::new();
    for status in &node.last {
        let addresses = status.addresses.iter().map(|a| (status.vip.as_str(), *a));
        match status.state {
            VipState::Master => wanted.extend(addresses),
            _ if status.lingering => lingering.extend(addresses),
            _ => {}
        }
    }
    let is_in = |set: &BTreeSet<(String, Cidr)>, (vip, cidr): &(&str, Cidr)| set.contains(&((*vip).to_owned(), *cidr));
    let missing = wanted.iter().find(|a| !is_in(&node.held, a) && !is_in(&node.unseen, a));
    let surplus = node.held.iter().find(|a| {
        let plain = (a.0.as_str(), a.1);
        !wanted.contains(&plain) && !lingering.contains(&plain) && !node.stuck.contains(*a)
    });
    let unsaid = wanted.iter().find(|a| is_in(&node.held, a) && !is_in(&node.announced, a));
    match (missing, surplus, unsaid) {
        (Some((vip, cidr)), ..) => Err(broken(HELD, format!("{} lacks {cidr} of {vip}", node.name))),
        (_, Some((vip, cidr)), _) => Err(broken(HELD, format!("{} has {cidr} of {vip}", node.name))),
        (.., Some((vip, cidr))) => Err(broken(ANNOUNCED, format!("{} said nothing of {cidr} of {vip}", node.name))),
        _ => Ok(()),
    }
}

fn state(of: &[VipStatus], vip: &str) -> Option<VipState> {
    of.iter().find(|s| s.vip == vip).map(|s| s.state)
}
