//! Telling programs of the user's about changes: one at a time, in the order of the changes, and never in the way of
//! the protocol, which goes on whatever a program does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::desired::DesiredVip;
use model::units::Priority;
use model::vrrp::VipState;
use tokio::sync::Notify;

use crate::check::{Ended, Program, run};

/// How long one run of a program may take; then it is killed with its children.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How many runs may wait: above that the oldest is left out and logged, for the latest state is what counts.
pub const QUEUE: usize = 256;

/// The queue to the programs.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<VecDeque<Program>>,
    filled: Notify,
    emptied: Notify,
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

impl Notifier {
    /// Puts the run of the vip's program in the queue, if it has one: arguments `INSTANCE name STATE priority`, as
    /// keepalived gives, and the facts in the environment.
    pub fn tell(&self, change: &Change<'_>) {
        let vip = change.vip;
        let Some(program) = &vip.notify else { return };
        let addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
        let priority = change.priority.to_string();
        let argv = [program, "INSTANCE", &vip.name, word(change.to), &priority].map(str::to_owned).to_vec();
        let environment = BTreeMap::from(
            [
                ("HACTL_VIP", vip.name.clone()),
                ("HACTL_STATE", word(change.to).into()),
                ("HACTL_FROM", word(change.from).into()),
                ("HACTL_PRIORITY", priority),
                ("HACTL_WHY", change.why.into()),
                ("HACTL_INTERFACE", vip.interface.to_string()),
                ("HACTL_ADDRESSES", addresses.join(" ")),
                ("HACTL_VRID", vip.vrid.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        self.push(Program { argv, user: None, environment });
    }

    fn push(&self, program: Program) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= QUEUE
            && let Some(left_out) = queue.pop_front()
        {
            tracing::warn!("{QUEUE} notifications wait: `{}` is left out", left_out.argv.join(" "));
        }
        queue.push_back(program);
        self.shared.filled.notify_one();
    }

    /// Runs the programs of the queue, for ever.
    pub async fn work(&self) {
        self.work_within(LIMIT).await;
    }

    async fn work_within(&self, limit: Duration) {
        loop {
            let next = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).front().cloned();
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
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            // Left out meanwhile where the queue overflowed.
            if queue.front() == Some(&program) {
                queue.pop_front();
            }
        }
    }

    /// Returns when nothing waits any more, or after `limit`.
    pub async fn drain(&self, limit: Duration) {
        let empty = async {
            while !self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                self.shared.emptied.notified().await;
            }
        };
        if tokio::time::timeout(limit, empty).await.is_err() {
            tracing::warn!("notifications are left out: their programs did not end within {limit:?}");
        }
    }
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
    async fn a_full_queue_forgets_the_oldest() {
        let notifier = Notifier::default();
        for i in 0..QUEUE + 3 {
            notifier.push(Program { argv: vec![i.to_string()], ..Program::default() });
        }
        let queue = notifier.shared.queue.lock().unwrap();
        assert_eq!((queue.len(), queue.front().unwrap().argv[0].as_str()), (QUEUE, "3"));
    }
}
