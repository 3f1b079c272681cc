use super::*;

#[test]
fn a_master_whose_check_fails_says_goodbye_then_releases() {
    let mut bench = Bench::up(Settings { track: vec![("proxies".into(), None)], ..settings() });
    bench.give(Input::Check { name: "proxies".into(), up: true });
    bench.wait(4_000);
    assert_eq!(bench.state(), VipState::Master);
    let effects = bench.give(Input::Check { name: "proxies".into(), up: false });
    assert_eq!(kinds(&effects), ["advert 0", "release 192.0.2.50/24"]);
    assert_eq!(bench.status().why.unwrap(), "check proxies is down");
}

#[test]
fn a_link_that_goes_down_or_away_is_fault_without_a_goodbye_that_nobody_hears() {
    for (state, why) in [(LinkState::Down, "is down"), (LinkState::Absent, "does not exist")] {
        let mut bench = Bench::master(settings());
        let effects = bench.give(Input::Link { interface: eth0(), state });
        assert_eq!(kinds(&effects), ["release 192.0.2.50/24"]);
        assert_eq!(bench.state(), VipState::Fault);
        assert!(bench.status().why.unwrap().contains(why));
        bench.link_up();
        assert_eq!(bench.state(), VipState::Backup);
    }
}

#[test]
fn a_lost_address_is_put_back_alone_and_mastership_stays() {
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")];
    let mut bench = Bench::master(Settings { addresses, ..settings() });
    let lost = |cidr| Input::AddressLost { interface: eth0(), cidr };
    let effects = bench.give(lost(cidr("192.0.2.51/24")));
    assert_eq!(kinds(&effects), ["hold 192.0.2.51/24"]);
    assert!(matches!(events(&effects)[..], [Event::Restored { .. }]));
    assert_eq!((bench.state(), bench.status().restored), (VipState::Master, 1));
    assert!(bench.give(lost(cidr("192.0.2.99/24"))).is_empty());
}

#[test]
fn a_backup_does_not_put_addresses_back() {
    let mut bench = Bench::up(settings());
    assert!(bench.give(Input::AddressLost { interface: eth0(), cidr: cidr("192.0.2.50/24") }).is_empty());
}

#[test]
fn a_refused_hold_is_fault_with_the_kernels_words_and_is_tried_again_ever_later() {
    let mut bench = Bench::up(settings());
    bench.refuse = Some("Operation not permitted".into());
    let effects = bench.run_until(ms(3_700));
    assert_eq!(kinds(&effects), ["advert 100", "hold 192.0.2.50/24", "advert 0", "release 192.0.2.50/24"]);
    assert_eq!(bench.status().why.unwrap(), "the addresses could not be held: Operation not permitted");
    let attempts = bench.wait(600_000).iter().filter(|e| matches!(e, Effect::Hold { .. })).count();
    assert!((30..40).contains(&attempts), "every 16s and a down interval: {attempts}");
    bench.refuse = None;
    bench.wait(20_000);
    assert_eq!(bench.state(), VipState::Master);
}

fn foreign(addresses: &[&str]) -> Input {
    Input::Foreign { interface: eth0(), addresses: addresses.iter().map(|a| cidr(a)).collect() }
}

#[test]
fn an_address_that_is_somebody_elses_is_fault_at_once_and_for_as_long_as_it_is_there() {
    let mut bench = Bench::new(vec![settings()]);
    bench.give(foreign(&["192.0.2.50/24"]));
    assert!(kinds(&bench.link_up()).is_empty());
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Fault, None));
    assert!(bench.status().why.unwrap().starts_with("192.0.2.50/24 is on eth0 already"));
    for _ in 0..100 {
        assert!(kinds(&bench.hear(PEER, 50)).is_empty());
        bench.wait(1_000);
    }
    bench.give(foreign(&[]));
    assert_eq!((bench.state(), bench.status().why), (VipState::Backup, None));
    bench.wait(4_000);
    assert_eq!((bench.state(), bench.status().became_master), (VipState::Master, 1));
}

#[test]
fn a_foreign_address_that_is_not_of_the_vip_or_is_its_owners_changes_nothing() {
    let mut bench = Bench::master(settings());
    assert!(bench.give(foreign(&["192.0.2.51/24", "192.0.2.50/32"])).is_empty());
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, ..settings() }]);
    bench.give(foreign(&["192.0.2.50/24"]));
    bench.link_up();
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_reload_that_brings_an_address_which_is_somebody_elses_is_fault_without_asking_the_kernel() {
    let mut bench = Bench::master(settings());
    bench.give(foreign(&["192.0.2.51/24"]));
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")];
    let effects = bench.give(Input::Reload(vec![Settings { addresses, ..settings() }]));
    assert_eq!(kinds(&effects), ["advert 0", "release 192.0.2.50/24 192.0.2.51/24"]);
    bench.give(Input::Reload(vec![settings()]));
    assert_eq!(bench.state(), VipState::Backup);
}

/// Becomes master, hears a worse one every second otherwise; when it took over, for so many seconds.
fn takeovers(bench: &mut Bench, seconds: u64) -> Vec<u64> {
    let mut taken = Vec::new();
    for second in 0..seconds {
        let before = bench.status().became_master;
        bench.hear(PEER, 50);
        bench.wait(1_000);
        if bench.status().became_master > before {
            taken.push(second);
        }
    }
    taken
}

#[test]
fn who_is_refused_takes_over_from_a_living_worse_master_ever_more_seldom() {
    for preempt in [Preempt::Immediately, Preempt::After(Duration::from_secs(2))] {
        let mut bench = Bench::up(Settings { preempt, ..settings() });
        bench.refuse = Some("Operation not permitted".into());
        let taken = takeovers(&mut bench, 2_000);
        let pauses: Vec<u64> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses.iter().zip([10, 20, 40, 80, 160, 320, 600, 600]) {
            assert!((least..=least + 5).contains(pause), "{taken:?}");
        }
        assert!(bench.status().why.unwrap().contains("Operation not permitted"));
    }
}

#[test]
fn who_was_refused_takes_over_at_once_when_the_worse_master_dies_and_is_as_before_when_the_kernel_obeys() {
    let mut bench = Bench::up(settings());
    bench.refuse = Some("Operation not permitted".into());
    takeovers(&mut bench, 300);
    bench.refuse = None;
    bench.wait(4_000);
    assert_eq!(bench.state(), VipState::Master);
    bench.hear(PEER, 200);
    assert!(takeovers(&mut bench, 10).len() == 1, "it preempts at once");
}

#[test]
fn the_owner_forbears_too() {
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, ..settings() }]);
    bench.refuse = Some("Operation not permitted".into());
    bench.link_up();
    assert!((6..9).contains(&takeovers(&mut bench, 2_000).len()));
}

#[test]
fn what_cannot_be_released_is_tried_again_and_told_of() {
    let mut bench = Bench::master(settings());
    let effects = bench.router.handle(bench.now, Input::Link { interface: eth0(), state: LinkState::Down });
    assert_eq!(kinds(&effects), ["release 192.0.2.50/24"]);
    let refused = Input::Done { vip: "ui".into(), family: Family::V4, result: Err("Device or resource busy".into()) };
    let told = bench.router.handle(bench.now, refused);
    assert!(matches!(events(&told)[..], [Event::Warning { .. }]));
    assert_eq!(kinds(&bench.wait(1_000)), ["release 192.0.2.50/24"]);
    assert_eq!(kinds(&bench.wait(1_000)), [""; 0]);
}

#[test]
fn an_answer_to_an_earlier_mastership_changes_nothing() {
    let mut bench = Bench::up(settings());
    bench.now = ms(3_700);
    bench.router.handle(bench.now, Input::Tick);
    bench.router.handle(bench.now, Input::Packet(advert_of(&settings(), PEER, 200)));
    let late = Input::Done { vip: "ui".into(), family: Family::V4, result: Err("No such device".into()) };
    assert!(bench.router.handle(bench.now, late).is_empty());
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn the_number_of_a_file_is_added_to_the_priority_and_the_next_advert_says_so() {
    let mut bench = Bench::up(Settings { track: vec![("maintenance".into(), None)], ..settings() });
    let says = |weight| Input::Weight { name: "maintenance".into(), weight };
    bench.give(says(0));
    bench.wait(4_000);
    assert_eq!((bench.state(), bench.status().priority.get()), (VipState::Master, 100));
    for (number, priority) in [(-30, 70), (20, 120), (254, 254), (-253, 1)] {
        bench.give(says(number));
        assert_eq!((bench.state(), bench.status().priority.get()), (VipState::Master, priority));
        assert_eq!(kinds(&bench.wait(1_000)).last().unwrap(), &format!("advert {priority}"));
    }
    assert_eq!(kinds(&bench.give(says(FAULT_WEIGHT))), ["advert 0", "release 192.0.2.50/24"]);
    assert_eq!(bench.status().why.unwrap(), "check maintenance says -254");
    bench.give(says(-30));
    assert_eq!((bench.state(), bench.status().priority.get()), (VipState::Backup, 70));
}

#[test]
fn a_lowered_number_yields_to_a_peer_that_is_better_now() {
    let mut bench = Bench::up(Settings { track: vec![("maintenance".into(), None)], ..settings() });
    bench.give(Input::Weight { name: "maintenance".into(), weight: 0 });
    bench.wait(4_000);
    assert_eq!(kinds(&bench.hear(PEER, 90)), ["advert 100", "announce"]);
    bench.give(Input::Weight { name: "maintenance".into(), weight: -20 });
    bench.hear(PEER, 90);
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_file_that_has_not_been_read_yet_keeps_its_vip_from_becoming_master() {
    let mut bench = Bench::up(Settings { track: vec![("maintenance".into(), None)], ..settings() });
    bench.wait(5_000);
    assert_eq!(bench.state(), VipState::Backup);
    bench.give(Input::Weight { name: "maintenance".into(), weight: 0 });
    assert_eq!(bench.state(), VipState::Master);
}

fn refused() -> Input {
    Input::Done { vip: "ui".into(), family: Family::V4, result: Err("Device or resource busy".into()) }
}

#[test]
fn what_several_releases_left_behind_is_tried_again_together() {
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")];
    let mut bench = Bench::master(Settings { addresses, ..settings() });
    bench.router.handle(bench.now, Input::Reload(vec![settings()]));
    bench.router.handle(bench.now, refused());
    bench.router.handle(bench.now, Input::Link { interface: eth0(), state: LinkState::Down });
    bench.router.handle(bench.now, refused());
    assert_eq!(kinds(&bench.wait(3_000)), ["release 192.0.2.50/24 192.0.2.51/24"]);
}

#[test]
fn what_a_removed_vip_left_behind_is_tried_again_until_it_is_gone() {
    let mut bench = Bench::master(settings());
    let gone = bench.router.handle(bench.now, Input::Reload(vec![]));
    assert_eq!(kinds(&gone), ["advert 0", "release 192.0.2.50/24"]);
    bench.router.handle(bench.now, refused());
    assert_eq!(kinds(&bench.wait(1_000)), ["release 192.0.2.50/24"]);
    assert_eq!((kinds(&bench.wait(60_000)), bench.router.deadline()), (vec![], None));
}

#[test]
fn what_a_removed_vip_left_behind_is_the_matter_of_the_one_that_follows_it() {
    let mut bench = Bench::master(settings());
    bench.router.handle(bench.now, Input::Reload(vec![]));
    bench.router.handle(bench.now, refused());
    let other = Settings { vrid: Vrid::MAX, ..settings() };
    bench.give(Input::Reload(vec![other]));
    bench.link_up();
    assert_eq!(kinds(&bench.wait(1_000)), ["release 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Backup);
}

fn bare() -> Input {
    Input::Link { interface: eth0(), state: LinkState::Up { primary: None, link_local: None } }
}

#[test]
fn a_master_whose_interface_loses_its_own_address_goes_on_speaking_from_it_for_a_while() {
    let mut bench = Bench::master(settings());
    assert!(bench.give(bare()).is_empty());
    assert_eq!(kinds(&bench.wait(9_000)).iter().filter(|kind| *kind == "advert 100").count(), 9);
    assert!(bench.link_up().is_empty());
    bench.wait(60_000);
    assert_eq!((bench.state(), bench.status().became_master), (VipState::Master, 1));
}

#[test]
fn an_address_to_speak_from_that_does_not_come_back_is_fault() {
    let mut bench = Bench::master(settings());
    bench.give(bare());
    bench.wait(9_999);
    assert_eq!(bench.state(), VipState::Master);
    bench.give(bare());
    assert_eq!(kinds(&bench.wait(1)), ["release 192.0.2.50/24"]);
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Fault, None));
    let mut bench = Bench::up(settings());
    bench.give(bare());
    assert_eq!(bench.state(), VipState::Fault, "a backup has nothing to keep");
}
