//! `hactl apply`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::observed::Live;
use model::plan::{Plan, Step};
use runtime::control::{self, Reply, Request, StepResult};
use runtime::kernel::linux::Linux;
use serde_json::json;

use crate::args::{ApplyArgs, Arguments};
use crate::load::load;
use crate::perform::{self, refused};
use crate::report::{Exit, Failure};
use crate::{machine, node, words};

/// The service takes the lock for a moment whenever it puts something right; that is no reason to be refused.
const SERVICE_PATIENCE: Duration = Duration::from_secs(5);

/// How often the service is asked: while a vip moves, it sees for a moment something else to do than we did.
const RELOAD_TRIES: usize = 3;

/// Makes this machine as the file says: plans, asks, performs, reads back.
///
/// # Errors
/// Exit code 5 where a step failed and everything was taken back, 6 where another holds the lock.
pub fn apply(arguments: &Arguments, args: &ApplyArgs) -> Result<Exit, Failure> {
    let patience = perform::patience(&args.wait)?;
    let loaded = load(arguments)?;
    Linux::permitted().map_err(|e| refused(&e))?;
    let desired = node::desired(arguments, &loaded.config)?;
    let mut kernel = Linux::new(&arguments.state);
    if let Some(live) = perform::service(arguments)? {
        same_file(&live, &loaded.path)?;
        // Not under the lock yet: the service needs it for what it puts right while a person thinks.
        let plan = machine::plan(&desired, &mut kernel, arguments).map_err(|e| refused(&e))?;
        if !agreed(&plan, &loaded.path, arguments, args.yes)? {
            return Ok(Exit::Failed);
        }
        // The service performs under the lock of whoever asks.
        let _lock = perform::lock(&arguments.state, "apply", patience.max(SERVICE_PATIENCE))?;
        let mut again = || machine::plan(&desired, &mut kernel, arguments).map_err(|e| refused(&e));
        let steps = reload(&plan, arguments, &mut again)?;
        return reloaded(&plan, &steps, arguments);
    }
    let lock = perform::lock(&arguments.state, "apply", patience)?;
    let plan = machine::plan(&desired, &mut kernel, arguments).map_err(|e| refused(&e))?;
    if !agreed(&plan, &loaded.path, arguments, args.yes)? {
        return Ok(Exit::Failed);
    }
    // A person may have thought for long.
    unchanged(&plan, &machine::plan(&desired, &mut kernel, arguments).map_err(|e| refused(&e))?)?;
    perform::perform(&plan, &lock, arguments.json, &mut |kernel| machine::plan(&desired, kernel, arguments))
}

/// Shows the plan, refuses what stands in its way, and asks. What has nothing to do needs no answer.
fn agreed(plan: &Plan, file: &Path, arguments: &Arguments, yes: bool) -> Result<bool, Failure> {
    if !arguments.json {
        anstream::print!("{}", words::plan::text(plan, &file.display().to_string(), words::wrap::terminal()));
    }
    perform::unblocked(plan)?;
    if yes || plan.steps.is_empty() {
        return Ok(true);
    }
    let agreed = perform::ask(&format!("Do this on {}?", plan.peer), arguments.json)?;
    if !agreed {
        anstream::println!("Nothing was done.");
    }
    Ok(agreed)
}

/// The running service keeps this machine as its own file says: another file would be undone at once.
fn same_file(live: &Live, path: &Path) -> Result<(), Failure> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(path) == real(&PathBuf::from(&live.config)) {
        return Ok(());
    }
    let (its, first) = match live.config.as_str() {
        "-" => ("its standard input", "it read that once: stop it, and start it with -f FILE".to_owned()),
        file => (file, format!("apply that file: hactl -f {file} apply")),
    };
    Err(Failure {
        exit: Exit::Failed,
        what: format!("hactl run (pid {}) keeps this machine as {} says, not {}", live.pid, its, path.display()),
        help: vec![first, "or stop the service, apply, and start it with the other file".into()],
    })
}

/// What was agreed to is still what there is to do; the words about it may be others, as a vip moves.
fn unchanged(plan: &Plan, now: &Plan) -> Result<(), Failure> {
    let essence = |s: &Step| (s.action, s.object.clone(), s.operation.clone(), s.impact);
    if now.steps.iter().map(essence).eq(plan.steps.iter().map(essence)) {
        return Ok(());
    }
    Err(Failure {
        exit: Exit::Stale,
        what: "this machine was changed since the plan was made, and nothing was done".into(),
        help: vec!["run apply again: it plans from what is there now".into()],
    })
}

/// Has the running service perform the plan, with its own eyes and hands.
fn reload(
    plan: &Plan,
    arguments: &Arguments,
    again: &mut dyn FnMut() -> Result<Plan, Failure>,
) -> Result<Vec<StepResult>, Failure> {
    let mut print = plan.fingerprint();
    let mut tries = 0;
    loop {
        tries += 1;
        let request = Request::Reload { plan: Some(print) };
        let reply = control::ask(&arguments.state, &request).map_err(|e| Failure {
            exit: Exit::Failed,
            what: e.to_string(),
            help: vec!["hactl plan shows what is left to do".into()],
        })?;
        match reply {
            Reply::Reloaded { steps } => return Ok(steps),
            Reply::Refused { .. } if tries < RELOAD_TRIES => {
                let now = again()?;
                unchanged(plan, &now)?;
                print = now.fingerprint();
            }
            Reply::Refused { what, help } => return Err(Failure { exit: Exit::Failed, what, help }),
            _ => {
                let what = "hactl run answered something else than was asked".into();
                return Err(Failure { exit: Exit::Failed, what, help: vec!["restart it: same version?".into()] });
            }
        }
    }
}

/// Tells what the service did.
fn reloaded(plan: &Plan, steps: &[StepResult], arguments: &Arguments) -> Result<Exit, Failure> {
    let failed: Vec<&StepResult> = steps.iter().filter(|step| step.error.is_some()).collect();
    match arguments.json {
        true => {
            let facts = steps.iter().map(|s| {
                let result = if s.error.is_some() { "failed" } else { "done" };
                json!({ "action": s.action, "object": s.object, "result": result, "error": s.error })
            });
            perform::answer(plan, if failed.is_empty() { "done" } else { "failed" }, facts.collect());
        }
        false => steps.iter().for_each(tell),
    }
    match failed.len() {
        0 => Ok(Exit::Done),
        n => Err(Failure {
            exit: Exit::Failed,
            what: format!("hactl run could not do {n} of {} steps", steps.len()),
            help: vec!["it tries again at the next change of this machine; hactl status tells how it is".into()],
        }),
    }
}

fn tell(step: &StepResult) {
    match &step.error {
        None => anstream::println!("{}", perform::line("done", step.action, &step.object)),
        Some(error) => anstream::println!("{}: {error}", perform::line("failed", step.action, &step.object)),
    }
}
