//! IPv6 addresses against a real kernel.

use std::time::Instant;

use model::observed::OUR_MARK;

use super::tests::{dummy, sh};
use super::*;

fn cidrs(n: usize) -> Vec<Cidr> {
    (0..n).map(|i| format!("2001:db8::{:x}/64", i + 1).parse().unwrap()).collect()
}

fn marks(hot: &mut Hot, port: Port) -> Vec<(String, u8)> {
    let standing = hot.addresses.standing(port.index).unwrap();
    standing.iter().map(|s| (s.cidr().unwrap().to_string(), s.mark)).collect()
}

#[test]
fn an_ipv6_address_answers_at_once_and_is_no_source_and_carries_our_mark() {
    let port = dummy();
    let mut hot = Hot::open().unwrap();
    sh("ip -6 addr add 2001:db8::7/64 dev v0 nodad");
    hot.hold(port, &cidrs(1), &BTreeSet::new()).unwrap();
    hot.hold(port, &cidrs(1), &BTreeSet::new()).unwrap();
    let shown = sh("ip -6 addr show dev v0");
    // In which order `ip` says it depends on its version.
    let ours = shown.lines().find(|line| line.contains("2001:db8::1/64 scope global")).unwrap();
    assert!(ours.contains("deprecated") && ours.contains("nodad"), "{shown}");
    assert!(shown.contains("valid_lft forever preferred_lft 0sec"), "{shown}");
    assert!(marks(&mut hot, port).contains(&("2001:db8::1/64".into(), OUR_MARK)));
    assert!(sh("ip -6 route get 2001:db8::99").contains("src 2001:db8::7"));
    sh("ping -6 -c 1 -W 5 2001:db8::1");
    hot.release(port, &cidrs(1), &BTreeSet::new()).unwrap();
    assert_eq!(marks(&mut hot, port), [("2001:db8::7/64".into(), 0)]);
    assert_eq!(hot.take_troubles(), []);
}

#[test]
fn an_ipv6_address_of_somebody_else_is_an_error_whatever_its_prefix() {
    let port = dummy();
    sh("ip -6 addr add 2001:db8::2/128 dev v0 nodad");
    let mut hot = Hot::open().unwrap();
    let e = hot.hold(port, &cidrs(3), &BTreeSet::new()).unwrap_err();
    assert!(e.to_string().starts_with("2001:db8::2/64 is already there"), "{e}");
    assert_eq!(marks(&mut hot, port), [("2001:db8::2/128".into(), 0)]);
}

#[test]
fn the_mark_of_an_ipv6_address_that_somebody_erased_is_put_back() {
    let port = dummy();
    let mut hot = Hot::open().unwrap();
    hot.hold(port, &cidrs(1), &BTreeSet::new()).unwrap();
    sh("ip -6 addr replace 2001:db8::1/64 dev v0");
    assert_eq!(marks(&mut hot, port), [("2001:db8::1/64".into(), 0)]);
    hot.mark_again(port, &cidrs(1)[0]).unwrap();
    assert_eq!(marks(&mut hot, port), [("2001:db8::1/64".into(), OUR_MARK)]);
    assert!(sh("ip -6 addr show dev v0").contains("preferred_lft 0sec"));
}

#[test]
fn an_ipv6_address_that_stands_is_not_gone_whatever_an_old_event_says() {
    let port = dummy();
    let mut hot = Hot::open().unwrap();
    let cidr = cidrs(1)[0];
    hot.hold(port, &[cidr], &BTreeSet::new()).unwrap();
    assert!(hot.is_own_deletion(0, port.index, cidr));
    sh("ip -6 addr flush dev v0");
    assert!(!hot.is_own_deletion(0, port.index, cidr));
    sh("ip link del v0");
    assert!(!hot.is_own_deletion(0, port.index, cidr));
}

#[test]
fn an_interface_without_ipv6_is_told_with_the_remedy() {
    let port = dummy();
    std::fs::write("/proc/sys/net/ipv6/conf/v0/disable_ipv6", "1").unwrap();
    let mut hot = Hot::open().unwrap();
    let e = hot.hold(port, &cidrs(1), &BTreeSet::new()).unwrap_err();
    assert_eq!(
        e.to_string(),
        "adding 2001:db8::1/64: IPv6 is switched off on this interface: set its sysctl disable_ipv6 to 0"
    );
}

#[test]
fn a_thousand_ipv6_addresses_stand_are_announced_and_are_released() {
    let port = dummy();
    let mut hot = Hot::open().unwrap();
    let all = cidrs(1000);
    let start = Instant::now();
    hot.hold(port, &all, &BTreeSet::new()).unwrap();
    let held = start.elapsed();
    assert_eq!(marks(&mut hot, port).len(), 1000);
    hot.release(port, &all, &BTreeSet::new()).unwrap();
    let took = start.elapsed();
    println!("1,000 IPv6 addresses added and announced in {held:?}, and released in {:?}", took - held);
    assert_eq!(marks(&mut hot, port), []);
    assert_eq!(hot.take_troubles(), []);
    // The machine of a test may be busy: what is refused here is another order of magnitude.
    assert!(took.as_millis() < 1000, "{took:?}");
}
