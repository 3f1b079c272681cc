//! Asking the kernel for addresses and to be rid of them, and living with its answers.

use std::collections::BTreeSet;

use super::cause::is_power_of_ten;
use super::instance::{Instance, State};
use super::timing;
use super::turn::Turn;
use super::{Effect, Event, VipState};
use crate::units::{Cidr, Moment, Priority};

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
    pub(super) addresses: Vec<Cidr>,
    pub(super) retry_at: Moment,
    pub(super) failures: u32,
}

/// An effect that the driver has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// With the number of the mastership it belongs to.
    Hold(u64),
    Release(Vec<Cidr>),
    /// Of a virtual router of the same name before a reload; nobody waits for it any more.
    Past,
}

impl Instance {
    /// Asks the kernel for these addresses; the answer belongs to this mastership.
    pub(super) fn hold(&mut self, turn: &mut Turn, addresses: Vec<Cidr>) {
        self.no_longer_stuck(&addresses);
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

    /// Asks the kernel to be rid of these addresses.
    pub(super) fn release(&mut self, turn: &mut Turn, addresses: Vec<Cidr>) {
        self.await_answer(Pending::Release(addresses.clone()));
        let s = &self.settings;
        turn.push(Effect::Release {
            vip: s.name.clone(),
            family: s.family,
            interface: s.interface.clone(),
            virtual_mac: s.virtual_mac.clone(),
            addresses,
            routes: s.routes.clone(),
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
            (Some(Pending::Release(addresses)), Err(words)) => self.keep_releasing(turn, (addresses, words)),
            (Some(Pending::Release(addresses)), Ok(())) => self.no_longer_stuck(&addresses),
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
    pub(super) fn foreign_changed(&mut self, turn: &mut Turn, foreign: BTreeSet<Cidr>) {
        let freed = |a: &Cidr| self.foreign.contains(a) && !foreign.contains(a);
        let freed = self.settings.addresses.iter().any(freed);
        self.foreign = foreign;
        if freed {
            self.forget_refusals();
        }
        self.assess(turn);
    }

    /// The first of our addresses that is somebody else's here. The owner of the addresses has them as its own.
    pub(super) fn taken(&self) -> Option<&Cidr> {
        let owner = self.settings.priority == Priority::OWNER;
        self.settings.addresses.iter().find(|a| !owner && self.foreign.contains(a))
    }

    /// An address that stays where it must not be answers ARP beside the new master: the kernel is asked again.
    fn keep_releasing(&mut self, turn: &mut Turn, refused: (Vec<Cidr>, String)) {
        let (mut addresses, words) = refused;
        if let State::Master(_) = self.state {
            addresses.retain(|a| !self.settings.addresses.contains(a));
        }
        let failures = self.stuck.as_ref().map_or(0, |s| s.failures).saturating_add(1);
        // Those of another Release may be stuck as well.
        let earlier = self.stuck.take().map(|s| s.addresses).unwrap_or_default();
        addresses.extend(earlier.into_iter().filter(|a| !addresses.contains(a)).collect::<Vec<_>>());
        if is_power_of_ten(u64::from(failures)) {
            let what = format!("the addresses could not be released, trying again: {words}");
            turn.tell(Event::Warning { vip: self.settings.name.clone(), what });
        }
        let retry_at = turn.now + timing::retry_after(failures);
        self.stuck = (!addresses.is_empty()).then_some(Stuck { addresses, retry_at, failures });
    }

    fn no_longer_stuck(&mut self, gone: &[Cidr]) {
        if let Some(stuck) = &mut self.stuck {
            stuck.addresses.retain(|a| !gone.contains(a));
        }
        self.stuck.take_if(|s| s.addresses.is_empty());
    }

    pub(super) fn release_again(&mut self, turn: &mut Turn) {
        let Some(stuck) = self.stuck.as_mut().filter(|s| s.retry_at <= turn.now) else { return };
        let addresses = stuck.addresses.clone();
        stuck.retry_at = turn.now + timing::retry_after(stuck.failures.saturating_add(1));
        self.release(turn, addresses);
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
