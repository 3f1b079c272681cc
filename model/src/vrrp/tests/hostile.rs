use super::*;

/// Each spoils a good packet in one way and names what it is dropped for.
fn spoilt(settings: &Settings) -> Vec<(&'static str, Received)> {
    let good = advert_of(settings, PEER, 200);
    let with = |change: &dyn Fn(&mut Received)| {
        let mut packet = good.clone();
        change(&mut packet);
        packet
    };
    vec![
        ("ttl", with(&|p| p.ttl = 64)),
        ("length", with(&|p| p.message.push(0))),
        ("version", with(&|p| p.message[0] ^= 0x10)),
        ("type", with(&|p| p.message[0] += 1)),
        ("checksum", with(&|p| p.message[2] = 254)),
    ]
}

#[test]
fn what_is_dropped_is_counted_by_cause_and_changes_no_state() {
    for version in [Version::V2, Version::V3] {
        let settings = Settings { version, ..settings() };
        for (cause, packet) in spoilt(&settings) {
            let mut bench = Bench::master(settings.clone());
            let deadline = bench.router.deadline();
            let effects = bench.give(Input::Packet(packet));
            assert!(matches!(events(&effects)[..], [Event::Dropped { cause: c, count: 1, .. }] if c == cause));
            assert!(kinds(&effects).is_empty());
            assert_eq!((bench.state(), bench.router.deadline()), (VipState::Master, deadline));
            assert_eq!(bench.status().dropped[cause], 1);
        }
    }
}

#[test]
fn version_2_drops_a_wrong_missing_or_unexpected_password() {
    let with = |text: Option<&str>| Settings {
        version: Version::V2,
        password: text.map(|t| Password::new(t).unwrap()),
        ..settings()
    };
    for (ours, theirs) in [(Some("secret"), Some("Secret")), (Some("secret"), None), (None, Some("secret"))] {
        let mut bench = Bench::master(with(ours));
        bench.give(Input::Packet(advert_of(&with(theirs), PEER, 200)));
        assert_eq!((bench.state(), bench.status().dropped["authentication"]), (VipState::Master, 1));
        bench.give(Input::Packet(advert_of(&with(ours), PEER, 200)));
        assert_eq!(bench.state(), VipState::Backup);
    }
}

#[test]
fn version_2_drops_a_differing_interval() {
    let slow = Settings { version: Version::V2, advertise: Centiseconds::try_from(200).unwrap(), ..settings() };
    let mut bench = Bench::master(Settings { version: Version::V2, ..settings() });
    bench.give(Input::Packet(advert_of(&slow, PEER, 200)));
    assert_eq!((bench.state(), bench.status().dropped["interval"]), (VipState::Master, 1));
}

#[test]
fn unicast_drops_senders_that_are_no_peers() {
    let unicast = Settings { reach: Reach::Unicast { local: OURS, peers: vec![PEER] }, ..settings() };
    let mut bench = Bench::master(unicast.clone());
    bench.give(Input::Packet(advert_of(&unicast, [192, 0, 2, 66].into(), 200)));
    assert_eq!((bench.state(), bench.status().dropped["source"]), (VipState::Master, 1));
    bench.give(Input::Packet(advert_of(&unicast, PEER, 200)));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn our_own_packet_looped_back_is_dropped() {
    for reach in [Reach::Multicast, Reach::Unicast { local: OURS, peers: vec![PEER] }] {
        let settings = Settings { reach, ..settings() };
        let mut bench = Bench::master(settings.clone());
        bench.give(Input::Packet(advert_of(&settings, OURS, 200)));
        assert_eq!((bench.state(), bench.status().dropped["own"]), (VipState::Master, 1));
    }
}

#[test]
fn a_differing_address_list_is_told_of_and_not_dropped() {
    let other = Settings { addresses: vec![cidr("192.0.2.77/24")], ..settings() };
    let mut bench = Bench::master(settings());
    let effects = bench.give(Input::Packet(advert_of(&other, PEER, 200)));
    assert!(matches!(events(&effects)[..], [Event::Warning { .. }, Event::State { .. }]));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn packets_for_nobody_are_counted_on_their_interface() {
    let foreign = Settings { vrid: Vrid::try_from(52).unwrap(), ..settings() };
    let mut bench = Bench::master(settings());
    let told: usize = (0..10_000).map(|_| bench.give(Input::Packet(advert_of(&foreign, PEER, 200))).len()).sum();
    assert_eq!(told, 5, "at 1, 10, 100, 1,000 and 10,000");
    assert_eq!(bench.router.strangers()[&eth0()]["vrid"], 10_000);
    let elsewhere = Received { interface: "eth9".parse().unwrap(), ..advert_of(&foreign, PEER, 200) };
    assert!(bench.give(Input::Packet(elsewhere)).is_empty());
}

#[test]
fn each_unicast_peer_gets_a_checksum_of_its_own_where_that_covers_the_destination() {
    let third = IpAddr::from([192, 0, 2, 13]);
    let reach = Reach::Unicast { local: OURS, peers: vec![PEER, third] };
    for (checksum, messages) in [(Checksum::PseudoHeader, 2), (Checksum::Message, 1)] {
        let mut bench = Bench::master(Settings { reach: reach.clone(), checksum, ..settings() });
        let effects = bench.wait(1_000);
        let mut reached = Vec::new();
        for effect in &effects {
            let Effect::Advert { destinations, message, source, .. } = effect else { continue };
            assert!(destinations.iter().all(|to| packet::decode(message, *source, *to).is_ok()));
            reached.extend(destinations.clone());
        }
        assert_eq!((effects.len(), reached), (messages, vec![PEER, third]));
    }
}
