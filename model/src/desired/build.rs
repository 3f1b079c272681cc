//! (Config, peer) -> [`Desired`].

use std::net::Ipv4Addr;

use super::{Desired, DesiredService, DesiredVip, Fingerprint, Member, Reach, sysctls};
use crate::balance;
use crate::config::{Config, Peer, Secret, Service, Vip};

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
        fingerprint: fingerprint(config),
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
            Some((p.name.clone(), Member { address: p.address, priority }))
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
        reach: reach(config, vip, me),
        others,
        version: vip.version,
        advertise: vip.advertise.value,
        preempt: vip.preempt.value,
        auth_pass: vip.auth_pass.as_ref().map(|p| p.value.clone()),
        checksum: vip.checksum,
        track: vip.track.iter().map(|t| (t.check.clone(), t.weight)).collect(),
        notify: vip.notify.as_ref().map(|n| n.value.clone()),
    })
}

fn reach(config: &Config, vip: &Vip, me: &Peer) -> Reach {
    let v4 = |p: &Peer| match p.address {
        std::net::IpAddr::V4(a) => Some(a),
        std::net::IpAddr::V6(_) => None,
    };
    let members = config.peers.iter().filter(|p| p.name != me.name && vip.priorities.contains_key(&p.name));
    match (vip.unicast, v4(me)) {
        (true, Some(local)) => Reach::Unicast { local, peers: members.filter_map(v4).collect() },
        _ => Reach::Multicast,
    }
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

/// Of everything that members have to agree on, whatever line it stands on; a secret counts by where it is taken
/// from, since fingerprints are shown.
fn fingerprint(config: &Config) -> Fingerprint {
    let mut bare = config.clone();
    bare.cluster.at = Default::default();
    bare.key = bare.key.map(bare_secret);
    for peer in &mut bare.peers {
        peer.at = Default::default();
        peer.interface.iter_mut().for_each(|i| i.at = Default::default());
    }
    bare.checks.iter_mut().for_each(|c| c.at = Default::default());
    bare.sysctls.iter_mut().for_each(|s| s.at = Default::default());
    bare.vips.iter_mut().for_each(bare_vip);
    for service in &mut bare.services {
        service.at = Default::default();
        service.port.at = Default::default();
        service.backends.iter_mut().for_each(|b| b.at = Default::default());
    }
    Fingerprint::of(&format!("{bare:?}"))
}

fn bare_vip(vip: &mut Vip) {
    vip.at = Default::default();
    vip.addresses.iter_mut().for_each(|a| a.at = Default::default());
    vip.interface.at = Default::default();
    vip.vrid.at = Default::default();
    vip.priorities.values_mut().for_each(|p| p.at = Default::default());
    vip.advertise.at = Default::default();
    vip.preempt.at = Default::default();
    vip.track.iter_mut().for_each(|t| t.at = Default::default());
    if let Some(secret) = &mut vip.auth_pass {
        secret.at = Default::default();
        secret.value = bare_secret(secret.value.clone());
    }
    vip.notify.iter_mut().for_each(|n| n.at = Default::default());
}

fn bare_secret(secret: Secret) -> Secret {
    match secret {
        Secret::Literal(_) => Secret::Literal(String::new()),
        elsewhere => elsewhere,
    }
}
