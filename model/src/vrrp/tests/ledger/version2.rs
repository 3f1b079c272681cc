//! RFC 3768 where it differs from RFC 9568, and RFC 2338's password.

use super::*;

fn v2() -> Settings {
    Settings { version: Version::V2, ..settings() }
}

fn with_password(text: &str) -> Settings {
    Settings { password: Password::new(text), ..v2() }
}

#[test]
fn rfc3768_5_3_1_the_version_is_2() {
    assert_eq!(sent(&takeover(v2())).2[0], 0x21);
}

#[test]
fn rfc3768_5_3_6_without_a_password_the_authentication_type_is_0() {
    assert_eq!(sent(&takeover(v2())).2[4], 0);
}

#[test]
fn rfc3768_5_3_7_the_interval_is_one_byte_of_seconds() {
    for seconds in [1, 3, 40] {
        let advertise = interval(seconds * 100);
        assert_eq!(u16::from(sent(&takeover(Settings { advertise, ..v2() })).2[5]), seconds);
    }
}

#[test]
fn rfc3768_5_3_8_the_checksum_covers_the_whole_message_and_nothing_else() {
    for settings in [v2(), with_password("s3cret")] {
        let message = sent(&takeover(settings)).2;
        let sum: u32 = message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}

#[test]
fn rfc3768_5_3_10_the_authentication_data_is_eight_zero_bytes_on_sending_and_ignored_on_reception() {
    assert_eq!(sent(&takeover(v2())).2[12..], [0; 8]);
    let mut packet = advert_of(&v2(), PEER, 200);
    // Two bytes that cancel out in the checksum.
    packet.message[12..16].copy_from_slice(&[0x12, 0x34, 0xed, 0xcb]);
    let mut bench = Bench::up(v2());
    bench.give(Input::Packet(packet));
    assert_eq!(bench.status().received, 1);
}

#[test]
fn rfc2338_5_3_6_the_simple_password_is_type_1_padded_with_zeros() {
    let message = sent(&takeover(with_password("s3cret"))).2;
    assert_eq!((message[4], &message[12..]), (1, &b"s3cret\0\0"[..]));
}

#[test]
fn rfc3768_6_1_skew_time_is_a_share_of_a_second_whatever_the_interval() {
    let slow = Settings { advertise: interval(300), ..v2() };
    let mut bench = Bench::up(slow.clone());
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_nanos(9_609_375_000)));
    bench.give(Input::Packet(advert_of(&slow, PEER, 0)));
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_nanos(609_375_000)));
}

#[test]
fn rfc3768_6_4_1_a_starting_backup_listens_for_three_intervals_and_skew() {
    let bench = Bench::up(v2());
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_nanos(3_609_375_000)));
}

#[test]
fn rfc3768_6_4_2_a_better_advert_resets_the_timer_and_a_worse_one_is_discarded() {
    let mut bench = Bench::up(v2());
    bench.wait(1000);
    bench.give(Input::Packet(advert_of(&v2(), PEER, 100)));
    let deadline = bench.router.deadline();
    assert_eq!(deadline, Some(bench.now + Duration::from_nanos(3_609_375_000)));
    bench.wait(1000);
    bench.give(Input::Packet(advert_of(&v2(), PEER, 99)));
    assert_eq!(bench.router.deadline(), deadline);
}

#[test]
fn rfc3768_6_4_3_a_losing_advert_is_discarded_without_an_answer() {
    let mut bench = Bench::master(v2());
    let deadline = bench.router.deadline();
    let effects = bench.give(Input::Packet(advert_of(&v2(), PEER, 99)));
    assert!(!kinds(&effects).iter().any(|kind| kind.starts_with("advert")));
    assert_eq!((bench.state(), bench.router.deadline()), (VipState::Master, deadline));
}

#[test]
fn rfc3768_6_4_3_priority_0_is_answered_and_a_better_advert_ends_mastership() {
    let mut bench = Bench::master(v2());
    assert_eq!(kinds(&bench.give(Input::Packet(advert_of(&v2(), PEER, 0))))[0], "advert 100");
    bench.give(Input::Packet(advert_of(&v2(), PEER, 101)));
    assert_eq!(bench.state(), VipState::Backup);
}

#[test]
fn rfc3768_7_1_the_authentication_must_be_the_configured_one() {
    for (ours, theirs) in
        [(v2(), with_password("a")), (with_password("a"), v2()), (with_password("a"), with_password("b"))]
    {
        let mut bench = Bench::master(ours);
        bench.give(Input::Packet(advert_of(&theirs, PEER, 200)));
        assert_eq!((bench.state(), bench.status().dropped["authentication"]), (VipState::Master, 1));
    }
    // Types that nobody speaks: RFC 2338's header authentication, and what no RFC has.
    for kind in [2, 3, 254, 255] {
        let body = Body::V2 { seconds: 1, auth: Auth::Other(kind) };
        let addresses = vec!["192.0.2.50".parse().unwrap()];
        let advert = Advert { vrid: v2().vrid, priority: 200, body, addresses };
        let message = packet::encode(&advert, Checksum::Message, PEER, packet::group(Family::V4));
        let mut bench = Bench::master(v2());
        bench.give(Input::Packet(Received { message, ..advert_of(&v2(), PEER, 200) }));
        assert_eq!((bench.state(), bench.status().dropped["authentication"]), (VipState::Master, 1), "type {kind}");
    }
}

#[test]
fn rfc3768_7_1_the_interval_must_be_the_configured_one() {
    let mut bench = Bench::master(v2());
    let slow = Settings { advertise: interval(200), ..v2() };
    bench.give(Input::Packet(advert_of(&slow, PEER, 200)));
    assert_eq!((bench.state(), bench.status().dropped["interval"]), (VipState::Master, 1));
}

#[test]
fn rfc3768_7_1_an_interval_of_0_is_dropped() {
    let mut packet = advert_of(&v2(), PEER, 200);
    packet.message[5] = 0;
    // What the sum lacks now, its complement has more.
    let sum = u16::from_be_bytes([packet.message[6], packet.message[7]]) + 1;
    packet.message[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut bench = Bench::master(v2());
    bench.give(Input::Packet(packet));
    assert_eq!((bench.state(), bench.status().dropped["interval"]), (VipState::Master, 1));
}

#[test]
fn rfc3768_7_1_the_length_is_that_of_header_addresses_and_authentication() {
    let good = advert_of(&v2(), PEER, 200).message.len();
    for length in (0..good).chain([good + 1]) {
        let mut packet = advert_of(&v2(), PEER, 200);
        packet.message.resize(length, 0);
        let mut bench = Bench::master(v2());
        bench.give(Input::Packet(packet));
        assert_eq!((bench.state(), bench.status().received), (VipState::Master, 0), "{length} bytes");
    }
}
