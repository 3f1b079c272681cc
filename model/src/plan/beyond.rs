//! Backends that lie behind another interface than the vip's: what comes back from them has to be forwarded there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Note;
use crate::desired::{Desired, DesiredService, FORWARD_EVERYWHERE, conf};
use crate::observed::Observed;
use crate::units::InterfaceName;

/// A note for each interface with backends behind it whose `forwarding` the plan does not see to. Only networks that
/// this machine is in tell where a backend lies; what is behind a gateway is not judged.
pub(super) fn notes(desired: &Desired, observed: &Observed) -> Vec<Note> {
    desired.services.iter().flat_map(|s| of_service(s, desired, observed)).collect()
}

fn of_service(service: &DesiredService, desired: &Desired, observed: &Observed) -> Vec<Note> {
    let Some(vip) = desired.vip(&service.vip) else { return vec![] };
    let forwards = |interface: &InterfaceName| {
        let key = conf(interface, "forwarding");
        let on = |key: &str| desired.sysctls.get(key).is_some_and(|s| s.value != "0");
        on(&key) || FORWARD_EVERYWHERE.into_iter().any(on)
    };
    let mut beyond: BTreeMap<&InterfaceName, Vec<&str>> = BTreeMap::new();
    for backend in &service.backends {
        if let Some(interface) = behind(backend.target.ip(), &vip.interface, observed).filter(|i| !forwards(i)) {
            beyond.entry(interface).or_default().push(&backend.name);
        }
    }
    let note = |(interface, names): (&InterfaceName, Vec<&str>)| Note {
        blocks: false,
        what: format!(
            "service.{}: {} behind {interface}, not {}: answers come back only where {interface} forwards",
            service.name,
            match names.as_slice() {
                [one] => format!("backend {one} is"),
                all => format!("backends {} are", all.join(", ")),
            },
            vip.interface
        ),
        remedy: format!("add to the file: sysctl \"{}\" 1", conf(interface, "forwarding")),
        at: Some(service.at.clone()),
    };
    beyond.into_iter().map(note).collect()
}

/// The interface whose network has this address, where that is another than the vip's; none for this machine's own
/// addresses, which are not forwarded to.
fn behind<'a>(address: IpAddr, vip: &InterfaceName, observed: &'a Observed) -> Option<&'a InterfaceName> {
    if observed.addresses.iter().any(|a| a.cidr.address() == address) {
        return None;
    }
    let networks = observed.addresses.iter().filter(|a| a.cidr.contains(address));
    let nearest = networks.max_by_key(|a| (a.cidr.prefix(), a.interface == *vip))?;
    (nearest.interface != *vip).then_some(&nearest.interface)
}
