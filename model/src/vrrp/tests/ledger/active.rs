//! RFC 9568 §6.4.3: Active.

use super::*;

#[test]
fn rfc9568_6_4_3_an_active_router_keeps_its_addresses_and_so_answers_arp_for_them() {
    let mut bench = Bench::master(settings());
    assert!(kinds(&bench.wait(60_000)).iter().all(|kind| kind == "advert 100" || kind == "announce"));
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn rfc9568_6_4_3_shutdown_cancels_the_timer_sends_priority_0_and_leads_to_initialize() {
    let mut bench = Bench::master(settings());
    assert_eq!(kinds(&bench.give(Input::Stop)), ["advert 0"]);
    assert_eq!(bench.state(), VipState::Init);
    // The addresses stay until somebody else has them, for a while at most.
    assert_eq!(kinds(&bench.wait(60_000)), ["release 192.0.2.50/24"]);
    assert_eq!(bench.router.deadline(), None);
}

#[test]
fn rfc9568_6_4_3_when_the_adver_timer_fires_an_advert_is_sent_and_the_timer_is_set_again() {
    let mut bench = Bench::master(settings());
    let due = bench.router.deadline().unwrap();
    assert_eq!(kinds(&bench.run_until(due)), ["advert 100"]);
    assert_eq!(bench.router.deadline(), Some(due + Duration::from_secs(1)));
}

#[test]
fn rfc9568_6_4_3_priority_0_is_answered_with_an_advert_and_the_timer_is_set_again() {
    let mut bench = Bench::master(settings());
    bench.wait(300);
    assert_eq!(kinds(&bench.hear(PEER, 0))[0], "advert 100");
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_secs(1)));
}

#[test]
fn rfc9568_6_4_3_a_better_advert_ends_mastership_and_its_interval_counts() {
    for n in [101, 254, 255] {
        let mut bench = Bench::master(settings());
        let slow = Settings { advertise: interval(200), ..settings() };
        let effects = bench.give(Input::Packet(advert_of(&slow, LOWER, n)));
        assert!(kinds(&effects).is_empty(), "no goodbye: priority 0 is for a stop");
        assert_eq!(bench.state(), VipState::Backup);
        let heard = bench.now;
        assert_eq!(kinds(&bench.handed_over()), ["release 192.0.2.50/24"]);
        assert_eq!(bench.router.deadline(), Some(heard + down(100, 200)));
    }
}

#[test]
fn rfc9568_6_4_3_an_equal_advert_from_the_higher_address_ends_mastership() {
    let mut bench = Bench::master(settings());
    bench.hear(PEER, 100);
    assert_eq!(bench.state(), VipState::Backup);
    let heard = bench.now;
    bench.handed_over();
    assert_eq!(bench.router.deadline(), Some(heard + down(100, 100)));
}

#[test]
fn rfc9568_6_4_3_addresses_are_compared_as_unsigned_numbers() {
    for (other, stays) in [([9, 255, 255, 255], true), ([193, 0, 0, 0], false), ([192, 0, 2, 9], true)] {
        let mut bench = Bench::master(settings());
        bench.hear(other.into(), 100);
        assert_eq!(bench.state() == VipState::Master, stays, "{other:?}");
    }
}

#[test]
fn rfc9568_6_4_3_a_losing_advert_is_discarded() {
    for (source, n) in [(PEER, 99), (PEER, 1), (LOWER, 100)] {
        let mut bench = Bench::master(settings());
        let deadline = bench.router.deadline();
        let slow = Settings { advertise: interval(200), ..settings() };
        bench.give(Input::Packet(advert_of(&slow, source, n)));
        assert_eq!((bench.state(), bench.router.deadline()), (VipState::Master, deadline));
    }
}

#[test]
fn rfc9568_6_4_3_a_losing_advert_is_answered_at_once_with_our_own() {
    for (source, n) in [(PEER, 99), (LOWER, 100)] {
        let mut bench = Bench::master(settings());
        assert_eq!(kinds(&bench.hear(source, n))[0], "advert 100");
    }
}
