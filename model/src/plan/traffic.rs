//! What a change of a vip does to traffic, in words: from priorities, preemption and who is master now.

use std::time::Duration;

use super::Impact;
use super::vips::Change;
use crate::config::Preempt;
use crate::desired::{DesiredVip, Member};
use crate::observed::Live;
use crate::units::{Priority, show_duration};
use crate::vrrp::timing;

/// Words beneath the line, and whether traffic is interrupted.
type Effect = (Vec<String>, Impact);

/// A vip that this machine begins to take part in.
pub(super) fn of_new(vip: &DesiredVip) -> Effect {
    let better: Vec<String> = vip
        .others
        .iter()
        .filter(|(_, m)| outranks(m, vip))
        .map(|(name, m)| format!("{name} ({})", m.priority))
        .collect();
    let rank = match better.as_slice() {
        [] => "first choice of its members".to_owned(),
        better => format!("after {}", better.join(", ")),
    };
    let preempt = match preempts(vip, vip.priority) {
        Preempt::Immediately if vip.priority == Priority::OWNER => {
            "takes the addresses at once, as their owner".to_owned()
        }
        Preempt::Never => "a living holder keeps the addresses (preempt \"never\")".to_owned(),
        Preempt::Immediately => "takes the addresses from a lower holder at once (preempt \"always\")".to_owned(),
        Preempt::After(delay) => {
            format!("takes the addresses from a lower holder after {} (preempt \"after\")", show_duration(delay))
        }
    };
    let outranked = vip.others.values().any(|m| m.priority < vip.priority);
    let impact = match preempts(vip, vip.priority) {
        Preempt::Immediately | Preempt::After(_) if outranked => Impact::MayMove,
        _ => Impact::None,
    };
    (vec![format!("{rank}; {preempt}; {}", missed_after(vip))], impact)
}

fn outranks(member: &Member, vip: &DesiredVip) -> bool {
    member.priority > vip.priority
}

fn missed_after(vip: &DesiredVip) -> String {
    let down_interval = timing::down_interval(vip.version, vip.priority, vip.advertise);
    format!("a holder that dies is missed after {}", seconds(down_interval))
}

/// How a member of this priority preempts: the owner of the addresses always does (RFC 9568 §6.1, Preempt_Mode).
fn preempts(vip: &DesiredVip, priority: Priority) -> Preempt {
    if priority == Priority::OWNER { Preempt::Immediately } else { vip.preempt }
}

/// Why a better member takes over, as the language has it.
fn preempt_words(vip: &DesiredVip, priority: Priority) -> String {
    match (priority, vip.preempt) {
        (Priority::OWNER, _) => "as their owner".to_owned(),
        (_, Preempt::After(delay)) => format!("with preempt \"after\" delay=\"{}\"", show_duration(delay)),
        _ => "with preempt \"always\"".to_owned(),
    }
}

fn seconds(d: Duration) -> String {
    match d.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms => format!("{}.{:02} s", ms / 1000, ms % 1000 / 10),
    }
}

/// A vip that this machine ceases to take part in.
pub(super) fn of_gone(name: &str, live: Option<&Live>) -> Effect {
    match live.is_some_and(|live| live.master.contains(name)) {
        true => (vec!["this machine holds the addresses and gives them up".to_owned()], Impact::Interrupts),
        false => (vec![], Impact::Deletes),
    }
}

/// A vip whose settings change.
pub(super) fn of_change(vip: &DesiredVip, changes: &[Change], live: Option<&Live>) -> Effect {
    let held = live.is_some_and(|live| live.master.contains(&vip.name));
    let changed = |names: &[&str]| changes.iter().any(|c| names.contains(&c.setting.as_str()));
    let mut details = vec![];
    let mut impact = Impact::None;
    if changed(&["priority", "preempt"])
        && let Some((words, moves)) = live.and_then(|live| election(vip, live))
    {
        details.push(words);
        if moves {
            impact = Impact::Interrupts;
        }
    }
    if changed(&["vrid", "version", "auth-pass", "adverts"])
        || (changed(&["advertise"]) && vip.version == crate::config::Version::V2)
    {
        let words = "members with the old and the new setting do not hear each other, and both sides hold the \
                     addresses: apply to all members within seconds";
        details.push(words.to_owned());
        // Where nothing runs, nothing is interrupted.
        if live.is_some() {
            impact = Impact::Interrupts;
        }
    }
    if changed(&["advertise"]) {
        details.push(missed_after(vip));
    }
    if held && changed(&["interface"]) {
        details.push("this machine holds the addresses: they move with the interface".to_owned());
        impact = Impact::Interrupts;
    }
    (details, impact)
}

/// Who has the addresses after a change of priority or preemption by the priorities that the file gives, and whether
/// they move; nothing where it is not known who has them now.
fn election(vip: &DesiredVip, live: &Live) -> Option<(String, bool)> {
    if live.master.contains(&vip.name) {
        let better = vip.others.iter().filter(|(_, m)| outranks(m, vip)).max_by_key(|(_, m)| m.priority);
        let Some((name, Member { priority, .. })) = better else {
            return Some(("this machine holds the addresses and keeps them".to_owned(), false));
        };
        return Some(match preempts(vip, *priority) {
            Preempt::Never => (
                format!("{name} ({priority}) outranks this machine, which keeps the addresses: preempt \"never\""),
                false,
            ),
            _ => {
                let why = preempt_words(vip, *priority);
                (format!("{name} ({priority}) outranks this machine: {why} the addresses move there"), true)
            }
        });
    }
    let address = live.masters.get(&vip.name)?;
    let (holder, member) = vip.others.iter().find(|(_, m)| m.addresses.contains(address))?;
    let priority = member.priority;
    if priority >= vip.priority {
        return Some((format!("the holder {holder} ({priority}) keeps the addresses"), false));
    }
    Some(match preempts(vip, vip.priority) {
        Preempt::Never => (format!("the holder {holder} ({priority}) keeps the addresses: preempt \"never\""), false),
        _ => {
            let why = preempt_words(vip, vip.priority);
            (format!("outranks the holder {holder} ({priority}): {why} the addresses move here"), true)
        }
    })
}
