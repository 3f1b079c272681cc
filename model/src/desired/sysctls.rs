//! Sysctls: those that vips and services imply, each with its reason, and those of the file.
//!
//! Implied on purpose is nothing for ARP: with the interface's own MAC only the holder has the address, so nobody
//! else answers for it, whatever `arp_ignore` and `arp_announce` say.

use std::collections::BTreeMap;

use super::{Contradiction, DesiredService, DesiredSysctl, DesiredVip, Reason};
use crate::config::Sysctl;
use crate::units::{Family, InterfaceName};

/// The kernel's key of an interface's IPv4 setting; dots of the name stand as `/`, as in sysctl(8).
pub fn conf(interface: &InterfaceName, setting: &str) -> String {
    format!("net.ipv4.conf.{}.{setting}", interface.as_str().replace('.', "/"))
}

/// The kernel's key of an interface's IPv6 setting.
pub fn conf6(interface: &InterfaceName, setting: &str) -> String {
    format!("net.ipv6.conf.{}.{setting}", interface.as_str().replace('.', "/"))
}

/// The interface that a key is of, where it is of one.
pub fn interface_of(key: &str) -> Option<String> {
    let of = key.strip_prefix("net.ipv4.conf.").or_else(|| key.strip_prefix("net.ipv6.conf."))?;
    Some(of.rsplit_once('.')?.0.replace('/', "."))
}

/// Keys whose write sets `forwarding` of every interface to the same.
pub const FORWARD_EVERYWHERE: [&str; 2] = ["net.ipv4.conf.all.forwarding", "net.ipv4.ip_forward"];

/// Whether the key is one interface's `forwarding`, and not that of all.
pub fn is_forwarding(key: &str) -> bool {
    key.starts_with("net.ipv4.conf.") && key.ends_with(".forwarding") && !FORWARD_EVERYWHERE.contains(&key)
}

/// Whether two values of a sysctl are the same: the kernel separates the numbers of a list with tabs.
pub fn same_value(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// Every sysctl with its reasons, and where the file contradicts what is needed.
pub(super) fn sysctls(
    vips: &[DesiredVip],
    services: &[DesiredService],
    written: &[Sysctl],
) -> (BTreeMap<String, DesiredSysctl>, Vec<Contradiction>) {
    let mut all = BTreeMap::new();
    for vip in vips.iter().filter(|v| v.router(Family::V4).is_some_and(|r| !r.addresses.is_empty())) {
        // A Linux secondary address goes with its primary: without this, removing the machine's own address would
        // take the vip along.
        let reason = Reason { what: format!("vip.{}", vip.name), at: vip.at.clone() };
        if vip.router(Family::V4).is_some() {
            imply(&mut all, conf(&vip.interface, "promote_secondaries"), ("1", reason.clone()));
        }
        // Without it there is no address and no link-local one that adverts come from.
        if vip.router(Family::V6).is_some() {
            imply(&mut all, conf6(&vip.interface, "disable_ipv6"), ("0", reason));
        }
    }
    for service in services {
        let Some(vip) = vips.iter().find(|v| v.name == service.vip) else { continue };
        let reason = needed_by(service);
        imply(&mut all, conf(&vip.interface, "forwarding"), ("1", reason.clone()));
        // One-armed: clients and backends share a segment, and a redirect would send them past the translation. The
        // kernel sends one unless both are 0.
        imply(&mut all, conf(&vip.interface, "send_redirects"), ("0", reason.clone()));
        imply(&mut all, "net.ipv4.conf.all.send_redirects".to_owned(), ("0", reason));
    }
    let mut contradictions = vec![];
    for sysctl in written {
        let (key, value) = (sysctl.key.clone(), sysctl.value.trim().to_owned());
        let reason = Reason { what: "sysctl".to_owned(), at: sysctl.at.clone() };
        let needing: Vec<Reason> = services.iter().map(needed_by).collect();
        match all.get_mut(&key) {
            None if FORWARD_EVERYWHERE.contains(&key.as_str()) && value == "0" && !needing.is_empty() => {
                let at = sysctl.at.clone();
                contradictions.push(Contradiction { key, value, at, needed: "1".to_owned(), reasons: needing });
            }
            None => _ = all.insert(key, DesiredSysctl { value, reasons: vec![reason] }),
            Some(implied) if same_value(&implied.value, &value) => implied.reasons.push(reason),
            Some(implied) => contradictions.push(Contradiction {
                key,
                value,
                at: sysctl.at.clone(),
                needed: implied.value.clone(),
                reasons: implied.reasons.clone(),
            }),
        }
    }
    (all, contradictions)
}

fn needed_by(service: &DesiredService) -> Reason {
    Reason { what: format!("service.{}", service.name), at: service.at.clone() }
}

fn imply(all: &mut BTreeMap<String, DesiredSysctl>, key: String, (value, reason): (&str, Reason)) {
    all.entry(key).or_insert_with(|| DesiredSysctl { value: value.to_owned(), reasons: vec![] }).reasons.push(reason);
}
