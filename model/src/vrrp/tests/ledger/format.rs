//! RFC 9568 §5: what an advert is on the wire.

use super::*;

#[test]
fn rfc9568_5_1_1_1_the_source_is_the_primary_address_of_the_interface_it_is_sent_from() {
    assert_eq!(sent(&takeover(settings())).0, OURS);
}

#[test]
fn rfc9568_5_1_1_2_the_destination_is_the_group_of_vrrp() {
    assert_eq!(sent(&takeover(settings())).1, [IpAddr::from([224, 0, 0, 18])]);
}

#[test]
fn rfc9568_5_1_1_3_a_packet_with_another_ttl_than_255_is_discarded() {
    for ttl in [0, 1, 64, 254] {
        let mut bench = Bench::up(settings());
        let packet = Received { ttl, ..advert_of(&settings(), PEER, 200) };
        bench.give(Input::Packet(packet));
        assert_eq!((bench.status().received, bench.status().dropped["ttl"]), (0, 1));
    }
}

#[test]
fn rfc9568_5_1_1_4_the_protocol_is_112() {
    assert_eq!(packet::PROTOCOL, 112);
}

#[test]
fn rfc9568_5_2_1_the_version_is_3() {
    assert_eq!(sent(&takeover(settings())).2[0] >> 4, 3);
}

#[test]
fn rfc9568_5_2_2_the_type_is_1_and_a_packet_of_another_type_is_discarded() {
    assert_eq!(sent(&takeover(settings())).2[0] & 0x0f, 1);
    for kind in (0..16).filter(|kind| *kind != 1) {
        let mut packet = advert_of(&settings(), PEER, 200);
        packet.message[0] = 0x30 | kind;
        let mut bench = Bench::up(settings());
        bench.give(Input::Packet(packet));
        assert_eq!((bench.status().received, bench.status().dropped["type"]), (0, 1), "type {kind}");
    }
}

#[test]
fn rfc9568_5_2_3_the_virtual_rtr_id_is_the_configured_one() {
    let vrid = Vrid::try_from(255).unwrap();
    assert_eq!(sent(&takeover(Settings { vrid, ..settings() })).2[1], 255);
    assert!(Vrid::try_from(0).is_err());
}

#[test]
fn rfc9568_5_2_4_the_priority_is_the_senders() {
    for n in [1, 100, 254] {
        assert_eq!(sent(&takeover(Settings { priority: priority(n), ..settings() })).2[2], n);
    }
}

#[test]
fn rfc9568_5_2_4_the_owner_sends_255() {
    let owner = Settings { priority: Priority::OWNER, ..settings() };
    assert_eq!(sent(&Bench::new(vec![owner]).link_up()).2[2], 255);
}

#[test]
fn rfc9568_5_2_4_priority_0_says_that_the_active_router_has_stopped() {
    let mut bench = Bench::master(settings());
    assert_eq!(sent(&bench.give(Input::Stop)).2[2], 0);
}

#[test]
fn rfc9568_5_2_5_the_count_is_that_of_the_addresses() {
    let addresses = vec![cidr("192.0.2.50/24"), cidr("192.0.2.51/24"), cidr("198.51.100.1/32")];
    assert_eq!(sent(&takeover(Settings { addresses, ..settings() })).2[3], 3);
}

#[test]
fn rfc9568_5_2_5_of_more_addresses_than_the_count_can_say_all_are_held() {
    let addresses: Vec<_> = (0..300).map(|n| cidr(&format!("198.51.{}.{}/32", n / 200, 1 + n % 200))).collect();
    let effects = takeover(Settings { addresses: addresses.clone(), ..settings() });
    let (_, _, message) = sent(&effects);
    assert_eq!((message[3], message.len()), (255, 8 + 255 * 4));
    let held = |effect: &Effect| matches!(effect, Effect::Hold { addresses: held, .. } if *held == addresses);
    assert!(effects.iter().any(held));
}

#[test]
fn rfc9568_5_2_5_an_advert_that_counts_no_address_is_ignored() {
    let empty = Settings { addresses: vec![], ..settings() };
    let mut bench = Bench::master(settings());
    let effects = bench.give(Input::Packet(advert_of(&empty, PEER, 200)));
    assert!(kinds(&effects).is_empty());
    assert_eq!((bench.state(), bench.status().dropped["addresses"]), (VipState::Master, 1));
}

#[test]
fn rfc9568_5_2_6_the_reserved_bits_are_sent_as_zero_whatever_the_interval() {
    for centiseconds in [1, 100, 4095] {
        let message = sent(&takeover(Settings { advertise: interval(centiseconds), ..settings() })).2;
        assert_eq!(message[4] & 0xf0, 0);
    }
}

#[test]
fn rfc9568_5_2_6_the_reserved_bits_are_ignored_on_reception() {
    let mut packet = advert_of(&Settings { checksum: Checksum::Message, ..settings() }, PEER, 200);
    packet.message[4] |= 0xf0;
    // What the high bits of the word add, the checksum takes away (RFC 1071, ones' complement).
    let (sum, borrow) = u16::from_be_bytes([packet.message[6], packet.message[7]]).overflowing_sub(0xf000);
    packet.message[6..8].copy_from_slice(&(sum - u16::from(borrow)).to_be_bytes());
    let mut bench = Bench::up(settings());
    bench.give(Input::Packet(packet));
    assert_eq!(bench.status().received, 1);
    assert_eq!(bench.router.deadline(), Some(bench.now + down(100, 100)));
}

#[test]
fn rfc9568_5_2_7_the_max_advertise_interval_is_twelve_bits_of_centiseconds() {
    for centiseconds in [1, 255, 256, 4095] {
        let message = sent(&takeover(Settings { advertise: interval(centiseconds), ..settings() })).2;
        assert_eq!(u16::from_be_bytes([message[4], message[5]]), centiseconds);
    }
    // Longer ones exist in version 2 alone; the four bits before it stay zero whatever is asked for.
    let message = sent(&takeover(Settings { advertise: Centiseconds::MAX_V2, ..settings() })).2;
    assert_eq!(u16::from_be_bytes([message[4], message[5]]), 4095);
    assert!(Centiseconds::try_from(0).is_err());
}

#[test]
fn rfc9568_5_2_8_the_checksum_covers_the_message_from_the_version_on_where_so_configured() {
    let message = sent(&takeover(Settings { checksum: Checksum::Message, ..settings() })).2;
    let words = message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
}

#[test]
fn rfc9568_5_2_8_both_forms_of_the_checksum_are_accepted_and_no_other() {
    for checksum in [Checksum::Message, Checksum::PseudoHeader] {
        let mut packet = advert_of(&Settings { checksum, ..settings() }, PEER, 200);
        let mut bench = Bench::up(settings());
        bench.give(Input::Packet(packet.clone()));
        packet.message[7] ^= 1;
        bench.give(Input::Packet(packet));
        assert_eq!((bench.status().received, bench.status().dropped["checksum"]), (1, 1));
    }
}

#[test]
fn rfc9568_5_2_9_the_addresses_are_listed_in_the_order_of_the_file() {
    let addresses = vec![cidr("192.0.2.51/24"), cidr("192.0.2.50/24")];
    let message = sent(&takeover(Settings { addresses, ..settings() })).2;
    assert_eq!(message[8..], [192, 0, 2, 51, 192, 0, 2, 50]);
}
