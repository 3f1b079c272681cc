//! `hactl plan`.

use std::net::IpAddr;
use std::path::Path;

use model::config::Config;
use model::desired::{self, Desired};
use model::observed::{OBSERVED_VERSION, Observed};
use model::plan::{self, Plan};
use runtime::kernel::linux::Linux;

use crate::args::{Arguments, PlanArgs};
use crate::report::{Exit, Failure};
use crate::words::plan as words;
use crate::words::wrap::terminal;
use crate::{load, machine, node};

/// Shows what would change on this machine, or on all of them.
///
/// # Errors
/// The file has mistakes, the machine cannot be read, or a recording is missing or not one.
pub fn plan(arguments: &Arguments, args: &PlanArgs) -> Result<Exit, Failure> {
    node::not_with_all(arguments, args.all)?;
    let loaded = load::load(arguments)?;
    let machines = match args.all {
        false => vec![node::desired(arguments, &loaded.config)?],
        true => loaded.config.peers.iter().filter_map(|p| desired::desire(&loaded.config, &p.name)).collect(),
    };
    let mut plans: Vec<Plan> = vec![];
    for desired in &machines {
        let observed = match (&args.live, args.all) {
            (Some(dir), _) => recording(dir, &desired.peer, &loaded.config)?,
            (None, true) => desired.empty_machine(),
            (None, false) => observe(arguments, desired)?,
        };
        let plan = plan::plan(desired, &observed);
        plans.push(match args.all || args.live.is_some() {
            true => plan,
            false => machine::with_secrets(plan, desired),
        });
    }
    if arguments.json {
        anstream::println!("{}", words::json(&plans));
    } else {
        let file = loaded.path.display().to_string();
        let texts: Vec<String> = plans.iter().map(|p| words::text(p, &file, terminal())).collect();
        anstream::print!("{}", texts.join("\n"));
    }
    Ok(match (plans.iter().any(Plan::blocked), args.detailed_exitcode) {
        (true, _) => Exit::Failed,
        (false, true) => words::detailed_exit(&plans),
        (false, false) => Exit::Done,
    })
}

/// What this machine holds of what a plan compares.
///
/// # Errors
/// The machine cannot be read.
pub fn observe(arguments: &Arguments, desired: &Desired) -> Result<Observed, Failure> {
    machine::observe(desired, &mut Linux::new(&arguments.state), arguments).map_err(|error| {
        let mut help = error.help();
        help.push("or plan without the machine: hactl plan --all".to_owned());
        Failure { exit: Exit::Failed, what: format!("this machine cannot be read: {error}"), help }
    })
}

/// The recording `PEER.json` of a directory.
fn recording(dir: &Path, peer: &str, config: &Config) -> Result<Observed, Failure> {
    let path = dir.join(format!("{peer}.json"));
    let failed = |what: String, help: String| Failure { exit: Exit::Failed, what, help: vec![help] };
    let make = || format!("make one on {peer}: hactl snapshot --out {}", dir.display());
    let text = std::fs::read_to_string(&path)
        .map_err(|e| failed(format!("the recording {} cannot be read: {e}", path.display()), make()))?;
    let observed: Observed = serde_json::from_str(&text)
        .map_err(|e| failed(format!("{} is not a recording of `hactl snapshot`: {e}", path.display()), make()))?;
    if observed.version != OBSERVED_VERSION {
        let what = format!(
            "{} is a recording of version {}, this hactl reads {OBSERVED_VERSION}",
            path.display(),
            observed.version
        );
        return Err(failed(what, make()));
    }
    let addresses: Vec<IpAddr> = observed.addresses.iter().map(|a| a.cidr.address()).collect();
    match desired::identify(config, &observed.hostname, &addresses) {
        Ok(other) if other.name != peer => {
            let what = format!("{} is a recording of {}, not of {peer}", path.display(), other.name);
            Err(failed(what, make()))
        }
        // One whose name and addresses say nothing was recorded with --node.
        _ => Ok(observed),
    }
}
