//! Going on in another process: everything that a router knows and no file, link or check says again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::input::Report;
use super::instance::{Holding, Instance, Listening, State};
use super::{Router, Settings};
use crate::config::Version;
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Moment, Vrid};

/// A machine's virtual routers between two processes. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Saved {
    /// When the first process did its last.
    pub at: Moment,
    /// Each of them.
    pub routers: Vec<SavedRouter>,
    /// The last words on checks.
    checks: BTreeMap<String, Report>,
    /// What is left to others.
    drained: BTreeSet<String>,
}

/// One virtual router between two processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SavedRouter {
    /// The vip's name.
    pub vip: String,
    /// Which of its families.
    pub family: Family,
    /// Where it lives.
    pub interface: InterfaceName,
    vrid: Vrid,
    version: Version,
    /// Its addresses, which stand where it is master.
    pub addresses: Vec<Cidr>,
    role: Role,
    since: Moment,
    why: Option<String>,
    heard: Option<(IpAddr, u8, Moment)>,
    stepped_down: bool,
    terms: u64,
    sent: u64,
    received: u64,
    restored: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Role {
    Init,
    Fault,
    Backup { down_at: Moment, interval: Centiseconds, preempt_at: Option<Moment> },
    Master { advert_at: Moment, announce_at: Option<Moment>, spoke_at: Moment, spoken: Centiseconds },
}

impl SavedRouter {
    /// Whether it was master.
    pub fn is_master(&self) -> bool {
        matches!(self.role, Role::Master { .. })
    }

    fn of(instance: &Instance) -> SavedRouter {
        let (s, c) = (&instance.settings, &instance.counters);
        SavedRouter {
            vip: s.name.clone(),
            family: s.family,
            interface: s.interface.clone(),
            vrid: s.vrid,
            version: s.version,
            addresses: s.addresses.clone(),
            role: match &instance.state {
                State::Init => Role::Init,
                State::Fault => Role::Fault,
                State::Backup(l) => Role::Backup { down_at: l.down_at, interval: l.interval, preempt_at: l.preempt_at },
                State::Master(h) => Role::Master {
                    advert_at: h.advert_at,
                    announce_at: h.announce_at,
                    spoke_at: h.spoke_at,
                    spoken: h.spoken,
                },
            },
            since: instance.since,
            why: instance.why.clone(),
            heard: instance.heard,
            stepped_down: instance.stepped_down,
            terms: c.terms,
            sent: c.sent,
            received: c.received,
            restored: c.restored,
        }
    }

    fn is_of(&self, s: &Settings) -> bool {
        let same = (&self.vip, self.family, &self.interface) == (&s.name, s.family, &s.interface);
        same && (self.vrid, self.version) == (s.vrid, s.version)
    }

    /// Puts an instance that knows nothing yet where the other was.
    fn install(&self, instance: &mut Instance, now: Moment) {
        instance.state = match self.role {
            Role::Init => return,
            Role::Fault => State::Fault,
            // Adverts that came between the processes are lost: one more must have had its time.
            Role::Backup { down_at, interval, preempt_at } => State::Backup(Listening {
                down_at: down_at.max(now + interval.duration()),
                interval,
                preempt_at,
                overdue: None,
                put_off: false,
                ripe: None,
            }),
            Role::Master { advert_at, announce_at, spoke_at, spoken } => State::Master(Holding {
                advert_at,
                announce_at,
                settle_at: None,
                spoke_at,
                spoken,
                answers: 0,
                announced: false,
                tie: None,
                standing: false,
            }),
        };
        instance.resumed = true;
        instance.starts_at = None;
        (instance.since, instance.why, instance.heard) = (self.since, self.why.clone(), self.heard);
        instance.stepped_down = self.stepped_down;
        let c = &mut instance.counters;
        (c.terms, c.sent, c.received, c.restored) = (self.terms, self.sent, self.received, self.restored);
    }
}

impl Saved {
    /// Whether these settings go on as master.
    pub fn goes_on_as_master(&self, settings: &Settings) -> bool {
        self.routers.iter().any(|router| router.is_of(settings) && router.is_master())
    }
}

impl Router {
    /// What another process needs to go on. Nothing may be handed over at this moment: see [`Router::is_handing_over`].
    pub fn save(&self, now: Moment) -> Saved {
        let routers = self.named().map(SavedRouter::of).collect();
        Saved { at: now, routers, checks: self.reports().clone(), drained: self.drained().clone() }
    }

    /// Goes on with these settings where another process was: who was master is, and holds what is missing as soon as
    /// it hears of its interface. What the settings no longer mean begins anew; the caller lets go of its addresses.
    pub fn resume(now: Moment, settings: Vec<Settings>, saved: &Saved) -> Router {
        let mut router = Router::heir(saved.at, saved.checks.clone(), saved.drained.clone());
        router.begin(now, settings);
        router.each(|instance| {
            if let Some(saved) = saved.routers.iter().find(|s| s.is_of(&instance.settings)) {
                saved.install(instance, now);
            }
        });
        router
    }
}
