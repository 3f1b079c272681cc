//! Any inputs in any order at any times: the router neither panics nor spins, and what it asks for is bounded.
#![no_main]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Arbitrary, Error, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use model::config::{Announce, Checksum, Preempt, Version};
use model::desired::Reach;
use model::units::{Centiseconds, Cidr, Family, InterfaceName, Moment, Priority, Vrid};
use model::vrrp::packet::{Advert, Auth, Body, encode, group};
use model::vrrp::{Input, LinkState, Password, Received, Router, Settings};

/// Inputs of one run.
const INPUTS: usize = 200;

/// Effects of one input for one virtual router, as the simulator has it.
const EFFECTS: usize = 24;

fn from<T, E>(value: std::result::Result<T, E>) -> Result<T> {
    value.map_err(|_| Error::IncorrectFormat)
}

fn interface(u: &mut Unstructured) -> Result<InterfaceName> {
    from(u.choose(&["eth0", "eth1", "v4-1"])?.parse())
}

fn family(u: &mut Unstructured) -> Result<Family> {
    Ok(*u.choose(&[Family::V4, Family::V6])?)
}

fn address(u: &mut Unstructured, family: Family) -> Result<IpAddr> {
    let last = u.int_in_range(1..=4)?;
    Ok(match family {
        Family::V4 => IpAddr::from([192, 0, 2, last]),
        Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]),
    })
}

fn cidr(u: &mut Unstructured, family: Family) -> Result<Cidr> {
    from(Cidr::new(address(u, family)?, 24))
}

fn settings(u: &mut Unstructured) -> Result<Settings> {
    let family = family(u)?;
    let addresses = (0..u.int_in_range(0..=3)?).map(|_| cidr(u, family)).collect::<Result<_>>()?;
    let unicast = Reach::Unicast { local: address(u, family)?, peers: vec![address(u, family)?] };
    let delay = Duration::from_millis(u.int_in_range(0..=20_000)?);
    let tracks = [vec![], vec![("a".to_owned(), None)], vec![("a".to_owned(), Some(-60)), ("b".to_owned(), None)]];
    Ok(Settings {
        name: format!("vip{}", u.int_in_range(0..=2)?),
        family,
        group: Some("g".to_owned()).filter(|_| u.arbitrary().unwrap_or(false)),
        interface: interface(u)?,
        virtual_mac: Some(from("v4-1".parse())?).filter(|_| u.arbitrary().unwrap_or(false)),
        vrid: from(Vrid::try_from(u.int_in_range(1..=3)?))?,
        priority: from(Priority::try_from(u.int_in_range(1..=255)?))?,
        addresses,
        reach: if u.arbitrary()? { unicast } else { Reach::Multicast },
        version: if family == Family::V4 && u.arbitrary()? { Version::V2 } else { Version::V3 },
        advertise: from(Centiseconds::try_from(u.int_in_range(1..=500)?))?,
        preempt: *u.choose(&[Preempt::Never, Preempt::Immediately, Preempt::After(delay)])?,
        password: Password::new("s3cret").filter(|_| u.arbitrary().unwrap_or(false)),
        checksum: *u.choose(&[Checksum::PseudoHeader, Checksum::Message])?,
        track: u.choose(&tracks)?.clone(),
        routes: vec![],
        accept: u.arbitrary()?,
        start_delay: if u.arbitrary()? { delay } else { Duration::ZERO },
        announce: Announce { again: delay, every: u.arbitrary::<bool>()?.then_some(delay.max(Duration::from_secs(1))) },
    })
}

fn packet(u: &mut Unstructured) -> Result<Received> {
    let family = family(u)?;
    let (source, destination) = (address(u, family)?, group(family));
    let interval = from(Centiseconds::try_from(u.int_in_range(1..=500)?))?;
    let body = match u.arbitrary()? {
        true => Body::V2 { seconds: u.arbitrary()?, auth: Auth::None },
        false => Body::V3 { interval },
    };
    let vrid = from(Vrid::try_from(u.int_in_range(1..=3)?))?;
    let advert = Advert { vrid, priority: u.arbitrary()?, body, addresses: vec![address(u, family)?] };
    let message = match u.int_in_range(0..=9)? {
        0 => u.arbitrary()?,
        _ => encode(&advert, Checksum::PseudoHeader, source, destination),
    };
    Ok(Received { interface: interface(u)?, source, destination, ttl: if u.ratio(9, 10)? { 255 } else { 1 }, message })
}

fn link(u: &mut Unstructured) -> Result<LinkState> {
    let primary = u.arbitrary::<bool>()?.then(|| [192, 0, 2, 1].into());
    let link_local = u.arbitrary::<bool>()?.then(|| [0xfe80, 0, 0, 0, 0, 0, 0, 1].into());
    Ok(u.choose(&[LinkState::Up { primary, link_local }, LinkState::Down, LinkState::Absent])?.clone())
}

fn vip(u: &mut Unstructured) -> Result<String> {
    Ok(format!("vip{}", u.int_in_range(0..=3)?))
}

fn check(u: &mut Unstructured) -> Result<String> {
    Ok(u.choose(&["a", "b"])?.to_string())
}

fn input(u: &mut Unstructured) -> Result<Input> {
    Ok(match u.int_in_range(0..=15)? {
        0..=3 => Input::Tick,
        4..=7 => Input::Packet(packet(u)?),
        8 => Input::Link { interface: interface(u)?, state: link(u)? },
        9 => Input::Check { name: check(u)?, up: u.arbitrary()? },
        10 => Input::Weight { name: check(u)?, weight: u.arbitrary()? },
        11 => Input::AddressLost {
            interface: interface(u)?,
            cidr: {
                let f = family(u)?;
                cidr(u, f)?
            },
        },
        12 => Input::Foreign {
            interface: interface(u)?,
            addresses: BTreeSet::from([{
                let f = family(u)?;
                cidr(u, f)?
            }]),
        },
        13 => {
            let result = u.arbitrary::<bool>()?.then_some(()).ok_or_else(|| "no".to_owned());
            Input::Done { vip: vip(u)?, family: family(u)?, result }
        }
        14 => match u.int_in_range(0..=3)? {
            0 => Input::Announced {
                interface: interface(u)?,
                address: {
                    let f = family(u)?;
                    address(u, f)?
                },
            },
            1 => Input::Drain(BTreeSet::from([vip(u)?])),
            2 => Input::StepDown { vip: vip(u)? },
            _ => Input::Stop,
        },
        _ => Input::Reload((0..u.int_in_range(0..=4)?).map(|_| settings(u)).collect::<Result<_>>()?),
    })
}

#[derive(Debug)]
struct Life {
    first: Vec<Settings>,
    inputs: Vec<(u64, Input)>,
}

impl<'a> Arbitrary<'a> for Life {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let first = (0..u.int_in_range(0..=4)?).map(|_| settings(u)).collect::<Result<_>>()?;
        let mut inputs = Vec::new();
        while inputs.len() < INPUTS && !u.is_empty() {
            inputs.push((u.int_in_range(0..=8_000_000_000)?, input(u)?));
        }
        Ok(Life { first, inputs })
    }
}

fuzz_target!(|life: Life| {
    let mut routers = life.first.len();
    let mut router = Router::new(life.first);
    let mut now = Moment(0);
    for (later, input) in life.inputs {
        now = now + Duration::from_nanos(later);
        let before = routers;
        if let Input::Reload(new) = &input {
            routers = new.len();
        }
        let effects = router.handle(now, input);
        assert!(effects.len() <= EFFECTS * before.max(routers).max(1), "{} effects", effects.len());
        router.handle(now, Input::Tick);
        assert!(router.deadline().is_none_or(|at| at > now), "a deadline must lie ahead");
    }
});
