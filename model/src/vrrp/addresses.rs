//! Asking the kernel for addresses and to be rid of them, and living with its answers.

use std::collections::BTreeSet;

use super::cause::is_power_of_ten;
use super::instance::{Instance, State};
use super::timing;
use super::turn::Turn;
use super::{Effect, Event, Settings, VipState};
use crate::config::Route;
use crate::units::{Cidr, InterfaceName, Moment, Priority};

/// Answers that may be on their way from the driver, which carries out one input's effects before it brings the next:
/// more than these means that it does not answer, and the oldest are forgotten.
const PENDING: usize = 16;

/// The kernel's words on a Hold, and when it is asked again.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) words: String,
    pub(super) retry_at: Moment,
}

/// A living worse master is left alone until then: taking over from it failed, and failing again would cost it its
/// mastership for nothing.
#[derive(Debug)]
pub(super) struct Forbearance {
    pub(super) words: String,
    pub(super) until: Moment,
}

/// Addresses that the kernel would not delete, and when it is asked again.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) things: Things,
    pub(super) retry_at: Moment,
    pub(super) failures: u32,
}

/// Addresses, and routes that follow them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Things {
    pub(super) addresses: Vec<Cidr>,
    pub(super) routes: Vec<Route>,
}

impl Things {
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routes.is_empty()
    }

    /// Those that others do not have.
    pub(super) fn without(&self, others: &Things) -> Things {
        Things {
            addresses: self.addresses.iter().filter(|a| !others.addresses.contains(a)).copied().collect(),
            routes: self.routes.iter().filter(|r| !others.routes.contains(r)).cloned().collect(),
        }
    }

    fn add(&mut self, others: Things) {
        let Things { addresses, routes } = others.without(self);
        self.addresses.extend(addresses);
        self.routes.extend(routes);
    }
}

/// An effect that the driver has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// With the number of the mastership it belongs to.
    Hold(u64),
    Release(Things),
    /// Of a virtual router of the same name before a reload; nobody waits for it any more.
    Past,
}

impl Settings {
    pub(super) fn things(&self) -> Things {
        Things { addresses: self.addresses.clone(), routes: self.routes.clone() }
    }
}

impl Instance {
    /// Asks the kernel for these addresses; the answer belongs to this mastership.
    pub(super) fn hold(&mut self, turn: &mut Turn, addresses: Vec<Cidr>) {
        self.no_longer_stuck(&Things { addresses: addresses.clone(), routes: self.settings.routes.clone() });
        self.await_answer(Pending::Hold(self.counters.terms));
        let s = &self.settings;
        turn.push(Effect::Hold {
            vip: s.name.clone(),
            family: s.family,
            interface: s.interface.clone(),
            virtual_mac: s.virtual_mac.clone(),
            addresses,
            routes: s.routes.clone(),
            accept: s.accept || s.priority == Priority::OWNER,
        });
    }

    /// Asks the kernel to be rid of these addresses and of every route.
    pub(super) fn release(&mut self, turn: &mut Turn, addresses: Vec<Cidr>) {
        let routes = self.settings.routes.clone();
        self.release_some(turn, Things { addresses, routes });
    }

    /// Asks the kernel to be rid of these.
    pub(super) fn release_some(&mut self, turn: &mut Turn, things: Things) {
        self.await_answer(Pending::Release(things.clone()));
        let Things { addresses, routes } = things;
        let s = &self.settings;
        turn.push(Effect::Release {
            vip: s.name.clone(),
            family: s.family,
            interface: s.interface.clone(),
            virtual_mac: s.virtual_mac.clone(),
            addresses,
            routes,
        });
    }

    fn await_answer(&mut self, pending: Pending) {
        if self.pending.len() == PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
    }

    /// Nothing that it asked of the kernel is open any more.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.stuck.is_none()
    }

    /// Waits for the answers that a predecessor of the same name was waiting for, and goes on releasing what is stuck.
    pub(super) fn inherit(&mut self, predecessor: Instance) {
        let past = |pending| if let Pending::Hold(_) = pending { Pending::Past } else { pending };
        self.pending.extend(predecessor.pending.into_iter().map(past));
        self.stuck = predecessor.stuck;
    }

    /// The driver has carried out the oldest effect that it had not answered.
    pub(super) fn done(&mut self, turn: &mut Turn, result: Result<(), String>) {
        let ours = self.counters.terms;
        match (self.pending.pop_front(), result) {
            (Some(Pending::Hold(term)), Ok(())) if term == ours => {
                self.forget_refusals();
                if let State::Master(h) = &mut self.state {
                    h.standing = !self.pending.contains(&Pending::Hold(term));
                    h.settle_at = Some(turn.now + timing::ANNOUNCE_SOON);
                }
            }
            (Some(Pending::Hold(term)), Err(words)) if term == ours && self.name() == VipState::Master => {
                self.refusals = self.refusals.saturating_add(1);
                let until = turn.now + timing::preempt_after(self.refusals);
                self.forbearance = Some(Forbearance { words: words.clone(), until });
                self.refusal = Some(Refusal { words, retry_at: turn.now + timing::retry_after(self.refusals) });
                self.assess(turn);
            }
            (Some(Pending::Release(things)), Err(words)) => self.keep_releasing(turn, (things, words)),
            (Some(Pending::Release(things)), Ok(())) => self.no_longer_stuck(&things),
            (Some(Pending::Hold(_) | Pending::Past) | None, _) => {}
        }
    }

    /// What the kernel refused before says nothing about the next time.
    pub(super) fn forget_refusals(&mut self) {
        self.refusals = 0;
        self.refusal = None;
        self.forbearance = None;
    }

    /// Takes over which addresses of the interface are somebody else's. Where one of ours is free again, the kernel is
    /// asked at once.
    pub(super) fn foreign_changed(&mut self, turn: &mut Turn, there: (&InterfaceName, &BTreeSet<Cidr>)) {
        let (interface, foreign) = there;
        let before = self.foreign.insert(interface.clone(), foreign.clone()).unwrap_or_default();
        let freed = |a: &Cidr| before.contains(a) && !foreign.contains(a);
        let freed = self.settings.addresses.iter().any(freed);
        if freed {
            self.forget_refusals();
        }
        self.assess(turn);
    }

    /// The first of our addresses that is somebody else's here. The owner of the addresses has them as its own.
    pub(super) fn taken(&self) -> Option<(&InterfaceName, &Cidr)> {
        let owner = self.settings.priority == Priority::OWNER;
        let mut foreign = self.foreign.iter().filter(|_| !owner);
        foreign.find_map(|(interface, there)| {
            Some((interface, self.settings.addresses.iter().find(|a| there.contains(a))?))
        })
    }

    /// An address that stays where it must not be answers ARP beside the new master: the kernel is asked again.
    fn keep_releasing(&mut self, turn: &mut Turn, refused: (Things, String)) {
        let (mut things, words) = refused;
        if let State::Master(_) = self.state {
            things = things.without(&self.settings.things());
        }
        let failures = self.stuck.as_ref().map_or(0, |s| s.failures).saturating_add(1);
        // Those of another Release may be stuck as well.
        things.add(self.stuck.take().map(|s| s.things).unwrap_or_default());
        if is_power_of_ten(u64::from(failures)) {
            let what = format!("the addresses could not be released, trying again: {words}");
            turn.tell(Event::Warning { vip: self.settings.name.clone(), what });
        }
        let retry_at = turn.now + timing::retry_after(failures);
        self.stuck = (!things.is_empty()).then_some(Stuck { things, retry_at, failures });
    }

    fn no_longer_stuck(&mut self, gone: &Things) {
        if let Some(stuck) = &mut self.stuck {
            stuck.things = stuck.things.without(gone);
        }
        self.stuck.take_if(|s| s.things.is_empty());
    }

    pub(super) fn release_again(&mut self, turn: &mut Turn) {
        let Some(stuck) = self.stuck.as_mut().filter(|s| s.retry_at <= turn.now) else { return };
        let things = stuck.things.clone();
        stuck.retry_at = turn.now + timing::retry_after(stuck.failures.saturating_add(1));
        self.release_some(turn, things);
    }

    /// Somebody else took an address away that we hold: it is put back, alone, and mastership stays.
    pub(super) fn restore(&mut self, turn: &mut Turn, cidr: Cidr) {
        if !matches!(self.state, State::Master(_)) || !self.settings.addresses.contains(&cidr) {
            return;
        }
        self.counters.restored += 1;
        self.hold(turn, vec![cidr]);
        let what = format!("{cidr} on {} was removed by someone else, and is put back", self.settings.interface);
        turn.tell(Event::Restored { vip: self.settings.name.clone(), what });
    }
}
