//! Plan → machine: step by step, journalled, verified by planning again, undone in reverse where anything fails.
//!
//! The verbs and the daemon perform plans here and nowhere else, and only under the [`Lock`].

mod journal;
mod lock;

pub use journal::{Leftover, leftover};
pub use lock::{Holder, Lock, LockError};

use model::plan::{Operation, Plan, Step};

use self::journal::Journal;
use crate::kernel::{Kernel, KernelError, Stopped, runs};

/// What is applied, under which lock, how it is judged and who is told.
pub struct Task<'a, K> {
    /// The steps, in order.
    pub plan: &'a Plan,
    /// Held by the caller.
    pub lock: &'a Lock,
    /// Observes and plans again: what is left to do afterwards has failed.
    pub replan: &'a mut dyn FnMut(&mut K) -> Result<Plan, KernelError>,
    /// Told of each step as it happens.
    pub tell: &'a mut dyn FnMut(Told<'_>),
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// An earlier apply did not end; the plan was made from what it left.
    Unfinished(&'a Leftover),
    /// The step was performed.
    Done(&'a Step),
    /// The step was refused; nothing of it is left.
    Failed(&'a Step, &'a KernelError),
    /// An earlier step was taken back.
    Undone(&'a Step),
    /// An earlier step could not be taken back.
    Stuck(&'a Step, &'a KernelError),
}

/// Why a plan is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was changed.
    #[error(transparent)]
    NotBegun(KernelError),
    /// A step was refused.
    #[error("{}", named(object, error))]
    Step {
        /// The object of the step.
        object: String,
        /// Why.
        error: KernelError,
        /// Objects whose step could not be taken back; empty where the machine is as before.
        stuck: Vec<String>,
    },
    /// Every step was accepted and the machine is not as planned.
    #[error("the machine is not as planned: {}", .left.join("; "))]
    Verification {
        /// What is still to do, or why that could not be seen.
        left: Vec<String>,
        /// As in [`ApplyError::Step`].
        stuck: Vec<String>,
    },
}

impl ApplyError {
    /// Whether the machine is as it was before.
    pub fn is_rolled_back(&self) -> bool {
        match self {
            ApplyError::NotBegun(_) => true,
            ApplyError::Step { stuck, .. } | ApplyError::Verification { stuck, .. } => stuck.is_empty(),
        }
    }
}

/// Performs a plan and verifies it. On an error everything is as before, but for what the error names.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply<K: Kernel>(task: Task<'_, K>, kernel: &mut K) -> Result<(), ApplyError> {
    let Task { plan, lock, replan, tell } = task;
    if let Some(leftover) = leftover(lock.state()) {
        tell(Told::Unfinished(&leftover));
    }
    if plan.steps.is_empty() {
        journal::discard(lock.state());
        return Ok(());
    }
    let mut journal = Journal::begin(lock.state(), plan).map_err(ApplyError::NotBegun)?;
    let mut before = 0;
    for run in runs(&plan.steps, |step| &step.operation) {
        let performed = match journal.doing(before, run) {
            Ok(()) => kernel.perform_all(&run.iter().map(|step| &step.operation).collect::<Vec<_>>()),
            Err(error) => Err(Stopped { done: 0, error }),
        };
        let done = performed.as_ref().map_or_else(|stopped| stopped.done, |()| run.len());
        run.iter().take(done).for_each(|step| tell(Told::Done(step)));
        before += done;
        if let (Err(Stopped { error, .. }), Some(step)) = (performed, run.get(done)) {
            tell(Told::Failed(step, &error));
            let stuck = undo(plan.steps.get(..before).unwrap_or_default(), kernel, &mut journal, tell);
            return Err(ApplyError::Step { object: step.object.clone(), error, stuck });
        }
    }
    let left = match replan(kernel) {
        Ok(again) => again.steps.iter().filter(|s| s.operation != Operation::Nothing).map(describe).collect(),
        Err(error) => vec![format!("it could not be seen again: {error}")],
    };
    if left.is_empty() {
        journal.end();
        return Ok(());
    }
    let stuck = undo(&plan.steps, kernel, &mut journal, tell);
    Err(ApplyError::Verification { left, stuck })
}

/// Takes steps back, the last one first, and returns the objects of those that stay.
fn undo<K: Kernel>(
    steps: &[Step],
    kernel: &mut K,
    journal: &mut Journal,
    tell: &mut dyn FnMut(Told<'_>),
) -> Vec<String> {
    journal.undoing();
    let mut stuck = vec![];
    let backwards: Vec<&Step> = steps.iter().rev().collect();
    let undone = kernel.perform_each(&backwards.iter().map(|step| &step.undo).collect::<Vec<_>>());
    for (step, undone) in backwards.into_iter().zip(undone) {
        match undone {
            Ok(()) => tell(Told::Undone(step)),
            Err(error) => {
                tell(Told::Stuck(step, &error));
                stuck.push(step.object.clone());
            }
        }
    }
    if stuck.is_empty() {
        journal.end();
    }
    stuck
}

/// The refusal with its object, where it does not name it itself.
fn named(object: &str, error: &KernelError) -> String {
    match error.to_string() {
        words if words.contains(object) => words,
        words => format!("{object}: {words}"),
    }
}

fn describe(step: &Step) -> String {
    match step.details.first() {
        Some(detail) => format!("{} ({detail})", step.object),
        None => step.object.clone(),
    }
}

#[cfg(test)]
mod tests;
