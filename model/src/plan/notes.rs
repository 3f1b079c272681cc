//! What a reader has to know and no step does.

use super::{Note, beyond, sysctls};
use crate::desired::{Desired, Reach, TCP_LOOSE};
use crate::observed::{Observed, SysctlBefore};

/// Everything that keeps the machine from being what the file says, and what it will not do although it is.
pub(super) fn notes(desired: &Desired, observed: &Observed) -> Vec<Note> {
    let mut notes = contradictions(desired);
    notes.extend(interfaces(desired, observed));
    notes.extend(missing_sysctls(desired, observed));
    notes.extend(kept_sysctls(desired, observed));
    notes.extend(beyond::notes(desired, observed));
    let loose = observed.sysctls.get(TCP_LOOSE).is_some_and(|v| v.trim() == "0");
    let set_here = desired.sysctls.get(TCP_LOOSE).is_some_and(|s| s.value != "0");
    if let (true, false, Some(service)) = (loose, set_here, desired.services.first()) {
        notes.push(Note {
            blocks: false,
            what: format!("{TCP_LOOSE} is 0: connections to services do not survive when their vip moves here"),
            remedy: format!("add to the file: sysctl \"{TCP_LOOSE}\" 1"),
            at: Some(service.at.clone()),
        });
    }
    // Without a boot id nothing was observed: an empty machine runs nothing.
    if observed.service.is_none() && !observed.boot_id.is_empty() && !desired.vips.is_empty() {
        notes.push(Note {
            blocks: false,
            what: "`hactl run` is not running here: this machine takes no part in its vips".to_owned(),
            remedy: "systemctl enable --now hactl".to_owned(),
            at: None,
        });
    }
    notes
}

/// A service that runs would put back what is taken away.
pub(super) fn of_teardown(observed: &Observed) -> Vec<Note> {
    let note = |pid| Note {
        blocks: true,
        what: format!("`hactl run` (pid {pid}) is running and would put everything back"),
        remedy: "systemctl disable --now hactl".to_owned(),
        at: None,
    };
    observed.service.iter().map(|live| note(live.pid)).collect()
}

fn contradictions(desired: &Desired) -> Vec<Note> {
    let note = |c: &crate::desired::Contradiction| {
        let needed: Vec<String> = c.reasons.iter().map(ToString::to_string).collect();
        Note {
            blocks: true,
            what: format!("sysctl {} = {} contradicts {}, needed by {}", c.key, c.value, c.needed, needed.join("; ")),
            remedy: format!("delete the line, or write {}", c.needed),
            at: Some(c.at.clone()),
        }
    };
    desired.contradictions.iter().map(note).collect()
}

fn interfaces(desired: &Desired, observed: &Observed) -> Vec<Note> {
    let mut notes = vec![];
    for vip in &desired.vips {
        let (blocks, what, remedy) = match observed.links.get(&vip.interface) {
            None => {
                let there: Vec<String> = observed.links.keys().map(ToString::to_string).collect();
                let what = format!("vip.{}: there is no interface {} on {}", vip.name, vip.interface, desired.peer);
                let remedy = format!(
                    "there is {}; another name on this machine is written: peer \"{}\" {{ interface \"…\" }}",
                    there.join(", "),
                    desired.peer
                );
                (true, what, remedy)
            }
            Some(link) if !link.up => (
                false,
                format!("vip.{}: interface {} is down, so the vip is in FAULT", vip.name, vip.interface),
                format!("ip link set {} up", vip.interface),
            ),
            Some(link) if !link.arp && vip.routers.iter().any(|r| r.reach == Reach::Multicast) => (
                false,
                format!("vip.{}: interface {} carries no multicast", vip.name, vip.interface),
                format!("add `unicast` to vip \"{}\"", vip.name),
            ),
            Some(_) => continue,
        };
        notes.push(Note { blocks, what, remedy, at: Some(vip.at.clone()) });
    }
    notes
}

fn missing_sysctls(desired: &Desired, observed: &Observed) -> Vec<Note> {
    let mut notes = vec![];
    for (key, wanted) in desired.sysctls.iter().filter(|(key, _)| !observed.sysctls.contains_key(*key)) {
        // An interface that is missing is told of once.
        let of_missing = desired
            .vips
            .iter()
            .filter(|v| !observed.links.contains_key(&v.interface))
            .any(|v| crate::desired::interface_of(key).is_some_and(|name| name == v.interface.as_str()));
        if !of_missing {
            notes.push(Note {
                blocks: true,
                what: format!("there is no sysctl {key} on {}", desired.peer),
                remedy: "load the module that brings it, or correct the name; a recording made for another file may \
                         lack it: make it anew with hactl snapshot"
                    .to_owned(),
                at: wanted.reasons.first().map(|r| r.at.clone()),
            });
        }
    }
    notes
}

fn kept_sysctls(desired: &Desired, observed: &Observed) -> Vec<Note> {
    let record = observed.record.sysctls.iter();
    let kept = record.filter(|(key, _)| !desired.sysctls.contains_key(*key) && sysctls::stays(desired, key));
    let changed = kept.filter(|(_, r)| r.before != r.ours);
    let note = |(key, record): (&String, &SysctlBefore)| Note {
        blocks: false,
        what: format!(
            "sysctl {key} stays {}: putting back {} would stop forwarding everywhere",
            record.ours, record.before
        ),
        remedy: "it is put back by destroy, or when no service is left here".to_owned(),
        at: None,
    };
    changed.map(note).collect()
}
