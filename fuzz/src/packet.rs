//! Any bytes as a VRRP message: no panic, and what is accepted comes out again the same.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use model::config::Checksum;
use model::vrrp::packet::{decode, encode, envelope};

const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

fuzz_target!(|message: &[u8]| {
    let _ = envelope(message);
    if let Ok(advert) = decode(message, SOURCE, GROUP) {
        let again = encode(&advert, Checksum::PseudoHeader, SOURCE, GROUP);
        assert_eq!(decode(&again, SOURCE, GROUP).as_ref(), Ok(&advert));
    }
});
