//! What a seed stands for: a cluster in its good days.

use std::net::IpAddr;
use std::time::Duration;

use super::node::{Known, Node};
use super::rng::Rng;
use super::truth;
use crate::config::{Announce, Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Priority, Vrid};
use crate::vrrp::{Password, Settings};

/// Machines of a drawn cluster, at most: enough for a majority to be wrong.
const MACHINES: u64 = 3;

/// Its vips, at most: enough for one to disturb another.
const VIPS: u64 = 3;

/// What a drawn vip may track: a check without and with a weight, a file, and several together.
const TRACKS: [&[(&str, Option<i16>)]; 5] = [
    &[("check", None)],
    &[("check", Some(-60))],
    &[("file", None)],
    &[("check", Some(-60)), ("file", None)],
    &[("check", None), ("other", Some(20))],
];

/// The checks that they name, but for the file.
pub(super) const CHECKS: [&str; 2] = ["check", "other"];

/// A cluster in its good days.
#[derive(Debug)]
pub(super) struct Cluster {
    /// What each machine's file says when nobody is playing with it.
    pub(super) files: Vec<Vec<Settings>>,
    /// How much each machine's clock runs fast, in parts per million.
    drifts: Vec<i64>,
    /// Whether its IPv6 addresses are in the reverse order of its IPv4 addresses.
    reversed: bool,
    /// Members of some vip have one priority.
    pub(super) equals: bool,
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
}

/// What all vips of a cluster have in common.
struct Common {
    hundredths: u16,
    unicast: bool,
    grouped: bool,
    apart: bool,
    equals: bool,
}

impl Cluster {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let machines = 2 + rng.index(usize::try_from(MACHINES - 1).unwrap_or(1));
        let common = Common {
            hundredths: rng.pick(1, [10, 100, 100]),
            equals: rng.chance(150),
            unicast: rng.chance(500),
            grouped: rng.chance(300),
            apart: rng.chance(500),
        };
        let mut cluster = Cluster {
            files: vec![Vec::new(); machines],
            drifts: (0..machines).map(|_| i64::try_from(rng.below(401)).unwrap_or(0) - 200).collect(),
            reversed: rng.chance(500),
            equals: common.equals,
            shortest: Duration::MAX,
            longest: Duration::ZERO,
        };
        for vip in 0..1 + rng.below(VIPS) {
            let Some(drawn) = draw_vip(rng, vip, &common) else { continue };
            let interval = drawn.advertise.duration();
            cluster.shortest = cluster.shortest.min(interval);
            cluster.longest = cluster.longest.max(interval);
            let families = families(rng, drawn.version);
            for n in 0..machines {
                cluster.add(&drawn, (n, vip), (families, &common));
            }
        }
        cluster.equals |= cluster.has_ties();
        cluster
    }

    /// A machine's virtual routers of one vip.
    fn add(&mut self, vip: &Settings, (n, nth): (usize, u64), (families, common): (&[Family], &Common)) {
        let machines = self.files.len();
        let place = (n + usize::try_from(nth).unwrap_or(0)) % machines;
        let step = if common.equals { 0 } else { u8::try_from(place * 10).unwrap_or(0) };
        let priority = Priority::try_from(150 - step).unwrap_or(Priority::OWNER);
        for family in families {
            let settings = Settings {
                priority,
                family: *family,
                virtual_mac: vip.virtual_mac.as_ref().and_then(|_| macvlan(*family, vip.vrid)),
                addresses: vip.addresses.iter().filter(|a| a.family() == *family).copied().collect(),
                reach: if common.unicast { self.unicast((n, *family)) } else { Reach::Multicast },
                ..vip.clone()
            };
            if let Some(file) = self.files.get_mut(n) {
                file.push(settings);
            }
        }
    }

    fn unicast(&self, (n, family): (usize, Family)) -> Reach {
        let address = |n| address_of(n, family);
        Reach::Unicast { local: address(n), peers: (0..self.files.len()).filter(|p| *p != n).map(address).collect() }
    }

    /// Whether two machines have the same priority for a vip: as members of groups they speak with the least of theirs.
    fn has_ties(&self) -> bool {
        let base = |nth: usize, file: &Vec<Settings>| file.get(nth).map(|s| truth::base(file, s));
        let vips = self.files.first().map_or(0, Vec::len);
        (0..vips).any(|nth| {
            let mut priorities: Vec<_> = self.files.iter().filter_map(|file| base(nth, file)).collect();
            priorities.sort_unstable();
            priorities.windows(2).any(|pair| pair.first() == pair.last())
        })
    }

    /// Its machines, off.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let machines = self.files.len();
        let node = |(n, (file, drift)): (usize, (&Vec<Settings>, &i64))| {
            let link_local = if self.reversed { machines - n } else { n };
            let local = [0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(link_local).unwrap_or(0) + 1].into();
            let addresses = vec![address_of(n, Family::V4), address_of(n, Family::V6), local];
            let mut node = Node::new(&format!("n{n}"), addresses, file.clone());
            node.drift = *drift;
            node.checks.extend(CHECKS.map(|check| (check.to_owned(), Known::Up(true))));
            node.checks.insert("file".into(), Known::Number(0));
            node
        };
        self.files.iter().zip(&self.drifts).enumerate().map(node).collect()
    }

    /// Interfaces of its machines.
    pub(super) fn interfaces(&self) -> Vec<InterfaceName> {
        let mut all: Vec<_> = self.files.iter().flatten().map(|s| s.interface.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What all members of a vip have in common; its addresses are of both families.
fn draw_vip(rng: &mut Rng, vip: u64, common: &Common) -> Option<Settings> {
    let hundredths = common.hundredths;
    let version = if hundredths == 100 { rng.pick(Version::V2, [Version::V3]) } else { Version::V3 };
    let advertise = Centiseconds::try_from(hundredths * rng.pick(1, [1, 2])).ok()?;
    let tens = 50 + vip * 10;
    let track = rng.pick(vec![], TRACKS.map(tracks));
    let vrid = Vrid::try_from(51 + u8::try_from(vip).ok()?).ok()?;
    let last = tens + rng.below(2);
    let addresses = (tens..=last).map(|n| format!("192.0.2.{n}/24"));
    let interface = if common.apart && vip == 1 { "eth1" } else { "eth0" };
    Some(Settings {
        name: format!("vip{vip}"),
        family: Family::V4,
        group: Some("g".to_owned()).filter(|_| common.grouped && vip < 2),
        virtual_mac: macvlan(Family::V4, vrid).filter(|_| rng.chance(200)),
        interface: interface.parse().ok()?,
        vrid,
        priority: Priority::OWNER,
        addresses: addresses
            .chain([format!("2001:db8::{tens}/64"), format!("fe80::{tens}/64")])
            .filter_map(|a| a.parse::<Cidr>().ok())
            .collect(),
        reach: Reach::Multicast,
        version,
        advertise,
        preempt: rng.pick(Preempt::Immediately, [Preempt::Never, Preempt::After(advertise.duration() * 5)]),
        password: Password::new("s3cret").filter(|_| version == Version::V2 && rng.chance(500)),
        checksum: rng.pick(Checksum::PseudoHeader, [Checksum::Message]),
        track,
        routes: vec![],
        accept: rng.chance(500),
        start_delay: rng.pick(Duration::ZERO, [Duration::ZERO, Duration::ZERO, advertise.duration() * 2]),
        announce: Announce {
            again: Announce::default().again,
            every: rng.chance(200).then(|| advertise.duration() * 7),
        },
    })
}

/// Version 2 has IPv4 alone.
fn families(rng: &mut Rng, version: Version) -> &'static [Family] {
    match version {
        Version::V2 => &[Family::V4],
        Version::V3 => rng.pick(&[Family::V4][..], [&[Family::V4], &[Family::V6], &[Family::V4, Family::V6]]),
    }
}

fn macvlan(family: Family, vrid: Vrid) -> Option<InterfaceName> {
    let digit = if family == Family::V4 { 4 } else { 6 };
    format!("eth-v{digit}-{vrid}").parse().ok()
}

fn tracks(names: &[(&str, Option<i16>)]) -> Vec<(String, Option<i16>)> {
    names.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

fn address_of(n: usize, family: Family) -> IpAddr {
    let last = 11u8.saturating_add(u8::try_from(n).unwrap_or(0));
    match family {
        Family::V4 => [192, 0, 2, last].into(),
        Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into(),
    }
}
