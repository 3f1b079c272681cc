//! Watches: tries repeated at their pace, with rise and fall. Each is a task of its own: one that panics is logged and
//! goes on with its next try, one that hangs holds up nobody.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use model::config::Pace;
use model::health::Health;
use model::units::Moment;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::standing::Standing;
use super::{Attempt, Outcome, attempt};
use crate::clock;
use crate::control;

/// First tries of many watches are spread over this long, so that a start does not fire them in one burst.
const SPREAD: Duration = Duration::from_secs(1);

/// Least time between an event and the next look: a scan of /proc takes milliseconds of a processor, and whatever
/// happens all the time is not to be followed step by step.
const RESTLESS: Duration = Duration::from_millis(10);

/// What a watch is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A check of this machine, by its name.
    Check(String),
    /// A backend of a service.
    Backend {
        /// The service's name.
        service: String,
        /// The backend's name.
        backend: String,
        /// Where it listens.
        target: SocketAddr,
    },
}

/// What is tried for whom, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Whom the results are about.
    pub subject: Subject,
    /// What is tried.
    pub attempt: Attempt,
    /// How often and how patiently.
    pub pace: Pace,
}

/// What a try brought.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Whom it is about.
    pub subject: Subject,
    /// How it is now.
    pub health: control::Health,
    /// The new state, where this try changed it (or was the first to tell).
    pub changed: Option<bool>,
}

/// All watches that run.
#[derive(Debug)]
pub struct Watches {
    running: Vec<(Watch, AbortHandle)>,
    findings: mpsc::Sender<Finding>,
}

impl Watches {
    /// None yet; what they find goes to `findings`.
    pub fn new(findings: mpsc::Sender<Finding>) -> Self {
        Watches { running: vec![], findings }
    }

    /// Ends the watches that are not wanted any more and starts those that are new; equal ones go on undisturbed.
    /// Returns the subjects that are new, whose health is therefore not known.
    pub fn set(&mut self, wanted: Vec<Watch>) -> Vec<Subject> {
        self.resume(wanted, &Healths::new())
    }

    /// The same, going on from what an earlier process knew: its last word stands until `rise` or `fall` say otherwise.
    pub fn resume(&mut self, wanted: Vec<Watch>, known: &Healths) -> Vec<Subject> {
        self.running.retain(|(watch, task)| {
            let keep = wanted.contains(watch);
            if !keep {
                task.abort();
            }
            keep
        });
        let running: Vec<Watch> = self.running.iter().map(|(w, _)| w.clone()).collect();
        let new: Vec<Watch> = wanted.into_iter().filter(|w| !running.contains(w)).collect();
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX).max(1);
        let mut subjects = vec![];
        for (i, watch) in (0u32..).zip(new) {
            // Checks decide who may be master: they never wait.
            let delay = match watch.subject {
                Subject::Check(_) => Duration::ZERO,
                Subject::Backend { .. } => watch.pace.every.min(SPREAD) / count * i,
            };
            subjects.push(watch.subject.clone());
            let task =
                tokio::spawn(repeat((watch.clone(), known.get(&watch.subject).cloned()), delay, self.findings.clone()));
            self.running.push((watch, task.abort_handle()));
        }
        subjects
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in &self.running {
            task.abort();
        }
    }
}

async fn repeat((watch, known): (Watch, Option<control::Health>), delay: Duration, findings: mpsc::Sender<Finding>) {
    tokio::time::sleep(delay).await;
    let mut ticks = tokio::time::interval(watch.pace.every.max(Duration::from_millis(1)));
    // A try that outlasts its pace is followed by the next one `every` later, not by a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = Tally::resumed(watch.pace, known);
    let mut standing = Standing::Nothing;
    let mut last = None;
    loop {
        // What tells of every change is not polled; only rise and fall are counted at the pace.
        let settled = standing.tells_everything() && tally.is_settled();
        let ripe = tally.ripe();
        let told = tokio::select! {
            _ = ticks.tick(), if !settled => false,
            () = tokio::time::sleep(ripe.unwrap_or_default()), if ripe.is_some() => false,
            () = standing.shaken() => {
                tokio::time::sleep(RESTLESS).await;
                true
            }
        };
        let start = Instant::now();
        let tried = attempt(&watch.attempt, &mut standing, watch.pace.timeout);
        let Ok(outcome) = AssertUnwindSafe(tried).catch_unwind().await else {
            // The panic hook has printed where; a defect of ours says nothing about the other side's health.
            tracing::error!("a try of {} panicked and is left out; the next one follows", watch.attempt);
            standing = Standing::Nothing;
            continue;
        };
        // An event that left everything as it was is no further try: fall and rise count tries at the pace.
        if told && last.as_ref() == Some(&outcome) {
            continue;
        }
        if told && standing.tells_everything() {
            // Rise and fall are counted from the event on.
            ticks.reset();
        }
        last = Some(outcome.clone());
        let changed = tally.record(clock::now(), &outcome, start.elapsed());
        let finding = Finding { subject: watch.subject.clone(), health: tally.health.clone(), changed };
        if findings.send(finding).await.is_err() {
            return;
        }
    }
}

/// Results so far.
struct Tally {
    pace: Pace,
    model: Health,
    health: control::Health,
    /// A new weight that has not lasted long enough to count, and when it will have.
    weight: Option<(i16, Moment)>,
}

impl Tally {
    fn new(pace: Pace) -> Self {
        let health = control::Health::unknown(clock::now());
        Tally { pace, model: Health::new(pace), health, weight: None }
    }

    /// Going on from what an earlier process knew.
    fn resumed(pace: Pace, known: Option<control::Health>) -> Self {
        let Some(health) = known else { return Tally::new(pace) };
        let health = control::Health { against: 0, ..health };
        Tally { pace, model: Health::resumed(pace, health.up), health, weight: None }
    }

    /// Nothing is on its way to change the state.
    fn is_settled(&self) -> bool {
        self.health.against == 0 && self.weight.is_none()
    }

    /// How long until what is on its way has lasted for `debounce`, where there is one that has not.
    fn ripe(&self) -> Option<Duration> {
        let now = clock::now();
        let ends = [self.model.ripe(), self.weight.map(|(_, at)| at)];
        ends.into_iter().flatten().filter(|at| *at > now).min().map(|at| at.since(now))
    }

    /// The number that counts now: another one than before only where it has lasted.
    fn weigh(&mut self, now: Moment, number: Option<i16>) {
        let Some(wanted) = number.filter(|n| self.health.weight != Some(*n)) else {
            self.weight = None;
            return;
        };
        let at = match self.weight {
            Some((waiting, at)) if waiting == wanted => at,
            _ if self.health.weight.is_none() => now,
            _ => now + self.pace.debounce,
        };
        self.weight = (now < at).then_some((wanted, at));
        if self.weight.is_none() {
            self.health.weight = Some(wanted);
            self.health.since = now;
        }
    }

    fn record(&mut self, now: Moment, outcome: &Outcome, took: Duration) -> Option<bool> {
        let changed = self.model.record(now, outcome.ok);
        self.weigh(now, outcome.weight);
        let h = &mut self.health;
        h.code = outcome.code.to_owned();
        h.detail.clone_from(&outcome.detail);
        h.took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        h.failures += u64::from(!outcome.ok);
        if let Some(up) = changed {
            h.times_down += u64::from(!up && h.up.is_some());
            h.up = Some(up);
            h.since = now;
        }
        h.against = if changed.is_some() || h.up == Some(outcome.ok) { 0 } else { h.against + 1 };
        h.needed = if h.up == Some(true) { self.pace.fall } else { self.pace.rise };
        changed
    }
}

/// The health of everything that is watched, as last found.
pub type Healths = BTreeMap<Subject, control::Health>;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn watch(attempt: Attempt) -> Watch {
        let ms = Duration::from_millis;
        Watch {
            subject: Subject::Check("x".into()),
            attempt,
            pace: Pace { every: ms(5), timeout: ms(200), fall: 3, rise: 2, debounce: Duration::ZERO },
        }
    }

    #[tokio::test]
    async fn a_port_that_closes_is_down_after_fall_tries_and_up_again_after_rise() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut findings) = mpsc::channel(1);
        let mut watches = Watches::new(sender);
        assert_eq!(watches.set(vec![watch(Attempt::Tcp(address))]).len(), 1);
        let mut until = async |up: bool| {
            tokio::time::timeout(Duration::from_secs(5), async {
                loop {
                    let finding = findings.recv().await.unwrap();
                    if finding.changed == Some(up) {
                        return finding.health;
                    }
                }
            })
            .await
            .unwrap()
        };
        assert_eq!(until(true).await.code, "L4OK");
        drop(listener);
        let down = until(false).await;
        assert_eq!((down.code.as_str(), down.failures, down.times_down), ("L4CON", 3, 1));
        let _listener = TcpListener::bind(address).await.unwrap();
        assert_eq!(until(true).await.up, Some(true));
        assert!(watches.set(vec![watch(Attempt::Tcp(address))]).is_empty(), "an equal watch goes on");
        assert!(watches.set(vec![]).is_empty());
        assert!(watches.running.is_empty());
    }

    #[tokio::test]
    async fn what_tells_of_every_change_is_not_polled_and_an_event_without_a_change_is_no_try() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weight");
        let (sender, mut findings) = mpsc::channel(64);
        let mut watches = Watches::new(sender);
        watches.set(vec![watch(Attempt::File(file.display().to_string()))]);
        let mut next = async || {
            let patience = Duration::from_secs(5);
            tokio::time::timeout(patience, findings.recv()).await.unwrap().unwrap().health
        };
        let first = next().await;
        assert_eq!((first.up, first.weight), (Some(true), Some(0)));
        for number in [-30, -40] {
            // The same once more is heard of, too, and is nothing new.
            for _ in 0..3 {
                std::fs::write(&file, number.to_string()).unwrap();
                tokio::time::sleep(RESTLESS * 3).await;
            }
            // Between its making and its filling, the new file may have been seen empty.
            let health = next().await;
            let health = if health.weight == Some(0) { next().await } else { health };
            assert_eq!((health.weight, health.detail.as_str()), (Some(number), number.to_string().as_str()));
        }
        // Twenty paces without an event.
        let more = tokio::time::timeout(Duration::from_millis(100), findings.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }

    #[test]
    fn a_backend_on_its_way_down_says_how_far() {
        let mut tally = Tally::new(watch(Attempt::Process(vec![])).pace);
        let bad = Outcome::bad("L4CON", "refused");
        let good = Outcome::good("L4OK", "");
        while tally.record(Moment(0), &good, Duration::ZERO).is_none() {}
        tally.record(Moment(0), &bad, Duration::from_micros(7));
        assert_eq!((tally.health.up, tally.health.against, tally.health.needed), (Some(true), 1, 3));
        tally.record(Moment(0), &good, Duration::ZERO);
        assert_eq!(tally.health.against, 0);
    }

    #[test]
    fn a_number_that_does_not_last_does_not_count() {
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(Pace { debounce: second * 2, ..watch(Attempt::Process(vec![])).pace });
        let mut at = |seconds: u32, number: i16| {
            let outcome = Outcome { weight: Some(number), ..Outcome::good("WEIGHT", number.to_string()) };
            tally.record(Moment(0) + second * seconds, &outcome, Duration::ZERO);
            tally.health.weight.unwrap()
        };
        let seen = [at(0, -10), at(1, -20), at(2, -10), at(3, -30), at(4, -30), at(5, -30)];
        assert_eq!(seen, [-10, -10, -10, -10, -10, -30]);
    }

    #[tokio::test]
    async fn a_check_that_is_debounced_turns_when_the_time_is_over_and_not_before() {
        let debounce = Duration::from_millis(300);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weight");
        std::fs::write(&file, "0").unwrap();
        let (sender, mut findings) = mpsc::channel(64);
        let mut watches = Watches::new(sender);
        let mut wanted = watch(Attempt::File(file.display().to_string()));
        // Nothing but the event and the end of the time would find out.
        wanted.pace = Pace { every: Duration::from_secs(600), fall: 1, rise: 1, debounce, ..wanted.pace };
        watches.set(vec![wanted]);
        assert_eq!(findings.recv().await.unwrap().changed, Some(true));
        let start = Instant::now();
        std::fs::write(&file, "-254").unwrap();
        let turned = async { while findings.recv().await.unwrap().changed != Some(false) {} };
        tokio::time::timeout(Duration::from_secs(10), turned).await.unwrap();
        assert!(start.elapsed() >= debounce, "{:?}", start.elapsed());
    }
}
