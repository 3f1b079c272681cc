//! Telling programs of the user's about changes: one at a time, in the order of the changes, and never in the way of
//! the protocol, which goes on whatever a program does.

mod groups;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::desired::{DesiredGroup, DesiredVip};
use model::units::Priority;
use model::vrrp::VipState;
use tokio::sync::Notify;

pub use groups::Groups;

use crate::check::{Ended, Program, run};

/// How long one run of a program may take; then it is killed with its children.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How many runs may wait before one of the same vip or group takes the place of its elder: its latest state is what
/// counts.
pub const QUEUE: usize = 256;

/// How many may wait at all, each of another vip or group: far more than a machine has.
pub const NAMES: usize = 4096;

/// The queue to the programs.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Program>,
    /// One of them is at work, and waits no more.
    running: bool,
}

/// A change of a vip's state.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The vip.
    pub vip: &'a DesiredVip,
    /// Before.
    pub from: VipState,
    /// Now.
    pub to: VipState,
    /// Effective priority now.
    pub priority: Priority,
    /// Why, for people.
    pub why: &'a str,
}

/// A state as keepalived's notify scripts know it: leaving altogether is `STOP`.
fn word(state: VipState) -> &'static str {
    match state {
        VipState::Init => "STOP",
        VipState::Backup => "BACKUP",
        VipState::Master => "MASTER",
        VipState::Fault => "FAULT",
    }
}

/// A change of a group's state.
#[derive(Debug, Clone)]
pub struct GroupChange<'a> {
    /// The group.
    pub group: &'a DesiredGroup,
    /// Before.
    pub from: VipState,
    /// Now.
    pub to: VipState,
    /// Why the last of its members changed, for people.
    pub why: &'a str,
}

impl Notifier {
    /// Puts the run of the vip's program in the queue, if it has one: arguments `INSTANCE name STATE priority`, as
    /// keepalived gives, and the facts in the environment.
    pub fn tell(&self, change: &Change<'_>) {
        let vip = change.vip;
        let Some(program) = &vip.notify else { return };
        let addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
        let mut facts = vec![
            ("HACTL_VIP", vip.name.clone()),
            ("HACTL_PRIORITY", change.priority.to_string()),
            ("HACTL_INTERFACE", vip.interface.to_string()),
            ("HACTL_ADDRESSES", addresses.join(" ")),
            ("HACTL_VRID", vip.vrid.to_string()),
        ];
        facts.extend(vip.group.clone().map(|group| ("HACTL_GROUP", group)));
        let argv = [program, "INSTANCE", &vip.name, word(change.to), &change.priority.to_string()];
        self.push(Program {
            argv: argv.map(str::to_owned).to_vec(),
            user: None,
            environment: turn(change.from, change.to, change.why, &facts),
        });
    }

    /// Puts the run of the group's program in the queue, if it has one: arguments `GROUP name STATE 0`. A group has no
    /// priority, and keepalived says so with a zero.
    pub fn tell_group(&self, change: &GroupChange<'_>) {
        let group = change.group;
        let Some(program) = &group.notify else { return };
        let facts = [("HACTL_GROUP", group.name.clone()), ("HACTL_VIPS", group.vips.join(" "))];
        let argv = [program, "GROUP", &group.name, word(change.to), "0"].map(str::to_owned).to_vec();
        self.push(Program { argv, user: None, environment: turn(change.from, change.to, change.why, &facts) });
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, program: Program) {
        let waiting = &mut self.lock().waiting;
        // The program, INSTANCE or GROUP, and the name.
        let whose = |p: &Program| p.argv.get(..3).map(<[String]>::to_vec);
        let elder = waiting.iter().position(|p| whose(p) == whose(&program)).filter(|_| waiting.len() >= QUEUE);
        let left_out = match elder {
            Some(elder) => waiting.remove(elder),
            None if waiting.len() >= NAMES => waiting.pop_front(),
            None => None,
        };
        if let Some(left_out) = left_out {
            tracing::warn!("{QUEUE} notifications wait: `{}` is left out", left_out.argv.join(" "));
        }
        waiting.push_back(program);
        self.shared.filled.notify_one();
    }

    /// Runs the programs of the queue, for ever.
    pub async fn work(&self) {
        self.work_within(LIMIT).await;
    }

    async fn work_within(&self, limit: Duration) {
        loop {
            let next = self.next();
            let Some(program) = next else {
                self.shared.emptied.notify_one();
                self.shared.filled.notified().await;
                continue;
            };
            let line = program.argv.join(" ");
            match run(&program, limit).await {
                Ended::Exited(status, _) if status.success() => tracing::debug!("`{line}` done"),
                Ended::Exited(status, said) => tracing::warn!("`{line}` failed: {status}: {said}"),
                Ended::Killed => {
                    tracing::warn!("`{line}` did not end within {limit:?} and was killed with its children");
                }
                Ended::NotStarted(why) => tracing::warn!("`{line}`: {why}"),
            }
        }
    }

    fn next(&self) -> Option<Program> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        queue.running = next.is_some();
        next
    }

    fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.waiting.is_empty() && !queue.running
    }

    /// Returns when nothing waits any more, or after `limit`.
    pub async fn drain(&self, limit: Duration) {
        let empty = async {
            while !self.is_idle() {
                self.shared.emptied.notified().await;
            }
        };
        if tokio::time::timeout(limit, empty).await.is_err() {
            tracing::warn!("notifications are left out: their programs did not end within {limit:?}");
        }
    }
}

/// The environment of a run: its own facts beside those of every change.
fn turn(from: VipState, to: VipState, why: &str, facts: &[(&str, String)]) -> BTreeMap<String, String> {
    let common = [("HACTL_STATE", word(to).into()), ("HACTL_FROM", word(from).into()), ("HACTL_WHY", why.into())];
    common.iter().chain(facts).map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(directory: &std::path::Path, script: &str) -> String {
        let path = directory.join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[tokio::test]
    async fn runs_follow_each_other_in_order_and_a_failing_one_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let hook =
            program(directory.path(), &format!("sleep 0.0$((9 - $4)); echo $3 $HACTL_X >> {}; exit $4", out.display()));
        let notifier = Notifier::default();
        let worker = tokio::spawn({
            let notifier = notifier.clone();
            async move { notifier.work().await }
        });
        for i in 1..=5 {
            let argv = [hook.as_str(), "INSTANCE", "ui", &format!("S{i}"), &i.to_string()].map(str::to_owned).to_vec();
            let environment = BTreeMap::from([("HACTL_X".to_owned(), format!("x{i}"))]);
            notifier.push(Program { argv, user: None, environment });
        }
        notifier.drain(Duration::from_secs(20)).await;
        worker.abort();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "S1 x1\nS2 x2\nS3 x3\nS4 x4\nS5 x5\n");
    }

    #[tokio::test]
    async fn a_hanging_program_is_killed_with_its_children_and_the_next_one_runs() {
        let directory = tempfile::tempdir().unwrap();
        let (out, child) = (directory.path().join("out"), directory.path().join("child"));
        let script = format!(
            "[ $3 = HANG ] && {{ sleep 600 & echo $! > {}; wait; }}; echo $3 >> {}",
            child.display(),
            out.display()
        );
        let hook = program(directory.path(), &script);
        let notifier = Notifier::default();
        for state in ["FIRST", "HANG", "LAST"] {
            let argv = [&hook, "INSTANCE", "ui", state, "1"].map(str::to_owned).to_vec();
            notifier.push(Program { argv, ..Program::default() });
        }
        let worker = tokio::spawn({
            let notifier = notifier.clone();
            async move { notifier.work_within(Duration::from_secs(1)).await }
        });
        notifier.drain(Duration::from_secs(20)).await;
        worker.abort();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "FIRST\nLAST\n");
        let pid = std::fs::read_to_string(child).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }

    #[tokio::test]
    async fn in_a_full_queue_the_newest_state_of_each_name_waits_in_order() {
        let notifier = Notifier::default();
        let say = |name: String, state: String| {
            notifier.push(Program { argv: vec!["hook".into(), "INSTANCE".into(), name, state], ..Program::default() });
        };
        say("quiet".into(), "BACKUP".into());
        for i in 0..QUEUE * 2 {
            say("busy".into(), format!("S{i}"));
        }
        let queue = notifier.lock();
        let state = |i: usize| queue.waiting[i].argv[3].as_str();
        assert_eq!((queue.waiting.len(), state(0)), (QUEUE, "BACKUP"));
        assert_eq!((state(1), state(QUEUE - 1)), ("S257", "S511"));
        drop(queue);
        (0..NAMES + 3).for_each(|i| say(format!("vip{i}"), "MASTER".into()));
        assert_eq!(notifier.lock().waiting.len(), NAMES);
    }

    #[tokio::test]
    async fn at_the_end_a_hanging_program_is_waited_for_no_longer_than_allowed_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let child = directory.path().join("child");
        let hook = program(directory.path(), &format!("sleep 600 & echo $! > {}; wait", child.display()));
        let notifier = Notifier::default();
        notifier.push(Program { argv: vec![hook], ..Program::default() });
        let worker = tokio::spawn({
            let notifier = notifier.clone();
            async move { notifier.work().await }
        });
        while !std::fs::read_to_string(&child).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::task::yield_now().await;
        }
        let asked = std::time::Instant::now();
        notifier.drain(Duration::from_millis(100)).await;
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());
        let pid = std::fs::read_to_string(child).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        };
        while !gone() {
            assert!(asked.elapsed() < Duration::from_secs(20));
            tokio::task::yield_now().await;
        }
    }
}
