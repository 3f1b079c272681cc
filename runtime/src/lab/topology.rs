//! (Config) -> the machines, wires and servers that a file speaks of. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use model::config::{Check, CheckKind, Config, Peer, ProbeKind, Secret};
use model::units::{Cidr, Family};

use super::protocol::{Listener, MadeUp};

/// Clients that the one client machine plays: a service that is sticky by source is spread over them.
pub const CLIENTS: usize = 64;

/// Machines that a laboratory may have: each costs some processes and a few megabytes.
pub const MACHINES: usize = 64;

/// The whole laboratory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Names of the segments' interfaces in the file, one bridge each.
    pub segments: Vec<String>,
    /// Peers in the order of the file, then hosts, without the client.
    pub machines: Vec<Machine>,
    /// The client's links.
    pub client: Vec<Link>,
    /// The client's IPv4 addresses on the first segment that has any.
    pub sources: Vec<Ipv4Addr>,
    /// Every vip's name with its addresses.
    pub vips: Vec<(String, Vec<IpAddr>)>,
    /// Every service's name with where clients reach it.
    pub services: Vec<(String, SocketAddrV4)>,
    /// Secrets the file wants from elsewhere.
    pub secrets: MadeUp,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Whether it is a peer and runs the daemon.
    pub is_peer: bool,
    /// Its links.
    pub links: Vec<Link>,
    /// Its stub servers.
    pub serve: Vec<Listener>,
    /// Checks to stand in for.
    pub checks: Vec<Check>,
}

/// One link of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which segment.
    pub segment: usize,
    /// Its name in the machine.
    pub interface: String,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
}

/// Why no laboratory can be built of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Too much for one machine.
    #[error("the file speaks of {0} machines, the laboratory has room for {MACHINES}")]
    TooMany(usize),
    /// No address is left for the client.
    #[error("no address is free for a client in the network of vip \"{0}\"")]
    NoRoom(String),
    /// Nothing to try.
    #[error("the file has no vip: there is nothing to try")]
    NoVip,
}

/// Lays out the laboratory of a cluster.
///
/// # Errors
/// Where the file speaks of what the laboratory cannot build.
pub fn lay_out(config: &Config) -> Result<Topology, TopologyError> {
    let mut plan = Planner::new(config)?;
    let mut machines: Vec<Machine> = config.peers.iter().map(|peer| plan.peer(peer)).collect();
    machines.extend(plan.hosts());
    if machines.len() > MACHINES {
        return Err(TopologyError::TooMany(machines.len()));
    }
    let (client, sources) = plan.client()?;
    Ok(Topology {
        segments: plan.segments.iter().map(|segment| segment.interface.clone()).collect(),
        machines,
        client,
        sources,
        vips: config
            .vips
            .iter()
            .map(|vip| (vip.name.clone(), vip.addresses.iter().map(|a| a.value.address()).collect()))
            .collect(),
        services: services(config),
        secrets: secrets(config),
    })
}

/// A bridge, and the networks that its vips are in.
struct Segment {
    interface: String,
    vip: String,
    networks: Vec<Cidr>,
    members: BTreeSet<String>,
}

struct Planner<'a> {
    config: &'a Config,
    segments: Vec<Segment>,
    taken: BTreeSet<IpAddr>,
}

impl<'a> Planner<'a> {
    fn new(config: &'a Config) -> Result<Planner<'a>, TopologyError> {
        let mut segments: Vec<Segment> = vec![];
        let mut taken = BTreeSet::new();
        for vip in &config.vips {
            let networks: Vec<Cidr> = vip.addresses.iter().map(|a| a.value).collect();
            taken.extend(networks.iter().map(|network| network.address()));
            let interface = vip.interface.value.to_string();
            let members = vip.priorities.keys().cloned();
            match segments.iter_mut().find(|s| s.interface == interface) {
                Some(segment) => {
                    segment.networks.extend(networks);
                    segment.members.extend(members);
                }
                None => {
                    segments.push(Segment { interface, vip: vip.name.clone(), networks, members: members.collect() })
                }
            }
        }
        taken.extend(config.peers.iter().flat_map(Peer::addresses));
        taken.extend(targets(config));
        for segment in segments.iter_mut().filter(|segment| segment.networks.is_empty()) {
            // Vips without an address are where their members are.
            let members = config.peers.iter().filter(|peer| segment.members.contains(&peer.name));
            segment.networks = members.flat_map(Peer::addresses).filter_map(alone).collect();
        }
        if segments.is_empty() { Err(TopologyError::NoVip) } else { Ok(Planner { config, segments, taken }) }
    }

    fn peer(&mut self, peer: &Peer) -> Machine {
        let address = peer.address;
        let of: Vec<usize> = (0..self.segments.len())
            .filter(|&i| self.segments.get(i).is_some_and(|s| s.members.contains(&peer.name)))
            .collect();
        let home =
            of.iter().copied().find(|&i| self.network(i, address).is_some()).or(of.first().copied()).unwrap_or(0);
        let mut links: Vec<Link> = vec![];
        for segment in if of.is_empty() { vec![home] } else { of } {
            let Some(named) = self.segments.get(segment) else { continue };
            let interface = peer.interface.as_ref().map_or(named.interface.clone(), |i| i.value.to_string());
            // A peer whose own name stands for several of the file's has one link, on its own address's segment.
            if peer.interface.is_some() && segment != home {
                continue;
            }
            let addresses = if segment == home {
                peer.addresses().filter_map(|address| self.placed(segment, address)).collect()
            } else {
                [Family::V4, Family::V6].into_iter().filter_map(|family| self.free(segment, family)).collect()
            };
            links.push(Link { segment, interface, addresses });
        }
        Machine {
            name: peer.name.clone(),
            is_peer: true,
            links,
            serve: self.listeners(address, &peer.name, true),
            checks: self.config.checks.clone(),
        }
    }

    /// Machines for what the file points at beside its peers.
    fn hosts(&mut self) -> Vec<Machine> {
        let mut hosts: BTreeMap<IpAddr, String> = BTreeMap::new();
        for backend in self.config.services.iter().flat_map(|s| &s.backends) {
            hosts.entry(backend.target.ip()).or_insert_with(|| backend.name.clone());
        }
        for address in self.config.checks.iter().filter_map(asked_by) {
            hosts.entry(address).or_insert_with(|| address.to_string());
        }
        let peers: BTreeSet<IpAddr> = self.config.peers.iter().flat_map(Peer::addresses).collect();
        let vips: BTreeSet<IpAddr> =
            self.config.vips.iter().flat_map(|vip| &vip.addresses).map(|a| a.value.address()).collect();
        let elsewhere = |a: &IpAddr| !a.is_loopback() && !peers.contains(a) && !vips.contains(a);
        let hosts = hosts.into_iter().filter(|(address, _)| elsewhere(address));
        hosts
            .map(|(address, name)| {
                let segment = (0..self.segments.len()).find(|&i| self.network(i, address).is_some()).unwrap_or(0);
                let interface = self.segments.get(segment).map_or("eth0".into(), |s| s.interface.clone());
                let addresses = self.placed(segment, address).into_iter().collect();
                let serve = self.listeners(address, &name, false);
                Machine {
                    name,
                    is_peer: false,
                    links: vec![Link { segment, interface, addresses }],
                    serve,
                    checks: vec![],
                }
            })
            .collect()
    }

    fn client(&mut self) -> Result<(Vec<Link>, Vec<Ipv4Addr>), TopologyError> {
        let mut links = vec![];
        for segment in 0..self.segments.len() {
            let wanted = if segment == 0 { CLIENTS } else { 1 };
            let mut addresses: Vec<Cidr> = (0..wanted).map_while(|_| self.free(segment, Family::V4)).collect();
            addresses.extend(self.free(segment, Family::V6));
            if addresses.is_empty() {
                let vip = self.segments.get(segment).map(|s| s.vip.clone()).unwrap_or_default();
                return Err(TopologyError::NoRoom(vip));
            }
            links.push(Link { segment, interface: format!("eth{segment}"), addresses });
        }
        let sources = links.first().map(|link| link.addresses.iter().filter_map(|a| a.v4()).collect());
        Ok((links, sources.unwrap_or_default()))
    }

    /// The network of a segment that an address is in.
    fn network(&self, segment: usize, address: IpAddr) -> Option<Cidr> {
        let networks = &self.segments.get(segment)?.networks;
        networks.iter().copied().find(|n| !is_single(*n) && n.contains(address))
    }

    /// An address with the prefix that it has on a segment.
    fn placed(&self, segment: usize, address: IpAddr) -> Option<Cidr> {
        let prefix = self.network(segment, address).map_or(usual(address), Cidr::prefix);
        Cidr::new(address, prefix).ok()
    }

    /// An address of a segment that nobody has, from the far end: people number their machines from the near one.
    fn free(&mut self, segment: usize, family: Family) -> Option<Cidr> {
        let networks = &self.segments.get(segment)?.networks;
        let mut networks = networks.iter().copied().filter(|network| network.family() == family);
        // A vip without a network (/32) is near the peers, whose networks count as the usual ones.
        let first = networks.next()?;
        let network = std::iter::once(first).chain(networks).find(|n| !is_single(*n)).unwrap_or(first);
        let prefix = if is_single(network) { usual(network.address()) } else { network.prefix() };
        let hosts = mask(family, prefix);
        let first = number(network.address()) & !hosts;
        let mut all = (first.saturating_add(1)..first | hosts).rev().map(|n| address(family, n));
        let found = all.find(|a| !self.taken.contains(a))?;
        self.taken.insert(found);
        Cidr::new(found, prefix).ok()
    }

    /// What a machine of this address answers on.
    fn listeners(&self, address: IpAddr, name: &str, is_peer: bool) -> Vec<Listener> {
        let mut found: BTreeMap<SocketAddr, u16> = BTreeMap::new();
        let here = |ip: IpAddr| ip == address;
        for service in &self.config.services {
            for backend in service.backends.iter().filter(|b| here(b.target.ip())) {
                found.entry(SocketAddr::new(address, backend.target.port())).or_insert(200);
                let Some(probe) = &service.probe else { continue };
                let port = probe.port.unwrap_or(backend.target.port());
                let status = if let ProbeKind::Http { expect, .. } = probe.kind { expect } else { 200 };
                found.insert(SocketAddr::new(address, port), status);
            }
        }
        for check in &self.config.checks {
            let Some(target) = target_of(check) else { continue };
            let status = if let CheckKind::Http { expect, .. } = check.kind { expect } else { 200 };
            if target.ip() == address || (is_peer && target.ip().is_loopback()) {
                found.insert(target, status);
            }
        }
        found.into_iter().map(|(at, status)| Listener { at, name: name.to_owned(), status }).collect()
    }
}

/// Networks other than a link's own that machines may be in: reached over the first link, the segment being flat.
pub fn far_networks(topology: &Topology, links: &[Link]) -> Vec<Cidr> {
    let own = |network: &Cidr| {
        let near = |a: &Cidr| a.contains(network.address()) || network.contains(a.address());
        links.iter().flat_map(|link| &link.addresses).any(near)
    };
    let all = topology.machines.iter().flat_map(|m| &m.links).chain(&topology.client).flat_map(|l| &l.addresses);
    let networks: BTreeSet<Cidr> = all
        .filter_map(|a| {
            let base = number(a.address()) & !mask(a.family(), a.prefix());
            Cidr::new(address(a.family(), base), a.prefix()).ok()
        })
        .chain(topology.vips.iter().flat_map(|(_, addresses)| addresses).filter_map(|a| alone(*a)))
        .collect();
    networks.into_iter().filter(|network| !own(network)).collect()
}

/// Where a check looks, over the network.
pub fn target_of(check: &Check) -> Option<SocketAddr> {
    match &check.kind {
        CheckKind::Tcp { target } | CheckKind::Tls { target } | CheckKind::Http { target, .. } => Some(*target),
        CheckKind::Process { .. }
        | CheckKind::Command { .. }
        | CheckKind::Interface { .. }
        | CheckKind::Ping { .. }
        | CheckKind::Systemd { .. }
        | CheckKind::File { .. } => None,
    }
}

/// The address that a check looks at over the network.
fn asked_by(check: &Check) -> Option<IpAddr> {
    match check.kind {
        CheckKind::Ping { target } => Some(target),
        _ => target_of(check).map(|target| target.ip()),
    }
}

fn targets(config: &Config) -> impl Iterator<Item = IpAddr> + '_ {
    let backends = config.services.iter().flat_map(|s| &s.backends).map(|b| b.target.ip());
    backends.chain(config.checks.iter().filter_map(asked_by))
}

fn services(config: &Config) -> Vec<(String, SocketAddrV4)> {
    let first = |name: &str| {
        let vip = config.vips.iter().find(|vip| vip.name == name)?;
        vip.addresses.iter().find_map(|a| a.value.v4())
    };
    let reach = |service: &model::config::Service| {
        Some((service.name.clone(), SocketAddrV4::new(first(&service.vip)?, service.port.value)))
    };
    config.services.iter().filter_map(reach).collect()
}

fn secrets(config: &Config) -> MadeUp {
    let mut made_up = MadeUp::default();
    for secret in config.vips.iter().filter_map(|v| v.auth_pass.as_ref()).map(|p| &p.value).chain(&config.key) {
        match secret {
            Secret::Literal(_) => {}
            Secret::Env(name) => made_up.env.push(name.clone()),
            Secret::File(path) => made_up.files.push(path.into()),
            Secret::Credential(name) => made_up.credentials.push(name.clone()),
        }
    }
    made_up
}

/// The prefix that networks of people have.
fn usual(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

/// No network but a single address, or two ends of a cable.
fn is_single(network: Cidr) -> bool {
    network.prefix() + 1 >= if network.family() == Family::V4 { 32 } else { 128 }
}

/// An address by itself.
fn alone(address: IpAddr) -> Option<Cidr> {
    Cidr::new(address, if address.is_ipv4() { 32 } else { 128 }).ok()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or_default())),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The bits of a host's number in its network.
fn mask(family: Family, prefix: u8) -> u128 {
    let bits = if family == Family::V4 { 32 } else { 128 };
    match bits - u32::from(prefix) {
        128 => u128::MAX,
        hosts => (1 << hosts) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::{Source, parse};

    fn lay(text: &str) -> Result<Topology, TopologyError> {
        let parsed = parse(&[Source { name: "ha.kdl".into(), text: text.into() }]);
        lay_out(&parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)))
    }

    fn show(links: &[Link]) -> Vec<String> {
        links.iter().flat_map(|l| l.addresses.iter().map(|a| format!("{} {} {a}", l.segment, l.interface))).collect()
    }

    const PAIR: &str = r#"
        cluster "c"
        peer "a" address="192.0.2.11"
        peer "b" address="192.0.2.12" { interface "wlp3s0"; }
        check "local" { tcp "127.0.0.1:6443"; }
        check "far" { tcp "198.51.100.9:80"; }
        vip "v" { address "192.0.2.50/24"; interface "eth0"; vrid 1; priority a=150 b=100; track "local"; track "far"; }
        service "s" {
            listen vip="v" port=80
            backend "a" port=8080
            backend "db" "198.51.100.1:5432"
            probe { http "/health" expect=204 port=8008; }
        }"#;

    #[test]
    fn peers_stand_on_the_segment_of_their_vip_with_their_own_name_for_it() {
        let topology = lay(PAIR).unwrap();
        assert_eq!(topology.segments, ["eth0"]);
        assert_eq!(show(&topology.machines[0].links), ["0 eth0 192.0.2.11/24"]);
        assert_eq!(show(&topology.machines[1].links), ["0 wlp3s0 192.0.2.12/24"]);
        assert_eq!(topology.sources.len(), CLIENTS);
        assert_eq!(topology.sources[0], Ipv4Addr::new(192, 0, 2, 254));
    }

    #[test]
    fn a_vip_of_both_families_has_a_client_of_both() {
        let parsed = parse(&[Source { name: "ha.kdl".into(), text: PAIR.into() }]);
        let mut config = parsed.config.unwrap();
        let mut address = config.vips[0].addresses[0].clone();
        address.value = "2001:db8::50/64".parse().unwrap();
        config.vips[0].addresses.push(address);
        config.peers[0].second = Some("2001:db8::11".parse().unwrap());
        let topology = lay_out(&config).unwrap();
        assert_eq!(show(&topology.machines[0].links), ["0 eth0 192.0.2.11/24", "0 eth0 2001:db8::11/64"]);
        assert_eq!(show(&topology.machines[1].links), ["0 wlp3s0 192.0.2.12/24"]);
        let client = show(&topology.client);
        assert_eq!(
            (client.len(), client.last().unwrap().as_str()),
            (CLIENTS + 1, "0 eth0 2001:db8::ffff:ffff:ffff:fffe/64")
        );
        assert_eq!(topology.vips[0].1, ["192.0.2.50".parse::<IpAddr>().unwrap(), "2001:db8::50".parse().unwrap()]);
        let db = topology.machines.iter().find(|m| m.name == "db").unwrap();
        let far: Vec<String> = far_networks(&topology, &db.links).iter().map(ToString::to_string).collect();
        assert_eq!(far, ["192.0.2.0/24", "192.0.2.50/32", "2001:db8::/64", "2001:db8::50/128"]);
    }

    #[test]
    fn what_the_file_points_at_is_a_machine_that_answers_as_expected() {
        let topology = lay(PAIR).unwrap();
        let hosts: Vec<&str> = topology.machines.iter().filter(|m| !m.is_peer).map(|m| m.name.as_str()).collect();
        assert_eq!(hosts, ["db", "198.51.100.9"]);
        let serve = |name: &str| {
            let machine = topology.machines.iter().find(|m| m.name == name).unwrap();
            machine.serve.iter().map(|l| format!("{} {}", l.at, l.status)).collect::<Vec<_>>()
        };
        assert_eq!(serve("db"), ["198.51.100.1:5432 200", "198.51.100.1:8008 204"]);
        assert_eq!(serve("a"), ["127.0.0.1:6443 200", "192.0.2.11:8008 204", "192.0.2.11:8080 200"]);
        assert_eq!(serve("198.51.100.9"), ["198.51.100.9:80 200"]);
    }

    #[test]
    fn networks_that_are_not_a_machines_own_are_reached_over_its_first_link() {
        let topology = lay(PAIR).unwrap();
        let far = |links: &[Link]| far_networks(&topology, links).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(far(&topology.machines[0].links), ["198.51.100.0/24"]);
        let db = topology.machines.iter().find(|m| m.name == "db").unwrap();
        assert_eq!(far(&db.links), ["192.0.2.0/24", "192.0.2.50/32"]);
    }

    #[test]
    fn a_network_without_a_free_address_has_no_room_for_a_client() {
        let peers: String = (1..=5).map(|n| format!("peer \"p{n}\" address=\"192.0.2.{n}\"\n")).collect();
        let vip = r#"vip "v" { address "192.0.2.6/29"; interface "eth0"; vrid 1; priority p1=150 p2=100; }"#;
        let text = format!("cluster \"c\"\n{peers}{vip}");
        assert_eq!(lay(&text), Err(TopologyError::NoRoom("v".into())));
    }
}
