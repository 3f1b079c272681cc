//! A draft without mistakes becomes a [`Config`]: places, and the defaults that the language itself has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::draft::{AnnounceDraft, BackendDraft, CheckDraft, Draft, GroupDraft, PaceDraft, PeerDraft};
use super::draft::{ProbeDraft, ServiceDraft, VipDraft};
use super::file::{File, Spanned};
use super::{
    Announce, At, Backend, Check, CheckKind, Config, Pace, Peer, Place, Preempt, Probe, Service, SourceAddress, Span,
};
use super::{Group, Sysctl, Track, Vip};
use crate::units::{Centiseconds, Family};

/// How often a check or a probe is tried unless the file says otherwise, as in HAProxy.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// Failures in a row until down, as in HAProxy.
const FALL: u32 = 3;
/// Successes in a row until up, as in HAProxy.
const RISE: u32 = 2;
/// The advert interval unless the file says otherwise (RFC 9568 §6.1).
pub(super) const ADVERTISE: Duration = Duration::from_secs(1);

/// Builds from drafts; `None` where something is absent, which has then been reported.
pub(super) struct Builder<'a, 's> {
    pub files: &'a [File<'s>],
    pub draft: &'a Draft,
}

impl Builder<'_, '_> {
    fn place(&self, span: Span) -> Place {
        self.files.get(span.source).map(|f| f.place(span)).unwrap_or_default()
    }

    fn at<T: Clone>(&self, value: &Spanned<T>) -> At<T> {
        At { value: value.value.clone(), at: self.place(value.span) }
    }

    pub fn config(&self) -> Option<Config> {
        let cluster = self.draft.cluster.as_ref()?;
        Some(Config {
            cluster: self.at(cluster.name.as_ref()?),
            key: cluster.key.get().map(|k| k.value.clone()),
            peers: self.draft.peers.iter().map(|p| self.peer(p)).collect::<Option<_>>()?,
            checks: self.draft.checks.iter().map(|c| self.check(c)).collect::<Option<_>>()?,
            vips: self.draft.vips.iter().map(|v| self.vip(v)).collect::<Option<_>>()?,
            groups: self.draft.groups.iter().map(|g| self.group(g)).collect(),
            services: self.draft.services.iter().map(|s| self.service(s)).collect::<Option<_>>()?,
            sysctls: self
                .draft
                .sysctls
                .iter()
                .map(|s| Sysctl { key: s.key.value.clone(), value: s.value.clone(), at: self.place(s.key.span) })
                .collect(),
        })
    }

    fn peer(&self, peer: &PeerDraft) -> Option<Peer> {
        Some(Peer {
            name: peer.name.value.clone(),
            at: self.place(peer.name.span),
            address: peer.address.get()?.value,
            second: peer.second.get().map(|a| a.value),
            interface: peer.interface.get().map(|i| self.at(i)),
        })
    }

    fn check(&self, check: &CheckDraft) -> Option<Check> {
        let mut kind = check.kind.get()?.value.clone();
        if let CheckKind::Command { user, .. } = &mut kind {
            *user = check.user.get().map(|u| u.value.clone());
        }
        let mut pace = pace(&check.pace);
        if let CheckKind::Interface { .. } | CheckKind::File { .. } = kind {
            // An event is no guess: it counts at once unless the file asks for patience.
            pace.fall = check.pace.fall.get().map_or(1, |f| f.value);
            pace.rise = check.pace.rise.get().map_or(1, |r| r.value);
        }
        pace.debounce = check.debounce.get().map_or(Duration::ZERO, |d| d.value);
        Some(Check { name: check.name.value.clone(), at: self.place(check.name.span), kind, pace })
    }

    fn vip(&self, vip: &VipDraft) -> Option<Vip> {
        let own = &vip.settings;
        let at = self.place(vip.name.span);
        let mut priorities = BTreeMap::new();
        for member in own.members() {
            let priority = member.priority.as_ref()?;
            priorities
                .insert(member.peer.value.clone(), At { value: priority.value, at: self.place(member.peer.span) });
        }
        let advertise = own.advertise.get().map_or(ADVERTISE, |a| a.value);
        let centiseconds = u16::try_from(advertise.as_millis() / 10).ok()?;
        Some(Vip {
            name: vip.name.value.clone(),
            addresses: vip.addresses.iter().map(|a| self.at(a)).collect(),
            interface: self.interface(vip)?,
            vrid: self.at(vip.vrid.get()?),
            priorities,
            unicast: own.unicast.get().is_some_and(|u| u.value),
            version: own.spoken(),
            advertise: At {
                value: Centiseconds::try_from(centiseconds).ok()?,
                at: own.advertise.get().map_or(at.clone(), |a| self.place(a.span)),
            },
            preempt: own.preempt.get().map_or(At { value: Preempt::Immediately, at: at.clone() }, |p| self.at(p)),
            auth_pass: own.auth_pass.get().map(|s| self.at(s)),
            checksum: own.checksum.get().map(|c| c.value).unwrap_or_default(),
            track: own
                .track
                .iter()
                .map(|t| Track {
                    check: t.check.value.clone(),
                    weight: t.weight.get().map(|w| w.value),
                    at: self.place(t.check.span),
                })
                .collect(),
            notify: own.notify.get().map(|n| self.at(n)),
            virtual_mac: own.virtual_mac.get().is_some_and(|m| m.value),
            accept: own.accept.get().is_none_or(|a| a.value),
            start_delay: own.start_delay.get().map_or(Duration::ZERO, |d| d.value),
            announce: announce(own.announce.get().map(|a| &a.value)),
            routes: own.routes.iter().map(|r| self.at(r)).collect(),
            at,
        })
    }

    /// The vip's interface; where every member has a name of its own for it, the first one's.
    fn interface(&self, vip: &VipDraft) -> Option<At<crate::units::InterfaceName>> {
        if let Some(interface) = vip.settings.interface.get() {
            return Some(self.at(interface));
        }
        let member = vip.settings.members().first()?;
        let peer = self.draft.peers.iter().find(|p| p.name.value == member.peer.value)?;
        peer.interface.get().map(|i| self.at(i))
    }

    fn group(&self, group: &GroupDraft) -> Group {
        Group {
            name: group.name.value.clone(),
            at: self.place(group.name.span),
            vips: group.vips.iter().map(|v| v.value.clone()).collect(),
            notify: group.notify.get().map(|n| self.at(n)),
        }
    }

    fn service(&self, service: &ServiceDraft) -> Option<Service> {
        let port = service.port.get()?;
        let probe = match &service.settings.probe {
            Some(probe) => Some(probed(probe)?),
            None => None,
        };
        Some(Service {
            name: service.name.value.clone(),
            at: self.place(service.name.span),
            vip: service.vip.get()?.value.clone(),
            port: self.at(port),
            balance: service.settings.balance.get().map(|b| b.value).unwrap_or_default(),
            backends: service.backends.iter().map(|b| self.backend(b, port.value)).collect::<Option<_>>()?,
            probe,
            source_address: SourceAddress::default(),
        })
    }

    fn backend(&self, backend: &BackendDraft, listen: u16) -> Option<Backend> {
        Some(Backend {
            name: backend.name.value.clone(),
            at: self.place(backend.name.span),
            target: self.draft.target(backend, listen)?,
            weight: backend.weight.get().map_or(1, |w| w.value),
        })
    }
}

impl Draft {
    /// Where a backend is: written out, or the peer's address with the port said or listened on; of two addresses the
    /// IPv4 one, since IPv4 is what is balanced.
    pub fn target(&self, backend: &BackendDraft, listen: u16) -> Option<SocketAddr> {
        if let Some(endpoint) = backend.endpoint.get() {
            return Some(endpoint.value);
        }
        let peer = self.peers.iter().find(|p| p.name.value == backend.name.value)?;
        let port = backend.port.get().map_or(listen, |p| p.value);
        let address = peer.address_of(Family::V4).or(peer.address.get())?;
        Some(SocketAddr::new(address.value, port))
    }
}

fn announce(said: Option<&AnnounceDraft>) -> Announce {
    let default = Announce::default();
    Announce {
        again: said.and_then(|s| s.again.get()).map_or(default.again, |a| a.value),
        every: said.and_then(|s| s.every.get()).map(|e| e.value),
    }
}

fn pace(pace: &PaceDraft) -> Pace {
    let every = pace.every.get().map_or(EVERY, |e| e.value);
    Pace {
        every,
        timeout: pace.timeout.get().map_or(every, |t| t.value),
        fall: pace.fall.get().map_or(FALL, |f| f.value),
        rise: pace.rise.get().map_or(RISE, |r| r.value),
        debounce: Duration::ZERO,
    }
}

fn probed(probe: &ProbeDraft) -> Option<Probe> {
    Some(Probe {
        kind: probe.kind.get()?.value.clone(),
        port: probe.port.get().map(|p| p.value),
        pace: pace(&probe.pace),
    })
}
