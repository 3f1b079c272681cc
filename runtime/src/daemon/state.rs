//! What a run knows beside the machine: health, counters and warnings; and how `status` and plans are told of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use model::desired::DesiredService;
use model::observed::Live;
use model::plan::Note;
use model::rules;
use model::units::Moment;
use model::vrrp::{Oddity, VipState, VipStatus};

use super::converge::{Look, Tried};
use super::restart::Handover;
use super::setup::Setup;
use crate::check::{Healths, Subject, of_check};
use crate::clock;
use crate::control::{
    BackendStatus, CheckStatus, FailedReload, Health, STATUS_VERSION, ServiceStatus, StatusReport, ThreadStatus,
};
use crate::driver::DriverStatus;

/// Warnings that `status` shows; the log has them all.
const WARNINGS: usize = 16;

/// How long `status` shows one that did not recur: an operator who is called looks within minutes.
const WARNING_AGE: Duration = Duration::from_secs(600);

/// What other routers do that they should not, as a warning says it, and whether it goes on.
fn odd(vip: &VipStatus, now: Moment) -> impl Iterator<Item = (Oddity, String, bool)> {
    vip.anomalies.iter().map(move |a| (a.kind, format!("vip.{}: {}", vip.vip, a.what), a.until >= now))
}

/// What a run knows.
#[derive(Debug)]
pub(super) struct State {
    /// Since when it runs.
    pub started: Moment,
    /// The last finding of every watch.
    pub healths: Healths,
    /// How often something was put right, by kind.
    pub restored: BTreeMap<String, u64>,
    /// The last refused reload, where no valid one followed.
    pub refused: Option<FailedReload>,
    /// Why an object is not as the file says, by object.
    failing: BTreeMap<String, String>,
    /// Why something that was changed stands in no record.
    unrecorded: Option<String>,
    /// What a plan made now says beside its steps.
    notes: Vec<String>,
    warnings: VecDeque<(Moment, String)>,
}

impl State {
    pub fn new() -> Self {
        State {
            started: clock::now(),
            healths: BTreeMap::new(),
            restored: BTreeMap::new(),
            refused: None,
            failing: BTreeMap::new(),
            unrecorded: None,
            notes: vec![],
            warnings: VecDeque::new(),
        }
    }

    /// Goes on from what an earlier program knew.
    pub fn resume(&mut self, handover: &Handover) {
        self.started = handover.started;
        self.healths = handover.healths.iter().cloned().collect();
        self.restored.clone_from(&handover.restored);
    }

    /// Remembers a warning for `status`, the newest [`WARNINGS`] of them, each once and for [`WARNING_AGE`].
    pub fn warn(&mut self, what: &str) {
        self.warnings.retain(|(_, w)| w != what);
        if self.warnings.len() == WARNINGS {
            self.warnings.pop_front();
        }
        self.warnings.push_back((clock::now(), what.to_owned()));
    }

    /// Remembers what a plan made now says beside its steps, and returns what it did not say before.
    pub fn noted(&mut self, notes: &[Note]) -> Vec<String> {
        let lines: Vec<String> = notes.iter().map(|n| format!("{}: {}", n.what, n.remedy)).collect();
        let before = std::mem::replace(&mut self.notes, lines);
        self.notes.iter().filter(|line| !before.contains(line)).cloned().collect()
    }

    /// What stands, then what happened of late. What other routers do is over when they no longer do it.
    fn warnings(&self, setup: &Setup, anomalies: &[(Oddity, String, bool)], now: Moment) -> Vec<String> {
        let told = |w: &&(Moment, String)| !anomalies.iter().any(|(_, line, _)| *line == w.1);
        let recent = self.warnings.iter().filter(|(at, _)| now.since(*at) < WARNING_AGE).filter(told);
        let going_on = anomalies.iter().filter(|(kind, _, goes_on)| *goes_on && *kind != Oddity::Rival);
        let standing = setup.warnings.iter().chain(&self.notes).cloned();
        standing.chain(recent.map(|(_, w)| w.clone())).chain(going_on.map(|(_, line, _)| line.clone())).collect()
    }

    /// Remembers what could not be done in a look of this kind, and returns it for people.
    pub fn tried(&mut self, look: Look, tried: &[Tried]) -> Vec<String> {
        if look == Look::All {
            self.failing.clear();
        }
        let mut told = vec![];
        for t in tried {
            let object = &t.step.object;
            match &t.error {
                Some(e) => {
                    let what = format!("{object} cannot be put right: {e}");
                    told.push(what.clone());
                    self.failing.insert(object.clone(), what);
                }
                None => drop(self.failing.remove(object)),
            }
            if let Some(e) = &t.unrecorded {
                let what = format!("what is changed here cannot be recorded, so destroy will not take it back: {e}");
                if self.unrecorded.as_ref() != Some(&what) {
                    told.push(what.clone());
                }
                self.unrecorded = Some(what);
            }
        }
        told
    }

    /// All that was changed is recorded now.
    pub fn recorded(&mut self) {
        self.unrecorded = None;
    }

    /// Backends of a service that fail their probe.
    pub fn down(&self, service: &str) -> BTreeSet<SocketAddr> {
        let down = self.healths.iter().filter(|(_, h)| h.up == Some(false));
        down.filter_map(|(subject, _)| match subject {
            Subject::Backend { service: s, target, .. } if s == service => Some(*target),
            _ => None,
        })
        .collect()
    }

    /// What a plan compares.
    pub fn live(&self, setup: &Setup, thread: &DriverStatus) -> Live {
        let is_master = |s: VipState| s == VipState::Master;
        let names = setup.desired.services.iter().map(|s| (s.name.clone(), self.down(&s.name)));
        let masters = thread.vips.iter().filter(|v| !is_master(v.state));
        Live {
            pid: std::process::id(),
            config: setup.path.display().to_string(),
            master: thread.vips.iter().filter(|v| is_master(v.state)).map(|v| v.vip.clone()).collect(),
            down: names.filter(|(_, down)| !down.is_empty()).collect(),
            masters: masters.filter_map(|v| Some((v.vip.clone(), v.master()?.0))).collect(),
        }
    }

    /// What `hactl status` shows.
    pub fn report(&self, setup: &Setup, thread: &DriverStatus) -> StatusReport {
        let desired = &setup.desired;
        let mut restored = self.restored.clone();
        let addresses: u64 = thread.vips.iter().map(|v| v.restored).sum();
        if addresses > 0 {
            restored.insert("address".into(), addresses);
        }
        let now = clock::now();
        let anomalies: Vec<(Oddity, String, bool)> = thread.vips.iter().flat_map(|v| odd(v, now)).collect();
        let mut warnings = self.warnings(setup, &anomalies, now);
        if thread.packets_overrun > 0 {
            let n = thread.packets_overrun;
            warnings.push(format!("{n} VRRP packets came faster than they could be read and were lost"));
        }
        if thread.events_dropped > 0 {
            let n = thread.events_dropped;
            warnings.push(format!("{n} events came faster than they could be told and were lost"));
        }
        StatusReport {
            version: STATUS_VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            now,
            started: self.started,
            cluster: desired.cluster.clone(),
            peer: desired.peer.clone(),
            config: setup.path.display().to_string(),
            fingerprint: desired.fingerprint,
            vips: thread.vips.clone(),
            checks: desired
                .checks
                .iter()
                .map(|c| CheckStatus {
                    check: c.name.clone(),
                    what: of_check(c).to_string(),
                    health: self.health(&Subject::Check(c.name.clone())),
                })
                .collect(),
            services: desired.services.iter().map(|s| self.service(s)).collect(),
            restored,
            troubles: self.troubles(anomalies),
            warnings,
            drains: vec![],
            resumed: None,
            reload: self.refused.clone(),
            thread: ThreadStatus {
                realtime: thread.realtime,
                max_lateness_us: u64::try_from(thread.max_lateness.as_micros()).unwrap_or(u64::MAX),
            },
            strangers: thread.strangers.clone(),
        }
    }

    fn troubles(&self, anomalies: Vec<(Oddity, String, bool)>) -> Vec<String> {
        let rivals = anomalies.into_iter().filter(|(kind, _, goes_on)| *goes_on && *kind == Oddity::Rival);
        self.failing.values().chain(&self.unrecorded).cloned().chain(rivals.map(|(_, line, _)| line)).collect()
    }

    fn service(&self, service: &DesiredService) -> ServiceStatus {
        let slots = rules::slots(service, &self.down(&service.name));
        let backends = service.backends.iter().map(|b| BackendStatus {
            backend: b.name.clone(),
            target: b.target,
            weight: b.weight,
            slots: slots.iter().filter(|slot| SocketAddr::V4(**slot) == b.target).count().try_into().unwrap_or(0),
            of_slots: service.slots,
            health: service.probe.is_some().then(|| {
                self.health(&Subject::Backend {
                    service: service.name.clone(),
                    backend: b.name.clone(),
                    target: b.target,
                })
            }),
        });
        ServiceStatus {
            service: service.name.clone(),
            vip: service.vip.clone(),
            port: service.port,
            backends: backends.collect(),
        }
    }

    fn health(&self, subject: &Subject) -> Health {
        self.healths.get(subject).cloned().unwrap_or_else(|| Health::unknown(self.started))
    }
}

#[cfg(test)]
mod tests {
    use model::vrrp::{Anomaly, Router};

    use super::*;

    const FILE: &str = r#"
cluster "t"
peer "a" address="10.0.0.1"
peer "b" address="10.0.0.2"
vip "v" { address "10.0.0.100/24"; interface "eth0"; vrid 7; priority a=150 b=100 }
"#;

    #[test]
    fn a_second_master_is_a_trouble_for_as_long_as_it_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ha.kdl"), FILE).unwrap();
        let setup = super::super::setup::setup(Some(&dir.path().join("ha.kdl")), Some("a")).unwrap();
        let mut state = State::new();
        state.warn("vip.v: 10.0.0.2 also says that it is master");
        let told = |kind, until| {
            let what = "10.0.0.2 also says that it is master".to_owned();
            let mut vips = Router::new(setup.driver.routers.clone()).status();
            vips[0].anomalies = vec![Anomaly { kind, source: [10, 0, 0, 2].into(), what, until }];
            let report = state.report(&setup, &DriverStatus { vips, ..DriverStatus::default() });
            (report.troubles.len(), report.warnings.len())
        };
        let later = clock::now() + Duration::from_secs(60);
        assert_eq!(told(Oddity::Rival, later), (1, 0));
        assert_eq!(told(Oddity::Addresses, later), (0, 1));
        assert_eq!(told(Oddity::Rival, Moment(0)), (0, 0));
    }

    #[test]
    fn a_warning_that_does_not_recur_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ha.kdl"), FILE).unwrap();
        let setup = super::super::setup::setup(Some(&dir.path().join("ha.kdl")), Some("a")).unwrap();
        let mut state = State::new();
        state.warn("somebody did something");
        let now = clock::now();
        assert_eq!(state.warnings(&setup, &[], now).len(), 1);
        assert_eq!(state.warnings(&setup, &[], now + WARNING_AGE).len(), 0);
    }
}
