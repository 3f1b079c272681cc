//! One router against hand-made inputs: each clause a sentence.

mod arbitrary;
mod election;
mod faults;
mod features;
mod groups;
mod handover;
mod hostile;
mod ledger;
mod reload;
mod resume;
mod startup;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::packet::{self, Advert, Auth, Body};
use super::*;
use crate::config::{Announce, Checksum, Preempt, Version};
use crate::desired::Reach;
use crate::units::{Centiseconds, Cidr, Family, InterfaceName, Moment, Priority, Vrid};

pub(super) const OURS: IpAddr = IpAddr::V4(OUR_PRIMARY);
pub(super) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
pub(super) const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OUR_PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub(super) const OURS6: IpAddr = IpAddr::V6(OUR_LINK_LOCAL);
const OUR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11);

pub(super) fn eth0() -> InterfaceName {
    "eth0".parse().unwrap()
}

pub(super) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub(crate) fn settings() -> Settings {
    Settings {
        name: "ui".into(),
        family: Family::V4,
        group: None,
        virtual_mac: None,
        interface: eth0(),
        vrid: Vrid::try_from(51).unwrap(),
        priority: Priority::try_from(100).unwrap(),
        addresses: vec![cidr("192.0.2.50/24")],
        reach: Reach::Multicast,
        version: Version::V3,
        advertise: Centiseconds::try_from(100).unwrap(),
        preempt: Preempt::Immediately,
        password: None,
        checksum: Checksum::PseudoHeader,
        track: vec![],
        routes: vec![],
        accept: true,
        start_delay: Duration::ZERO,
        announce: Announce::default(),
    }
}

/// The same vip's other virtual router.
pub(super) fn six() -> Settings {
    Settings { family: Family::V6, addresses: vec![cidr("2001:db8::50/64")], ..settings() }
}

pub(super) fn ms(n: u64) -> Moment {
    Moment(n * 1_000_000)
}

/// An interface that is up and has our address.
pub(super) fn up() -> LinkState {
    LinkState::Up { primary: Some(OUR_PRIMARY), link_local: None }
}

/// The same with addresses of both families.
pub(super) fn up6() -> LinkState {
    LinkState::Up { primary: Some(OUR_PRIMARY), link_local: Some(OUR_LINK_LOCAL) }
}

/// A router with a clock and a driver that does as it is told.
pub(super) struct Bench {
    pub(super) router: Router,
    pub(super) now: Moment,
    /// What the kernel says to the next Holds.
    pub(super) refuse: Option<String>,
}

impl Bench {
    pub(super) fn new(settings: Vec<Settings>) -> Self {
        Bench { router: Router::new(settings), now: ms(0), refuse: None }
    }

    /// With its link up and addressed.
    pub(super) fn up(settings: Settings) -> Self {
        let mut bench = Bench::new(vec![settings]);
        bench.link_up();
        bench
    }

    /// Up and master, its first effects done.
    pub(super) fn master(settings: Settings) -> Self {
        let mut bench = Bench::up(settings);
        bench.run_until(ms(4_000));
        assert_eq!(bench.state(), VipState::Master);
        bench
    }

    pub(super) fn link_up(&mut self) -> Vec<Effect> {
        self.give(Input::Link { interface: eth0(), state: up() })
    }

    /// Handles one input now and carries its effects out.
    pub(super) fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.router.handle(self.now, input);
        let mut at = 0;
        while let Some(effect) = effects.get(at) {
            let done = match effect {
                Effect::Hold { vip, family, .. } => {
                    Some((vip.clone(), *family, self.refuse.clone().map_or(Ok(()), Err)))
                }
                Effect::Release { vip, family, .. } => Some((vip.clone(), *family, Ok(()))),
                _ => None,
            };
            if let Some((vip, family, result)) = done {
                effects.extend(self.router.handle(self.now, Input::Done { vip, family, result }));
            }
            at += 1;
            assert!(at < 100_000, "effects without end");
        }
        effects
    }

    /// Runs every deadline up to that moment and returns what came of it.
    pub(super) fn run_until(&mut self, end: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(at) = self.router.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            effects.extend(self.give(Input::Tick));
            assert!(self.router.deadline().is_none_or(|next| next > self.now), "a deadline must lie ahead");
        }
        self.now = end;
        effects
    }

    pub(super) fn wait(&mut self, milliseconds: u64) -> Vec<Effect> {
        self.run_until(self.now + Duration::from_millis(milliseconds))
    }

    pub(super) fn hear(&mut self, source: IpAddr, priority: u8) -> Vec<Effect> {
        let settings = settings();
        self.give(Input::Packet(advert_of(&settings, source, priority)))
    }

    /// The successor announces the addresses, and a little time passes.
    pub(super) fn handed_over(&mut self) -> Vec<Effect> {
        for cidr in self.status().addresses {
            self.give(Input::Announced { interface: eth0(), address: cidr.address() });
        }
        self.wait(100)
    }

    pub(super) fn state(&self) -> VipState {
        self.status().state
    }

    pub(super) fn status(&self) -> VipStatus {
        self.router.status().remove(0)
    }
}

/// What a peer with these settings sends.
pub(super) fn advert_of(settings: &Settings, source: IpAddr, priority: u8) -> Received {
    let body = match settings.version {
        Version::V2 => Body::V2 {
            seconds: settings.advertise.whole_seconds().unwrap(),
            auth: settings.password.map_or(Auth::None, Auth::Simple),
        },
        Version::V3 => Body::V3 { interval: settings.advertise },
    };
    let destination = match settings.reach {
        Reach::Multicast => packet::group(settings.family),
        Reach::Unicast { local, .. } => local,
    };
    let advert = Advert { vrid: settings.vrid, priority, body, addresses: settings.listed() };
    let message = packet::encode(&advert, settings.checksum, source, destination);
    Received { interface: settings.interface.clone(), source, destination, ttl: 255, message }
}

/// Effects by kind, adverts with their priority: what order is asserted on.
pub(super) fn kinds(effects: &[Effect]) -> Vec<String> {
    let kind = |effect: &Effect| match effect {
        Effect::Advert { message, .. } => Some(format!("advert {}", message[2])),
        Effect::Hold { addresses, .. } => Some(format!("hold {}", list(addresses))),
        Effect::Release { addresses, .. } => Some(format!("release {}", list(addresses))),
        Effect::Announce { .. } => Some("announce".into()),
        Effect::Event(_) => None,
    };
    effects.iter().filter_map(kind).collect()
}

fn list(addresses: &[Cidr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn events(effects: &[Effect]) -> Vec<&Event> {
    effects.iter().filter_map(|effect| if let Effect::Event(event) = effect { Some(event) } else { None }).collect()
}
