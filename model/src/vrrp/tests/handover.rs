//! Handing over: at every moment somebody answers for the addresses, and never two for long.

use super::*;

const RELEASE: &str = "release 192.0.2.50/24";

fn announced(bench: &mut Bench) -> Vec<Effect> {
    bench.give(Input::Announced { interface: eth0(), address: [192, 0, 2, 50].into() })
}

fn drained(names: &[&str]) -> Input {
    Input::Drain(names.iter().map(|n| (*n).to_owned()).collect())
}

fn two() -> Settings {
    Settings { addresses: vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")], ..settings() }
}

#[test]
fn who_yields_to_a_better_master_lets_go_only_when_that_one_has_announced_the_addresses() {
    let mut bench = Bench::master(settings());
    assert!(kinds(&bench.hear(PEER, 200)).is_empty());
    assert!(bench.status().lingering);
    assert!(kinds(&bench.wait(100)).is_empty());
    assert!(kinds(&announced(&mut bench)).is_empty(), "what is on its way is still answered");
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
    assert!(!bench.status().lingering);
}

#[test]
fn every_address_must_be_announced() {
    let mut bench = Bench::master(two());
    bench.give(Input::Packet(advert_of(&two(), PEER, 200)));
    announced(&mut bench);
    assert!(kinds(&bench.wait(200)).is_empty());
    bench.give(Input::Announced { interface: eth0(), address: [192, 0, 2, 51].into() });
    assert_eq!(kinds(&bench.wait(50)), ["release 192.0.2.50/24 192.0.2.51/24"]);
}

#[test]
fn an_announcement_that_is_read_before_its_senders_advert_counts() {
    let mut bench = Bench::master(settings());
    assert!(kinds(&announced(&mut bench)).is_empty(), "a master does not give way to an announcement");
    assert_eq!(bench.state(), VipState::Master);
    bench.hear(PEER, 200);
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
}

#[test]
fn an_announcement_of_long_ago_does_not() {
    let mut bench = Bench::master(settings());
    announced(&mut bench);
    bench.wait(1_100);
    bench.hear(PEER, 200);
    assert!(kinds(&bench.wait(100)).is_empty());
}

#[test]
fn a_successor_that_announces_nothing_is_asked_once_with_an_advert_and_not_waited_for_for_ever() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 200);
    assert_eq!(kinds(&bench.wait(1_900)), ["advert 100"]);
    bench.hear(PEER, 200);
    assert_eq!(kinds(&bench.wait(200)), [RELEASE]);
}

#[test]
fn a_worse_successor_that_announces_nothing_is_asked_with_a_goodbye_so_that_it_stays_master() {
    let mut bench = Bench::master(Settings { preempt: Preempt::Never, ..settings() });
    bench.now = bench.now + Duration::from_secs(10);
    bench.give(Input::Tick);
    bench.hear(PEER, 50);
    assert_eq!(kinds(&bench.wait(1_000)), ["advert 0"]);
}

#[test]
fn a_master_that_hears_a_goodbye_tells_the_neighbours_that_it_answers() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.hear(PEER, 0)), ["advert 100", "announce"]);
    assert_eq!(kinds(&bench.hear(PEER, 0)), ["advert 100"], "once between two adverts");
}

#[test]
fn who_stops_says_goodbye_and_answers_until_a_successor_has_announced() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.give(Input::Stop)), ["advert 0"]);
    assert!(kinds(&bench.wait(900)).is_empty() && !bench.router.is_over());
    bench.hear(PEER, 50);
    announced(&mut bench);
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
    assert!(bench.router.is_over());
}

#[test]
fn who_stops_and_is_followed_by_nobody_ends_after_the_longest_skew() {
    let mut bench = Bench::master(settings());
    bench.give(Input::Stop);
    assert!(kinds(&bench.wait(1_250)).is_empty());
    assert_eq!(kinds(&bench.wait(100)), [RELEASE]);
    assert!(bench.router.is_over());
}

#[test]
fn a_second_stop_ends_at_once() {
    let mut bench = Bench::master(settings());
    bench.give(Input::Stop);
    assert_eq!(kinds(&bench.give(Input::Stop)), [RELEASE]);
    assert!(bench.router.is_over());
}

#[test]
fn a_backup_that_stops_is_over_at_once() {
    let mut bench = Bench::up(settings());
    bench.give(Input::Stop);
    assert!(bench.router.is_over());
}

#[test]
fn a_master_without_peers_that_stops_is_over_at_once() {
    let reach = Reach::Unicast { local: OURS, peers: vec![] };
    let mut bench = Bench::master(Settings { reach, ..settings() });
    assert_eq!(kinds(&bench.give(Input::Stop)), [RELEASE]);
    assert!(bench.router.is_over());
}

#[test]
fn a_stop_while_it_lingers_hands_over_as_it_was_about_to() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 200);
    assert!(kinds(&bench.give(Input::Stop)).is_empty(), "its goodbye is not for a backup to say");
    assert!(!bench.router.is_over());
    announced(&mut bench);
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
    assert!(bench.router.is_over());
}

#[test]
fn fault_while_it_lingers_lets_go_at_once() {
    for stopped in [false, true] {
        let mut bench = Bench::master(settings());
        bench.hear(PEER, 200);
        if stopped {
            bench.give(Input::Stop);
        }
        let down = Input::Link { interface: eth0(), state: LinkState::Down };
        assert_eq!(kinds(&bench.give(down)), [RELEASE]);
        assert_eq!(bench.router.is_over(), stopped);
    }
}

#[test]
fn fault_of_a_master_lets_go_at_once() {
    let mut bench = Bench::up(Settings { track: vec![("nginx".into(), None)], ..settings() });
    bench.give(Input::Check { name: "nginx".into(), up: true });
    bench.wait(4_000);
    let effects = bench.give(Input::Check { name: "nginx".into(), up: false });
    assert_eq!(kinds(&effects), ["advert 0", RELEASE]);
}

#[test]
fn a_reload_with_the_same_file_while_it_lingers_changes_nothing() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 200);
    let before = (bench.status(), bench.router.deadline());
    assert!(bench.give(Input::Reload(vec![settings()])).is_empty());
    assert_eq!((bench.status(), bench.router.deadline()), before);
    assert_eq!(kinds(&bench.handed_over()), [RELEASE]);
}

#[test]
fn a_reload_while_it_lingers_lets_go_of_what_the_new_file_does_not_have() {
    let mut bench = Bench::master(two());
    bench.give(Input::Packet(advert_of(&two(), PEER, 200)));
    assert_eq!(kinds(&bench.give(Input::Reload(vec![settings()]))), ["release 192.0.2.51/24"]);
    announced(&mut bench);
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 200);
    assert_eq!(kinds(&bench.give(Input::Reload(vec![]))), [RELEASE]);
}

#[test]
fn who_becomes_master_again_while_it_lingers_has_never_let_go() {
    let mut bench = Bench::master(settings());
    bench.now = bench.now + Duration::from_secs(10);
    bench.give(Input::Tick);
    assert!(bench.status().lingering);
    let effects = kinds(&bench.wait(4_000));
    assert!(!effects.contains(&RELEASE.to_owned()), "{effects:?}");
    assert_eq!((bench.state(), bench.status().lingering), (VipState::Master, false));
}

#[test]
fn an_address_that_is_taken_away_while_it_lingers_is_not_put_back() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 200);
    let lost = Input::AddressLost { interface: eth0(), cidr: cidr("192.0.2.50/24") };
    assert!(kinds(&bench.give(lost)).is_empty());
}

#[test]
fn a_drained_master_says_goodbye_and_answers_until_a_successor_has_announced() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.give(drained(&["ui"]))), ["advert 0"]);
    assert_eq!((bench.state(), bench.status().priority), (VipState::Backup, Priority::LAST));
    bench.wait(600);
    bench.hear(PEER, 50);
    announced(&mut bench);
    assert_eq!(kinds(&bench.wait(50)), [RELEASE]);
    for _ in 0..20 {
        bench.hear(PEER, 50);
        assert!(kinds(&bench.wait(1_000)).is_empty(), "it leaves a worse master alone");
    }
}

#[test]
fn a_drained_master_that_nobody_follows_goes_on_as_the_last_resort_and_has_never_let_go() {
    let mut bench = Bench::master(settings());
    bench.give(drained(&["ui"]));
    let effects = kinds(&bench.wait(1_400));
    assert_eq!(effects, ["advert 1", "hold 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Master);
    bench.wait(2_000);
    assert!(kinds(&bench.hear(PEER, 2)).is_empty());
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_drained_backup_follows_a_dead_master_as_the_last() {
    let mut bench = Bench::up(settings());
    bench.give(drained(&["ui"]));
    bench.hear(PEER, 50);
    bench.wait(3_990);
    assert_eq!(bench.state(), VipState::Backup);
    bench.wait(10);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn who_is_drained_while_the_master_is_silent_waits_as_the_last_does() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.wait(3_500);
    bench.give(drained(&["ui"]));
    bench.wait(400);
    assert_eq!(bench.state(), VipState::Backup);
    bench.wait(200);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn the_drain_of_one_vip_and_of_an_unknown_one_leaves_the_others_alone() {
    let mut bench = Bench::master(settings());
    assert!(bench.give(drained(&["other"])).is_empty());
    assert_eq!((bench.state(), bench.status().drained), (VipState::Master, false));
}

#[test]
fn undrained_it_has_its_priority_again_and_preempts() {
    let mut bench = Bench::master(settings());
    bench.give(drained(&["ui"]));
    bench.hear(PEER, 50);
    bench.handed_over();
    bench.give(drained(&[]));
    assert_eq!(bench.status().priority.get(), 100);
    for _ in 0..5 {
        bench.hear(PEER, 50);
        bench.wait(1_000);
    }
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_drain_survives_a_reload_and_a_vip_that_comes_with_it() {
    let mut bench = Bench::up(settings());
    bench.give(drained(&["ui", "b"]));
    let second = Settings { name: "b".into(), vrid: Vrid::try_from(52).unwrap(), ..settings() };
    bench.give(Input::Reload(vec![Settings { priority: Priority::try_from(120).unwrap(), ..settings() }, second]));
    assert!(bench.router.status().iter().all(|s| s.drained && s.priority == Priority::LAST));
}

#[test]
fn a_drained_owner_does_not_become_master_at_once() {
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, ..settings() }]);
    bench.give(drained(&["ui"]));
    bench.link_up();
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn who_steps_down_when_asked_leaves_its_successor_alone_and_follows_it_when_it_dies() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.give(Input::StepDown { vip: "ui".into() })), ["advert 0"]);
    bench.wait(700);
    bench.hear(PEER, 50);
    assert_eq!(kinds(&bench.handed_over()), [RELEASE]);
    for _ in 0..20 {
        bench.hear(PEER, 50);
        bench.wait(1_000);
        assert_eq!((bench.state(), bench.status().priority.get()), (VipState::Backup, 100));
    }
    assert!(bench.status().why.unwrap().contains("asked to step down"));
    bench.wait(3_000);
    assert_eq!(bench.state(), VipState::Master);
    bench.hear(PEER, 200);
    bench.wait(1_000);
    for _ in 0..5 {
        bench.hear(PEER, 50);
        bench.wait(1_000);
    }
    assert_eq!(bench.state(), VipState::Master, "it preempts again once it has been master");
}

#[test]
fn who_steps_down_and_is_followed_by_nobody_is_master_again_and_has_never_let_go() {
    let mut bench = Bench::master(settings());
    bench.give(Input::StepDown { vip: "ui".into() });
    assert_eq!(kinds(&bench.wait(1_400)), ["advert 100", "hold 192.0.2.50/24"]);
    assert!(bench.give(Input::StepDown { vip: "nobody".into() }).is_empty());
}

#[test]
fn two_masters_end_with_the_better_one_announcing_last() {
    let peer = Settings { reach: Reach::Multicast, ..settings() };
    let (mut better, mut worse) =
        (Bench::master(Settings { priority: Priority::try_from(200).unwrap(), ..peer.clone() }), Bench::master(peer));
    better.wait(10_000);
    worse.wait(10_000);
    worse.hear(PEER, 200);
    assert_eq!(worse.state(), VipState::Backup);
    assert_eq!(kinds(&worse.wait(250)), ["advert 100"]);
    assert_eq!(kinds(&better.hear(PEER, 100)), ["advert 200", "announce"]);
    announced(&mut worse);
    assert_eq!(kinds(&worse.wait(50)), [RELEASE]);
}
