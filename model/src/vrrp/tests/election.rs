use super::*;

#[test]
fn backup_takes_over_after_three_missed_adverts_and_skew() {
    let mut bench = Bench::up(settings());
    bench.wait(500);
    bench.hear(PEER, 150);
    let silent = bench.now + Duration::from_nanos(3_609_375_000);
    assert_eq!(bench.router.deadline(), Some(silent));
    let effects = bench.run_until(silent);
    let why = "master 192.0.2.12 was silent for 3.609s".to_owned();
    let (vip, from, to) = ("ui".to_owned(), VipState::Backup, VipState::Master);
    let priority = Priority::try_from(100).unwrap();
    assert_eq!(events(&effects), [&Event::State { vip, from, to, priority, why }]);
}

#[test]
fn a_goodbye_lets_the_backup_take_over_after_skew_time() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.hear(PEER, 0);
    assert_eq!(bench.router.deadline(), Some(Moment(609_375_000)));
    bench.wait(500);
    bench.hear(PEER, 0);
    assert_eq!(bench.router.deadline(), Some(Moment(609_375_000)), "repeating it delays nobody");
}

#[test]
fn preempting_discards_worse_adverts_and_never_does_not() {
    for (preempt, state) in [(Preempt::Immediately, VipState::Master), (Preempt::Never, VipState::Backup)] {
        let mut bench = Bench::up(Settings { preempt, ..settings() });
        for _ in 0..60 {
            bench.wait(100);
            if bench.state() == VipState::Backup {
                bench.hear(PEER, 99);
            }
        }
        assert_eq!(bench.state(), state, "{preempt:?}");
    }
}

#[test]
fn preempting_after_a_delay_takes_over_when_it_and_skew_time_are_over() {
    let mut bench = Bench::up(Settings { preempt: Preempt::After(Duration::from_secs(10)), ..settings() });
    for second in 1..=10 {
        bench.run_until(ms(second * 1000));
        bench.hear(PEER, 99);
        assert_eq!(bench.state(), VipState::Backup);
    }
    bench.run_until(Moment(11_609_374_999));
    assert_eq!(bench.state(), VipState::Backup);
    bench.run_until(Moment(11_609_375_000));
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_better_master_in_between_starts_the_delay_anew() {
    let mut bench = Bench::up(Settings { preempt: Preempt::After(Duration::from_secs(2)), ..settings() });
    for priority in [99, 99, 200, 99, 99] {
        bench.wait(900);
        bench.hear(PEER, priority);
    }
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn equal_priority_is_decided_by_the_higher_address() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.hear(LOWER, 100)), ["advert 100", "announce"]);
    assert_eq!(bench.state(), VipState::Master);
    assert!(kinds(&bench.hear(PEER, 100)).is_empty());
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_backup_adopts_the_masters_interval_in_version_3() {
    let mut bench = Bench::up(settings());
    let slow = Settings { advertise: Centiseconds::try_from(400).unwrap(), ..settings() };
    let effects = bench.give(Input::Packet(advert_of(&slow, PEER, 150)));
    assert!(matches!(events(&effects)[..], [Event::Warning { .. }]));
    assert_eq!(bench.router.deadline(), Some(Moment(4 * 3_609_375_000)));
}

#[test]
fn a_losing_advert_is_answered_at_once_in_version_3_without_rearming_the_timer() {
    let mut bench = Bench::master(settings());
    let deadline = bench.router.deadline();
    assert_eq!(kinds(&bench.hear(PEER, 99)), ["advert 100", "announce"]);
    assert_eq!(bench.router.deadline(), deadline);
    assert_eq!(kinds(&bench.hear(PEER, 99)), ["advert 100"], "gratuitous ARP once between two adverts");
}

#[test]
fn a_flood_of_losing_adverts_is_not_answered_with_a_flood() {
    let mut bench = Bench::master(settings());
    let answers: usize = (0..1000).map(|_| kinds(&bench.hear(PEER, 99)).len()).sum();
    assert!(answers <= 10, "{answers}");
}

#[test]
fn a_losing_advert_is_discarded_in_version_2_and_clients_are_told() {
    let v2 = Settings { version: Version::V2, ..settings() };
    let mut bench = Bench::master(v2.clone());
    assert_eq!(kinds(&bench.give(Input::Packet(advert_of(&v2, PEER, 99)))), ["announce"]);
}

#[test]
fn a_master_answers_a_goodbye_and_rearms_its_timer() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.hear(PEER, 0)), ["advert 100", "announce"]);
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_secs(1)));
}

#[test]
fn a_master_in_never_mode_stays_when_its_weight_falls_and_yields_to_a_better_master() {
    let track = vec![("nginx".into(), Some(-50))];
    let mut bench = Bench::master(Settings { preempt: Preempt::Never, track, ..settings() });
    bench.give(Input::Check { name: "nginx".into(), up: false });
    assert_eq!(bench.state(), VipState::Master);
    bench.hear(PEER, 90);
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_master_that_slept_past_the_down_interval_listens_before_it_speaks() {
    let mut bench = Bench::master(settings());
    bench.now = bench.now + Duration::from_secs(10);
    assert!(kinds(&bench.give(Input::Tick)).is_empty());
    assert_eq!(bench.state(), VipState::Backup);
    bench.hear(PEER, 150);
    assert_eq!(kinds(&bench.handed_over()), ["release 192.0.2.50/24"]);
    assert!(kinds(&bench.wait(2_900)).is_empty());
}

#[test]
fn a_master_that_slept_and_reads_a_packet_first_does_not_answer_it() {
    let mut bench = Bench::master(settings());
    bench.now = bench.now + Duration::from_secs(10);
    assert!(kinds(&bench.hear(PEER, 99)).is_empty());
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn a_master_without_peers_has_nobody_to_listen_for() {
    let reach = Reach::Unicast { local: OURS, peers: vec![] };
    let mut bench = Bench::master(Settings { reach, ..settings() });
    bench.now = bench.now + Duration::from_secs(10);
    bench.give(Input::Tick);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_backup_that_slept_reads_before_it_takes_over_and_does_so_once() {
    let mut bench = Bench::up(settings());
    bench.now = ms(30_000);
    assert!(bench.give(Input::Tick).is_empty());
    bench.now = ms(60_000);
    assert_eq!(kinds(&bench.give(Input::Tick)), ["advert 100", "hold 192.0.2.50/24"]);
}

#[test]
fn near_failovers_are_measured() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.wait(2_000);
    bench.hear(PEER, 150);
    assert_eq!(bench.status().nearest_failover, 554);
}

#[test]
fn a_driver_that_is_long_at_work_is_not_asleep() {
    let fast = Settings { advertise: Centiseconds::try_from(1).unwrap(), ..settings() };
    let mut bench = Bench::up(fast);
    bench.now = Moment(36_093_750);
    assert_eq!(kinds(&bench.router.handle(bench.now, Input::Tick)), ["advert 100", "hold 192.0.2.50/24"]);
    bench.now = bench.now + Duration::from_millis(80);
    assert!(bench.give(Input::Done { vip: "ui".into(), family: Family::V4, result: Ok(()) }).is_empty());
    assert_eq!(kinds(&bench.give(Input::Tick)), ["advert 100"]);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn a_thousand_vips_move_in_one_tick_and_stay() {
    let many = (1..=250).flat_map(|vrid| (0..4).map(move |n| (vrid, n))).map(|(vrid, n)| Settings {
        name: format!("vip-{n}-{vrid}"),
        interface: format!("eth{n}").parse().unwrap(),
        vrid: Vrid::try_from(vrid).unwrap(),
        advertise: Centiseconds::try_from(1).unwrap(),
        ..settings()
    });
    let mut bench = Bench::new(many.collect());
    for n in 0..4 {
        let interface = format!("eth{n}").parse().unwrap();
        bench.give(Input::Link { interface, state: up() });
    }
    bench.run_until(ms(500));
    let status = bench.router.status();
    assert_eq!(status.len(), 1000);
    assert!(status.iter().all(|s| s.state == VipState::Master && s.became_master == 1 && s.sent == 47));
}

#[test]
fn an_owner_keeps_its_addresses_whoever_else_says_that_it_owns_them() {
    let mut bench = Bench::up(Settings { priority: Priority::OWNER, ..settings() });
    assert_eq!(bench.state(), VipState::Master);
    let effects = bench.hear(PEER, 255);
    assert_eq!(bench.state(), VipState::Master);
    assert_eq!(kinds(&effects), ["advert 255", "announce"]);
    let what = "192.0.2.12 also says that it is master, with priority 255; ours is 255".to_owned();
    assert_eq!(events(&effects), [&Event::Warning { vip: "ui".into(), what }]);
}

#[test]
fn a_rival_is_known_as_one_while_it_is_heard_and_this_machine_is_master() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 50);
    let [rival] = &bench.status().anomalies[..] else { panic!("{:?}", bench.status()) };
    assert_eq!((rival.kind, rival.source), (Oddity::Rival, PEER));
    assert_eq!(rival.until, bench.now + Duration::from_secs(3), "three intervals");
    bench.wait(1000);
    bench.hear(PEER, 50);
    assert_eq!(bench.status().anomalies.len(), 1);
    assert_eq!(bench.status().anomalies[0].until, bench.now + Duration::from_secs(3));
    bench.hear(PEER, 200);
    assert_eq!(bench.status().anomalies, []);
}
