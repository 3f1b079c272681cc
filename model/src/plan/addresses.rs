//! Addresses: those that carry our mark are exactly those of the vips that this machine is master of. Nothing that
//! carries another mark, or none, is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Action, Impact, Note, Operation, Step};
use crate::desired::{Desired, DesiredVip, Reason};
use crate::observed::{Address, KEEPALIVED_MARK, OUR_MARK, Observed};
use crate::units::{Cidr, InterfaceName, Priority};

type Place<'a> = (&'a InterfaceName, Cidr);

/// Removes what is ours and not held, adds what is held and missing; a foreign address in the way is a note.
pub(super) fn addresses(desired: &Desired, observed: &Observed, notes: &mut Vec<Note>) -> Vec<Step> {
    let foreign: Vec<&Address> = observed.addresses.iter().filter(|a| a.mark != OUR_MARK).collect();
    let mut wanted: BTreeMap<Place<'_>, &DesiredVip> = BTreeMap::new();
    for vip in &desired.vips {
        let held = observed.service.as_ref().is_some_and(|live| live.master.contains(&vip.name));
        for cidr in &vip.addresses {
            match foreign.iter().find(|a| is_same(a, (&vip.interface, *cidr))) {
                // The owner has the address as its own.
                Some(_) if vip.priority == Priority::OWNER => {}
                Some(there) => notes.push(conflict(vip, there, observed)),
                None if held && observed.links.contains_key(&vip.interface) => {
                    wanted.insert((&vip.interface, *cidr), vip);
                }
                None => {}
            }
        }
    }
    let ours = ours(observed);
    let mut steps = remove_each(ours.iter().filter(|place| !wanted.contains_key(place)), observed);
    let missing = wanted.iter().filter(|(place, _)| !ours.contains(place));
    steps.extend(missing.map(|(place, vip)| add(*place, vip, observed)));
    steps
}

/// Whether an address is that one, whatever its prefix and wherever it stands: a link-local one is of its link alone.
fn is_same(there: &Address, (interface, cidr): Place<'_>) -> bool {
    let of_link = matches!(cidr.address(), IpAddr::V6(a) if a.is_unicast_link_local());
    there.cidr.address() == cidr.address() && (!of_link || there.interface == *interface)
}

/// Removes every address of ours.
pub(super) fn remove_all(observed: &Observed) -> Vec<Step> {
    remove_each(ours(observed).iter(), observed)
}

/// Secondary addresses go first: each deleted primary one has the kernel promote the next and move the routes of all
/// the others, which takes seconds for a thousand.
fn remove_each<'a>(places: impl Iterator<Item = &'a Place<'a>>, observed: &'a Observed) -> Vec<Step> {
    let all = observed.addresses.iter();
    let secondary: BTreeSet<Place<'_>> = all.filter(|a| a.secondary).map(|a| (&a.interface, a.cidr)).collect();
    let (secondaries, primaries): (Vec<&Place<'_>>, Vec<_>) = places.partition(|place| secondary.contains(place));
    secondaries.into_iter().chain(primaries).map(|place| remove(*place, observed)).collect()
}

fn ours(observed: &Observed) -> BTreeSet<Place<'_>> {
    observed.addresses.iter().filter(|a| a.mark == OUR_MARK).map(|a| (&a.interface, a.cidr)).collect()
}

fn object((interface, cidr): Place<'_>) -> String {
    format!("address {cidr} on {interface}")
}

/// The recorded vip that has this address on this interface, and whether this machine is its master.
fn recorded<'a>((interface, cidr): Place<'_>, observed: &'a Observed) -> Option<(&'a String, bool)> {
    let name = observed.record.vips.iter().find(|(_, f)| f.interface == *interface && f.addresses.contains(&cidr))?.0;
    Some((name, observed.service.as_ref().is_some_and(|live| live.master.contains(name))))
}

fn remove(place: Place<'_>, observed: &Observed) -> Step {
    let left_over = || "is left over from a `hactl run` that did not end cleanly".to_owned();
    let broken = |detail: &str| (vec![detail.to_owned()], Impact::Interrupts);
    let (what, (details, impact)) = match (recorded(place, observed), &observed.service) {
        (Some((name, true)), _) => {
            (format!("is no longer vip.{name}'s"), broken("this machine holds it: connections to it break"))
        }
        (_, Some(_)) => (left_over(), (vec![], Impact::Deletes)),
        (_, None) => (left_over(), broken("whoever still reaches it on this machine is cut off")),
    };
    let (interface, cidr) = (place.0.clone(), place.1);
    Step {
        action: Action::Remove,
        object: object(place),
        what,
        operation: Operation::DeleteAddress { interface: interface.clone(), cidr },
        undo: Operation::AddAddress { interface, cidr },
        reasons: vec![],
        details,
        impact,
    }
}

fn add(place: Place<'_>, vip: &DesiredVip, observed: &Observed) -> Step {
    let known = recorded(place, observed).is_some();
    let (action, what) = match known {
        true => (Action::Drift, "was removed by somebody else"),
        false => (Action::Create, "this machine is master"),
    };
    let details = if known { vec!["`hactl run` holds it and puts it back".to_owned()] } else { vec![] };
    let (interface, cidr) = (place.0.clone(), place.1);
    Step {
        action,
        object: object(place),
        what: what.to_owned(),
        operation: Operation::AddAddress { interface: interface.clone(), cidr },
        undo: Operation::DeleteAddress { interface, cidr },
        reasons: vec![Reason { what: format!("vip.{}", vip.name), at: vip.at.clone() }],
        details,
        impact: Impact::None,
    }
}

fn conflict(vip: &DesiredVip, there: &Address, observed: &Observed) -> Note {
    let object = object((&there.interface, there.cidr));
    let others = match observed.others.as_slice() {
        [] => String::new(),
        others => format!("; on this machine: {}", others.join(", ")),
    };
    let (owner, remedy) = match there.mark {
        KEEPALIVED_MARK => {
            ("keepalived's (mark 18)".to_owned(), "stop keepalived: systemctl disable --now keepalived".to_owned())
        }
        // Some keepaliveds mark nothing: while one runs, it would put the address back.
        0 if !observed.others.is_empty() => (
            format!("not hactl's and carries nobody's mark{others}"),
            format!(
                "if it is theirs, stop them first (systemctl disable --now keepalived); if not, take it out of the \
                 machine's own network settings, then: ip addr del {} dev {}",
                there.cidr, there.interface
            ),
        ),
        0 => (
            format!("not hactl's and carries nobody's mark{others}"),
            format!(
                "take it out of the machine's own network settings, then: ip addr del {} dev {}",
                there.cidr, there.interface
            ),
        ),
        mark => (
            format!("another program's (mark {mark}){others}"),
            format!("have that program give it up, or give vip.{} another address", vip.name),
        ),
    };
    Note {
        blocks: true,
        what: format!("{object} is vip.{}'s, and there already: it is {owner}", vip.name),
        remedy,
        at: Some(vip.at.clone()),
    }
}
