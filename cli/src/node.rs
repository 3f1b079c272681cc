//! Which peer this machine is.

use model::config::Config;
use model::desired::{self, Desired, IdentifyError};

use crate::args::Arguments;
use crate::report::{Exit, Failure};

/// What this machine should be: `--node`, else by hostname, else by address.
///
/// # Errors
/// The peer that was named does not exist, or none or several are this machine.
pub fn desired(arguments: &Arguments, config: &Config) -> Result<Desired, Failure> {
    let name = match &arguments.node {
        Some(name) => name.clone(),
        None => here(config)?,
    };
    desired::desire(config, &name).ok_or_else(|| nobody(&name, config))
}

/// Refuses a `--node` that no peer is, where the verb itself has no use for it.
///
/// # Errors
/// With the peers that there are.
pub fn exists(arguments: &Arguments, config: &Config) -> Result<(), Failure> {
    match &arguments.node {
        Some(name) if config.peers.iter().all(|p| p.name != *name) => Err(nobody(name, config)),
        _ => Ok(()),
    }
}

/// Refuses `--node` beside `--all`: they contradict each other.
///
/// # Errors
/// Exit code 64.
pub fn not_with_all(arguments: &Arguments, all: bool) -> Result<(), Failure> {
    match &arguments.node {
        Some(name) if all => Err(Failure {
            exit: Exit::Usage,
            what: format!("--all is every peer, and --node {name} is one of them"),
            help: vec!["leave one of them out".to_owned()],
        }),
        _ => Ok(()),
    }
}

fn nobody(name: &str, config: &Config) -> Failure {
    let peers: Vec<&str> = config.peers.iter().map(|p| p.name.as_str()).collect();
    let help = vec![format!("the peers are {}", peers.join(", "))];
    Failure { exit: Exit::Failed, what: format!("the file has no peer \"{name}\""), help }
}

fn here(config: &Config) -> Result<String, Failure> {
    let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let addresses = nix::ifaddrs::getifaddrs().map(|all| all.filter_map(|i| ip(i.address?)).collect::<Vec<_>>());
    desired::identify(config, &hostname, &addresses.unwrap_or_default()).map(|p| p.name.clone()).map_err(|error| {
        let help = match &error {
            IdentifyError::Nobody { .. } => "say which one it is with --node NAME, or add a `peer` for it",
            IdentifyError::Several { .. } => "say which one it is with --node NAME",
        };
        Failure { exit: Exit::Failed, what: error.to_string(), help: vec![help.to_owned()] }
    })
}

fn ip(address: nix::sys::socket::SockaddrStorage) -> Option<std::net::IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| a.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|a| a.ip().into()))
}
