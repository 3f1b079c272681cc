//! `hactl destroy`.

use model::observed::{Observed, Wanted};
use model::plan::{Plan, teardown};
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, KernelError, record};
use runtime::sources;

use crate::args::{Arguments, DestroyArgs};
use crate::perform::{self, refused};
use crate::report::{Exit, Failure};
use crate::{node, words};

/// Takes back everything that hactl put on this machine. Needs no file: what is ours carries our mark.
///
/// # Errors
/// As `apply`; also where the service runs, which would put everything back.
pub fn destroy(arguments: &Arguments, args: &DestroyArgs) -> Result<Exit, Failure> {
    let patience = perform::patience(&args.wait)?;
    Linux::permitted().map_err(|e| refused(&e))?;
    if let Some(live) = perform::service(arguments)? {
        return Err(Failure {
            exit: Exit::Failed,
            what: format!("hactl run (pid {}) would put everything back as {} says", live.pid, live.config),
            help: vec!["stop it first: systemctl stop hactl".into()],
        });
    }
    let lock = perform::lock(&arguments.state, "destroy", patience)?;
    let mut kernel = Linux::new(&arguments.state);
    let peer = name(arguments);
    let again = |kernel: &mut Linux| {
        let seen = survey(kernel, arguments)?;
        Ok::<Plan, KernelError>(teardown(peer.as_deref().unwrap_or(&seen.hostname), &seen))
    };
    let plan = again(&mut kernel).map_err(|e| refused(&e))?;
    match plan.steps.is_empty() {
        _ if arguments.json => {}
        true => anstream::println!("Nothing on {} is hactl's.", plan.peer),
        false => anstream::print!("{}", words::plan::text(&plan, "the file", words::wrap::terminal())),
    }
    perform::unblocked(&plan)?;
    let question = format!("Take all of this off {}?", plan.peer);
    if !plan.steps.is_empty() && !args.yes && !perform::ask(&question, arguments.json)? {
        anstream::println!("Nothing was done.");
        return Ok(Exit::Failed);
    }
    perform::perform(&plan, &lock, arguments.json, &mut { again })
}

/// This machine's name as the other verbs say it, where there is a file that knows it.
fn name(arguments: &Arguments) -> Option<String> {
    // No file is needed, so none is waited for.
    if arguments.node.is_some() || arguments.file.as_deref().is_some_and(|file| file.as_os_str() == "-") {
        return arguments.node.clone();
    }
    let loaded = sources::load(arguments.file.as_deref()).ok()?;
    node::desired(arguments, &loaded.config).ok().map(|desired| desired.peer)
}

fn survey(kernel: &mut Linux, arguments: &Arguments) -> Result<Observed, KernelError> {
    let sysctls = record::load(&arguments.state)?.sysctls.into_keys().collect();
    kernel.observe(&Wanted { sysctls })
}
