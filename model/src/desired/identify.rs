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
    #[error("this machine ({hostname}) has the addresses of more than one peer: {}", peers.join(", "))]
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
    let here: Vec<&Peer> = config.peers.iter().filter(|p| p.addresses().any(|a| local.contains(&a))).collect();
    let show = |peers: &mut dyn Iterator<Item = &Peer>| peers.map(|p| format!("{} ({})", p.name, p.address)).collect();
    match here.as_slice() {
        [one] => Ok(one),
        [] => Err(IdentifyError::Nobody { hostname: hostname.to_owned(), peers: show(&mut config.peers.iter()) }),
        _ => Err(IdentifyError::Several { hostname: hostname.to_owned(), peers: show(&mut here.iter().copied()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    fn config() -> Config {
        let text = "cluster \"t\"\npeer \"a\" address=\"10.0.0.1\"\npeer \"b.example\" address=\"10.0.0.2\"\n";
        config::parse(&[Source { name: "ha.kdl".into(), text: text.into() }]).config.unwrap()
    }

    fn who(hostname: &str, local: &[&str]) -> Result<String, IdentifyError> {
        let local: Vec<IpAddr> = local.iter().map(|a| a.parse().unwrap()).collect();
        identify(&config(), hostname, &local).map(|p| p.name.clone())
    }

    #[test]
    fn the_hostname_decides_with_or_without_its_domain() {
        assert_eq!(who("a", &[]).unwrap(), "a");
        assert_eq!(who("A.example.org", &["10.0.0.2"]).unwrap(), "a");
        assert_eq!(who("b", &[]).unwrap(), "b.example");
    }

    #[test]
    fn else_the_only_peer_whose_address_is_here() {
        assert_eq!(who("localhost", &["127.0.0.1", "10.0.0.2"]).unwrap(), "b.example");
    }

    #[test]
    fn nobody_and_several_are_told_with_the_peers() {
        assert_eq!(
            who("x", &["10.9.9.9"]).unwrap_err().to_string(),
            "this machine (x) is none of the peers: a (10.0.0.1), b.example (10.0.0.2)"
        );
        assert_eq!(
            who("x", &["10.0.0.1", "10.0.0.2"]).unwrap_err().to_string(),
            "this machine (x) has the addresses of more than one peer: a (10.0.0.1), b.example (10.0.0.2)"
        );
    }
}
