//! A number that tells two configurations apart, whatever their layout, comments and files.

use super::{Check, Config, Service, Vip};
use crate::desired::Fingerprint;

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same on every machine and in every release.
struct Fnv(u64);

impl Fnv {
    fn text(&mut self, text: &str) {
        // The length first, so that no two lists of texts give the same bytes.
        for byte in (text.len() as u64).to_le_bytes().iter().chain(text.as_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn value(&mut self, name: &str, value: &impl std::fmt::Debug) {
        self.text(name);
        self.text(&format!("{value:?}"));
    }
}

impl Config {
    /// Of everything that the file says, without where it says it and without the values of secrets. Nodes of one kind
    /// count in any order, but for backends, whose order is that of the slots.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.text(&self.cluster.value);
        hash.value("key", &self.key);
        for peer in sorted(&self.peers, |p| &p.name) {
            hash.text(&peer.name);
            hash.value("address", &peer.addresses().collect::<Vec<_>>());
            hash.value("interface", &peer.interface.as_ref().map(|i| &i.value));
        }
        sorted(&self.checks, |c| &c.name).into_iter().for_each(|c| check(&mut hash, c));
        sorted(&self.vips, |v| &v.name).into_iter().for_each(|v| vip(&mut hash, v));
        for group in sorted(&self.groups, |g| &g.name) {
            hash.text(&group.name);
            hash.value("vips", &sorted(&group.vips, |v| v));
            hash.value("notify", &group.notify.as_ref().map(|n| &n.value));
        }
        sorted(&self.services, |s| &s.name).into_iter().for_each(|s| service(&mut hash, s));
        for sysctl in sorted(&self.sysctls, |s| &s.key) {
            hash.value(&sysctl.key, &sysctl.value);
        }
        Fingerprint(hash.0)
    }
}

fn sorted<T>(all: &[T], key: impl Fn(&T) -> &String) -> Vec<&T> {
    let mut all: Vec<&T> = all.iter().collect();
    all.sort_by_key(|item| key(item));
    all
}

fn check(hash: &mut Fnv, check: &Check) {
    hash.text(&check.name);
    hash.value("kind", &check.kind);
    hash.value("pace", &check.pace);
}

fn vip(hash: &mut Fnv, vip: &Vip) {
    hash.text(&vip.name);
    hash.value("addresses", &vip.addresses.iter().map(|a| a.value.to_string()).collect::<Vec<_>>());
    hash.value("interface", &vip.interface.value.as_str());
    hash.value("vrid", &vip.vrid.value.get());
    for (peer, priority) in &vip.priorities {
        hash.value(peer, &priority.value.get());
    }
    hash.value("unicast", &vip.unicast);
    hash.value("version", &vip.version);
    hash.value("advertise", &vip.advertise.value.get());
    hash.value("preempt", &vip.preempt.value);
    hash.value("auth-pass", &vip.auth_pass.as_ref().map(|s| &s.value));
    hash.value("checksum", &vip.checksum);
    for track in sorted(&vip.track, |t| &t.check) {
        hash.value(&track.check, &track.weight);
    }
    hash.value("notify", &vip.notify.as_ref().map(|n| &n.value));
    hash.value("mac and accept", &(vip.virtual_mac, vip.accept));
    hash.value("start-delay", &vip.start_delay);
    hash.value("announce", &vip.announce);
    hash.value("routes", &vip.routes.iter().map(|r| &r.value).collect::<Vec<_>>());
}

fn service(hash: &mut Fnv, service: &Service) {
    hash.text(&service.name);
    hash.text(&service.vip);
    hash.value("port", &service.port.value);
    hash.value("balance", &service.balance);
    for backend in &service.backends {
        hash.text(&backend.name);
        hash.value("target", &(backend.target, backend.weight));
    }
    hash.value("probe", &service.probe);
    hash.value("source-address", &service.source_address);
}
