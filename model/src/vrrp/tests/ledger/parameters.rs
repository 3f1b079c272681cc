//! RFC 9568 §6.1 and §6.2: parameters and timers.

use super::*;

#[test]
fn rfc9568_6_1_the_priority_is_1_to_254_and_255_for_the_owner() {
    assert!(Priority::try_from(0).is_err());
    assert_eq!((priority(1).get(), Priority::OWNER.get()), (1, 255));
}

#[test]
fn rfc9568_5_2_4_the_language_has_1_to_254_for_a_backup_and_255_for_the_owner() {
    let judged = |(address, priority): (&str, &str)| {
        let text = format!(
            r#"
            cluster "c"
            peer "a" address="192.0.2.11"
            vip "ui" {{ address "{address}/24"; interface "eth0"; vrid 51; priority a={priority} }}
            "#
        );
        crate::config::parse(&[crate::config::Source { name: "ha.kdl".into(), text }]).config.is_some()
    };
    let others = ["0", "1", "254", "255", "256"].map(|priority| judged(("192.0.2.50", priority)));
    assert_eq!(others, [false, true, true, false, false]);
    assert!(judged(("192.0.2.11", "255")), "the peer's own address");
}

#[test]
fn rfc9568_6_1_the_active_adver_interval_begins_as_our_own() {
    let bench = Bench::up(Settings { advertise: interval(50), ..settings() });
    assert_eq!(bench.router.deadline(), Some(bench.now + down(100, 50)));
}

#[test]
fn rfc9568_6_1_skew_time_is_the_share_of_the_interval_that_the_priority_lacks_of_256() {
    for n in [1, 100, 254] {
        let mut bench = Bench::up(Settings { priority: priority(n), ..settings() });
        bench.hear(PEER, 255);
        bench.hear(PEER, 0);
        let skew = Duration::from_secs(1) * (256 - u32::from(n)) / 256;
        assert_eq!(bench.router.deadline(), Some(bench.now + skew));
    }
}

#[test]
fn rfc9568_6_1_the_active_down_interval_is_three_of_the_active_routers_intervals_and_skew() {
    for (n, centiseconds) in [(1, 1), (100, 100), (254, 4095)] {
        let mut bench = Bench::up(Settings { priority: priority(n), ..settings() });
        let peer = Settings { advertise: interval(centiseconds), ..settings() };
        bench.give(Input::Packet(advert_of(&peer, PEER, 255)));
        assert_eq!(bench.router.deadline(), Some(bench.now + down(n, centiseconds)));
    }
}

#[test]
fn rfc9568_6_1_preempt_mode_is_the_default() {
    let text = r#"
        cluster "c"
        peer "a" address="192.0.2.11"
        vip "ui" { address "192.0.2.50/24"; interface "eth0"; vrid 51; priority a=100 }
    "#;
    let parsed = crate::config::parse(&[crate::config::Source { name: "ha.kdl".into(), text: text.into() }]);
    assert_eq!(parsed.config.unwrap().vips[0].preempt.value, Preempt::Immediately);
}

#[test]
fn rfc9568_6_1_the_owner_preempts_whatever_the_mode() {
    for preempt in [Preempt::Never, Preempt::After(Duration::from_secs(600))] {
        let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, preempt, ..settings() }]);
        bench.hear(PEER, 254);
        bench.link_up();
        bench.hear(PEER, 254);
        assert_eq!(bench.state(), VipState::Master, "{preempt:?}");
    }
}

#[test]
fn rfc9568_6_2_the_active_down_timer_fires_when_no_advert_was_heard_for_the_active_down_interval() {
    let mut bench = Bench::up(settings());
    for _ in 0..10 {
        bench.hear(PEER, 150);
        bench.run_until(bench.now + (down(100, 100) - Duration::from_nanos(1)));
        assert_eq!(bench.state(), VipState::Backup);
    }
    bench.run_until(bench.now + Duration::from_nanos(1));
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn rfc9568_6_2_the_adver_timer_fires_every_advertisement_interval() {
    let mut bench = Bench::master(Settings { advertise: interval(25), ..settings() });
    let before = bench.status().sent;
    bench.wait(10_000);
    assert_eq!(bench.status().sent - before, 40);
}
