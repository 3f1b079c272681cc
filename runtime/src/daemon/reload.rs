//! SIGHUP and the control socket's reload: a file with mistakes changes nothing, a valid one what differs.

use std::sync::{Arc, PoisonError};

use model::desired::Fingerprint;
use sd_notify::NotifyState;

use super::converge::{Look, Outcome, Tried};
use super::setup::{Setup, setup};
use super::tell::Said;
use super::turn::{Daemon, ended};
use crate::check::Subject;
use crate::clock;
use crate::control::{FailedReload, Reply, StepResult};
use crate::driver::Command;

impl Daemon {
    /// Reads the file again and makes it so; with a fingerprint only if the plan has it.
    pub async fn reload(&mut self, plan: Option<Fingerprint>) -> Reply {
        let mut begun = vec![NotifyState::Reloading];
        begun.extend(NotifyState::monotonic_usec_now());
        let _ = sd_notify::notify(&begun);
        let reply = match self.read().await {
            Ok(setup) => self.change(setup, plan).await,
            Err((what, help)) => self.refuse(what, help),
        };
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        reply
    }

    async fn read(&self) -> Result<Setup, (Vec<String>, Vec<String>)> {
        // The file that runs, not the one that the usual places hold now; this machine stays who it is.
        if self.setup.path.as_os_str() == "-" {
            return Err((vec!["the file came from standard input and cannot be read again".into()], vec![]));
        }
        let (file, node) = (self.setup.path.clone(), self.setup.desired.peer.clone());
        let read = tokio::task::spawn_blocking(move || setup(Some(&file), Some(&node))).await;
        match read {
            Ok(Ok(setup)) => Ok(setup),
            Ok(Err(e)) => Err((e.lines(), e.help())),
            Err(_) => Err((vec!["reading the file panicked".into()], vec![])),
        }
    }

    fn refuse(&mut self, what: Vec<String>, help: Vec<String>) -> Reply {
        for line in &what {
            tracing::error!("reload refused, nothing was changed: {line}");
        }
        self.state.refused = Some(FailedReload { at: clock::now(), what: what.clone() });
        self.say(&Said::ReloadRefused { what: what.clone() });
        Reply::Refused { what: format!("nothing was changed: {}", what.join("; ")), help }
    }

    async fn change(&mut self, setup: Setup, plan: Option<Fingerprint>) -> Reply {
        // One at a time: what is under way was planned from the old file.
        if self.work.is_some() {
            // Not thrown away: a table that it loaded has its gate shut until the VRRP thread is told.
            let outcome = ended(&mut self.work).await;
            self.tried(outcome);
        }
        let Some(thread) = self.thread().await else {
            return self.refuse(vec!["the VRRP thread does not answer".into()], vec![]);
        };
        let before = std::mem::replace(&mut self.setup, setup);
        let mut job = self.job(&thread);
        // Those of a vip that goes are released by the thread, too.
        job.hands_off.extend(before.addresses());
        let machine = Arc::clone(&self.machine);
        let work = tokio::task::spawn_blocking(move || {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(reviewed) = plan else { return Some(machine.converge(&job)) };
            // Whoever asks with a plan in hand holds the lock.
            match machine.plan(&job) {
                Ok(plan) if plan.fingerprint() != reviewed => None,
                Ok(_) => Some(machine.perform(&job)),
                Err(e) => Some(Outcome::Blind(e)),
            }
        });
        let refused = match work.await {
            Ok(Some(Outcome::Tried(tried, notes))) => {
                self.note(Look::All, &tried, &notes);
                let steps: Vec<StepResult> = tried.iter().map(Tried::result).collect();
                self.install();
                return self.done(steps, before.desired.fingerprint == self.setup.desired.fingerprint);
            }
            Ok(Some(Outcome::Busy)) => "an apply or destroy is at work".to_owned(),
            Ok(Some(Outcome::Blind(e))) => e.to_string(),
            Ok(None) => "the machine or the file has changed since the plan was made".to_owned(),
            Err(_) => "performing the plan panicked".to_owned(),
        };
        self.setup = before;
        self.refuse(vec![refused], vec!["plan again".into()])
    }

    /// Hands the new setting to everything that runs by it.
    fn install(&mut self) {
        // Its end shows in the events.
        let _ = self.driver.send(Command::Reload(self.setup.driver.clone()));
        self.groups.keep(&self.setup.desired.groups);
        let new = self.watches.set(self.setup.watches.clone());
        let watched: Vec<&Subject> = self.setup.watches.iter().map(|w| &w.subject).collect();
        self.state.healths.retain(|subject, _| watched.contains(&subject) && !new.contains(subject));
        // A vip that is new to a check must not wait for it to turn.
        for (subject, health) in &self.state.healths {
            let Subject::Check(name) = subject else { continue };
            let name = name.clone();
            let _ = match (health.weight, health.up) {
                (Some(weight), _) => self.driver.send(Command::Weight { name, weight }),
                (None, Some(up)) => self.driver.send(Command::Check { name, up }),
                (None, None) => continue,
            };
        }
        self.sysctls.watch(self.setup.desired.sysctls.keys());
    }

    fn done(&mut self, steps: Vec<StepResult>, same: bool) -> Reply {
        self.state.refused = None;
        for step in steps.iter().filter(|step| step.error.is_none()) {
            tracing::info!("reload: {}", step.object);
        }
        let same = if same { ": it says what it said before" } else { "" };
        tracing::info!("reloaded {}{same}", self.setup.path.display());
        self.say(&Said::Reloaded { steps: steps.len() });
        Reply::Reloaded { steps }
    }
}
