//! RFC 9568 §6.4.2: Backup.

use super::*;

/// What a Backup does with nothing but adverts of a better router.
fn while_backup(seconds: u32) -> Vec<String> {
    let mut bench = Bench::up(settings());
    let mut seen = Vec::new();
    for _ in 0..seconds {
        seen.extend(kinds(&bench.hear(PEER, 150)));
        seen.extend(kinds(&bench.wait(1000)));
    }
    assert_eq!(bench.state(), VipState::Backup);
    seen
}

#[test]
fn rfc9568_6_4_2_a_backup_neither_answers_arp_nor_accepts_packets_for_addresses_that_it_does_not_hold() {
    assert!(while_backup(30).is_empty());
}

#[test]
fn rfc9568_6_4_2_shutdown_cancels_the_active_down_timer_and_leads_to_initialize() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    assert!(kinds(&bench.give(Input::Stop)).is_empty());
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Init, None));
}

#[test]
fn rfc9568_6_4_2_when_the_active_down_timer_fires_an_advert_is_sent_before_anything_else() {
    assert_eq!(kinds(&takeover(settings()))[0], "advert 100");
}

#[test]
fn rfc9568_6_4_2_when_the_active_down_timer_fires_every_address_is_held_and_so_announced() {
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")];
    assert_eq!(kinds(&takeover(Settings { addresses, ..settings() }))[1], "hold 192.0.2.50/24 192.0.2.51/24");
}

#[test]
fn rfc9568_6_4_2_when_the_active_down_timer_fires_the_adver_timer_is_set_to_our_own_interval() {
    let mut bench = Bench::up(settings());
    let slow = Settings { advertise: interval(300), ..settings() };
    bench.give(Input::Packet(advert_of(&slow, PEER, 150)));
    bench.run_until(bench.now + down(100, 300));
    assert_eq!(bench.state(), VipState::Master);
    assert!(!kinds(&bench.wait(999)).contains(&"advert 100".to_owned()));
    assert_eq!(kinds(&bench.wait(1)), ["advert 100"]);
}

#[test]
fn rfc9568_6_4_2_priority_0_sets_the_active_down_timer_to_skew_time() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.wait(700);
    bench.hear(PEER, 0);
    let skew = Duration::from_nanos(609_375_000);
    assert_eq!(bench.router.deadline(), Some(bench.now + skew));
    bench.run_until(bench.now + skew);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn rfc9568_6_4_2_priority_0_counts_skew_with_the_active_routers_interval() {
    let mut bench = Bench::up(settings());
    let slow = Settings { advertise: interval(400), ..settings() };
    bench.give(Input::Packet(advert_of(&slow, PEER, 150)));
    bench.give(Input::Packet(advert_of(&slow, PEER, 0)));
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_nanos(4 * 609_375_000)));
}

#[test]
fn rfc9568_6_4_2_priority_0_sets_the_timer_to_skew_time_without_preempt_mode_too() {
    let mut bench = Bench::up(Settings { preempt: Preempt::Never, ..settings() });
    bench.hear(PEER, 150);
    bench.hear(PEER, 0);
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_nanos(609_375_000)));
}

#[test]
fn rfc9568_6_4_2_priority_0_never_makes_the_wait_longer() {
    let mut bench = Bench::up(settings());
    bench.hear(PEER, 150);
    bench.wait(3_500);
    let deadline = bench.router.deadline();
    for _ in 0..3 {
        bench.hear(PEER, 0);
        assert_eq!(bench.router.deadline(), deadline);
    }
}

#[test]
fn rfc9568_6_4_2_without_preempt_mode_any_advert_resets_the_timer_and_gives_its_interval() {
    let mut bench = Bench::up(Settings { preempt: Preempt::Never, ..settings() });
    bench.wait(1000);
    let fast = Settings { advertise: interval(20), ..settings() };
    bench.give(Input::Packet(advert_of(&fast, PEER, 1)));
    assert_eq!(bench.router.deadline(), Some(bench.now + down(100, 20)));
}

#[test]
fn rfc9568_6_4_2_a_better_or_equal_advert_resets_the_timer_and_gives_its_interval() {
    for n in [100, 101, 255] {
        let mut bench = Bench::up(settings());
        bench.wait(1000);
        let slow = Settings { advertise: interval(200), ..settings() };
        bench.give(Input::Packet(advert_of(&slow, PEER, n)));
        assert_eq!(bench.router.deadline(), Some(bench.now + down(100, 200)), "priority {n}");
    }
}

#[test]
fn rfc9568_6_4_2_skew_and_down_interval_are_computed_anew_from_every_interval_heard() {
    let mut bench = Bench::up(settings());
    for centiseconds in [100, 4095, 1, 250] {
        let peer = Settings { advertise: interval(centiseconds), ..settings() };
        bench.give(Input::Packet(advert_of(&peer, PEER, 150)));
        assert_eq!(bench.router.deadline(), Some(bench.now + down(100, centiseconds)));
    }
}

#[test]
fn rfc9568_6_4_2_with_preempt_mode_a_worse_advert_is_discarded() {
    let mut bench = Bench::up(settings());
    bench.wait(1000);
    let deadline = bench.router.deadline();
    let slow = Settings { advertise: interval(200), ..settings() };
    bench.give(Input::Packet(advert_of(&slow, PEER, 99)));
    assert_eq!(bench.router.deadline(), deadline, "neither the timer nor the interval is touched");
}
