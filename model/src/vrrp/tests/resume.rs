//! Another process goes on where this one was.

use super::*;

/// The same machine, in a process that starts that many milliseconds later, its link not seen yet.
fn next_process(bench: Bench, settings: Vec<Settings>, milliseconds: u64) -> Bench {
    let text = serde_json::to_string(&bench.router.save(bench.now)).unwrap();
    let now = bench.now + Duration::from_millis(milliseconds);
    let saved: Saved = serde_json::from_str(&text).unwrap();
    Bench { router: Router::resume(now, settings, &saved), now, refuse: None }
}

#[test]
fn a_master_stays_master_keeps_its_beat_and_makes_sure_of_its_addresses() {
    let mut bench = Bench::master(settings());
    bench.wait(300);
    let before = (bench.status().since, bench.status().became_master);
    let mut bench = next_process(bench, vec![settings()], 50);
    assert_eq!((bench.status().since, bench.status().became_master), before);
    let effects = bench.link_up();
    assert_eq!(kinds(&effects), ["hold 192.0.2.50/24"]);
    assert!(events(&effects).is_empty(), "nothing has happened");
    let due = bench.router.deadline();
    assert!(due.is_some_and(|at| at <= bench.now + Duration::from_millis(650)), "{due:?}");
    assert!(kinds(&bench.wait(700)).contains(&"advert 100".to_owned()));
    assert!(kinds(&bench.link_up()).is_empty());
}

#[test]
fn an_advert_that_was_due_between_the_processes_is_sent_at_once() {
    let mut bench = next_process(Bench::master(settings()), vec![settings()], 1_500);
    bench.link_up();
    assert_eq!(kinds(&bench.give(Input::Tick)), ["advert 100"]);
}

#[test]
fn a_master_whose_next_process_took_longer_than_the_down_interval_listens_before_it_speaks() {
    let mut bench = next_process(Bench::master(settings()), vec![settings()], 4_000);
    assert!(kinds(&bench.link_up()).is_empty());
    assert_eq!((bench.state(), bench.status().lingering), (VipState::Backup, true));
}

#[test]
fn a_backup_waits_for_one_more_advert_that_may_have_come_between() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.wait(3_300);
    let mut bench = next_process(bench, vec![settings()], 100);
    assert!(bench.link_up().is_empty());
    assert_eq!((bench.state(), bench.status().master().unwrap().1), (VipState::Backup, 150));
    bench.wait(900);
    bench.hear(PEER, 150);
    bench.wait(3_000);
    assert_eq!(bench.state(), VipState::Backup);
    bench.wait(700);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn checks_keep_their_last_word_and_drains_theirs() {
    let tracked = Settings { track: vec![("nginx".into(), Some(-30)), ("proxy".into(), None)], ..settings() };
    let mut bench = Bench::up(tracked.clone());
    bench.give(Input::Check { name: "nginx".into(), up: false });
    bench.give(Input::Check { name: "proxy".into(), up: true });
    bench.wait(4_000);
    let mut bench = next_process(bench, vec![tracked.clone()], 50);
    bench.link_up();
    assert_eq!((bench.state(), bench.status().priority.get()), (VipState::Master, 70));
    bench.give(Input::Drain(["ui".to_owned()].into()));
    bench.hear(PEER, 90);
    bench.handed_over();
    let bench = next_process(bench, vec![tracked], 50);
    assert!(bench.status().drained);
}

#[test]
fn who_was_in_fault_is_so_still_and_says_nothing_of_it_twice() {
    let mut bench = Bench::up(Settings { track: vec![("proxy".into(), None)], ..settings() });
    bench.give(Input::Check { name: "proxy".into(), up: false });
    let tracked = bench.status();
    let mut bench = next_process(bench, vec![Settings { track: vec![("proxy".into(), None)], ..settings() }], 50);
    assert!(bench.link_up().is_empty());
    assert_eq!((bench.status().state, bench.status().why), (tracked.state, tracked.why));
}

#[test]
fn another_virtual_router_of_the_same_name_begins_anew() {
    for new in [
        Settings { vrid: Vrid::try_from(52).unwrap(), ..settings() },
        Settings { version: Version::V2, ..settings() },
        Settings { name: "other".into(), ..settings() },
    ] {
        let mut bench = next_process(Bench::master(settings()), vec![new], 50);
        bench.link_up();
        assert_eq!(bench.state(), VipState::Backup);
    }
}

#[test]
fn a_link_that_is_gone_is_fault_and_what_stood_is_let_go_of() {
    let mut bench = next_process(Bench::master(settings()), vec![settings()], 50);
    let gone = Input::Link { interface: eth0(), state: LinkState::Absent };
    assert_eq!(kinds(&bench.give(gone)), ["release 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Fault);
}

#[test]
fn a_group_on_two_interfaces_is_master_all_the_time() {
    let member = |name: &str, vrid: u8| Settings {
        name: name.into(),
        vrid: Vrid::try_from(vrid).unwrap(),
        group: Some("pair".into()),
        start_delay: Duration::from_secs(5),
        ..settings()
    };
    let inside = Settings { interface: "eth1".parse().unwrap(), ..member("inside", 52) };
    let members = vec![member("outside", 51), inside];
    let up = |interface: &str| Input::Link {
        interface: interface.parse().unwrap(),
        state: LinkState::Up { primary: Some([192, 0, 2, 11].into()), link_local: None },
    };
    let mut bench = Bench::new(members.clone());
    bench.give(up("eth0"));
    bench.give(up("eth1"));
    bench.wait(10_000);
    assert_eq!(bench.state(), VipState::Master);
    let mut bench = next_process(bench, members, 50);
    bench.give(Input::Drain([].into()));
    assert_eq!(kinds(&bench.give(up("eth0"))), ["hold 192.0.2.50/24"]);
    assert_eq!(kinds(&bench.give(up("eth1"))), ["hold 192.0.2.50/24"]);
    assert!(bench.router.status().iter().all(|s| s.state == VipState::Master && s.became_master == 1));
}
