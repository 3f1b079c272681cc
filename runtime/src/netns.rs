//! Network namespaces and what stands in them: bridges, veth pairs, addresses, routes. The laboratory and the tests
//! build their networks with this; nothing here touches the network that the process was started in.
//!
//! A namespace lives as long as its [`Namespace`] or anything that runs in it: there is nothing to clean up.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use futures_util::TryStreamExt;
use model::units::Cidr;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags};
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{
    Handle, LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::LinkMessage,
};

/// What could not be made, and the kernel's word for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct NetnsError {
    /// What was tried.
    pub what: String,
    /// The kernel's words.
    pub why: String,
}

impl NetnsError {
    fn new(what: impl Into<String>, why: impl ToString) -> NetnsError {
        NetnsError { what: what.into(), why: why.to_string() }
    }
}

/// A network namespace, kept by an open file.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new, empty namespace with its loopback up.
    ///
    /// # Errors
    /// Where this process may not make one (it needs root, or `unshare -Urn`).
    pub fn new() -> Result<Namespace, NetnsError> {
        // The calling thread stays where it is: only the short-lived one moves.
        on_a_thread(|| {
            isolate()?;
            Namespace::here()
        })
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// Where /proc is not mounted.
    pub fn here() -> Result<Namespace, NetnsError> {
        open("/proc/thread-self/ns/net")
    }

    /// The namespace of a process, by the number that this process knows it by.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn of_process(pid: u32) -> Result<Namespace, NetnsError> {
        open(&format!("/proc/{pid}/ns/net"))
    }

    /// Moves the calling thread into this namespace for good.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|e| NetnsError::new("entering a network namespace", e))
    }

    /// Runs `work` in this namespace, on a thread of its own, and waits for it. What it opens (sockets, files) stays
    /// in the namespace and may be handed out.
    ///
    /// # Errors
    /// Where the namespace cannot be entered or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        on_a_thread(|| {
            self.enter()?;
            Ok(work())
        })
    }

    /// Changes links, addresses and routes of this namespace.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn links(&self) -> Result<Links, NetnsError> {
        self.run(Links::here)?
    }
}

impl AsRawFd for Namespace {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Moves the calling thread into a new, empty namespace with its loopback up: what a test of the network starts with.
///
/// # Errors
/// Where this process may not make one.
pub fn isolate() -> Result<(), NetnsError> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| NetnsError::new("making a network namespace", e))?;
    Links::here()?.up("lo")
}

fn open(path: &str) -> Result<Namespace, NetnsError> {
    let file = File::open(path).map_err(|e| NetnsError::new(path, e))?;
    Ok(Namespace { file })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, NetnsError> + Send) -> Result<T, NetnsError> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(NetnsError::new("working in a network namespace", "the thread panicked")))
}

/// Links of one namespace. Blocking: not for use inside an async runtime.
pub struct Links {
    runtime: tokio::runtime::Runtime,
    handle: Handle,
}

impl Links {
    /// Those of the namespace that the calling thread is in; they stay so when the thread moves on.
    ///
    /// # Errors
    /// Where no netlink socket can be opened.
    pub fn here() -> Result<Links, NetnsError> {
        let failed = |e: std::io::Error| NetnsError::new("opening a netlink socket", e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let handle = {
            let _inside = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Links { runtime, handle })
    }

    /// Makes a bridge without spanning tree, up.
    ///
    /// # Errors
    /// The kernel's, as in every method here.
    pub fn bridge(&self, name: &str) -> Result<(), NetnsError> {
        // Snooping would learn of the VRRP group only from IGMP reports that nobody queries for.
        self.add(name, LinkBridge::new(name).mcast_snooping(false).up().build())
    }

    /// Makes a dummy link, up.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn dummy(&self, name: &str) -> Result<(), NetnsError> {
        self.add(name, LinkDummy::new(name).up().build())
    }

    /// Makes a veth pair: `name` here and `peer` in `there`. Both are down.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn veth(&self, name: &str, peer: &str, there: &Namespace) -> Result<(), NetnsError> {
        let far = LinkMessageBuilder::<LinkUnspec>::new().name(peer.to_owned()).setns_by_fd(there.as_raw_fd()).build();
        self.add(name, LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(far))).build())
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn up(&self, name: &str) -> Result<(), NetnsError> {
        self.set(name, "setting up", |link| link.up())
    }

    /// Sets a link down: its neighbour across a veth pair loses the carrier.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn down(&self, name: &str) -> Result<(), NetnsError> {
        self.set(name, "setting down", |link| link.down())
    }

    /// Makes a link a port of a bridge.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn attach(&self, name: &str, bridge: &str) -> Result<(), NetnsError> {
        let bridge = self.index(bridge)?;
        self.set(name, "attaching to a bridge", |link| link.controller(bridge))
    }

    /// Takes a link off its bridge; both ends keep their carrier.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn detach(&self, name: &str) -> Result<(), NetnsError> {
        self.set(name, "detaching from its bridge", |link| link.nocontroller())
    }

    /// Deletes a link, and with it the other end of a veth pair.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn delete(&self, name: &str) -> Result<(), NetnsError> {
        let index = self.index(name)?;
        self.wait(format!("deleting {name}"), self.handle.link().del(index).execute())
    }

    /// Adds an address to a link.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn address(&self, name: &str, address: Cidr) -> Result<(), NetnsError> {
        let index = self.index(name)?;
        let request = self.handle.address().add(index, address.address(), address.prefix());
        self.wait(format!("adding {address} to {name}"), request.execute())
    }

    /// Adds a route through a gateway.
    ///
    /// # Errors
    /// As [`Links::bridge`]; also where the two are not of one family.
    pub fn route(&self, to: Cidr, gateway: IpAddr) -> Result<(), NetnsError> {
        let what = format!("adding the route to {to} through {gateway}");
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to.address(), to.prefix())
            .and_then(|route| route.gateway(gateway))
            .map_err(|e| NetnsError::new(&*what, e))?
            .build();
        self.wait(what, self.handle.route().add(route).execute())
    }

    /// Adds a route to what is reached directly over a link.
    ///
    /// # Errors
    /// As [`Links::route`].
    pub fn on_link(&self, to: Cidr, name: &str) -> Result<(), NetnsError> {
        let what = format!("adding the route to {to} over {name}");
        let index = self.index(name)?;
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to.address(), to.prefix())
            .map_err(|e| NetnsError::new(&*what, e))?
            .output_interface(index)
            .build();
        self.wait(what, self.handle.route().add(route).execute())
    }

    /// The hardware address of a link.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn mac(&self, name: &str) -> Result<[u8; 6], NetnsError> {
        let found = self.get(name)?.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.try_into().ok(),
            _ => None,
        });
        found.ok_or_else(|| NetnsError::new(name, "has no hardware address"))
    }

    /// Whether a link is up and has its carrier.
    ///
    /// # Errors
    /// As [`Links::bridge`].
    pub fn is_running(&self, name: &str) -> Result<bool, NetnsError> {
        Ok(self.get(name)?.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp))
    }

    /// The number of a link.
    ///
    /// # Errors
    /// Where there is no such link.
    pub fn index(&self, name: &str) -> Result<u32, NetnsError> {
        Ok(self.get(name)?.header.index)
    }

    fn get(&self, name: &str) -> Result<LinkMessage, NetnsError> {
        let mut found = Box::pin(self.handle.link().get().match_name(name.to_owned()).execute());
        self.wait(format!("looking for {name}"), found.try_next())?
            .ok_or_else(|| NetnsError::new(format!("looking for {name}"), "there is none"))
    }

    fn add(&self, name: &str, link: LinkMessage) -> Result<(), NetnsError> {
        self.wait(format!("making {name}"), self.handle.link().add(link).execute())
    }

    fn set(
        &self,
        name: &str,
        what: &str,
        change: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), NetnsError> {
        let link = change(LinkUnspec::new_with_index(self.index(name)?)).build();
        self.wait(format!("{what} {name}"), self.handle.link().set(link).execute())
    }

    fn wait<T>(
        &self,
        what: String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetnsError> {
        self.runtime.block_on(request).map_err(|e| NetnsError::new(what, words(&e)))
    }
}

/// The errno's words alone: the library's own wrap them in the whole message.
fn words(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::{Duration, Instant};

    /// Far longer than a link takes to carry frames, on a machine that does much else.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    /// A bridge with two machines on it.
    fn segment() -> (Namespace, Namespace, Namespace) {
        let [middle, a, b] = [0; 3].map(|_| Namespace::new().unwrap());
        let links = middle.links().unwrap();
        links.bridge("seg0").unwrap();
        for (port, there, address) in [("p1", &a, "192.0.2.1/24"), ("p2", &b, "192.0.2.2/24")] {
            links.veth(port, "eth0", there).unwrap();
            links.attach(port, "seg0").unwrap();
            links.up(port).unwrap();
            let inside = there.links().unwrap();
            inside.address("eth0", cidr(address)).unwrap();
            inside.up("eth0").unwrap();
        }
        (middle, a, b)
    }

    /// Whether a datagram arrives within this time. One is sent again and again: a bridge's port that has just come up,
    /// or a first ARP request on a busy machine, may lose the first.
    fn reaches(from: &Namespace, to: &Namespace, address: &str, within: Duration) -> bool {
        // Any free port: one that was closed a moment ago may still be open in a program that another test is starting.
        let any: SocketAddr = format!("{address}:0").parse().unwrap();
        let ear = to.run(|| UdpSocket::bind(any)).unwrap().unwrap();
        let address = ear.local_addr().unwrap();
        let mouth = from.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        ear.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let end = Instant::now() + within;
        while Instant::now() < end {
            mouth.send_to(b"x", address).unwrap();
            if ear.recv(&mut [0; 1]).is_ok() {
                return true;
            }
        }
        false
    }

    #[test]
    fn machines_on_a_bridge_reach_each_other_until_a_port_is_detached() {
        let (middle, a, b) = segment();
        assert!(reaches(&a, &b, "192.0.2.2", PATIENCE));
        let links = middle.links().unwrap();
        links.detach("p2").unwrap();
        assert!(!reaches(&a, &b, "192.0.2.2", Duration::from_millis(500)));
        assert!(b.links().unwrap().is_running("eth0").unwrap(), "the carrier stays");
        links.attach("p2", "seg0").unwrap();
        assert!(reaches(&a, &b, "192.0.2.2", PATIENCE));
    }

    #[test]
    fn a_port_set_down_takes_the_carrier_of_its_neighbour() {
        let (middle, _a, b) = segment();
        middle.links().unwrap().down("p2").unwrap();
        assert!(!b.links().unwrap().is_running("eth0").unwrap());
    }

    #[test]
    fn errors_name_the_link_and_the_kernels_words() {
        let space = Namespace::new().unwrap();
        let error = space.links().unwrap().up("nix0").unwrap_err();
        assert_eq!(error.to_string(), "looking for nix0: No such device (os error 19)");
    }

    #[test]
    fn work_in_a_namespace_leaves_the_calling_thread_where_it_was() {
        let before = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let space = Namespace::new().unwrap();
        let inside = space.run(|| std::fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
        assert_ne!(before, inside);
        assert_eq!(before, std::fs::read_link("/proc/thread-self/ns/net").unwrap());
    }

    #[test]
    fn routes_lead_through_gateways_and_over_links() {
        let (_middle, a, _b) = segment();
        let links = a.links().unwrap();
        links.route(cidr("198.51.100.0/24"), "192.0.2.2".parse().unwrap()).unwrap();
        links.on_link(cidr("203.0.113.0/24"), "eth0").unwrap();
        let error = links.route(cidr("198.51.100.0/24"), "10.9.9.9".parse().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("adding the route to 198.51.100.0/24 through 10.9.9.9"), "{error}");
    }
}
