//! RFC 9568 §7 and §8: receiving, sending, and the recommendations for running it.

use super::*;

/// Hears a changed good advert as Backup; what it was dropped for.
fn dropped(change: impl FnOnce(&mut Received)) -> Vec<String> {
    let mut bench = Bench::up(settings());
    let deadline = bench.router.deadline();
    let mut packet = advert_of(&settings(), PEER, 200);
    change(&mut packet);
    let effects = bench.give(Input::Packet(packet));
    let told = |event: &&Event| if let Event::Dropped { cause, .. } = event { Some(cause.clone()) } else { None };
    assert_eq!(bench.router.deadline(), deadline);
    events(&effects).iter().filter_map(told).collect()
}

#[test]
fn rfc9568_7_1_the_ttl_must_be_255_and_the_event_is_logged() {
    assert_eq!(dropped(|p| p.ttl = 254), ["ttl"]);
}

#[test]
fn rfc9568_7_1_the_version_must_be_3_and_the_event_is_logged() {
    for version in (0..16).filter(|v| *v != 3) {
        assert_eq!(dropped(|p| p.message[0] = version << 4 | 1), ["version"]);
    }
}

#[test]
fn rfc9568_7_1_the_type_must_be_1_and_the_event_is_logged() {
    assert_eq!(dropped(|p| p.message[0] = 0x32), ["type"]);
}

#[test]
fn rfc9568_7_1_the_packet_must_be_complete_and_the_event_is_logged() {
    for length in 0..12 {
        assert_eq!(dropped(|p| p.message.truncate(length)), ["length"], "{length} bytes");
    }
    assert_eq!(dropped(|p| p.message[3] = 2), ["length"]);
}

#[test]
fn rfc9568_7_1_the_checksum_must_fit_and_the_event_is_logged() {
    for at in [2, 4, 5, 6, 7, 8, 11] {
        assert_eq!(dropped(|p| p.message[at] ^= 1), ["checksum"], "byte {at}");
    }
}

/// A good advert in which the interval is 0, the checksum right (RFC 9568 §7.1, erratum 8301).
fn without_interval(mut packet: Received) -> Received {
    let (sum, carry) = {
        let (at, checksum) = (4, u16::from_be_bytes([packet.message[6], packet.message[7]]));
        let interval = u16::from_be_bytes([packet.message[at], packet.message[at + 1]]);
        packet.message[at..at + 2].fill(0);
        // What the sum lacks now, its complement has more (RFC 1071).
        checksum.overflowing_add(interval)
    };
    packet.message[6..8].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    packet
}

#[test]
fn rfc9568_7_1_an_interval_of_0_is_dropped_and_the_event_is_logged() {
    assert_eq!(dropped(|p| *p = without_interval(p.clone())), ["interval"]);
}

#[test]
fn rfc9568_7_1_whatever_check_fails_an_active_router_stays_as_it_was() {
    type Spoil = fn(&mut Received);
    let spoilt: [(&str, Spoil); 9] = [
        ("ttl", |p| p.ttl = 254),
        ("length", |p| p.message.truncate(8)),
        ("length", |p| p.message.push(0)),
        ("version", |p| p.message[0] = 0x21),
        ("type", |p| p.message[0] = 0x32),
        ("checksum", |p| p.message[7] ^= 1),
        ("interval", |p| *p = without_interval(p.clone())),
        ("addresses", |p| *p = advert_of(&Settings { addresses: vec![], ..settings() }, PEER, 255)),
        ("own", |p| *p = advert_of(&settings(), OURS, 255)),
    ];
    for (cause, spoil) in spoilt {
        let mut bench = Bench::master(settings());
        let (before, deadline) = (bench.status(), bench.router.deadline());
        let mut packet = advert_of(&settings(), PEER, 255);
        spoil(&mut packet);
        assert!(kinds(&bench.give(Input::Packet(packet))).is_empty(), "{cause}");
        let after = bench.status();
        assert_eq!(
            (after.state, after.received, bench.router.deadline()),
            (VipState::Master, before.received, deadline)
        );
        assert_eq!((after.dropped[cause], after.dropped.len()), (1, 1), "{cause}");
    }
}

#[test]
fn rfc9568_7_1_the_same_vrid_on_another_interface_is_another_virtual_router() {
    let outside = Settings { name: "outside".into(), interface: "eth1".parse().unwrap(), ..settings() };
    let mut bench = Bench::new(vec![settings(), outside]);
    bench.link_up();
    bench.give(Input::Packet(Received { interface: "eth1".parse().unwrap(), ..advert_of(&settings(), PEER, 200) }));
    let received: Vec<_> = bench.router.status().iter().map(|vip| vip.received).collect();
    assert_eq!(received, [0, 1]);
}

#[test]
fn rfc9568_7_1_the_vrid_must_be_configured_on_the_receiving_interface() {
    assert_eq!(dropped(|p| p.message[1] = 52), ["vrid"]);
    assert!(dropped(|p| p.interface = "eth1".parse().unwrap()).is_empty(), "nothing is ours on that interface");
}

#[test]
fn rfc9568_7_1_the_owner_of_the_addresses_heeds_no_advert() {
    for n in [1, 254, 255] {
        let mut bench = Bench::master(Settings { priority: Priority::OWNER, ..settings() });
        let effects = bench.hear(PEER, n);
        assert_eq!(bench.state(), VipState::Master, "priority {n}");
        assert!(matches!(events(&effects)[..], [Event::Warning { .. }]), "and it is logged");
    }
}

#[test]
fn rfc9568_7_1_logging_is_rate_limited() {
    let mut bench = Bench::up(settings());
    let mut told = 0;
    for _ in 0..10_000 {
        let packet = Received { ttl: 1, ..advert_of(&settings(), PEER, 200) };
        told += events(&bench.give(Input::Packet(packet))).len();
    }
    assert_eq!(told, 5, "at 1, 10, 100, 1,000 and 10,000");
    assert_eq!(bench.status().dropped["ttl"], 10_000);
}

#[test]
fn rfc9568_7_1_a_differing_address_list_is_logged() {
    let other = Settings { addresses: vec![cidr("192.0.2.99/24")], ..settings() };
    let mut bench = Bench::up(settings());
    let effects = bench.give(Input::Packet(advert_of(&other, PEER, 200)));
    assert!(matches!(events(&effects)[..], [Event::Warning { .. }]));
    assert_eq!(bench.status().received, 1);
}

#[test]
fn rfc9568_7_1_a_differing_interval_is_logged_and_not_dropped() {
    let other = Settings { advertise: interval(200), ..settings() };
    let mut bench = Bench::up(settings());
    let effects = bench.give(Input::Packet(advert_of(&other, PEER, 200)));
    assert!(matches!(events(&effects)[..], [Event::Warning { .. }]));
    assert_eq!(bench.status().received, 1);
}

#[test]
fn rfc9568_7_2_every_field_is_filled_from_what_the_virtual_router_is_now() {
    let track = vec![("nginx".into(), Some(-50))];
    let mut bench = Bench::master(Settings { preempt: Preempt::Never, track, ..settings() });
    bench.give(Input::Check { name: "nginx".into(), up: false });
    let (source, destinations, message) = sent(&bench.wait(1000));
    let advert = packet::decode(&message, source, destinations[0]).unwrap();
    let addresses = vec![IpAddr::from([192, 0, 2, 50])];
    let body = Body::V3 { interval: interval(100) };
    assert_eq!(advert, Advert { vrid: settings().vrid, priority: 50, body, addresses });
}

#[test]
fn rfc9568_8_3_2_two_routers_with_one_priority_end_with_one_active() {
    // Both took over in the same moment and hear each other.
    let (mut low, mut high) = (Bench::master(settings()), Bench::master(settings()));
    low.hear(PEER, 100);
    high.hear(LOWER, 100);
    assert_eq!((low.state(), high.state()), (VipState::Backup, VipState::Master));
}

#[test]
fn rfc9568_8_3_2_a_second_owner_is_logged_at_a_limited_rate() {
    let mut bench = Bench::master(Settings { priority: Priority::OWNER, ..settings() });
    let mut told = Vec::new();
    for _ in 0..10_000 {
        let effects = bench.hear(PEER, 255);
        told.extend(events(&effects).into_iter().cloned());
    }
    assert_eq!(told.len(), 5, "at 1, 10, 100, 1,000 and 10,000");
    assert!(matches!(&told[0], Event::Warning { what, .. } if what.contains("192.0.2.12") && what.contains("255")));
}

#[test]
fn rfc9568_8_3_2_backups_of_different_priority_do_not_take_over_together() {
    let [mut better, mut worse] = [150, 100].map(|n| Bench::up(Settings { priority: priority(n), ..settings() }));
    for bench in [&mut better, &mut worse] {
        bench.hear(LOWER, 200);
    }
    let due = better.router.deadline().unwrap();
    for bench in [&mut better, &mut worse] {
        bench.run_until(due);
    }
    assert_eq!((better.state(), worse.state()), (VipState::Master, VipState::Backup));
    worse.hear(PEER, 150);
    assert_eq!(worse.router.deadline(), Some(due + down(100, 100)), "it has heard of its master in time");
}

#[test]
fn rfc9568_8_4_a_router_of_version_3_drops_adverts_of_version_2_and_the_reverse() {
    let (v2, v3) = (Settings { version: Version::V2, ..settings() }, settings());
    for (ours, theirs) in [(&v2, &v3), (&v3, &v2)] {
        let mut bench = Bench::master(ours.clone());
        bench.give(Input::Packet(advert_of(theirs, PEER, 200)));
        assert_eq!((bench.state(), bench.status().dropped["version"]), (VipState::Master, 1));
    }
}
