//! Vips: recorded for the service to take part in, compared setting by setting.

use std::collections::BTreeSet;

use super::{Action, Operation, Step, traffic};
use crate::desired::{Desired, DesiredVip, Reason};
use crate::observed::{Observed, VipFacts};

/// Vips that are new or changed.
pub(super) fn put(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = vec![];
    for vip in &desired.vips {
        let facts = desired.facts(vip);
        let before = observed.record.vips.get(&vip.name);
        if before == Some(&facts) {
            continue;
        }
        let name = vip.name.clone();
        let (action, what, (details, impact), undo) = match before {
            None => {
                let what =
                    format!("{} on {}, vrid {}, priority {}", list(&facts), vip.interface, vip.vrid, vip.priority);
                let undo = Operation::DropVip { name: name.clone() };
                (Action::Create, what, traffic::of_new(vip), undo)
            }
            Some(before) => {
                let changes = changes(before, &facts);
                let what = changes.iter().map(|c| c.to_string()).collect::<Vec<_>>().join(", ");
                let effect = traffic::of_change(vip, &changes, observed.service.as_ref());
                let undo = Operation::PutVip { name: name.clone(), facts: before.clone() };
                (Action::Change, what, effect, undo)
            }
        };
        steps.push(Step {
            action,
            object: format!("vip.{name}"),
            what,
            operation: Operation::PutVip { name, facts },
            undo,
            reasons: vec![Reason { what: format!("vip.{}", vip.name), at: place(vip, before) }],
            details,
            impact,
        });
    }
    steps
}

/// Recorded vips that this machine no longer takes part in; without `desired` all of them.
pub(super) fn drop(desired: Option<&Desired>, observed: &Observed) -> Vec<Step> {
    let wanted = |name: &str| desired.is_some_and(|d| d.vip(name).is_some());
    let mut steps = vec![];
    for (name, facts) in observed.record.vips.iter().filter(|(name, _)| !wanted(name)) {
        let (details, impact) = traffic::of_gone(name, observed.service.as_ref());
        steps.push(Step {
            action: Action::Remove,
            object: format!("vip.{name}"),
            what: format!("{} on {}", list(facts), facts.interface),
            operation: Operation::DropVip { name: name.clone() },
            undo: Operation::PutVip { name: name.clone(), facts: facts.clone() },
            reasons: vec![],
            details,
            impact,
        });
    }
    steps
}

fn list(facts: &VipFacts) -> String {
    facts.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A change of the priority alone is shown where the priority stands.
fn place(vip: &DesiredVip, before: Option<&VipFacts>) -> crate::config::Place {
    let same = before.and_then(|b| b.settings.get("priority")).is_none_or(|p| *p == vip.priority.to_string());
    if same { vip.at.clone() } else { vip.priority_at.clone() }
}

/// One setting's change, as text; absent is `none`.
pub(super) struct Change {
    pub(super) setting: String,
    pub(super) before: String,
    pub(super) after: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (before, after) = (&self.before, &self.after);
        match self.setting.strip_prefix("probe of ") {
            // It is recorded with the vip that it belongs to.
            Some(service) => write!(f, "service.{service}: probe {before} -> {after}"),
            None => write!(f, "{} {before} -> {after}", self.setting),
        }
    }
}

fn changes(before: &VipFacts, after: &VipFacts) -> Vec<Change> {
    let mut changes = vec![];
    let mut note = |setting: &str, before: String, after: String| {
        if before != after {
            changes.push(Change { setting: setting.to_owned(), before, after });
        }
    };
    note("address", list(before), list(after));
    note("interface", before.interface.to_string(), after.interface.to_string());
    let names: BTreeSet<&String> = before.settings.keys().chain(after.settings.keys()).collect();
    for name in names {
        let value = |f: &VipFacts| f.settings.get(name).cloned().unwrap_or_else(|| "none".to_owned());
        note(name, value(before), value(after));
    }
    changes
}
