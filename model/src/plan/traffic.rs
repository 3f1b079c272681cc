//! What a change of a vip does to traffic, in words: from priorities, preemption and who is master now.

use std::time::Duration;

use super::Impact;
use super::vips::Change;
use crate::config::Preempt;
use crate::desired::{DesiredVip, Member, preempt_words};
use crate::observed::Live;

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
    let preempt = match vip.preempt {
        Preempt::Never => "a living holder keeps the addresses (preempt \"never\")".to_owned(),
        Preempt::Immediately => "takes them from a lower holder at once (preempt \"always\")".to_owned(),
        Preempt::After(delay) => {
            format!("takes them from a lower holder after {} (preempt \"after\")", crate::units::show_duration(delay))
        }
    };
    let miss = format!("a holder that dies is missed after {}", seconds(down_interval(vip)));
    (vec![format!("{rank}; {preempt}; {miss}")], Impact::None)
}

fn outranks(member: &Member, vip: &DesiredVip) -> bool {
    member.priority > vip.priority
}

/// Three intervals and the skew (RFC 9568 §6.1, RFC 3768 §6.1).
fn down_interval(vip: &DesiredVip) -> Duration {
    let advert = vip.advertise.duration();
    let below = 256 - u32::from(vip.priority.get());
    let skew = match vip.version {
        crate::config::Version::V2 => Duration::from_secs(1) * below / 256,
        crate::config::Version::V3 => advert * below / 256,
    };
    advert * 3 + skew
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
    if changed(&["vrid", "version", "auth-pass", "adverts", "checksum"])
        || (changed(&["advertise"]) && vip.version == crate::config::Version::V2)
    {
        let words = "members with the old and the new setting do not hear each other, and both sides hold the \
                     addresses: apply to all members within seconds";
        details.push(words.to_owned());
        impact = Impact::Interrupts;
    }
    if changed(&["advertise"]) {
        details.push(format!("a holder that dies is missed after {}", seconds(down_interval(vip))));
    }
    if held && changed(&["interface"]) {
        details.push("this machine holds the addresses: they move with the interface".to_owned());
        impact = Impact::Interrupts;
    }
    (details, impact)
}

/// Who has the addresses after a change of priority or preemption, and whether they move; nothing where it is not
/// known who has them now.
fn election(vip: &DesiredVip, live: &Live) -> Option<(String, bool)> {
    let preempt = preempt_words(vip.preempt);
    if live.master.contains(&vip.name) {
        let better = vip.others.iter().filter(|(_, m)| outranks(m, vip)).max_by_key(|(_, m)| m.priority);
        return Some(match (better, vip.preempt) {
            (None, _) => ("this machine holds the addresses and keeps them".to_owned(), false),
            (Some((name, m)), Preempt::Never) => (
                format!("{name} ({}) outranks this machine, which keeps the addresses: preempt \"never\"", m.priority),
                false,
            ),
            (Some((name, m)), _) => (
                format!(
                    "{name} ({}) outranks this machine: with preempt \"{preempt}\" the addresses move there",
                    m.priority
                ),
                true,
            ),
        });
    }
    let address = live.masters.get(&vip.name)?;
    let (holder, member) = vip.others.iter().find(|(_, m)| m.address == *address)?;
    let priority = member.priority;
    if priority >= vip.priority {
        return Some((format!("the holder {holder} ({priority}) keeps the addresses"), false));
    }
    Some(match vip.preempt {
        Preempt::Never => (format!("the holder {holder} ({priority}) keeps the addresses: preempt \"never\""), false),
        _ => (
            format!("outranks the holder {holder} ({priority}): with preempt \"{preempt}\" the addresses move here"),
            true,
        ),
    })
}
