//! This machine: which peer it is, what it should be, what it holds.

use std::net::IpAddr;

use model::config::Config;
use model::desired::{self, Desired, IdentifyError};
use model::observed::{Observed, Wanted};
use model::plan::Plan;
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, KernelError, record};

use crate::args::Arguments;
use crate::perform::refused;
use crate::report::{Exit, Failure};

/// What this machine should be: the peer named by `--node`, else the one that it is by hostname or address.
///
/// # Errors
/// Where it is nobody, where several claim it, or where it cannot be seen.
pub fn desired(arguments: &Arguments, config: &Config) -> Result<Desired, Failure> {
    let name = match &arguments.node {
        Some(name) => name.clone(),
        None => {
            let seen = Linux::new(&arguments.state).observe(&Wanted::default()).map_err(|e| refused(&e))?;
            let local: Vec<IpAddr> = seen.addresses.iter().map(|a| a.cidr.address()).collect();
            let peer = desired::identify(config, &seen.hostname, &local).map_err(|e| unidentified(&e))?;
            peer.name.clone()
        }
    };
    desired::desire(config, &name).ok_or_else(|| Failure {
        exit: Exit::Failed,
        what: format!("there is no peer {name} in cluster {}", config.cluster.value),
        help: vec![format!("its peers: {}", names(config))],
    })
}

/// Observes this machine for a plan of it.
///
/// # Errors
/// What could not be seen.
pub fn survey(desired: &Desired, kernel: &mut Linux, arguments: &Arguments) -> Result<Observed, KernelError> {
    kernel.observe(&desired.wanted(&record::load(&arguments.state)?))
}

/// Observes this machine and plans.
///
/// # Errors
/// What could not be seen.
pub fn plan(desired: &Desired, kernel: &mut Linux, arguments: &Arguments) -> Result<Plan, KernelError> {
    Ok(model::plan::plan(desired, &survey(desired, kernel, arguments)?))
}

fn unidentified(error: &IdentifyError) -> Failure {
    Failure {
        exit: Exit::Failed,
        what: error.to_string(),
        help: vec!["name the peer that this machine is: --node NAME".into()],
    }
}

fn names(config: &Config) -> String {
    config.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>().join(", ")
}
