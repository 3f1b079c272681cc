//! What `apply` and `destroy` share: asking, performing under the lock, a line for each step, words for failures.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use model::observed::Live;
use model::plan::{Action, Note, Plan, Step};
use model::units::parse_duration;
use nix::sys::signal::{SigSet, Signal};
use runtime::apply::{self, ApplyError, Lock, LockError, Task, Told};
use runtime::control;
use runtime::kernel::KernelError;
use runtime::kernel::linux::Linux;
use serde_json::{Value, json};

use crate::args::Arguments;
use crate::report::{Exit, Failure, count};
use crate::words::plan::sign;

/// Version of what `--json` prints.
const JSON_VERSION: u32 = 1;

/// Whether the person agrees. Only the whole word does.
///
/// # Errors
/// Where there is nobody to ask and `--yes` was not given.
pub fn ask(question: &str, json: bool) -> Result<bool, Failure> {
    if json || !std::io::stdin().is_terminal() {
        return Err(Failure {
            exit: Exit::Usage,
            what: "there is no terminal to ask on, and nothing was changed".into(),
            help: vec!["look at the plan (hactl plan), then add --yes".into()],
        });
    }
    anstream::print!("\n{question} Only yes is taken for it: ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    // An end of input is no agreement.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(answer.trim() == "yes")
}

/// Refuses a plan with notes that stand in its way.
///
/// # Errors
/// With each of them and its remedy.
pub fn unblocked(plan: &Plan) -> Result<(), Failure> {
    let blocking: Vec<&Note> = plan.notes.iter().filter(|note| note.blocks).collect();
    let Some(first) = blocking.first() else { return Ok(()) };
    let what = match blocking.len() {
        1 => first.what.clone(),
        n => format!("{n} things stand in the way, and nothing was changed"),
    };
    let place = |note: &Note| note.at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    let help = match blocking.len() {
        1 => vec![format!("{}{}", first.remedy, place(first))],
        _ => blocking.iter().map(|note| format!("{}{}: {}", note.what, place(note), note.remedy)).collect(),
    };
    Err(Failure { exit: Exit::Failed, what, help })
}

/// How long to wait for another holder, as `--wait` says.
///
/// # Errors
/// Where that is no duration.
pub fn patience(wait: &str) -> Result<Duration, Failure> {
    parse_duration(wait).map_err(|e| Failure { exit: Exit::Usage, what: format!("--wait: {e}"), help: vec![] })
}

/// Takes the lock.
///
/// # Errors
/// Exit code 6 where another holds it.
pub fn lock(state: &Path, verb: &str, patience: Duration) -> Result<Lock, Failure> {
    Lock::take(state, verb, patience).map_err(|error| match error {
        LockError::Held { .. } => Failure {
            exit: Exit::Locked,
            what: error.to_string(),
            help: vec![format!("let it end, or wait for it: hactl {verb} --wait 60s")],
        },
        LockError::Kernel(error) => refused(&error),
    })
}

/// What the running service knows; `None` where none runs.
///
/// # Errors
/// Where one runs and does not answer: what it holds must not be taken for leftovers.
pub fn service(arguments: &Arguments) -> Result<Option<Live>, Failure> {
    control::live(&arguments.state).map_err(|e| Failure { exit: Exit::Failed, what: e.to_string(), help: e.help() })
}

/// What the machine refused, with its remedy.
pub fn refused(error: &KernelError) -> Failure {
    Failure { exit: Exit::Failed, what: error.to_string(), help: error.help() }
}

/// Performs a plan and prints a line for each step as it happens; with `--json` one object at the end.
///
/// # Errors
/// Exit code 5 where everything was taken back, 1 where something was not.
pub fn perform(
    plan: &Plan,
    lock: &Lock,
    json: bool,
    replan: &mut dyn FnMut(&mut Linux) -> Result<Plan, KernelError>,
) -> Result<Exit, Failure> {
    let mut kernel = Linux::new(lock.state());
    kernel.ready(plan).map_err(|error| refused(&error))?;
    let mut steps = vec![];
    let mut tell = |told: Told<'_>| match json {
        true => steps.extend(fact(told)),
        false => narrate(told),
    };
    let deaf = hold_signals();
    let result = apply::apply(Task { plan, lock, replan, tell: &mut tell }, &mut kernel);
    drop(deaf);
    let word = match &result {
        Ok(()) => "done",
        Err(error) if error.is_rolled_back() => "rolled-back",
        Err(_) => "failed",
    };
    if json {
        answer(plan, word, steps);
    }
    result.map_err(|error| unperformed(&error))?;
    if !json && !plan.steps.is_empty() {
        let steps = count(plan.steps.len(), "step", "steps");
        anstream::println!("\nDone: {steps}; read back, and nothing is left to do.");
    }
    Ok(Exit::Done)
}

/// What `--json` prints.
pub fn answer(plan: &Plan, result: &str, steps: Vec<Value>) {
    anstream::println!("{}", json!({ "version": JSON_VERSION, "result": result, "steps": steps, "plan": plan }));
}

/// Puts signals off until it is dropped: an apply that ^C cuts in two leaves half of it.
struct Deaf(SigSet);

fn hold_signals() -> Deaf {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    // Where it cannot be had, the journal tells the next apply.
    let _ = signals.thread_block();
    Deaf(signals)
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = self.0.thread_unblock();
    }
}

fn unperformed(error: &ApplyError) -> Failure {
    let stuck = match error {
        ApplyError::NotBegun(error) => return refused(error),
        ApplyError::Step { stuck, .. } | ApplyError::Verification { stuck, .. } => stuck,
    };
    let mut help = match error {
        ApplyError::Step { error, .. } => error.help(),
        _ => vec!["something else on this machine may be changing it: hactl plan shows what differs".into()],
    };
    let (exit, end) = match stuck.is_empty() {
        true => (Exit::RolledBack, "everything was taken back, the machine is as before".to_owned()),
        false => (Exit::Failed, format!("not taken back: {}; hactl plan shows what is left", stuck.join(", "))),
    };
    help.push(end);
    Failure { exit, what: error.to_string(), help }
}

/// The line of a step that was tried.
pub fn line(word: &str, action: Action, object: &str) -> String {
    let (sign, style) = sign(action);
    format!("  {word:<7} {style}{sign:<3}{style:#} {object}")
}

fn narrate(told: Told<'_>) {
    let line = |word: &str, step: &Step| line(word, step.action, &step.object);
    match told {
        Told::Unfinished(left) => {
            let last = left.last.as_deref().map(|object| format!(", the last of them {object}")).unwrap_or_default();
            anstream::println!(
                "note: an apply of {} (pid {}) did not end: {} of its {} steps were begun{last}.\n      \
                 This plan was made from what it left.",
                left.at,
                left.pid,
                left.begun,
                left.steps
            );
        }
        Told::Done(step) => anstream::println!("{}", line("done", step)),
        // Why stands at the end, on stderr.
        Told::Failed(step, _) => anstream::println!("{}", line("failed", step)),
        Told::Undone(step) => anstream::println!("{}", line("undone", step)),
        Told::Stuck(step, error) => anstream::println!("{}: {error}", line("stuck", step)),
    }
}

fn fact(told: Told<'_>) -> Option<Value> {
    let (step, result, error) = match told {
        Told::Unfinished(_) => return None,
        Told::Done(step) => (step, "done", None),
        Told::Failed(step, error) => (step, "failed", Some(error)),
        Told::Undone(step) => (step, "undone", None),
        Told::Stuck(step, error) => (step, "stuck", Some(error)),
    };
    Some(json!({
        "action": step.action,
        "object": step.object,
        "result": result,
        "error": error.map(ToString::to_string),
    }))
}
