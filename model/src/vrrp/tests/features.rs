//! Start delay, announcements, virtual MAC, routes, accept mode, and more addresses than an advert lists.

use super::*;
use crate::config::Route;

fn macvlan() -> InterfaceName {
    "eth0-v4-51".parse().unwrap()
}

fn route(to: &str) -> Route {
    Route { to: cidr(to), via: None, dev: None, src: None, metric: None, table: None }
}

#[test]
fn a_vip_with_a_start_delay_waits_before_it_takes_part_and_says_so() {
    let mut bench = Bench::new(vec![Settings { start_delay: Duration::from_secs(30), ..settings() }]);
    bench.now = ms(1_000);
    bench.link_up();
    assert_eq!(bench.state(), VipState::Init);
    assert_eq!(bench.status().why.unwrap(), "waits until 30s after the start of hactl");
    bench.hear(PEER, 150);
    assert_eq!(bench.router.deadline(), Some(ms(31_000)));
    bench.run_until(ms(31_000));
    assert_eq!(bench.state(), VipState::Backup);
    bench.wait(4_000);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_vip_that_comes_by_reload_after_the_delay_does_not_wait() {
    let mut bench = Bench::master(settings());
    bench.wait(60_000);
    let late = Settings { start_delay: Duration::from_secs(30), ..settings() };
    let other = Settings { name: "other".into(), vrid: Vrid::MAX, ..late };
    bench.give(Input::Reload(vec![settings(), other]));
    assert_eq!(bench.router.status()[1].state, VipState::Backup);
}

#[test]
fn the_addresses_are_announced_again_after_the_time_configured_and_then_as_often() {
    let announce = Announce { again: Duration::from_secs(2), every: Some(Duration::from_secs(30)) };
    let mut bench = Bench::up(Settings { announce, ..settings() });
    bench.run_until(bench.now + Duration::from_nanos(3_609_375_000));
    let announced = |effects: Vec<Effect>| kinds(&effects).iter().filter(|kind| *kind == "announce").count();
    // One more as soon as a predecessor has surely let go.
    assert_eq!(announced(bench.wait(1_900)), 1);
    assert_eq!(announced(bench.wait(200)), 1);
    assert_eq!(announced(bench.wait(29_000)), 0);
    assert_eq!(announced(bench.wait(300_000)), 10);
}

#[test]
fn with_no_second_announcement_asked_for_there_is_none_after_the_first_seconds() {
    let announce = Announce { again: Duration::ZERO, every: None };
    let mut bench = Bench::master(Settings { announce, ..settings() });
    assert!(!kinds(&bench.wait(60_000)).contains(&"announce".to_owned()));
}

#[test]
fn with_a_virtual_mac_everything_goes_by_its_macvlan() {
    let mut bench = Bench::up(Settings { virtual_mac: Some(macvlan()), ..settings() });
    let effects = bench.wait(4_000);
    let named = effects.iter().filter(|effect| match effect {
        Effect::Advert { virtual_mac, .. }
        | Effect::Hold { virtual_mac, .. }
        | Effect::Announce { virtual_mac, .. } => *virtual_mac == Some(macvlan()),
        _ => false,
    });
    assert_eq!(named.count(), kinds(&effects).len());
    assert_eq!(bench.status().virtual_macs, [macvlan()]);
}

#[test]
fn a_macvlan_that_is_gone_is_fault_until_it_is_there_again() {
    let mut bench = Bench::master(Settings { virtual_mac: Some(macvlan()), ..settings() });
    let link = |state| Input::Link { interface: macvlan(), state };
    let effects = bench.give(link(LinkState::Absent));
    assert_eq!(kinds(&effects), ["advert 0", "release 192.0.2.50/24"]);
    assert!(bench.status().why.unwrap().contains("hactl apply makes it"));
    bench.give(link(LinkState::Down));
    assert_eq!(bench.state(), VipState::Backup, "down is how it waits");
}

#[test]
fn an_address_lost_on_the_macvlan_is_put_back_there() {
    let mut bench = Bench::master(Settings { virtual_mac: Some(macvlan()), ..settings() });
    let effects = bench.give(Input::AddressLost { interface: macvlan(), cidr: cidr("192.0.2.50/24") });
    assert_eq!(kinds(&effects), ["hold 192.0.2.50/24"]);
}

#[test]
fn a_vip_that_changes_to_a_virtual_mac_lets_go_of_the_interface_first() {
    let mut bench = Bench::master(settings());
    let effects = bench.give(Input::Reload(vec![Settings { virtual_mac: Some(macvlan()), ..settings() }]));
    assert_eq!(kinds(&effects), ["advert 0", "release 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn routes_follow_the_addresses_and_a_reload_touches_only_those_that_differ() {
    let (first, second) = (route("203.0.113.0/24"), route("198.18.0.0/15"));
    let routes = vec![first.clone()];
    let mut bench = Bench::up(Settings { routes: routes.clone(), ..settings() });
    let held = |effects: &[Effect]| {
        let routes =
            |effect: &Effect| if let Effect::Hold { routes, .. } = effect { Some(routes.clone()) } else { None };
        effects.iter().find_map(routes)
    };
    assert_eq!(held(&bench.wait(4_000)), Some(routes));
    let effects = bench.give(Input::Reload(vec![Settings { routes: vec![second.clone()], ..settings() }]));
    let released = effects.iter().find_map(|effect| match effect {
        Effect::Release { addresses, routes, .. } => Some((addresses.len(), routes.clone())),
        _ => None,
    });
    assert_eq!(released, Some((0, vec![first])));
    assert_eq!(held(&effects), Some(vec![second]));
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn whether_packets_are_accepted_is_said_when_the_addresses_are_held() {
    let accepts = |effects: &[Effect]| {
        let accept = |effect: &Effect| if let Effect::Hold { accept, .. } = effect { Some(*accept) } else { None };
        effects.iter().find_map(accept)
    };
    let deaf = Settings { accept: false, ..settings() };
    let mut bench = Bench::up(deaf.clone());
    assert_eq!(accepts(&bench.wait(4_000)), Some(false));
    assert_eq!(accepts(&bench.give(Input::Reload(vec![settings()]))), Some(true));
    // RFC 9568 §6.1: the owner always accepts.
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, ..deaf }]);
    assert_eq!(accepts(&bench.link_up()), Some(true));
}

#[test]
fn more_addresses_than_an_advert_lists_are_held_all_and_the_first_are_listed() {
    let addresses: Vec<Cidr> = (0..300).map(|n| cidr(&format!("10.0.{}.{}/16", n / 250, n % 250))).collect();
    let mut bench = Bench::new(vec![Settings { addresses: addresses.clone(), ..settings() }]);
    let effects = bench.link_up();
    let what =
        "an advert lists 255 addresses of IPv4; the other 45, 10.0.1.5/16 to 10.0.1.49/16, are held and not listed";
    assert_eq!(events(&effects)[0], &Event::Warning { vip: "ui".into(), what: what.into() });
    let effects = bench.wait(4_000);
    let Some(Effect::Advert { source, destinations, message, .. }) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(packet::decode(message, *source, destinations[0]).unwrap().addresses.len(), 255);
    assert!(effects.iter().any(|e| matches!(e, Effect::Hold { addresses: held, .. } if *held == addresses)));
    assert_eq!(bench.status().unlisted, addresses[255..]);
    // What a peer with the same list sends is no other list.
    let same = Settings { addresses, ..settings() };
    bench.give(Input::Packet(advert_of(&same, PEER, 50)));
    assert!(bench.status().anomalies.iter().all(|a| a.kind != Oddity::Addresses));
}

#[test]
fn an_advert_of_ipv6_is_never_longer_than_every_link_carries() {
    let addresses: Vec<Cidr> = (0..100).map(|n| cidr(&format!("2001:db8::{n:x}/64"))).collect();
    let settings = Settings { addresses, ..six() };
    let advert = advert_of(&settings, OURS6, 100);
    assert!(advert.message.len() + 40 <= 1280);
    assert_eq!(settings.listed().len(), packet::MAX_ADDRESSES_V6);
}

#[test]
fn a_vip_without_address_moves_by_adverts_that_list_none() {
    let elastic = Settings { addresses: vec![], ..settings() };
    let mut bench = Bench::up(elastic.clone());
    bench.give(Input::Packet(advert_of(&elastic, PEER, 150)));
    assert_eq!((bench.status().received, bench.state()), (1, VipState::Backup));
    bench.wait(4_000);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_start_delay_that_is_over_when_a_vip_comes_is_no_deadline_and_nothing_begins_after_the_end() {
    let late = Settings { start_delay: Duration::from_secs(2), ..settings() };
    let mut bench = Bench::up(late.clone());
    bench.wait(1_000);
    bench.give(Input::Stop);
    bench.wait(10_000);
    assert_eq!(bench.state(), VipState::Init);
    let mut bench = Bench::master(settings());
    bench.give(Input::Reload(vec![Settings { vrid: Vrid::MAX, ..late }]));
    assert_eq!(bench.state(), VipState::Backup);
    assert!(bench.router.deadline().is_some_and(|at| at > bench.now));
}

#[test]
fn whoever_is_undrained_waits_no_longer_than_a_down_interval() {
    let fast = Settings { advertise: Centiseconds::try_from(1).unwrap(), ..settings() };
    let mut bench = Bench::up(fast);
    bench.wait(100);
    bench.give(Input::Drain(["ui".to_owned()].into()));
    assert_eq!(bench.state(), VipState::Backup);
    bench.give(Input::Drain([].into()));
    assert!(bench.router.deadline().unwrap() <= bench.now + Duration::from_millis(40));
}
