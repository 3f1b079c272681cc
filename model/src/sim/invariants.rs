//! What must hold after every input, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use crate::units::{Cidr, Moment};
use crate::vrrp::{Effect, Input, VipState, VipStatus, packet, timing};

/// Most effects of one input for one vip: a goodbye to each of four peers, both kernel effects, an announcement, events.
const EFFECTS: usize = 24;

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
        let vips = self.before.len().max(self.after.len()).max(1);
        if self.effects.len() > EFFECTS * vips {
            return Err(format!("{} effects of one input", self.effects.len()));
        }
        let deadline = self.node.router.as_ref().and_then(|r| r.deadline());
        if matches!(self.input, Input::Tick) && deadline.is_some_and(|at| at <= self.now) {
            return Err("after a tick the deadline does not lie ahead".into());
        }
        self.effects.iter().try_for_each(|effect| self.check_effect(effect))?;
        self.check_foreign()?;
        self.check_forbearance()?;
        self.check_better_advert()
    }

    /// Nobody takes part for an address that somebody else has put on this machine.
    fn check_foreign(&self) -> Result<(), String> {
        let taken = |s: &&VipStatus| s.addresses.iter().any(|a| self.node.told.contains(a));
        match self.after.iter().filter(taken).find(|s| matches!(s.state, VipState::Backup | VipState::Master)) {
            Some(s) => Err(format!("{} is {:?} while somebody else has its address here", s.vip, s.state)),
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
            let living = before.master().is_some_and(|(_, priority, heard)| priority != 0 && alive(heard));
            let soon = self.now.since(*at) < timing::preempt_after(*refusals);
            if before.state != VipState::Master && living && soon {
                return Err(format!("{} preempts again {:?} after refusal {refusals}", after.vip, self.now.since(*at)));
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
            Effect::Advert { source, destinations, message, .. } => {
                let to = destinations.first().copied().unwrap_or(packet::GROUP.into());
                let advert = packet::decode(message, *source, to).map_err(|e| format!("sent what {e}"))?;
                self.check_advert(&advert)
            }
            Effect::Announce { addresses, .. } => {
                // Unless somebody else has just taken it, which it cannot know yet.
                let lost = |input: &Input| matches!(input, Input::AddressLost { .. });
                let ignorant = self.node.inbox.iter().any(lost);
                let known = || self.node.held.iter().chain(&self.node.unseen);
                let stands = |a: &Cidr| ignorant || known().any(|(_, held)| held == a);
                match addresses.iter().all(stands) {
                    true => Ok(()),
                    false => Err("announced an address that does not stand".into()),
                }
            }
            Effect::Hold { vip, .. } => match state(self.after, vip) {
                // A Hold that another effect of the same input takes back is no harm, and no sense either.
                Some(VipState::Master) => Ok(()),
                _ => Err(format!("holds the addresses of {vip} without being master")),
            },
            Effect::Release { .. } | Effect::Event(_) => Ok(()),
        }
    }

    fn check_advert(&self, advert: &packet::Advert) -> Result<(), String> {
        let settings = self.node.settings.iter().find(|s| s.vrid == advert.vrid);
        if advert.priority == 0 {
            let is_master = |of: &[VipStatus]| settings.is_some_and(|s| state(of, &s.name) == Some(VipState::Master));
            // A reload may have taken the settings away that the goodbye was said for.
            let reloaded = matches!(self.input, Input::Reload(_)) && self.was_master();
            // It may ask a worse successor to announce.
            let lingers = settings.is_some_and(|s| self.lingers(&s.name));
            return match reloaded || lingers || is_master(self.before) && !is_master(self.after) {
                true => Ok(()),
                false => Err("said goodbye without leaving mastership".into()),
            };
        }
        let status = settings.and_then(|s| self.after.iter().find(|status| status.vip == s.name));
        let (Some(settings), Some(status)) = (settings, status) else {
            return Err("advertised a virtual router that is not configured".into());
        };
        let ours = settings.listed();
        match () {
            () if status.state != VipState::Master && !self.lingers(&status.vip) => {
                Err(format!("{:?} sent an advert", status.state))
            }
            () if advert.priority != status.priority.get() => Err("advertised another priority than its own".into()),
            () if advert.addresses != ours => Err("advertised other addresses than its own".into()),
            () => Ok(()),
        }
    }

    /// It has been master, answers still, and does nothing beside.
    fn lingers(&self, vip: &str) -> bool {
        matches!(self.input, Input::Tick) && self.after.iter().any(|s| s.vip == vip && s.lingering)
    }

    fn was_master(&self) -> bool {
        self.before.iter().any(|s| s.state == VipState::Master)
    }

    /// No master has been handed a better advert since it became one.
    fn check_better_advert(&self) -> Result<(), String> {
        let Input::Packet(packet) = self.input else { return Ok(()) };
        let Ok(advert) = packet::decode(&packet.message, packet.source, packet.destination) else { return Ok(()) };
        for (before, after) in self.before.iter().zip(self.after) {
            let heard = after.received > before.received;
            if heard && after.state == VipState::Master && advert.priority > after.priority.get() {
                return Err(format!("{} stayed master over priority {}", after.vip, advert.priority));
            }
        }
        Ok(())
    }
}

/// A machine with nothing under way holds exactly the addresses of the vips that it is master of, but for those that
/// it lingers with, that its kernel refused to let go of, and those whose loss it was not told of.
///
/// # Errors
/// Says what is held wrongly or missing.
pub fn check_held(node: &Node) -> Result<(), String> {
    let Some(router) = &node.router else { return Ok(()) };
    let mut wanted: BTreeSet<(String, Cidr)> = BTreeSet::new();
    let mut lingering: BTreeSet<(String, Cidr)> = BTreeSet::new();
    for status in router.status() {
        let addresses = status.addresses.into_iter().map(|a| (status.vip.clone(), a));
        match status.state {
            VipState::Master => wanted.extend(addresses),
            _ if status.lingering => lingering.extend(addresses),
            _ => {}
        }
    }
    let missing = wanted.difference(&node.held).any(|a| !node.unseen.contains(a));
    let surplus = node.held.difference(&wanted).any(|a| !node.stuck.contains(a) && !lingering.contains(a));
    match missing || surplus {
        false => Ok(()),
        true => Err(format!("holds {:?}, being master of {wanted:?}", node.held)),
    }
}

fn state(of: &[VipStatus], vip: &str) -> Option<VipState> {
    of.iter().find(|s| s.vip == vip).map(|s| s.state)
}
