//! What another router does that it should not, for as long as it does: what `status` tells beside the events.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Moment;

/// How many are remembered per vip: a segment with more strange routers is as strange with these.
const REMEMBERED: usize = 8;

/// Intervals without a repetition after which it is over, as a master's silence is.
const INTERVALS: u32 = 3;

/// One thing that one router does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Anomaly {
    /// Of which kind.
    pub kind: Oddity,
    /// Who does it.
    pub source: IpAddr,
    /// What, for people.
    pub what: String,
    /// Over after this, unless it is heard again.
    pub until: Moment,
}

/// Kinds of [`Anomaly`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// It says that it is master while this machine is.
    Rival,
    /// It advertises other addresses.
    Addresses,
    /// It advertises at another interval.
    Interval,
}

/// The newest of each router and kind, also those that are over.
#[derive(Debug, Default)]
pub(super) struct Anomalies(Vec<Anomaly>);

impl Anomalies {
    /// Heard at `now` from a router that speaks once in `interval`.
    pub(super) fn note(&mut self, now: Moment, interval: Duration, heard: (Oddity, IpAddr, String)) {
        let (kind, source, what) = heard;
        self.0.retain(|a| (a.kind, a.source) != (kind, source));
        if self.0.len() >= REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(Anomaly { kind, source, what, until: now + interval * INTERVALS });
    }

    /// Two masters are no two masters once this machine is none.
    pub(super) fn list(&self, master: bool) -> Vec<Anomaly> {
        self.0.iter().filter(|a| master || a.kind != Oddity::Rival).cloned().collect()
    }
}
