//! Our nftables tables: loaded whole, in one transaction, so that no packet sees half of one.

use super::{Action, Impact, Operation, Step};
use crate::desired::{Desired, Fingerprint, Reason};
use crate::observed::{OUR_MARK, Observed};
use crate::rules;

/// Tables that are not as they should be.
pub(super) fn load(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let still = rules::render_still(desired, observed);
    let mut steps = vec![];
    for (table, text) in rules::render_on(desired, observed) {
        let record = observed.record.tables.get(&table).copied();
        let wanted = still.get(&table).map(|t| Fingerprint::of(t));
        let listed = observed.tables.get(&table);
        if listed.is_some_and(|l| rules::same(&text, l)) && record == wanted {
            continue;
        }
        let (action, what) = verdict(&text, listed.map(String::as_str), (record.is_some(), record == wanted));
        let details = details(&text, listed, record.is_some(), observed);
        steps.push(Step {
            action,
            object: format!("nftables {table}"),
            what,
            undo: undo(&table, listed, record),
            operation: Operation::LoadTable { table, text, record: wanted },
            reasons: reasons(desired),
            details,
            impact: Impact::None,
        });
    }
    steps
}

/// How a table differs; it is `ours` where it is recorded, `unchanged` where the file says what it said when it was
/// loaded.
fn verdict(text: &str, listed: Option<&str>, (ours, unchanged): (bool, bool)) -> (Action, String) {
    match (listed, unchanged) {
        (None, true) => (Action::Drift, "was removed by somebody else".to_owned()),
        (None, false) => (Action::Create, rules::counts(text)),
        // Backends that are down hide what the file changes until they are back.
        (Some(listed), _) if ours && rules::same(text, listed) => {
            (Action::Change, "is told what the file says now; its rules stay as they are".to_owned())
        }
        (Some(listed), _) if rules::same(text, listed) => (Action::Adopt, "is already so".to_owned()),
        (Some(_), true) => (Action::Drift, "was changed by somebody else".to_owned()),
        (Some(_), false) => (Action::Change, rules::counts(text)),
    }
}

fn details(text: &str, listed: Option<&String>, ours: bool, observed: &Observed) -> Vec<String> {
    let Some(listed) = listed else { return vec![] };
    let same = rules::same(text, listed);
    let down = observed.service.iter().any(|live| live.down.values().any(|backends| !backends.is_empty()));
    match (ours, same) {
        (true, true) if down => vec!["backends are down: the new shares count when they are up again".to_owned()],
        (false, false) => {
            vec!["a table of this name is here and is not recorded as hactl's: what is in it goes".to_owned()]
        }
        _ => vec![],
    }
}

fn undo(table: &str, listed: Option<&String>, record: Option<Fingerprint>) -> Operation {
    match listed {
        Some(text) => Operation::LoadTable { table: table.to_owned(), text: text.clone(), record },
        None => Operation::DeleteTable { table: table.to_owned(), record },
    }
}

fn reasons(desired: &Desired) -> Vec<Reason> {
    let reason = |s: &crate::desired::DesiredService| Reason { what: format!("service.{}", s.name), at: s.at.clone() };
    desired.services.iter().map(reason).collect()
}

/// Tables that are ours and no longer wanted; without `desired` all of them.
pub(super) fn delete(desired: Option<&Desired>, observed: &Observed) -> Vec<Step> {
    if desired.is_some_and(|d| !d.services.is_empty()) {
        return vec![];
    }
    let masters = observed.service.as_ref().is_some_and(|live| !live.master.is_empty());
    // A service that was killed leaves its addresses, and what comes to them is still balanced.
    let masters = masters || observed.addresses.iter().any(|a| a.mark == OUR_MARK);
    let mut steps = vec![];
    for table in
        observed.tables.keys().chain(observed.record.tables.keys().filter(|t| !observed.tables.contains_key(*t)))
    {
        let listed = observed.tables.get(table);
        let undo = undo(table, listed, observed.record.tables.get(table).copied());
        let details = match (masters, listed) {
            (true, Some(_)) => vec!["connections through its services break".to_owned()],
            _ => vec![],
        };
        steps.push(Step {
            action: Action::Remove,
            object: format!("nftables {table}"),
            what: listed.map_or("was removed already".to_owned(), |l| rules::counts(l)),
            operation: Operation::DeleteTable { table: table.clone(), record: None },
            undo,
            reasons: vec![],
            details,
            impact: if masters { Impact::Interrupts } else { Impact::Deletes },
        });
    }
    steps
}
