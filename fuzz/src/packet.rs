//! Any bytes as a VRRP message: no panic, and what is accepted comes out again the same.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use model::config::Checksum;
use model::units::Family;
use model::vrrp::packet::{decode, encode, envelope, group};

fuzz_target!(|message: &[u8]| {
    let _ = envelope(message);
    let sources = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])];
    for (source, destination) in sources.map(|source| (source, group(Family::of(source)))) {
        if let Ok(advert) = decode(message, source, destination) {
            let again = encode(&advert, Checksum::PseudoHeader, source, destination);
            assert_eq!(decode(&again, source, destination).as_ref(), Ok(&advert));
        }
    }
});
