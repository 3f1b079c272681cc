//! Sysctls: set what is needed, put back what no longer is, leave what somebody else changed since.

use super::{Action, Impact, Operation, Step};
use crate::desired::{Desired, FORWARD_EVERYWHERE, interface_of, is_forwarding, same_value};
use crate::observed::{Observed, SysctlBefore};

/// One sysctl as it is and as it was recorded.
struct Found<'a> {
    key: &'a str,
    value: &'a str,
    record: Option<&'a SysctlBefore>,
}

impl Found<'_> {
    fn step(&self, action: Action, what: String, operation: Operation) -> Step {
        let undo = match &operation {
            Operation::RecordSysctl { key, .. } => {
                Operation::RecordSysctl { key: key.clone(), record: self.record.cloned() }
            }
            _ => Operation::SetSysctl {
                key: self.key.to_owned(),
                value: self.value.to_owned(),
                record: self.record.cloned(),
            },
        };
        let object = format!("sysctl {}", self.key);
        Step { action, object, what, operation, undo, reasons: vec![], details: vec![], impact: Impact::None }
    }

    fn set(&self, value: &str, before: &str) -> Operation {
        let record = Some(SysctlBefore { before: before.to_owned(), ours: value.to_owned() });
        Operation::SetSysctl { key: self.key.to_owned(), value: value.to_owned(), record }
    }

    fn record(&self, record: Option<SysctlBefore>) -> Operation {
        Operation::RecordSysctl { key: self.key.to_owned(), record }
    }
}

/// Those that are not as they should be, and those that were found so and are not recorded yet.
pub(super) fn set(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = vec![];
    // What changes every interface comes before what is said of one.
    let (wide, narrow): (Vec<_>, Vec<_>) =
        desired.sysctls.iter().partition(|(key, _)| FORWARD_EVERYWHERE.contains(&key.as_str()));
    for (key, wanted) in wide.into_iter().chain(narrow) {
        // A key that the kernel lacks has a note.
        let Some(value) = observed.sysctls.get(key) else { continue };
        let found = Found { key, value, record: observed.record.sysctls.get(key) };
        if let Some(step) = set_one(&found, &wanted.value) {
            steps.push(Step { reasons: wanted.reasons.clone(), ..step });
        }
    }
    steps
}

fn set_one(found: &Found<'_>, wanted: &str) -> Option<Step> {
    let value = found.value;
    let right = same_value(value, wanted);
    let Some(record) = found.record else {
        if right {
            let as_found = SysctlBefore { before: value.to_owned(), ours: value.to_owned() };
            let what = format!("= {wanted} is already so, and not ours");
            let step = found.step(Action::Adopt, what, found.record(Some(as_found)));
            return Some(Step { details: vec!["adopted: destroy will leave it".to_owned()], ..step });
        }
        return Some(found.step(Action::Create, format!("= {wanted}  (was {value})"), found.set(wanted, value)));
    };
    let recorded = same_value(&record.ours, wanted);
    match (right, recorded) {
        (true, true) => None,
        (true, false) => {
            let now = SysctlBefore { before: record.before.clone(), ours: wanted.to_owned() };
            Some(found.step(Action::Adopt, format!("= {wanted} is already so"), found.record(Some(now))))
        }
        (false, true) => {
            let what = format!("= {wanted}  (somebody else set it to {value})");
            Some(found.step(Action::Drift, what, found.set(wanted, &record.before)))
        }
        (false, false) => {
            Some(found.step(Action::Change, format!("{value} -> {wanted}"), found.set(wanted, &record.before)))
        }
    }
}

/// Whether a key of the record is to stay although the file no longer has it: to put it back would take `forwarding`
/// from the interfaces that still need it.
pub(super) fn stays(desired: &Desired, key: &str) -> bool {
    FORWARD_EVERYWHERE.contains(&key) && desired.sysctls.keys().any(|k| is_forwarding(k))
}

/// The interface that a key is of, where it is gone: what was recorded says nothing of one that comes in its place.
fn gone_interface(key: &str, observed: &Observed) -> Option<String> {
    let interface = interface_of(key)?;
    let there = observed.sysctls.contains_key(key) || observed.links.keys().any(|name| name.as_str() == interface);
    (!there).then_some(interface)
}

/// Those of the record that are no longer wanted, and those that went with their interface; without `desired` all of
/// them.
pub(super) fn restore(desired: Option<&Desired>, observed: &Observed) -> Vec<Step> {
    let wanted = |key: &String| desired.is_some_and(|d| d.sysctls.contains_key(key) || stays(d, key));
    let mut steps = vec![];
    for (key, record) in observed.record.sysctls.iter().rev() {
        let interface = gone_interface(key, observed);
        if wanted(key) && interface.is_none() {
            continue;
        }
        let gone = String::new();
        let value = observed.sysctls.get(key);
        let found = Found { key, value: value.unwrap_or(&gone), record: Some(record) };
        let step = match value {
            None => {
                let what = interface.map_or("no longer exists: forgotten".to_owned(), |name| {
                    format!("went with interface {name}: forgotten")
                });
                found.step(Action::Adopt, what, found.record(None))
            }
            Some(_) if same_value(&record.before, &record.ours) => {
                found.step(Action::Adopt, "was so before hactl: left as it is".to_owned(), found.record(None))
            }
            Some(value) if !same_value(value, &record.ours) => {
                let what = format!("= {value} was set by somebody else since: left as it is");
                found.step(Action::Adopt, what, found.record(None))
            }
            Some(value) => {
                let back = record.before.clone();
                let operation = Operation::SetSysctl { key: key.clone(), value: back.clone(), record: None };
                found.step(Action::Remove, format!("= {value}  (back to {back})"), operation)
            }
        };
        steps.push(step);
    }
    steps
}
