//! Which of the file's machines is this one?

use std::net::IpAddr;

use crate::config::{Config, Peer};

/// Why it cannot be told which peer this machine is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// Neither the hostname nor an address is a peer's.
    #[error("this machine ({hostname}) is none of the peers: {}", peers.join(", "))]
    Nobody {
        /// This machine's own name.
        hostname: String,
        /// Every peer with its address: `pve1 (192.0.2.1)`.
        peers: Vec<String>,
    },
    /// Several peers have an address of this machine, and none has its hostname.
    #[error("more than one peer claims this machine ({hostname}): {}", peers.join(", "))]
    Several {
        /// This machine's own name.
        hostname: String,
        /// Those peers with their addresses.
        peers: Vec<String>,
    },
}

/// The peer that this machine is: the one of its hostname, with or without domain, else the only one whose address
/// is on a local interface.
///
/// # Errors
/// Nobody's, or several's.
pub fn identify<'a>(config: &'a Config, hostname: &str, local: &[IpAddr]) -> Result<&'a Peer, IdentifyError> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let exact = config.peers.iter().find(|p| p.name.eq_ignore_ascii_case(hostname));
    let by_name = |p: &&Peer| short(&p.name) == short(hostname);
    // Two peers may share the first label: then only a whole name decides.
    let named = exact.or_else(|| match config.peers.iter().filter(by_name).count() {
        1 => config.peers.iter().find(by_name),
        _ => None,
    });
    if let Some(peer) = named {
        return Ok(peer);
    }
    let here: Vec<&Peer> = config.peers.iter().filter(|p| local.contains(&p.address)).collect();
    let show = |peers: &mut dyn Iterator<Item = &Peer>| peers.map(|p| format!("{} ({})", p.name, p.address)).collect();
    match here.as_slice() {
        [one] => Ok(one),
        [] => Err(IdentifyError::Nobody { hostname: hostname.to_owned(), peers: show(&mut config.peers.iter()) }),
        _ => Err(IdentifyError::Several { hostname: hostname.to_owned(), peers: show(&mut here.iter().copied()) }),
    }
}
