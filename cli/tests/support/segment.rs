//! A bridge and machines on it.

use std::net::Ipv4Addr;

use runtime::netns::{Links, Namespace};

/// A bridge in a namespace of its own, and machines on it: `eth0`, 10.77.0.1/16, 10.77.0.2/16 and so on.
pub struct Segment {
    links: Links,
    machines: Vec<Namespace>,
    // Held open: the bridge lives in it.
    _middle: Namespace,
}

impl Segment {
    /// With this many machines, counted from 0.
    pub fn new(machines: usize) -> Segment {
        let middle = Namespace::new().unwrap();
        let links = middle.links().unwrap();
        links.bridge("seg0").unwrap();
        let machines = (0..machines)
            .map(|n| {
                let machine = Namespace::new().unwrap();
                links.veth(&port(n), "eth0", &machine).unwrap();
                links.attach(&port(n), "seg0").unwrap();
                links.up(&port(n)).unwrap();
                let inside = machine.links().unwrap();
                inside.address("eth0", format!("{}/16", address(n)).parse().unwrap()).unwrap();
                inside.up("eth0").unwrap();
                machine
            })
            .collect();
        Segment { links, machines, _middle: middle }
    }

    /// A machine's namespace.
    pub fn machine(&self, n: usize) -> &Namespace {
        &self.machines[n]
    }

    /// Takes a machine off the bridge; it keeps its carrier and hears nothing any more.
    pub fn cut(&self, n: usize) {
        self.links.detach(&port(n)).unwrap();
    }

    /// Puts a machine back on the bridge.
    pub fn heal(&self, n: usize) {
        self.links.attach(&port(n), "seg0").unwrap();
    }
}

/// A machine's address.
pub fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(n + 1).unwrap())
}

fn port(n: usize) -> String {
    format!("port{n}")
}
