//! Making the machine as it should be: the same observation, plan and operations as `hactl apply`, step by step.
//!
//! Unlike `apply`, a failing step takes nothing back and holds nothing up: a run that has lost a table and cannot write
//! a sysctl must still put the table back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::desired::Desired;
use model::observed::{Live, Observed, Record};
use model::plan::{self, Action, Note, Operation, Plan, Step};
use model::units::{Cidr, InterfaceName};

use crate::apply::{Lock, LockError};
use crate::control::StepResult;
use crate::kernel::linux::Linux;
use crate::kernel::{self, Kernel, KernelError, Stopped, record, runs};

/// How long a convergence waits for an `apply` or `destroy` to end before it is put off.
const PATIENCE: Duration = Duration::ZERO;

/// How long a start that failed waits for one before it leaves what it did.
const UNDO_PATIENCE: Duration = Duration::from_secs(5);

/// The machine as this run sees and changes it.
#[derive(Debug)]
pub(super) struct Machine {
    kernel: Linux,
    state: PathBuf,
    /// As last seen whole.
    last: Option<Observed>,
    /// The record, where it could not be written: what is held must not depend on a disk.
    unwritten: Option<Record>,
}

/// How much of the machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything.
    All,
    /// Sysctls alone, the rest as last seen: a millisecond instead of the tens that listing a table takes.
    Sysctls,
}

/// How often backends have turned. What a job knows of them is old once they turn again: the VRRP thread has changed the
/// slots since.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    count: Arc<AtomicU64>,
    seen: u64,
}

impl Turns {
    /// One turned.
    pub fn count(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// As they are now.
    pub fn now(&self) -> Turns {
        Turns { count: Arc::clone(&self.count), seen: self.count.load(Ordering::SeqCst) }
    }

    /// Whether one turned after this was taken.
    pub fn went_on(&self) -> bool {
        self.count.load(Ordering::SeqCst) != self.seen
    }
}

/// What is to be made so.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// What this machine should be.
    pub desired: Arc<Desired>,
    /// What this run knows and the kernel does not.
    pub live: Live,
    /// Taken with `live`.
    pub turns: Turns,
    /// How much is looked at.
    pub look: Look,
    /// Addresses that the VRRP thread alone adds and deletes, so that no step does; none before it runs, and what a
    /// killed run left is removed.
    pub hands_off: BTreeSet<(InterfaceName, Cidr)>,
}

/// One step that was tried.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    /// The step.
    pub step: Step,
    /// Why it failed, where it did.
    pub error: Option<KernelError>,
    /// Why it was done without being recorded, where it was: `destroy` will not know of it.
    pub unrecorded: Option<KernelError>,
}

impl Tried {
    /// As the control socket tells it.
    pub fn result(&self) -> StepResult {
        StepResult {
            action: self.step.action,
            object: self.step.object.clone(),
            error: self.error.as_ref().map(ToString::to_string),
        }
    }

    /// Whether it put something right that somebody lost, and what kind of thing: a key of `StatusReport::restored`.
    pub fn restored(&self) -> Option<&'static str> {
        if self.error.is_some() || self.step.action == Action::Adopt {
            return None;
        }
        match self.step.operation {
            Operation::SetSysctl { .. } => Some("sysctl"),
            Operation::LoadTable { .. } | Operation::DeleteTable { .. } => Some("table"),
            Operation::AddAddress { .. } | Operation::DeleteAddress { .. } => Some("address"),
            Operation::Nothing
            | Operation::RecordSysctl { .. }
            | Operation::PutVip { .. }
            | Operation::DropVip { .. } => None,
        }
    }

    /// Whether a table is to be loaded.
    pub fn loads(&self) -> bool {
        matches!(self.step.operation, Operation::LoadTable { .. })
    }

    /// Whether a table was loaded, so that its gate is shut until the VRRP thread opens it again.
    pub fn loaded(&self) -> bool {
        self.error.is_none() && self.loads()
    }
}

/// What came of a convergence.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The plan was made, and these steps were tried, none where everything was so.
    Tried(Vec<Tried>, Vec<Note>),
    /// An `apply` or `destroy` is at work, or a backend turned while the machine was looked at: later.
    Busy,
    /// The machine cannot be seen.
    Blind(KernelError),
}

impl Machine {
    /// With the directory of the record and the lock.
    pub fn new(state: &Path) -> Self {
        Machine { kernel: Linux::of_service(state), state: state.to_owned(), last: None, unwritten: None }
    }

    /// Plans without performing.
    ///
    /// # Errors
    /// Where the machine cannot be seen.
    pub fn plan(&mut self, job: &Job) -> Result<Plan, KernelError> {
        let mut observed = match (job.look, self.last.take()) {
            (Look::Sysctls, Some(mut last)) => {
                let mut sysctls = BTreeMap::new();
                for key in std::mem::take(&mut last.sysctls).into_keys() {
                    // It may have gone with its interface.
                    if let Some(value) = kernel::sysctl_value(&key)? {
                        sysctls.insert(key, value);
                    }
                }
                Observed { sysctls, ..last }
            }
            _ => self.kernel.observe(&job.desired.wanted(&record::load(&self.state)?))?,
        };
        self.last = Some(observed.clone());
        observed.service = Some(job.live.clone());
        if let Some(unwritten) = &self.unwritten {
            observed.record = unwritten.clone();
        }
        Ok(plan::plan(&job.desired, &observed))
    }

    /// Plans and performs, under the lock.
    pub fn converge(&mut self, job: &Job) -> Outcome {
        match Lock::take(&self.state, "run", PATIENCE) {
            Err(LockError::Held { .. }) => Outcome::Busy,
            // A full disk keeps the lock from being written, and nobody else gets it either: go on holding.
            Err(LockError::Kernel(_)) => self.perform(job),
            Ok(_lock) => self.perform(job),
        }
    }

    /// Plans and performs for somebody who holds the lock already.
    pub fn perform(&mut self, job: &Job) -> Outcome {
        let plan = match self.plan(job) {
            Ok(plan) => plan,
            Err(error) => return Outcome::Blind(error),
        };
        // Slots that were changed in between would be taken for a foreign hand's, and put back.
        if job.turns.went_on() {
            return Outcome::Busy;
        }
        if let Some(unwritten) = &self.unwritten
            && record::save(&self.state, unwritten).is_ok()
        {
            self.unwritten = None;
        }
        let steps: Vec<Step> = plan.steps.into_iter().filter(|step| is_ours(step, job)).collect();
        Outcome::Tried(runs(&steps, |step| &step.operation).flat_map(|run| self.run(run)).collect(), plan.notes)
    }

    /// Tries each of these, whatever becomes of those before it.
    fn run(&mut self, steps: &[Step]) -> Vec<Tried> {
        let done = |step: &Step| Tried { step: step.clone(), error: None, unrecorded: None };
        let (mut tried, mut left) = (vec![], steps);
        loop {
            let operations: Vec<&Operation> = left.iter().map(|step| &step.operation).collect();
            let Err(Stopped { done: count, error }) = self.kernel.perform_all(&operations) else {
                tried.extend(left.iter().map(done));
                return tried;
            };
            let (performed, rest) = left.split_at(count.min(left.len()));
            tried.extend(performed.iter().map(done));
            if let KernelError::State { .. } = error {
                // Some of them may need no record.
                tried.extend(rest.iter().map(|step| self.step(step)));
                return tried;
            }
            let Some((failed, rest)) = rest.split_first() else { return tried };
            tried.push(Tried { step: failed.clone(), error: Some(error), unrecorded: None });
            left = rest;
        }
    }

    fn step(&mut self, step: &Step) -> Tried {
        let (error, unrecorded) = match self.kernel.perform(&step.operation) {
            Ok(()) => (None, None),
            Err(full @ KernelError::State { .. }) => match self.unrecorded(&step.operation, &full) {
                Ok(()) => (None, Some(full)),
                Err(error) => (Some(error), None),
            },
            Err(error) => (Some(error), None),
        };
        Tried { step: step.clone(), error, unrecorded }
    }

    /// Takes back what was done, the last of it first, and returns the objects that stay with the reason.
    pub fn take_back(&mut self, tried: &[Tried]) -> Vec<(String, String)> {
        let done = tried.iter().rev().filter(|t| t.error.is_none()).map(|t| &t.step);
        let _lock = match Lock::take(&self.state, "run", UNDO_PATIENCE) {
            Err(e @ LockError::Held { .. }) => return done.map(|s| (s.object.clone(), e.to_string())).collect(),
            Err(LockError::Kernel(_)) => None,
            Ok(lock) => Some(lock),
        };
        let steps: Vec<&Step> = done.collect();
        let undone = self.kernel.perform_each(&steps.iter().map(|step| &step.undo).collect::<Vec<_>>());
        let stuck = |(step, undone): (&&Step, Result<(), KernelError>)| {
            undone.err().map(|error| (step.object.clone(), error.to_string()))
        };
        steps.iter().zip(undone).filter_map(stuck).collect()
    }

    /// Whether something stands only in this process's memory that belongs in the record.
    pub fn is_unrecorded(&self) -> bool {
        self.unwritten.is_some()
    }

    /// The same without the disk, where that loses nothing: tables and addresses are known by their names and marks,
    /// vips by the file.
    fn unrecorded(&mut self, operation: &Operation, full: &KernelError) -> Result<(), KernelError> {
        let mut memory = match self.unwritten.take() {
            Some(memory) => memory,
            None => record::load(&self.state)?,
        };
        let done = match operation {
            Operation::LoadTable { table, text, record } => {
                remember(&mut memory.tables, table, *record);
                let (table, text) = (table.clone(), text.clone());
                self.kernel.perform(&Operation::LoadTable { table, text, record: None })
            }
            // The value before would stand nowhere: what cannot be taken back is not changed.
            Operation::SetSysctl { .. } | Operation::RecordSysctl { .. } => Err(full.clone()),
            Operation::PutVip { name, facts } => {
                remember(&mut memory.vips, name, Some(facts.clone()));
                Ok(())
            }
            Operation::DropVip { name } => {
                remember(&mut memory.vips, name, None);
                Ok(())
            }
            other => self.kernel.perform(other),
        };
        self.unwritten = Some(memory);
        done
    }
}

fn remember<T>(map: &mut BTreeMap<String, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(key.to_owned(), value)),
        None => drop(map.remove(key)),
    }
}

fn is_ours(step: &Step, job: &Job) -> bool {
    if job.look == Look::Sysctls && !matches!(step.operation, Operation::SetSysctl { .. }) {
        return false;
    }
    match &step.operation {
        Operation::AddAddress { interface, cidr } | Operation::DeleteAddress { interface, cidr } => {
            !job.hands_off.contains(&(interface.clone(), *cidr))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use model::config::{self, Source};
    use model::desired;

    use super::*;

    #[test]
    fn nothing_is_put_back_that_a_backend_changed_while_the_machine_was_looked_at() {
        let in_a_namespace = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let state = tempfile::tempdir().unwrap();
            let text = "cluster \"c\"\npeer \"a\" address=\"192.0.2.1\"\n".to_owned();
            let parsed = config::parse(&[Source { name: "ha.kdl".into(), text }]);
            let desired = desired::desire(&parsed.config.unwrap(), "a").unwrap();
            let turns = Turns::default();
            let job = Job {
                desired: Arc::new(desired.clone()),
                live: Live::default(),
                turns: turns.now(),
                look: Look::All,
                hands_off: BTreeSet::new(),
            };
            let mut machine = Machine::new(state.path());
            assert!(matches!(machine.perform(&job), Outcome::Tried(..)));
            turns.count();
            assert!(matches!(machine.perform(&job), Outcome::Busy));
        };
        std::thread::spawn(in_a_namespace).join().unwrap();
    }
}
