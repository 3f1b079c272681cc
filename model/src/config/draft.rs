//! What was read, each value with its span: what the cross checks look at before a [`Config`](super::Config) is built.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::cursor::Misspelt;
use super::file::{Field, Spanned};
use super::{Balance, CheckKind, Checksum, Preempt, ProbeKind, Route, Secret, Version};
use crate::units::{Cidr, Family, InterfaceName, Priority, Vrid};

#[derive(Default)]
pub(super) struct Draft {
    pub cluster: Option<Cluster>,
    pub peers: Vec<PeerDraft>,
    pub checks: Vec<CheckDraft>,
    pub vips: Vec<VipDraft>,
    pub groups: Vec<GroupDraft>,
    pub services: Vec<ServiceDraft>,
    pub sysctls: Vec<SysctlDraft>,
}

pub(super) struct Cluster {
    pub name: Option<Spanned<String>>,
    pub key: Field<Secret>,
    pub span: super::Span,
}

pub(super) struct PeerDraft {
    pub name: Spanned<String>,
    pub address: Field<IpAddr>,
    /// Of the other family.
    pub second: Field<IpAddr>,
    pub interface: Field<InterfaceName>,
}

impl PeerDraft {
    /// The addresses that could be read.
    pub fn addresses(&self) -> impl Iterator<Item = &Spanned<IpAddr>> {
        self.address.get().into_iter().chain(self.second.get())
    }

    pub fn address_of(&self, family: Family) -> Option<&Spanned<IpAddr>> {
        self.addresses().find(|a| Family::of(a.value) == family)
    }
}

/// How often and how patiently, where it is said.
#[derive(Debug, Clone, Default)]
pub(super) struct PaceDraft {
    pub every: Field<Duration>,
    pub timeout: Field<Duration>,
    pub fall: Field<u32>,
    pub rise: Field<u32>,
}

pub(super) struct CheckDraft {
    pub name: Spanned<String>,
    pub kind: Field<CheckKind>,
    pub user: Field<String>,
    pub pace: PaceDraft,
    pub debounce: Field<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct TrackDraft {
    pub check: Spanned<String>,
    pub weight: Field<i16>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub peer: Spanned<String>,
    pub priority: Option<Spanned<Priority>>,
}

/// Everything of a vip that `defaults` may hold.
#[derive(Debug, Clone, Default)]
pub(super) struct VipSettings {
    pub interface: Field<InterfaceName>,
    pub priorities: Field<Vec<Member>>,
    pub unicast: Field<bool>,
    pub version: Field<Version>,
    pub advertise: Field<Duration>,
    pub preempt: Field<Preempt>,
    pub auth_pass: Field<Secret>,
    pub checksum: Field<Checksum>,
    pub track: Vec<TrackDraft>,
    pub notify: Field<String>,
    pub virtual_mac: Field<bool>,
    pub accept: Field<bool>,
    pub start_delay: Field<Duration>,
    pub announce: Field<AnnounceDraft>,
    pub routes: Vec<Spanned<Route>>,
}

/// When addresses are announced, where it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnnounceDraft {
    pub again: Field<Duration>,
    pub every: Field<Duration>,
}

pub(super) struct GroupDraft {
    pub name: Spanned<String>,
    pub vips: Vec<Spanned<String>>,
    pub notify: Field<String>,
}

pub(super) struct VipDraft {
    pub name: Spanned<String>,
    pub addresses: Vec<Spanned<Cidr>>,
    /// It has no node for addresses, not even a wrong one.
    pub addressless: bool,
    /// Settings that were meant by a misspelt name: they are not missing as well.
    pub misspelt: Misspelt,
    pub vrid: Field<Vrid>,
    pub settings: VipSettings,
}

/// A probe, where it is said.
#[derive(Debug, Clone, Default)]
pub(super) struct ProbeDraft {
    pub kind: Field<ProbeKind>,
    pub port: Field<u16>,
    pub pace: PaceDraft,
}

/// Everything of a service that `defaults` may hold.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceSettings {
    pub balance: Field<Balance>,
    pub probe: Option<ProbeDraft>,
}

pub(super) struct BackendDraft {
    pub name: Spanned<String>,
    pub endpoint: Field<SocketAddr>,
    pub port: Field<u16>,
    pub weight: Field<u8>,
}

pub(super) struct ServiceDraft {
    pub name: Spanned<String>,
    pub vip: Field<String>,
    pub port: Field<u16>,
    pub settings: ServiceSettings,
    pub backends: Vec<BackendDraft>,
}

pub(super) struct SysctlDraft {
    pub key: Spanned<String>,
    pub value: String,
}

/// What `defaults { … }` says.
#[derive(Default)]
pub(super) struct Defaults {
    pub span: Option<super::Span>,
    pub vip: VipSettings,
    pub check: PaceDraft,
    pub check_user: Field<String>,
    pub debounce: Field<Duration>,
    pub service: ServiceSettings,
    pub probe: ProbeDraft,
}

impl PaceDraft {
    /// This, with what is absent taken from the defaults.
    pub fn over(&self, defaults: &PaceDraft) -> PaceDraft {
        PaceDraft {
            every: self.every.or(&defaults.every),
            timeout: self.timeout.or(&defaults.timeout),
            fall: self.fall.or(&defaults.fall),
            rise: self.rise.or(&defaults.rise),
        }
    }
}

impl VipSettings {
    /// This, with what is absent taken from the defaults; checks tracked by all come first.
    pub fn over(&self, defaults: &VipSettings) -> VipSettings {
        let own = |name: &str| self.track.iter().any(|t| t.check.value == name);
        let tracked = defaults.track.iter().filter(|t| !own(&t.check.value)).chain(&self.track).cloned().collect();
        // A password of the defaults is for the vips that speak version 2.
        let auth_pass = match self.version.get() {
            Some(v) if v.value == Version::V3 => self.auth_pass.clone(),
            _ => self.auth_pass.or(&defaults.auth_pass),
        };
        VipSettings {
            interface: self.interface.or(&defaults.interface),
            priorities: self.priorities.or(&defaults.priorities),
            unicast: self.unicast.or(&defaults.unicast),
            version: self.version.or(&defaults.version),
            advertise: self.advertise.or(&defaults.advertise),
            preempt: self.preempt.or(&defaults.preempt),
            auth_pass,
            checksum: self.checksum.or(&defaults.checksum),
            track: tracked,
            notify: self.notify.or(&defaults.notify),
            virtual_mac: self.virtual_mac.or(&defaults.virtual_mac),
            accept: self.accept.or(&defaults.accept),
            start_delay: self.start_delay.or(&defaults.start_delay),
            announce: self.announce.over(&defaults.announce),
            routes: self.routes_over(&defaults.routes),
        }
    }

    /// Its own routes, after those of the defaults that it has not said otherwise.
    fn routes_over(&self, defaults: &[Spanned<Route>]) -> Vec<Spanned<Route>> {
        let own = |r: &&Spanned<Route>| self.routes.iter().any(|mine| mine.value.key() == r.value.key());
        defaults.iter().filter(|r| !own(r)).chain(&self.routes).cloned().collect()
    }

    /// The version that is spoken: as said, else 2 where there is a password, else 3.
    pub fn spoken(&self) -> Version {
        match (&self.version, &self.auth_pass) {
            (Field::Good(v), _) => v.value,
            (_, Field::Absent) => Version::V3,
            _ => Version::V2,
        }
    }

    /// The members that could be read.
    pub fn members(&self) -> &[Member] {
        self.priorities.get().map_or(&[], |p| p.value.as_slice())
    }
}

impl Field<AnnounceDraft> {
    /// This, with what is absent taken from the defaults.
    fn over(&self, defaults: &Field<AnnounceDraft>) -> Field<AnnounceDraft> {
        let (Field::Good(own), Field::Good(theirs)) = (self, defaults) else { return self.or(defaults) };
        let again = own.value.again.or(&theirs.value.again);
        let every = own.value.every.or(&theirs.value.every);
        Field::Good(Spanned { value: AnnounceDraft { again, every }, span: own.span })
    }
}

impl VipDraft {
    /// The families of its addresses, each with the first one's place, IPv4 first.
    pub fn families(&self) -> impl Iterator<Item = (Family, super::Span)> {
        [Family::V4, Family::V6].into_iter().filter_map(|family| {
            let first = self.addresses.iter().find(|a| a.value.family() == family)?;
            Some((family, first.span))
        })
    }
}

impl ProbeDraft {
    /// This, with what is absent taken from the defaults.
    pub fn over(&self, defaults: &ProbeDraft) -> ProbeDraft {
        ProbeDraft {
            kind: self.kind.or(&defaults.kind),
            port: if self.kind.is_absent() { self.port.or(&defaults.port) } else { self.port.clone() },
            pace: self.pace.over(&defaults.pace),
        }
    }
}

impl Draft {
    /// Fills every absent setting from the defaults.
    pub fn complete(&mut self, defaults: &Defaults) {
        for vip in &mut self.vips {
            vip.settings = vip.settings.over(&defaults.vip);
        }
        for check in &mut self.checks {
            check.pace = match check.kind.get().map(|k| &k.value) {
                // What does not apply to it is not said of it by a default either.
                Some(CheckKind::File { .. }) => check.pace.clone(),
                Some(CheckKind::Interface { .. }) => {
                    PaceDraft { timeout: check.pace.timeout.clone(), ..check.pace.over(&defaults.check) }
                }
                _ => check.pace.over(&defaults.check),
            };
            if check.kind.get().is_none_or(|k| !matches!(k.value, CheckKind::File { .. })) {
                check.debounce = check.debounce.or(&defaults.debounce);
            }
            if check.kind.get().is_some_and(|k| matches!(k.value, CheckKind::Command { .. })) {
                check.user = check.user.or(&defaults.check_user);
            }
        }
        for service in &mut self.services {
            service.settings.balance = service.settings.balance.or(&defaults.service.balance);
            let probe = service.settings.probe.as_ref().or(defaults.service.probe.as_ref());
            service.settings.probe = probe.map(|p| p.over(&defaults.probe));
        }
    }
}
