//! Virtual routers that change state together.

use super::*;

const PEER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12));
const LOWER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// A vip with an address of each family.
fn dual() -> Vec<Settings> {
    vec![settings(), six()]
}

/// Two vips on two interfaces, inside first, in one group.
fn gateway() -> Vec<Settings> {
    let member = |name: &str, interface: &str, vrid: u8, address: &str| Settings {
        name: name.into(),
        group: Some("gateway".into()),
        interface: interface.parse().unwrap(),
        vrid: Vrid::try_from(vrid).unwrap(),
        addresses: vec![cidr(address)],
        ..settings()
    };
    vec![member("inside", "eth0", 51, "192.0.2.50/24"), member("outside", "eth1", 52, "198.51.100.50/24")]
}

fn link(bench: &mut Bench, interface: &str, state: LinkState) -> Vec<Effect> {
    bench.give(Input::Link { interface: interface.parse().unwrap(), state })
}

fn up_with(settings: Vec<Settings>) -> Bench {
    let mut bench = Bench::new(settings);
    link(&mut bench, "eth0", up6());
    link(&mut bench, "eth1", up6());
    bench
}

fn masters(settings: Vec<Settings>) -> Bench {
    let mut bench = up_with(settings);
    bench.wait(4_000);
    assert!(states(&bench).iter().all(|s| *s == VipState::Master), "{:?}", bench.router.status());
    bench
}

fn states(bench: &Bench) -> Vec<VipState> {
    bench.router.status().iter().map(|s| s.state).collect()
}

fn hear(bench: &mut Bench, of: &Settings, (source, priority): (IpAddr, u8)) -> Vec<Effect> {
    bench.give(Input::Packet(advert_of(of, source, priority)))
}

/// Vip, from and to of each event.
fn told(effects: &[Effect]) -> Vec<(String, VipState, VipState)> {
    let state = |event: &&Event| match event {
        Event::State { vip, from, to, .. } => Some((vip.clone(), *from, *to)),
        _ => None,
    };
    events(effects).iter().filter_map(state).collect()
}

fn why(effects: &[Effect], of: &str) -> String {
    let why = |event: &&Event| match event {
        Event::State { vip, why, .. } if vip == of => Some(why.clone()),
        _ => None,
    };
    events(effects).iter().find_map(why).unwrap()
}

#[test]
fn both_families_of_a_vip_become_master_in_one_turn_and_one_event_tells_of_it() {
    let mut bench = up_with(dual());
    let effects = bench.wait(3_700);
    assert_eq!(kinds(&effects), ["advert 100", "hold 192.0.2.50/24", "advert 100", "hold 2001:db8::50/64"]);
    assert_eq!(told(&effects), [("ui".into(), VipState::Backup, VipState::Master)]);
}

#[test]
fn status_has_one_row_for_both_families_with_the_master_that_each_hears() {
    let mut bench = up_with(dual());
    hear(&mut bench, &settings(), (PEER, 150));
    hear(&mut bench, &six(), (PEER6, 140));
    let [row] = &bench.router.status()[..] else { panic!("two rows") };
    assert_eq!(row.addresses, [cidr("192.0.2.50/24"), cidr("2001:db8::50/64")]);
    assert_eq!(row.masters[&Family::V4], (PEER, 150, bench.now));
    assert_eq!(row.masters[&Family::V6], (PEER6, 140, bench.now));
    assert_eq!((row.received, row.master().unwrap().0), (2, PEER));
}

#[test]
fn a_family_that_hears_a_master_keeps_the_other_waiting_without_a_deadline() {
    let mut bench = up_with(dual());
    for _ in 0..60 {
        hear(&mut bench, &six(), (PEER6, 150));
        assert!(kinds(&bench.wait(1_000)).is_empty());
    }
    assert_eq!(states(&bench), [VipState::Backup]);
    assert!(bench.status().why.unwrap().starts_with("waits for the others of its group"));
    let effects = bench.wait(4_000);
    assert_eq!(told(&effects), [("ui".into(), VipState::Backup, VipState::Master)]);
}

#[test]
fn a_member_that_waits_and_hears_a_better_master_again_waits_no_more() {
    let mut bench = up_with(dual());
    for _ in 0..5 {
        hear(&mut bench, &six(), (PEER6, 150));
        bench.wait(1_000);
    }
    hear(&mut bench, &settings(), (PEER, 150));
    bench.wait(3_000);
    assert_eq!(states(&bench), [VipState::Backup]);
    assert_eq!(told(&bench.wait(1_000)).len(), 1, "a whole down interval after the last advert of either");
}

#[test]
fn a_better_advert_for_one_member_takes_all_to_backup_and_the_others_say_goodbye() {
    let mut bench = masters(gateway());
    let [inside, _] = &gateway()[..] else { panic!() };
    let effects = hear(&mut bench, inside, (PEER, 150));
    assert_eq!(kinds(&effects), ["advert 0"], "and both linger with their addresses");
    let to_backup = |vip: &str| (vip.to_owned(), VipState::Master, VipState::Backup);
    assert_eq!(told(&effects), [to_backup("inside"), to_backup("outside")]);
    let words = "master 192.0.2.12 has priority 150, ours is 100";
    assert_eq!(why(&effects, "outside"), format!("with vip.inside of group.gateway: {words}"));
}

#[test]
fn a_member_in_fault_takes_all_to_fault_and_all_come_back_with_it() {
    let mut bench = masters(gateway());
    let effects = link(&mut bench, "eth1", LinkState::Down);
    assert_eq!(kinds(&effects), ["release 198.51.100.50/24", "advert 0", "release 192.0.2.50/24"]);
    assert_eq!(states(&bench), [VipState::Fault, VipState::Fault]);
    assert_eq!(why(&effects, "inside"), "with vip.outside of group.gateway: interface eth1 is down");
    assert_eq!(bench.router.deadline(), None);
    let effects = link(&mut bench, "eth1", up6());
    assert_eq!(told(&effects).len(), 2);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}

#[test]
fn an_interface_without_link_local_address_keeps_both_families_of_a_vip_in_fault() {
    let mut bench = Bench::new(dual());
    link(&mut bench, "eth0", up());
    assert_eq!(states(&bench), [VipState::Fault]);
    assert!(bench.status().why.unwrap().contains("no link-local IPv6 address"));
    link(&mut bench, "eth0", up6());
    assert_eq!(states(&bench), [VipState::Backup]);
}

#[test]
fn no_member_takes_part_before_the_interfaces_of_all_have_been_seen() {
    let mut bench = Bench::new(gateway());
    link(&mut bench, "eth0", up());
    assert_eq!(states(&bench), [VipState::Init, VipState::Init]);
    link(&mut bench, "eth1", up());
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}

#[test]
fn a_hold_that_is_refused_takes_all_to_fault_and_they_try_again_together() {
    let mut bench = up_with(gateway());
    bench.refuse = Some("no".into());
    let effects = bench.run_until(ms(3_700));
    assert_eq!(states(&bench), [VipState::Fault, VipState::Fault]);
    assert_eq!(told(&effects).iter().filter(|(_, _, to)| *to == VipState::Fault).count(), 2);
    bench.refuse = None;
    bench.wait(1_000);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
    bench.wait(4_000);
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
}

#[test]
fn one_that_leaves_a_living_master_alone_after_a_refusal_makes_the_others_wait() {
    let mut bench = masters(gateway());
    let done = Input::Done { vip: "outside".into(), family: Family::V4, result: Err("no".into()) };
    bench
        .router
        .handle(bench.now, Input::AddressLost { interface: "eth1".parse().unwrap(), cidr: cidr("198.51.100.50/24") });
    bench.give(done);
    assert_eq!(states(&bench), [VipState::Fault, VipState::Fault]);
    for _ in 0..9 {
        bench.wait(1_000);
        for (s, source) in gateway().iter().zip([PEER, PEER]) {
            hear(&mut bench, s, (source, 50));
        }
    }
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup], "ten seconds of forbearance");
}

#[test]
fn every_member_has_the_weight_of_every_check_of_the_group_once() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let inside = Settings { track: vec![("uplink".into(), Some(-30)), ("both".into(), Some(10))], ..inside.clone() };
    let outside = Settings { track: vec![("both".into(), Some(10)), ("file".into(), None)], ..outside.clone() };
    let mut bench = up_with(vec![inside, outside]);
    let priorities = |bench: &Bench| bench.router.status().iter().map(|s| s.priority.get()).collect::<Vec<_>>();
    bench.give(Input::Weight { name: "file".into(), weight: 5 });
    assert_eq!(priorities(&bench), [105, 105]);
    bench.give(Input::Check { name: "both".into(), up: true });
    assert_eq!(priorities(&bench), [115, 115]);
    bench.give(Input::Check { name: "uplink".into(), up: false });
    assert_eq!(priorities(&bench), [85, 85]);
    let adverts = kinds(&bench.wait(4_000));
    assert_eq!(adverts.iter().filter(|kind| *kind == "advert 85").count(), 2, "{adverts:?}");
}

#[test]
fn members_of_different_priority_speak_with_the_least_so_that_two_machines_never_win_one_each() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let better = Settings { priority: Priority::try_from(200).unwrap(), ..inside.clone() };
    let bench = masters(vec![better, outside.clone()]);
    let status = bench.router.status();
    assert_eq!((status[0].priority.get(), status[0].configured_priority.get()), (100, 200));
}

#[test]
fn a_check_of_one_member_that_is_down_is_fault_for_all() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let inside = Settings { track: vec![("proxies".into(), None)], ..inside.clone() };
    let mut bench = up_with(vec![inside, outside.clone()]);
    bench.give(Input::Check { name: "proxies".into(), up: false });
    assert_eq!(states(&bench), [VipState::Fault, VipState::Fault]);
    bench.give(Input::Check { name: "proxies".into(), up: true });
    bench.wait(4_000);
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
}

#[test]
fn nobody_becomes_master_before_the_checks_of_all_have_reported() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let inside = Settings { track: vec![("proxies".into(), None)], ..inside.clone() };
    let mut bench = up_with(vec![inside, outside.clone()]);
    bench.wait(20_000);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
    bench.give(Input::Check { name: "proxies".into(), up: true });
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
}

#[test]
fn a_tie_is_decided_by_the_first_member_whatever_the_addresses_of_the_second_are() {
    // The peer is lower in IPv4 and higher in IPv6: without an order both machines would step down.
    let mut bench = masters(dual());
    let effects = hear(&mut bench, &six(), (PEER6, 100));
    assert_eq!(kinds(&effects), ["advert 100", "announce"]);
    assert_eq!(states(&bench), [VipState::Master]);
    hear(&mut bench, &settings(), (PEER, 100));
    assert_eq!(states(&bench), [VipState::Backup]);
}

#[test]
fn a_tie_that_the_first_member_does_not_hear_of_is_decided_by_the_second_in_the_end() {
    let mut bench = masters(dual());
    for _ in 0..4 {
        hear(&mut bench, &six(), (PEER6, 100));
        assert_eq!(states(&bench), [VipState::Master]);
        bench.wait(1_000);
    }
    hear(&mut bench, &six(), (PEER6, 100));
    assert_eq!(states(&bench), [VipState::Backup]);
}

#[test]
fn addresses_of_ipv6_are_compared_as_unsigned_numbers() {
    let mut bench = Bench::new(vec![six()]);
    link(&mut bench, "eth0", up6());
    bench.wait(4_000);
    hear(&mut bench, &six(), (LOWER6, 100));
    assert_eq!(states(&bench), [VipState::Master]);
    hear(&mut bench, &six(), (PEER6, 100));
    assert_eq!(states(&bench), [VipState::Backup]);
}

#[test]
fn a_group_preempts_when_the_delays_of_all_are_over() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let after = |seconds, s: &Settings| Settings { preempt: Preempt::After(Duration::from_secs(seconds)), ..s.clone() };
    let members = vec![after(2, inside), after(6, outside)];
    let mut bench = up_with(members.clone());
    let mut seconds = 0;
    while states(&bench)[0] == VipState::Backup {
        for s in &members {
            hear(&mut bench, s, (PEER, 50));
        }
        bench.wait(1_000);
        seconds += 1;
        assert!(seconds < 20);
    }
    assert_eq!((seconds, states(&bench)), (7, vec![VipState::Master, VipState::Master]));
}

#[test]
fn an_address_of_another_family_added_to_a_held_vip_is_held_at_once_and_nothing_is_lost() {
    let mut bench = masters(vec![settings()]);
    link(&mut bench, "eth0", up6());
    let effects = bench.give(Input::Reload(dual()));
    assert_eq!(kinds(&effects), ["advert 100", "hold 2001:db8::50/64"]);
    assert!(told(&effects).is_empty(), "the vip is what it was: {effects:?}");
    let effects = bench.give(Input::Reload(vec![settings()]));
    assert_eq!(kinds(&effects), ["advert 0", "release 2001:db8::50/64"]);
    assert_eq!(states(&bench), [VipState::Master]);
}

#[test]
fn a_held_vip_that_joins_one_with_a_living_master_steps_down() {
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    let mut bench = up_with(alone);
    for _ in 0..4 {
        hear(&mut bench, &gateway()[1], (PEER, 150));
        bench.wait(1_000);
    }
    assert_eq!(states(&bench), [VipState::Master, VipState::Backup]);
    let effects = bench.give(Input::Reload(gateway()));
    assert_eq!(kinds(&effects), ["advert 0"]);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}

#[test]
fn two_held_vips_that_are_grouped_stay_held() {
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    let mut bench = masters(alone.clone());
    assert!(kinds(&bench.give(Input::Reload(gateway()))).is_empty());
    assert!(kinds(&bench.give(Input::Reload(alone))).is_empty());
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
}

#[test]
fn a_vip_that_leaves_its_group_is_free_of_the_others_fault() {
    let mut bench = up_with(gateway());
    link(&mut bench, "eth1", LinkState::Down);
    assert_eq!(states(&bench), [VipState::Fault, VipState::Fault]);
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    bench.give(Input::Reload(alone));
    assert_eq!(states(&bench), [VipState::Backup, VipState::Fault]);
}

#[test]
fn one_that_waits_for_its_group_and_leaves_it_takes_over() {
    let mut bench = up_with(gateway());
    for _ in 0..5 {
        hear(&mut bench, &gateway()[1], (PEER, 150));
        bench.wait(1_000);
    }
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    bench.give(Input::Reload(alone));
    bench.give(Input::Tick);
    assert_eq!(states(&bench), [VipState::Master, VipState::Backup]);
}

#[test]
fn draining_one_member_drains_all() {
    let mut bench = masters(gateway());
    let effects = bench.give(Input::Drain(["outside".to_owned()].into()));
    assert_eq!(kinds(&effects), ["advert 0", "advert 0"]);
    let status = bench.router.status();
    assert!(status.iter().all(|s| s.drained && s.priority == Priority::LAST && s.state == VipState::Backup));
}

#[test]
fn a_member_asked_to_step_down_takes_all_with_it_and_they_come_back_where_nobody_follows() {
    let mut bench = masters(gateway());
    let effects = bench.give(Input::StepDown { vip: "outside".into() });
    assert_eq!(kinds(&effects), ["advert 0", "advert 0"]);
    let effects = bench.wait(2_000);
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
    assert!(!kinds(&effects).iter().any(|kind| kind.starts_with("release")), "{:?}", kinds(&effects));
}

#[test]
fn a_master_that_slept_takes_its_group_to_backup_in_one_turn() {
    let mut bench = masters(gateway());
    bench.now = bench.now + Duration::from_secs(10);
    let effects = bench.give(Input::Tick);
    assert_eq!(told(&effects).len(), 2);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}

#[test]
fn stopping_a_vip_of_two_families_is_told_of_once() {
    let mut bench = masters(dual());
    let effects = bench.give(Input::Stop);
    assert_eq!(kinds(&effects), ["advert 0", "advert 0"]);
    assert_eq!(told(&effects), [("ui".into(), VipState::Master, VipState::Init)]);
}

#[test]
fn the_families_of_a_vip_are_of_one_group_whatever_the_settings_say() {
    let [four, six] = &dual()[..] else { panic!() };
    let settings = vec![Settings { group: Some("g".into()), ..four.clone() }, six.clone()];
    let mut bench = up_with(settings);
    bench.wait(1_000);
    hear(&mut bench, six, (PEER6, 150));
    bench.wait(3_000);
    assert_eq!(states(&bench), [VipState::Backup]);
}

#[test]
fn a_held_vip_that_is_grouped_with_a_drained_one_steps_down_without_holding_anything_more() {
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    let mut bench = up_with(alone);
    bench.give(Input::Drain(["inside".to_owned()].into()));
    for _ in 0..4 {
        hear(&mut bench, &gateway()[0], (PEER, 50));
        bench.wait(1_000);
    }
    assert_eq!(states(&bench), [VipState::Backup, VipState::Master]);
    let mut grouped = gateway();
    grouped[1].addresses.push(cidr("198.51.100.51/24"));
    let effects = bench.give(Input::Reload(grouped));
    assert_eq!(kinds(&effects), ["advert 0"]);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}

#[test]
fn one_that_leaves_its_group_speaks_with_its_new_settings_alone() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let weighted = Settings { track: vec![("uplink".into(), Some(20))], ..inside.clone() };
    let mut bench = up_with(vec![weighted, outside.clone()]);
    bench.give(Input::Check { name: "uplink".into(), up: true });
    for _ in 0..5 {
        hear(&mut bench, outside, (PEER, 150));
        bench.wait(1_000);
    }
    let alone: Vec<Settings> = gateway().into_iter().map(|s| Settings { group: None, ..s }).collect();
    bench.give(Input::Reload(alone));
    assert_eq!(kinds(&bench.give(Input::Tick))[0], "advert 100");
}

#[test]
fn one_that_slept_too_long_takes_along_those_that_did_not_before_they_speak() {
    let [inside, outside] = &gateway()[..] else { panic!() };
    let slow = Settings { advertise: Centiseconds::try_from(200).unwrap(), ..outside.clone() };
    let mut bench = up_with(vec![slow, inside.clone()]);
    bench.wait(9_000);
    assert_eq!(states(&bench), [VipState::Master, VipState::Master]);
    bench.now = bench.now + Duration::from_secs(4);
    assert_eq!(kinds(&bench.give(Input::Tick)), ["advert 0"]);
    assert_eq!(states(&bench), [VipState::Backup, VipState::Backup]);
}
