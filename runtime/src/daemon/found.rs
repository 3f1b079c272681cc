//! What watches find and what vips become, and who is told of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use model::rules;
use model::vrrp::VipState;

use super::tell::{self, Said, Told};
use super::turn::{Daemon, Next};
use crate::check::{Finding, Subject};
use crate::clock;
use crate::driver::Command;
use crate::notify::GroupChange;

impl Daemon {
    pub fn found(&mut self, finding: Finding) -> Next {
        let Finding { subject, health, changed } = finding;
        let down_before = match &subject {
            Subject::Backend { service, .. } => self.state.down(service),
            Subject::Check(_) => BTreeSet::new(),
        };
        let why = format!("{} {}", health.code, health.detail).trim().to_owned();
        let weight = health.weight;
        let before = self.state.healths.insert(subject.clone(), health).and_then(|h| h.weight);
        if let (Subject::Check(check), Some(weight)) = (&subject, weight) {
            if before != Some(weight) {
                // Its end shows in the events.
                let _ = self.driver.send(Command::Weight { name: check.clone(), weight });
                self.log_told(&tell::weight(check, &why));
                self.say(&Said::Weight { check: check.clone(), weight, why });
            }
            return Next::On;
        }
        let Some(up) = changed else { return Next::On };
        let word = if up { "UP" } else { "DOWN" };
        match subject {
            Subject::Check(check) => {
                let (object, what) = (format!("check {check}"), format!("check {check} is {word}: {why}"));
                self.log_told(&Told { warn: !up, object, what });
                // Its end shows in the events.
                let _ = self.driver.send(Command::Check { name: check.clone(), up });
                self.say(&Said::Check { check, up, why });
            }
            Subject::Backend { service, backend, .. } => {
                self.slots(&service, &down_before);
                let object = format!("service.{service} backend {backend}");
                let what = format!("{object} is {word}: {why}");
                self.log_told(&Told { warn: !up, object, what });
                self.say(&Said::Backend { service, backend, up, why });
            }
        }
        Next::On
    }

    /// Hands the VRRP thread the slots of a service, where other backends are down than before.
    fn slots(&self, service: &str, before: &BTreeSet<SocketAddr>) {
        let down = self.state.down(service);
        let Some(desired) = self.setup.desired.services.iter().find(|s| s.name == service) else { return };
        if down == *before {
            return;
        }
        let v4 = |a: &SocketAddr| match a {
            SocketAddr::V4(a) => Some(*a),
            SocketAddr::V6(_) => None,
        };
        let gone = down.difference(before).filter_map(v4).collect();
        let (map, slots) = (rules::slots_map(service), rules::slots(desired, &down));
        let _ = self.driver.send(Command::Slots { map, slots, gone });
        self.turns.count();
    }

    /// When the last of a group's vips has turned, so has the group.
    pub fn grouped(&mut self, vip: &str, turn: (VipState, VipState), why: &str) {
        let groups = &self.setup.desired.groups;
        let Some((name, from, to)) = self.groups.turn(vip, turn, groups) else { return };
        if let Some(group) = groups.iter().find(|g| g.name == name) {
            self.notifier.tell_group(&GroupChange { group, from, to, why });
        }
        self.say(&Said::Group { group: name, from, to });
    }

    /// What turns again and again is told of ever less.
    pub fn log_told(&mut self, told: &Told) {
        if self.flaps.count(clock::now(), &told.object, &told.what) {
            told.log();
        }
    }

    pub fn flapped(&mut self) -> Next {
        self.flaps.tell(clock::now()).iter().for_each(|line| tracing::warn!("{line}"));
        Next::On
    }

    /// The last lines are read before the process ends, by whoever reads.
    pub fn finish(&mut self) {
        self.flaps.last().iter().for_each(|line| tracing::warn!("{line}"));
        self.out.finish();
    }
}
