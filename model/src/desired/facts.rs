//! A vip as it is recorded and compared: every setting under its name in the language, as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Desired, DesiredVip, Reach};
use crate::config::{Announce, Check, CheckKind, Checksum, Pace, Preempt, Probe, ProbeKind, Route, Secret, Version};
use crate::observed::VipFacts;
use crate::units::show_duration;

impl Desired {
    /// What is recorded of a vip: all that the service acts on, so that nothing it has to be told of is missed.
    pub fn facts(&self, vip: &DesiredVip) -> VipFacts {
        let mut settings = BTreeMap::from(
            [
                ("vrid", vip.vrid.to_string()),
                ("priority", vip.priority.to_string()),
                ("version", if vip.version == Version::V2 { "2" } else { "3" }.to_owned()),
                ("advertise", show_duration(vip.advertise.duration())),
                ("preempt", preempt(vip.preempt)),
                ("adverts", adverts(vip)),
                ("notify", vip.notify.clone().unwrap_or_else(|| "none".to_owned())),
                ("auth-pass", vip.auth_pass.as_ref().map_or("none".to_owned(), secret)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        if vip.version == Version::V3 && vip.checksum == Checksum::Message {
            settings.insert("checksum".to_owned(), "message".to_owned());
        }
        settings.extend(self.seldom(vip).into_iter().map(|(name, value)| (name.to_owned(), value)));
        for (check, weight) in &vip.track {
            let what = self.checks.iter().find(|c| c.name == *check).map(describe).unwrap_or_default();
            let is_file = |c: &&Check| c.name == *check && matches!(c.kind, CheckKind::File { .. });
            let effect = match weight {
                Some(w) => format!("weight {w:+}"),
                None if self.checks.iter().any(|c| is_file(&c)) => "weight".to_owned(),
                None => "down is FAULT".to_owned(),
            };
            settings.insert(format!("track {check}"), format!("{effect}: {what}"));
        }
        for service in self.services.iter().filter(|s| s.vip == vip.name) {
            let what = service.probe.as_ref().map_or("none".to_owned(), probe);
            settings.insert(format!("probe of {}", service.name), what);
        }
        VipFacts { addresses: vip.addresses.clone(), interface: vip.interface.clone(), settings }
    }
}

impl Desired {
    /// What few vips say, under their names in the language; what is as it is by default is left out.
    fn seldom(&self, vip: &DesiredVip) -> Vec<(&'static str, String)> {
        let mut said = Vec::new();
        if let Some(name) = &vip.group {
            let group = self.groups.iter().find(|g| g.name == *name);
            let vips = group.map(|g| g.vips.join(", ")).unwrap_or_default();
            let notify = group.and_then(|g| g.notify.as_ref()).map(|n| format!(", notify {n}")).unwrap_or_default();
            said.push(("group", format!("{name} of {vips}{notify}")));
        }
        let macvlans: Vec<&str> =
            vip.routers.iter().filter_map(|r| r.virtual_mac.as_ref()).map(|m| m.name.as_str()).collect();
        if !macvlans.is_empty() {
            said.push(("virtual-mac", macvlans.join(", ")));
        }
        if !vip.accept {
            said.push(("accept", "never".to_owned()));
        }
        if !vip.start_delay.is_zero() {
            said.push(("start-delay", show_duration(vip.start_delay)));
        }
        if vip.announce != Announce::default() {
            let every = vip.announce.every.map(|e| format!(", every {}", show_duration(e))).unwrap_or_default();
            said.push(("announce", format!("again after {}{every}", show_duration(vip.announce.again))));
        }
        let routes: Vec<String> = vip.routers.iter().flat_map(|r| &r.routes).map(route).collect();
        if !routes.is_empty() {
            said.push(("route", routes.join("; ")));
        }
        said
    }
}

/// A route in the words of ip-route(8).
fn route(route: &Route) -> String {
    let mut text = route.to.to_string();
    let words = [
        ("via", route.via.map(|v| v.to_string())),
        ("dev", route.dev.as_ref().map(ToString::to_string)),
        ("src", route.src.map(|s| s.to_string())),
        ("metric", route.metric.map(|m| m.to_string())),
        ("table", route.table.map(|t| t.to_string())),
    ];
    for (name, value) in words.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        // Writing to a String does not fail.
        _ = write!(text, " {name} {value}");
    }
    text
}

/// A preempt setting as the language has it.
fn preempt(preempt: Preempt) -> String {
    match preempt {
        Preempt::Immediately => "always".to_owned(),
        Preempt::After(delay) => format!("after {}", show_duration(delay)),
        Preempt::Never => "never".to_owned(),
    }
}

/// Where adverts go; of two families that do the same, once.
fn adverts(vip: &DesiredVip) -> String {
    let mut ways: Vec<String> = vip.routers.iter().map(|r| reach(&r.reach)).collect();
    ways.dedup();
    ways.join("; ")
}

fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Multicast => "multicast".to_owned(),
        Reach::Unicast { local, peers } => {
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            format!("unicast from {local} to {}", peers.join(", "))
        }
    }
}

/// Where a secret is taken from; of its value nothing, not even a hash: a record or a plan is read by more people than
/// the file. That a value changed is not seen here, wherever it is taken from: a reload resolves all of them anew.
fn secret(secret: &Secret) -> String {
    match secret {
        Secret::Literal(_) => "(secret)".to_owned(),
        Secret::Env(name) => format!("(secret) from env {name}"),
        Secret::File(path) => format!("(secret) from file {path}"),
        Secret::Credential(name) => format!("(secret) from credential {name}"),
    }
}

fn describe(check: &Check) -> String {
    let mut text = match &check.kind {
        CheckKind::Process { names } => format!("process {}", names.join(" ")),
        CheckKind::Command { argv, user } => {
            let user = user.as_ref().map(|u| format!(" as {u}")).unwrap_or_default();
            format!("command {}{user}", argv.join(" "))
        }
        CheckKind::Tcp { target } => format!("tcp {target}"),
        CheckKind::Interface { name } => format!("interface {name}"),
        CheckKind::Ping { target } => format!("ping {target}"),
        CheckKind::Systemd { unit } => format!("systemd {unit}"),
        // Nothing is tried, so there is no pace.
        CheckKind::File { path } => return format!("the number in {path}"),
        CheckKind::Tls { target } => format!("tls {target}"),
        CheckKind::Http { target, path, expect } => format!("http {target}{path} expect {expect}"),
    };
    pace(&mut text, &check.pace);
    if !check.pace.debounce.is_zero() {
        // Writing to a String does not fail.
        _ = write!(text, ", debounce {}", show_duration(check.pace.debounce));
    }
    text
}

fn probe(probe: &Probe) -> String {
    let mut text = match &probe.kind {
        ProbeKind::Tcp => "tcp".to_owned(),
        ProbeKind::Tls => "tls".to_owned(),
        ProbeKind::Http { path, expect } => format!("http {path} expect {expect}"),
    };
    if let Some(port) = probe.port {
        // Writing to a String does not fail.
        _ = write!(text, " port {port}");
    }
    pace(&mut text, &probe.pace);
    text
}

fn pace(text: &mut String, pace: &Pace) {
    let (every, timeout) = (show_duration(pace.every), show_duration(pace.timeout));
    // Writing to a String does not fail.
    _ = write!(text, ", every {every}, timeout {timeout}, fall {}, rise {}", pace.fall, pace.rise);
}
