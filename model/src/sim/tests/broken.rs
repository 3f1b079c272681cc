//! Each property of the simulator, proved able to fail: routers and clusters that are broken on purpose.

use super::*;
use crate::sim::draw::Cluster;
use crate::sim::scenario::Scenario;
use crate::sim::{exam, invariants};
use crate::vrrp::packet;
use crate::vrrp::{Effect, Event, Input, Received, Router, VipState};

type Saboteur = fn(usize, &Input, &mut Vec<Effect>);
type Meddler = fn(&str, &mut World);

/// Seeds that are tried until one breaks the property, or none.
const TRIES: u64 = 400;

/// A router that does this to its effects is found out, by the name of the property that it breaks.
fn is_found_out(property: &str, saboteur: Saboteur) {
    let mut found = (0..TRIES).filter_map(|seed| Scenario::of(seed).sabotaged(saboteur).play().violation);
    assert!(found.any(|what| what.contains(property)), "nobody noticed");
}

/// A cluster to which this happens at a stage of its exam fails it.
fn is_failed(property: &str, meddler: Meddler) {
    let mut found = (0..TRIES).filter_map(|seed| Scenario::of(seed).meddled(meddler).play().violation);
    assert!(found.any(|what| what.contains(property)), "nobody noticed");
}

impl Scenario {
    fn of(seed: u64) -> Scenario {
        let mut rng = Rng::new(seed);
        let cluster = Cluster::draw(&mut rng);
        let world = World::new(cluster.nodes(), Rng::new(!seed));
        Scenario { world, cluster, meddler: None }
    }

    fn sabotaged(mut self, saboteur: Saboteur) -> Self {
        self.world.saboteur = Some(saboteur);
        self
    }

    fn meddled(mut self, meddler: Meddler) -> Self {
        self.meddler = Some(meddler);
        self
    }

    /// Days of which one has a misfortune that every property can show itself at, and the exam.
    fn play(mut self) -> World {
        self.begin(vec![]);
        self.world
    }
}

fn is_advert(effect: &Effect) -> bool {
    matches!(effect, Effect::Advert { .. })
}

#[test]
fn a_router_that_does_not_release_is_found_out() {
    is_found_out(invariants::HELD, |_, _, effects| effects.retain(|e| !matches!(e, Effect::Release { .. })));
}

#[test]
fn a_router_that_does_not_hold_is_found_out() {
    is_found_out(invariants::HELD, |_, _, effects| effects.retain(|e| !matches!(e, Effect::Hold { .. })));
}

#[test]
fn a_router_that_announces_what_does_not_stand_is_found_out() {
    is_found_out(invariants::ANNOUNCED, |_, _, effects| {
        let early = effects.iter().find_map(|effect| match effect {
            Effect::Hold { vip, family, interface, virtual_mac, addresses, .. } => Some(Effect::Announce {
                vip: vip.clone(),
                family: *family,
                interface: interface.clone(),
                virtual_mac: virtual_mac.clone(),
                addresses: addresses.clone(),
            }),
            _ => None,
        });
        if let Some(early) = early {
            effects.insert(0, early);
        }
    });
}

#[test]
fn a_router_that_advertises_as_backup_is_found_out() {
    is_found_out(invariants::SILENCE, |_, _, effects| {
        // What a master says when it becomes one, before it is one.
        let to_backup = |e: &Effect| matches!(e, Effect::Event(Event::State { to: VipState::Backup, .. }));
        if effects.iter().any(to_backup) {
            let settings = super::machine("n0", 11, 150).settings.remove(0);
            let vrid = settings.vrid;
            let body = packet::Body::V3 { interval: settings.advertise };
            let advert = packet::Advert { vrid, priority: 100, body, addresses: settings.listed() };
            let (source, to) = ([192, 0, 2, 11].into(), packet::GROUP.into());
            let message = packet::encode(&advert, settings.checksum, source, to);
            let interface = settings.interface;
            effects.push(Effect::Advert { interface, virtual_mac: None, source, destinations: vec![to], message });
        }
    });
}

/// Changes a byte of every advert and puts the checksum right again.
fn change_adverts(effects: &mut [Effect], change: fn(&mut packet::Advert)) {
    for effect in effects {
        let Effect::Advert { source, destinations, message, .. } = effect else { continue };
        let mut advert = packet::decode(message, *source, destinations[0]).unwrap();
        change(&mut advert);
        *message = packet::encode(&advert, Checksum::PseudoHeader, *source, destinations[0]);
    }
}

#[test]
fn a_router_that_says_goodbye_and_stays_is_found_out() {
    is_found_out(invariants::GOODBYE, |_, _, effects| change_adverts(effects, |advert| advert.priority = 0));
}

#[test]
fn a_router_that_advertises_another_priority_than_its_own_is_found_out() {
    is_found_out(invariants::TRUTH, |_, _, effects| change_adverts(effects, |advert| advert.priority += 1));
}

#[test]
fn a_router_that_advertises_half_of_its_addresses_is_found_out() {
    is_found_out(invariants::TRUTH, |_, _, effects| change_adverts(effects, |advert| advert.addresses.truncate(1)));
}

#[test]
fn a_router_that_asks_for_too_much_at_once_is_found_out() {
    is_found_out(invariants::BOUNDED, |_, _, effects| {
        if let Some(effect) = effects.iter().find(|e| is_advert(e)).cloned() {
            effects.extend(vec![effect; 200]);
        }
    });
}

/// A machine and one step of it, to be changed: what is judged, and by what name it is found wanting.
fn judged(input: Input, change: fn(&mut invariants::Step)) -> String {
    let mut node = super::machine("n0", 11, 150);
    node.start();
    let mut now = Moment(0);
    while node.last.iter().all(|s| s.state != VipState::Master) {
        let router = node.router.as_mut().unwrap();
        let next = node.inbox.pop_front();
        if next.is_none() {
            now = router.deadline().unwrap();
        }
        router.handle(now, next.unwrap_or(Input::Tick));
        node.last = router.status();
    }
    let (old, before) = (node.settings.clone(), node.last.clone());
    node.held = before.iter().flat_map(|s| s.addresses.iter().map(|a| (s.vip.clone(), *a))).collect();
    let router = node.router.as_mut().unwrap();
    let effects = router.handle(now, input.clone());
    let after = router.status();
    let (input, effects) = (&input, &effects[..]);
    let (old, before, after) = (&old[..], &before[..], &after[..]);
    let mut step = invariants::Step { node: &node, now, input, effects, old, before, after };
    change(&mut step);
    step.check().unwrap_err()
}

fn better_advert() -> Input {
    let settings = super::machine("n1", 12, 200).settings.remove(0);
    let body = packet::Body::V3 { interval: settings.advertise };
    let advert = packet::Advert { vrid: settings.vrid, priority: 200, body, addresses: settings.listed() };
    let (source, destination) = ([192, 0, 2, 12].into(), packet::GROUP.into());
    let message = packet::encode(&advert, settings.checksum, source, destination);
    Input::Packet(Received { interface: settings.interface, source, destination, ttl: 255, message })
}

#[test]
fn a_master_that_stays_over_a_better_advert_is_found_out() {
    let words = judged(better_advert(), |step| {
        let mut stubborn = step.before.to_vec();
        stubborn[0].received += 1;
        step.after = stubborn.leak();
        step.effects = &[];
    });
    assert!(words.starts_with(invariants::BETTER), "{words}");
}

#[test]
fn a_deadline_that_does_not_lie_ahead_is_found_out() {
    let words = judged(Input::Tick, |step| step.now = Moment(u64::MAX));
    assert!(words.starts_with(invariants::AHEAD), "{words}");
}

#[test]
fn a_backup_with_an_address_of_somebody_elses_is_found_out() {
    let words = judged(Input::Tick, |step| {
        let told = step.before[0].addresses.iter().map(|a| (step.before[0].interface.clone(), *a)).collect();
        let node = Node { told, router: None, ..super::machine("n0", 11, 150) };
        step.node = Box::leak(Box::new(node));
        step.effects = &[];
    });
    assert!(words.starts_with(invariants::FOREIGN), "{words}");
}

#[test]
fn one_that_preempts_soon_after_a_refusal_is_found_out() {
    let words = judged(Input::Tick, |step| {
        let refused = [("ui".to_owned(), (1, step.now))].into();
        step.node = Box::leak(Box::new(Node { refused, router: None, ..super::machine("n0", 11, 150) }));
        let mut before = step.before.to_vec();
        before[0].state = VipState::Backup;
        before[0].masters = [(Family::V4, ([192, 0, 2, 12].into(), 90, step.now))].into();
        step.before = before.leak();
        step.effects = &[];
    });
    assert!(words.starts_with(invariants::FORBEARING), "{words}");
}

#[test]
fn members_that_are_seen_apart_are_found_out() {
    // Two vips of one group, of which the router was not told.
    let words = judged(Input::Tick, |step| {
        let alone = super::machine("n0", 11, 150).settings.remove(0);
        let other = Settings { name: "other".into(), interface: "eth1".parse().unwrap(), ..alone.clone() };
        let mut router = Router::new(vec![alone, other]);
        let up = || crate::vrrp::LinkState::Up { primary: Some([192, 0, 2, 11].into()), link_local: None };
        router.handle(Moment(0), Input::Link { interface: "eth0".parse().unwrap(), state: up() });
        router.pretend_to_be_one_group();
        step.node = Box::leak(Box::new(Node { router: Some(router), ..super::machine("n0", 11, 150) }));
        step.effects = &[];
        step.now = Moment(0);
    });
    assert!(words.starts_with(invariants::TOGETHER), "{words}");
}

#[test]
fn an_address_that_was_never_announced_is_found_out() {
    let mut node = super::machine("n0", 11, 150);
    node.start();
    let status = node.last[0].clone();
    node.held = status.addresses.iter().map(|a| ("ui".to_owned(), *a)).collect();
    node.last = vec![crate::vrrp::VipStatus { state: VipState::Master, ..status }];
    let words = invariants::check_held(&node).unwrap_err();
    assert!(words.starts_with(invariants::ANNOUNCED), "{words}");
}

#[test]
fn a_cluster_that_stays_apart_fails() {
    is_failed(exam::ONE, |stage, world| {
        if stage == "healing" {
            (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).for_each(|(a, b)| world.act(Action::Cut(a, b)));
        }
    });
}

#[test]
fn a_cluster_whose_best_machine_dies_unseen_fails() {
    is_failed(exam::HIGHEST, |stage, world| {
        if stage == "healing" {
            let best = world.nodes[0].file.clone();
            let worse = best.into_iter().map(|s| Settings { priority: 1.try_into().unwrap(), ..s }).collect();
            world.act(Action::Node(0, Fate::Reload(worse)));
        }
    });
}

#[test]
fn a_cluster_whose_incumbent_is_displaced_fails() {
    is_failed(exam::INCUMBENT, |stage, world| {
        if stage == "the dead came back" {
            for vip in ["vip0", "vip1", "vip2"] {
                let holder = world.masters(vip).first().copied();
                holder.into_iter().for_each(|n| world.act(Action::Node(n, Fate::StepDown(vip.into()))));
            }
            let end = world.now + Duration::from_secs(30);
            world.run_until(end);
        }
    });
}

#[test]
fn a_cluster_in_which_nobody_follows_a_crash_fails() {
    is_failed(exam::CRASH, |stage, world| {
        if stage == exam::CRASH {
            (0..world.nodes.len()).for_each(|n| world.act(Action::Node(n, Fate::Crash)));
        }
    });
}

#[test]
fn a_cluster_in_which_nobody_follows_a_stop_fails() {
    is_failed(exam::STOP, |stage, world| {
        if stage == exam::STOP {
            (0..world.nodes.len()).for_each(|n| world.act(Action::Node(n, Fate::Crash)));
        }
    });
}

#[test]
fn a_cluster_that_loses_more_than_two_adverts_fails() {
    is_failed(exam::LOSS, |stage, world| {
        if stage == "two adverts are lost" {
            let end = world.now + Duration::from_secs(10);
            world.run_until(end);
        }
    });
}

#[test]
fn a_cluster_with_a_transition_fails() {
    is_failed(exam::QUIET, |stage, world| {
        if stage == "healed" {
            let down = |n| Action::Node(n, Fate::Link("eth0".parse().unwrap(), false));
            world.masters("vip0").into_iter().for_each(|n| world.act(down(n)));
        }
    });
}

#[test]
fn a_cluster_that_moves_more_than_twice_for_one_check_fails() {
    is_failed(exam::ONCE, |stage, world| {
        if stage == "a check has failed" {
            for _ in 0..2 {
                let holder = world.masters("vip0").first().copied();
                let Some(n) = holder else { return };
                for up in [false, true] {
                    world.act(Action::Node(n, Fate::Link("eth0".parse().unwrap(), up)));
                    let end = world.now + Duration::from_secs(40);
                    world.run_until(end);
                }
            }
        }
    });
}

#[test]
fn a_cluster_with_an_address_left_over_fails() {
    is_failed(exam::CLEAN, |stage, world| {
        if stage == "healed" {
            let vip = world.nodes[0].file[0].clone();
            world.nodes[0].stuck.insert((vip.name, vip.addresses[0]));
        }
    });
}
