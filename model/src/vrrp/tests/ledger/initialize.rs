//! RFC 9568 §6.4.1: Initialize.

use super::*;

fn owner() -> Settings {
    Settings { priority: Priority::OWNER, ..settings() }
}

#[test]
fn rfc9568_6_4_1_before_startup_nothing_is_sent_or_held() {
    let mut bench = Bench::new(vec![owner()]);
    bench.hear(PEER, 100);
    assert!(kinds(&bench.wait(60_000)).is_empty());
    assert_eq!(bench.state(), VipState::Init);
}

#[test]
fn rfc9568_6_4_1_the_owner_sends_an_advert_at_startup() {
    assert_eq!(kinds(&Bench::new(vec![owner()]).link_up())[0], "advert 255");
}

#[test]
fn rfc9568_6_4_1_the_owner_announces_each_of_its_addresses_at_startup() {
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24")];
    let effects = Bench::new(vec![Settings { addresses, ..owner() }]).link_up();
    // `Hold` announces each address as soon as it stands.
    assert_eq!(kinds(&effects)[1], "hold 192.0.2.50/24 192.0.2.51/24");
}

#[test]
fn rfc9568_6_4_1_the_owner_sets_the_adver_timer_and_becomes_active() {
    let mut bench = Bench::new(vec![owner()]);
    bench.link_up();
    assert_eq!(bench.state(), VipState::Master);
    assert!(!kinds(&bench.wait(999)).contains(&"advert 255".to_owned()));
    assert_eq!(kinds(&bench.wait(1)), ["advert 255"]);
}

#[test]
fn rfc9568_6_4_1_everybody_else_sets_the_active_down_timer_by_its_own_interval_and_becomes_backup() {
    for (n, centiseconds) in [(1, 10), (254, 100)] {
        let mut bench =
            Bench::new(vec![Settings { priority: priority(n), advertise: interval(centiseconds), ..settings() }]);
        assert!(kinds(&bench.link_up()).is_empty());
        assert_eq!(bench.state(), VipState::Backup);
        assert_eq!(bench.router.deadline(), Some(bench.now + down(n, centiseconds)));
    }
}
