//! Golden bytes, checksums computed a second way, and every byte string.

use proptest::prelude::*;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const GROUP: IpAddr = IpAddr::V4(super::GROUP);

fn advert(body: Body) -> Advert {
    let addresses = vec![[192, 0, 2, 50].into(), [192, 0, 2, 51].into()];
    Advert { vrid: Vrid::try_from(51).unwrap(), priority: 150, body, addresses }
}

fn v2(auth: Auth) -> Advert {
    advert(Body::V2 { seconds: 1, auth })
}

fn v3() -> Advert {
    advert(Body::V3 { interval: Centiseconds::try_from(100).unwrap() })
}

/// RFC 1071 the slow way: sixteen bits at a time with the carry put back after each.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0u16, |sum, pair| {
        let word = u16::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u16::from(*b));
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn pseudo_header(destination: IpAddr, message: &[u8]) -> Vec<u8> {
    [&octets(SOURCE)[..], &octets(destination), &[0, 112, 0, message.len() as u8], message].concat()
}

fn golden(name: &str, message: &[u8]) {
    let hex: Vec<String> = message.chunks(4).map(|w| w.iter().map(|b| format!("{b:02x}")).collect()).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../../snapshots/wire");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, hex.join(" ")));
}

#[test]
fn version_2_without_authentication_carries_eight_zero_bytes_and_sums_to_all_ones() {
    let message = encode(&v2(Auth::None), Checksum::PseudoHeader, SOURCE, GROUP);
    assert_eq!(message.len(), 8 + 2 * 4 + 8);
    assert!(message.ends_with(&[0; 8]));
    assert_eq!(ones_complement_sum(&message), 0xffff);
    golden("v2-none", &message);
}

#[test]
fn version_2_carries_its_password_zero_padded_under_the_checksum() {
    let message = encode(&v2(Auth::Simple(Password::new("s3cret").unwrap())), Checksum::Message, SOURCE, GROUP);
    assert!(message.ends_with(b"s3cret\0\0"));
    assert_eq!(ones_complement_sum(&message), 0xffff);
    golden("v2-password", &message);
}

#[test]
fn version_3_by_default_sums_with_the_pseudo_header() {
    let message = encode(&v3(), Checksum::PseudoHeader, SOURCE, GROUP);
    assert_eq!(ones_complement_sum(&pseudo_header(GROUP, &message)), 0xffff);
    golden("v3-pseudo-header", &message);
    let unicast = encode(&v3(), Checksum::PseudoHeader, SOURCE, PEER);
    assert_eq!(ones_complement_sum(&pseudo_header(PEER, &unicast)), 0xffff);
    golden("v3-pseudo-header-unicast", &unicast);
}

#[test]
fn version_3_as_rfc_9568_has_it_sums_over_the_message_alone() {
    let message = encode(&v3(), Checksum::Message, SOURCE, GROUP);
    assert_eq!(ones_complement_sum(&message), 0xffff);
    golden("v3-message", &message);
}

#[test]
fn a_goodbye_is_an_advert_of_priority_0() {
    let message = encode(&Advert { priority: 0, ..v3() }, Checksum::PseudoHeader, SOURCE, GROUP);
    assert_eq!(decode(&message, SOURCE, GROUP).unwrap().priority, 0);
    golden("v3-goodbye", &message);
}

#[test]
fn both_forms_of_version_3s_checksum_are_accepted() {
    for form in [Checksum::PseudoHeader, Checksum::Message] {
        assert_eq!(decode(&encode(&v3(), form, SOURCE, PEER), SOURCE, PEER), Ok(v3()));
    }
    let elsewhere = encode(&v3(), Checksum::PseudoHeader, SOURCE, PEER);
    assert_eq!(decode(&elsewhere, SOURCE, GROUP), Err(Malformed::Checksum));
}

#[test]
fn a_reserved_nibble_is_ignored_on_receipt() {
    let mut message = encode(&v3(), Checksum::Message, SOURCE, GROUP);
    message[4] |= 0xf0;
    let sum = u16::from_be_bytes([message[6], message[7]]);
    let (lower, borrow) = sum.overflowing_sub(0xf000);
    [message[6], message[7]] = (lower - u16::from(borrow)).to_be_bytes();
    assert_eq!(decode(&message, SOURCE, GROUP), Ok(v3()));
}

#[test]
fn each_mistake_is_named() {
    let good = encode(&v3(), Checksum::Message, SOURCE, GROUP);
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        decode(&bad, SOURCE, GROUP)
    };
    assert_eq!(decode(&good[..7], SOURCE, GROUP), Err(Malformed::Length));
    assert_eq!(decode(&good[..12], SOURCE, GROUP), Err(Malformed::Length));
    assert_eq!(decode(&[&good[..], &[0]].concat(), SOURCE, GROUP), Err(Malformed::Length));
    assert_eq!(decode(&[], SOURCE, GROUP), Err(Malformed::Length));
    assert_eq!(with(0, 0x41), Err(Malformed::Version));
    assert_eq!(with(0, 0x32), Err(Malformed::Type));
    assert_eq!(with(1, 0), Err(Malformed::Vrid));
    assert_eq!(with(2, 151), Err(Malformed::Checksum));
    assert_eq!(with(3, 255), Err(Malformed::Length));
    let zero = encode(&v2(Auth::None), Checksum::Message, SOURCE, GROUP);
    let seconds = Advert { body: Body::V2 { seconds: 0, auth: Auth::None }, ..v2(Auth::None) };
    assert_eq!(decode(&encode(&seconds, Checksum::Message, SOURCE, GROUP), SOURCE, GROUP), Err(Malformed::Interval));
    assert_eq!(decode(&zero[..16], SOURCE, GROUP), Err(Malformed::Length));
}

#[test]
fn a_list_longer_than_the_count_can_say_is_cut() {
    let addresses = (0..300u32).map(|n| Ipv4Addr::from(n).into()).collect();
    let message = encode(&Advert { addresses, ..v3() }, Checksum::Message, SOURCE, GROUP);
    assert_eq!(decode(&message, SOURCE, GROUP).unwrap().addresses.len(), MAX_ADDRESSES);
}

#[test]
fn a_password_is_in_no_debug_text() {
    let text = format!("{:?}", v2(Auth::Simple(Password::new("s3cret").unwrap())));
    assert!(!text.contains("s3cret") && !text.contains("115"), "{text}");
}

fn any_auth() -> impl Strategy<Value = Auth> {
    let password = any::<[u8; 8]>().prop_map(|b| Auth::Simple(Password::from_bytes(b)));
    prop_oneof![Just(Auth::None), password, (2u8..).prop_map(Auth::Other)]
}

fn any_body() -> impl Strategy<Value = Body> {
    let v2 = (1u8.., any_auth()).prop_map(|(seconds, auth)| Body::V2 { seconds, auth });
    let v3 = (1u16..=4095).prop_map(|c| Body::V3 { interval: Centiseconds::try_from(c).unwrap() });
    prop_oneof![v2, v3]
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100), a: u32, b: u32) {
        let _ = decode(&bytes, Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into());
        let _ = envelope(&bytes);
    }

    #[test]
    fn what_looks_like_an_advert_does_not_either(
        version in 2u8..4, rest in prop::collection::vec(any::<u8>(), 7..64)
    ) {
        let _ = decode(&[&[version << 4 | 1], &rest[..]].concat(), SOURCE, GROUP);
    }

    #[test]
    fn what_was_encoded_decodes_to_the_same(
        vrid in 1u8.., priority: u8, body in any_body(),
        addresses in prop::collection::vec(any::<u32>().prop_map(|n| Ipv4Addr::from(n).into()), 1..256),
        plain: bool, source: u32, destination: u32,
    ) {
        let advert = Advert { vrid: Vrid::try_from(vrid).unwrap(), priority, body, addresses };
        prop_assume!(!advert.addresses.is_empty() || matches!(advert.body, Body::V2 { .. }));
        let form = if plain { Checksum::Message } else { Checksum::PseudoHeader };
        let (source, destination) = (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into());
        let message = encode(&advert, form, source, destination);
        prop_assert_eq!(decode(&message, source, destination), Ok(advert));
    }
}
