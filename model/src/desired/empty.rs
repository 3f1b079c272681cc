//! The machine that a plan without any machine is made against.

use super::{Desired, TCP_LOOSE};
use crate::observed::{Link, OBSERVED_VERSION, Observed};

/// What a kernel has where nobody set anything.
const DEFAULTS: [(&str, &str); 6] = [
    ("disable_ipv6", "0"),
    ("forwarding", "0"),
    ("ip_forward", "0"),
    ("send_redirects", "1"),
    ("promote_secondaries", "0"),
    ("nf_conntrack_tcp_loose", "1"),
];

impl Desired {
    /// A machine with the interfaces that are needed, the kernel's own values and nothing of ours. A sysctl whose
    /// default is not known is `?`.
    pub fn empty_machine(&self) -> Observed {
        let link = Link { index: 1, up: true, carrier: true, arp: true, mac: None, mtu: 1500 };
        let default = |key: &String| {
            let last = key.rsplit('.').next().unwrap_or_default();
            DEFAULTS.iter().find(|(name, _)| *name == last).map_or("?", |(_, value)| *value).to_owned()
        };
        let keys = self.sysctls.keys().cloned().chain([TCP_LOOSE.to_owned()]);
        Observed {
            version: OBSERVED_VERSION,
            hostname: self.peer.clone(),
            links: self.vips.iter().map(|v| (v.interface.clone(), link.clone())).collect(),
            sysctls: keys.map(|key| (key.clone(), default(&key))).collect(),
            ..Observed::default()
        }
    }
}
