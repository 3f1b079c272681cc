use super::*;

#[test]
fn a_router_waits_for_word_of_its_interface() {
    let bench = Bench::new(vec![settings()]);
    assert_eq!(bench.state(), VipState::Init);
    assert_eq!(bench.router.deadline(), None);
    assert_eq!(bench.status().why.unwrap(), "interface eth0 has not been seen yet");
}

#[test]
fn a_router_starts_as_backup_and_listens_for_a_down_interval() {
    let mut bench = Bench::up(settings());
    assert_eq!(bench.state(), VipState::Backup);
    // 3 × 1s + (256 − 100)/256 × 1s
    assert_eq!(bench.router.deadline(), Some(Moment(3_609_375_000)));
    assert!(bench.run_until(Moment(3_609_374_999)).is_empty());
}

#[test]
fn the_owner_of_the_addresses_is_master_at_once() {
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, preempt: Preempt::Never, ..settings() }]);
    assert_eq!(kinds(&bench.link_up()), ["advert 255", "hold 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn taking_over_is_advert_then_addresses_then_gratuitous_arp_again_soon_and_after_five_seconds() {
    let mut bench = Bench::up(settings());
    assert_eq!(kinds(&bench.run_until(ms(3_700))), ["advert 100", "hold 192.0.2.50/24"]);
    let later = kinds(&bench.wait(6_000));
    assert_eq!(later[0], "announce");
    assert_eq!(later.iter().filter(|k| *k == "announce").count(), 2);
    assert_eq!(later.iter().filter(|k| *k == "advert 100").count(), 6);
}

#[test]
fn multicast_waits_in_fault_for_an_address_to_send_from_and_unicast_does_not() {
    let bare = || Input::Link { interface: eth0(), state: LinkState::Up { primary: None, link_local: None } };
    let mut bench = Bench::new(vec![settings()]);
    bench.give(bare());
    assert_eq!(bench.state(), VipState::Fault);
    assert!(bench.status().why.unwrap().contains("no address of its own"));
    bench.link_up();
    assert_eq!(bench.state(), VipState::Backup);

    let reach = Reach::Unicast { local: OURS, peers: vec![PEER] };
    let mut bench = Bench::new(vec![Settings { reach, ..settings() }]);
    bench.give(bare());
    assert_eq!(bench.state(), VipState::Backup);
}

fn tracking(weight: Option<i16>) -> Settings {
    Settings { track: vec![("proxies".into(), weight)], ..settings() }
}

fn check(up: bool) -> Input {
    Input::Check { name: "proxies".into(), up }
}

#[test]
fn nobody_becomes_master_before_its_checks_have_reported() {
    let mut bench = Bench::up(tracking(None));
    assert!(bench.run_until(ms(20_000)).is_empty());
    assert_eq!(bench.status().why.unwrap(), "waiting for the first result of check proxies");
    assert_eq!(kinds(&bench.give(check(true))), ["advert 100", "hold 192.0.2.50/24"]);
}

#[test]
fn a_check_that_never_reports_ends_in_fault_after_a_minute_and_recovers_when_it_does() {
    let mut bench = Bench::up(tracking(None));
    bench.run_until(ms(70_000));
    assert_eq!(bench.state(), VipState::Fault);
    assert_eq!(bench.status().why.unwrap(), "check proxies has not reported within 60s");
    bench.give(check(true));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_check_that_starts_down_is_fault_at_once() {
    let mut bench = Bench::up(tracking(None));
    bench.give(check(false));
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Fault, None));
}

#[test]
fn a_weighted_check_counts_for_nothing_until_it_reports() {
    for (weight, unknown, up, down) in [(-50, 100, 100, 50), (20, 100, 120, 100)] {
        let mut bench = Bench::master(tracking(Some(weight)));
        let priority = |b: &Bench| b.status().priority.get();
        assert_eq!(priority(&bench), unknown);
        bench.give(check(true));
        assert_eq!(priority(&bench), up);
        bench.give(check(false));
        assert_eq!((priority(&bench), bench.state()), (down, VipState::Master));
    }
}

#[test]
fn stopping_says_goodbye_hands_over_and_is_silent_ever_after() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.give(Input::Stop)), ["advert 0"]);
    bench.hear(PEER, 90);
    assert_eq!(kinds(&bench.handed_over()), ["release 192.0.2.50/24"]);
    assert!(bench.router.is_over());
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Init, None));
    for input in [Input::Tick, Input::Reload(vec![settings()]), Input::Stop] {
        assert!(bench.give(input).is_empty());
    }
    assert!(bench.link_up().is_empty() && bench.hear(PEER, 0).is_empty());
}
