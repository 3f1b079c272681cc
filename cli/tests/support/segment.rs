//! A bridge and machines on it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::netns::{Links, Namespace};

/// A bridge in a namespace of its own, and machines on it: `eth0`, 10.77.0.1/16 and fd77::1/64, and so on.
pub struct Segment {
    links: Links,
    machines: Vec<Namespace>,
    on: Arc<[AtomicBool]>,
    middle: Namespace,
}

impl Segment {
    /// With this many machines, counted from 0.
    pub fn new(machines: usize) -> Segment {
        let middle = Namespace::new().unwrap();
        let links = middle.links().unwrap();
        links.bridge("seg0").unwrap();
        let on = (0..machines).map(|_| AtomicBool::new(true)).collect();
        let machines = (0..machines)
            .map(|n| {
                let machine = Namespace::new().unwrap();
                // Nobody has our addresses, and a link-local address that is still being probed for speaks to no one.
                machine.run(|| set("ipv6/conf/default/accept_dad", "0")).unwrap();
                links.veth(&port(n), "eth0", &machine).unwrap();
                links.attach(&port(n), "seg0").unwrap();
                links.up(&port(n)).unwrap();
                let inside = machine.links().unwrap();
                inside.address("eth0", format!("{}/16", address(n)).parse().unwrap()).unwrap();
                inside.up("eth0").unwrap();
                inside.address("eth0", format!("{}/64", address6(n)).parse().unwrap()).unwrap();
                machine
            })
            .collect();
        Segment { links, machines, on, middle }
    }

    /// A machine's namespace.
    pub fn machine(&self, n: usize) -> &Namespace {
        &self.machines[n]
    }

    /// How many machines there are.
    pub fn machines(&self) -> usize {
        self.machines.len()
    }

    /// The bridge's namespace: the machines' ports are here.
    pub fn middle(&self) -> &Namespace {
        &self.middle
    }

    /// Whether each machine is on the bridge.
    pub fn on(&self) -> Arc<[AtomicBool]> {
        Arc::clone(&self.on)
    }

    /// The number of a machine's port, in the bridge's namespace.
    pub fn port(&self, n: usize) -> u32 {
        self.links.index(&port(n)).unwrap()
    }

    /// The hardware address of a machine's `eth0`.
    pub fn mac(&self, n: usize) -> [u8; 6] {
        self.machines[n].links().unwrap().mac("eth0").unwrap()
    }

    /// Takes a machine off the bridge; it keeps its carrier and hears nothing any more.
    pub fn cut(&self, n: usize) {
        self.on[n].store(false, Ordering::SeqCst);
        self.links.detach(&port(n)).unwrap();
    }

    /// Puts a machine back on the bridge.
    pub fn heal(&self, n: usize) {
        self.links.attach(&port(n), "seg0").unwrap();
        self.on[n].store(true, Ordering::SeqCst);
    }
}

/// Sets a sysctl under /proc/sys/net of the namespace that the calling thread is in.
pub fn set(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// A machine's address.
pub fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(n + 1).unwrap())
}

/// A machine's IPv6 address.
pub fn address6(n: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::try_from(n + 1).unwrap())
}

fn port(n: usize) -> String {
    format!("port{n}")
}
