//! RFC 9568 where IPv6 differs from IPv4, and what a virtual MAC changes.

use super::*;

const PEER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12));
const LOWER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

fn up_6(settings: Settings) -> Bench {
    let mut bench = Bench::new(vec![settings]);
    bench.give(Input::Link { interface: eth0(), state: up6() });
    bench
}

fn takeover_6(settings: Settings) -> Vec<Effect> {
    let mut bench = up_6(settings);
    let at = bench.router.deadline().unwrap();
    bench.run_until(at)
}

fn hear(bench: &mut Bench, source: IpAddr, priority: u8) -> Vec<Effect> {
    bench.give(Input::Packet(advert_of(&six(), source, priority)))
}

#[test]
fn rfc9568_5_1_2_1_the_source_is_the_link_local_address_of_the_interface_it_is_sent_from() {
    assert_eq!(sent(&takeover_6(six())).0, OURS6);
}

#[test]
fn rfc9568_5_1_2_2_the_destination_is_the_group_of_vrrp() {
    let group: IpAddr = "ff02::12".parse().unwrap();
    assert_eq!(sent(&takeover_6(six())).1, [group]);
}

#[test]
fn rfc9568_5_1_2_3_a_packet_with_another_hop_limit_than_255_is_discarded() {
    for ttl in [0, 1, 64, 254] {
        let mut bench = up_6(six());
        bench.give(Input::Packet(Received { ttl, ..advert_of(&six(), PEER6, 200) }));
        assert_eq!((bench.status().received, bench.status().dropped["ttl"]), (0, 1));
    }
}

#[test]
fn rfc9568_5_2_1_version_2_has_no_ipv6() {
    let mut packet = advert_of(&six(), PEER6, 200);
    packet.message[0] = 0x21;
    let mut bench = up_6(six());
    bench.give(Input::Packet(packet));
    assert_eq!((bench.status().received, bench.status().dropped["version"]), (0, 1));
}

#[test]
fn rfc9568_5_2_5_an_address_of_ipv6_has_sixteen_bytes_and_the_count_says_how_many_there_are() {
    let addresses = vec![cidr("2001:db8::50/64"), cidr("2001:db8::51/64")];
    let message = sent(&takeover_6(Settings { addresses, ..six() })).2;
    assert_eq!((message[3], message.len()), (2, 8 + 2 * 16));
}

#[test]
fn rfc9568_5_2_8_over_ipv6_the_checksum_covers_the_pseudo_header_whatever_is_configured() {
    for checksum in [Checksum::Message, Checksum::PseudoHeader] {
        let (source, to, message) = sent(&takeover_6(Settings { checksum, ..six() }));
        assert!(packet::decode(&message, source, to[0]).is_ok());
        assert_eq!(packet::decode(&message, PEER6, to[0]), Err(packet::Malformed::Checksum));
    }
}

#[test]
fn rfc9568_5_2_9_a_link_local_address_comes_first_and_a_list_without_one_is_accepted() {
    let addresses = vec![cidr("2001:db8::50/64"), cidr("fe80::50/64")];
    let settings = Settings { addresses, ..six() };
    let (source, to, message) = sent(&takeover_6(settings));
    let first: IpAddr = "fe80::50".parse().unwrap();
    assert_eq!(packet::decode(&message, source, to[0]).unwrap().addresses[0], first);
    let mut bench = up_6(six());
    hear(&mut bench, PEER6, 200);
    assert_eq!(bench.status().received, 1);
}

#[test]
fn rfc9568_6_1_without_accept_mode_a_master_that_is_not_the_owner_takes_no_packets() {
    let accepts = |effects: &[Effect]| {
        effects.iter().find_map(|e| if let Effect::Hold { accept, .. } = e { Some(*accept) } else { None })
    };
    assert_eq!(accepts(&takeover_6(Settings { accept: false, ..six() })), Some(false));
    let owner = Settings { accept: false, priority: Priority::OWNER, ..six() };
    let effects = Bench::new(vec![owner]).give(Input::Link { interface: eth0(), state: up6() });
    assert_eq!(accepts(&effects), Some(true));
}

#[test]
fn rfc9568_6_4_1_the_owner_sends_an_advert_and_holds_and_so_announces_its_ipv6_addresses() {
    let mut bench = Bench::new(vec![Settings { priority: Priority::OWNER, ..six() }]);
    let effects = bench.give(Input::Link { interface: eth0(), state: up6() });
    assert_eq!(kinds(&effects), ["advert 255", "hold 2001:db8::50/64"]);
}

#[test]
fn rfc9568_6_4_2_a_backup_joins_no_solicited_node_group_and_answers_no_solicitation() {
    // Both go with the address, which a Backup does not hold.
    let mut bench = up_6(six());
    for _ in 0..30 {
        assert!(kinds(&hear(&mut bench, PEER6, 150)).is_empty());
        assert!(kinds(&bench.wait(1000)).is_empty());
    }
}

#[test]
fn rfc9568_6_4_2_when_the_active_down_timer_fires_an_advert_is_sent_and_the_addresses_are_held_and_announced() {
    assert_eq!(kinds(&takeover_6(six())), ["advert 100", "hold 2001:db8::50/64"]);
}

#[test]
fn rfc9568_6_4_3_an_equal_advert_from_the_higher_link_local_address_ends_mastership() {
    for (source, stays) in [(LOWER6, true), (PEER6, false)] {
        let mut bench = up_6(six());
        bench.wait(4_000);
        hear(&mut bench, source, 100);
        assert_eq!(bench.state() == VipState::Master, stays, "{source}");
    }
}

#[test]
fn rfc9568_7_1_the_families_of_one_vrid_are_two_virtual_routers() {
    let mut bench = up_6(six());
    let packet = advert_of(&settings(), PEER, 200);
    bench.give(Input::Packet(packet));
    assert_eq!(bench.status().received, 0);
    assert_eq!(bench.router.strangers()[&eth0()]["vrid"], 1);
}

#[test]
fn rfc9568_7_2_with_a_virtual_mac_adverts_and_announcements_leave_by_its_macvlan() {
    let macvlan: InterfaceName = "eth0-v6-51".parse().unwrap();
    let effects = takeover_6(Settings { virtual_mac: Some(macvlan.clone()), ..six() });
    let by = |effect: &Effect| match effect {
        Effect::Advert { virtual_mac, .. } | Effect::Hold { virtual_mac, .. } => virtual_mac.clone(),
        _ => None,
    };
    assert_eq!(effects.iter().filter_map(by).collect::<Vec<_>>(), [macvlan.clone(), macvlan]);
}
