//! (Config, peer) -> [`Desired`].

use std::net::Ipv4Addr;

use super::{Desired, DesiredGroup, DesiredService, DesiredVip, Member, routers, sysctls};
use crate::balance;
use crate::config::{Config, Peer, Service, Vip};

/// What a machine of the cluster should be; `None` where the file has no peer of that name.
pub fn desire(config: &Config, peer: &str) -> Option<Desired> {
    let me = config.peers.iter().find(|p| p.name == peer)?;
    let vips: Vec<DesiredVip> = config.vips.iter().filter_map(|v| vip(config, v, me)).collect();
    let services: Vec<DesiredService> =
        config.services.iter().filter_map(|s| service(config, s, vips.iter().find(|v| v.name == s.vip)?)).collect();
    let tracked = |name: &str| vips.iter().any(|v| v.track.iter().any(|(check, _)| check == name));
    let checks = config.checks.iter().filter(|c| tracked(&c.name)).cloned().collect();
    let (sysctls, contradictions) = sysctls::sysctls(&vips, &services, &config.sysctls);
    Some(Desired {
        cluster: config.cluster.value.clone(),
        peer: me.name.clone(),
        fingerprint: config.fingerprint(),
        groups: groups(config, &vips),
        vips,
        checks,
        services,
        sysctls,
        contradictions,
    })
}

fn vip(config: &Config, vip: &Vip, me: &Peer) -> Option<DesiredVip> {
    let mine = vip.priorities.get(&me.name)?;
    let others = config
        .peers
        .iter()
        .filter(|p| p.name != me.name)
        .filter_map(|p| {
            let priority = vip.priorities.get(&p.name)?.value;
            Some((p.name.clone(), Member { addresses: p.addresses().collect(), priority }))
        })
        .collect();
    Some(DesiredVip {
        name: vip.name.clone(),
        at: vip.at.clone(),
        addresses: vip.addresses.iter().map(|a| a.value).collect(),
        interface: me.interface.as_ref().unwrap_or(&vip.interface).value.clone(),
        vrid: vip.vrid.value,
        priority: mine.value,
        priority_at: mine.at.clone(),
        routers: routers::routers(config, vip, me),
        group: config.groups.iter().find(|g| g.vips.contains(&vip.name)).map(|g| g.name.clone()),
        others,
        version: vip.version,
        advertise: vip.advertise.value,
        preempt: vip.preempt.value,
        auth_pass: vip.auth_pass.as_ref().map(|p| p.value.clone()),
        checksum: vip.checksum,
        track: vip.track.iter().map(|t| (t.check.clone(), t.weight)).collect(),
        notify: vip.notify.as_ref().map(|n| n.value.clone()),
        accept: vip.accept,
        start_delay: vip.start_delay,
        announce: vip.announce,
    })
}

/// The groups of the vips that this machine is a member of.
fn groups(config: &Config, vips: &[DesiredVip]) -> Vec<DesiredGroup> {
    let mine = |name: &&String| vips.iter().any(|v| v.name == **name);
    let groups = config.groups.iter().map(|group| DesiredGroup {
        name: group.name.clone(),
        at: group.at.clone(),
        vips: group.vips.iter().filter(mine).cloned().collect(),
        notify: group.notify.as_ref().map(|n| n.value.clone()),
    });
    groups.filter(|g| !g.vips.is_empty()).collect()
}

fn service(config: &Config, service: &Service, vip: &DesiredVip) -> Option<DesiredService> {
    let addresses: Vec<Ipv4Addr> = vip.addresses.iter().filter_map(|a| a.v4()).collect();
    // A vip without IPv4 address has no place in `table ip hactl`.
    if addresses.is_empty() {
        return None;
    }
    Some(DesiredService {
        name: service.name.clone(),
        at: service.at.clone(),
        vip: service.vip.clone(),
        addresses,
        port: service.port.value,
        balance: service.balance,
        backends: service.backends.clone(),
        probe: service.probe.clone(),
        seed: balance::seed(&config.cluster.value, &service.name),
        slots: balance::slot_count(service.backends.len()),
    })
}
