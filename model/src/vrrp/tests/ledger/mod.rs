//! RFC 9568 sections 5 to 8 as a ledger: a test per normative clause, named after its section; RFC 3768 (and RFC
//! 2338's password) where version 2 differs. A clause that two sections repeat has one test, under the first.
//!
//! Elsewhere, since no router decides it: TTL 255, protocol 112 and the group's scope as sent (§5.1.1.2 to §5.1.1.4;
//! the tests of the socket and of live peers), ARP answered while the addresses stand and by nobody else (§6.4.2,
//! §6.4.3, §8.1.2: the kernel answers for addresses that it has, `Hold` and `Release` decide that), the order of
//! gratuitous ARP after the address (§6.4.2: the hot path's tests).
//!
//! Otherwise than the RFC has it, on purpose:
//! - §5.2.8: IPv4 messages are sent with the checksum of RFC 5798 unless `checksum "message"` says otherwise, because
//!   keepalived and FRR require it; both are accepted.
//! - §6.1, Preempt_Mode: a delay is possible as well.
//! - §6.4.2, priority 0: the wait is never made longer by it, so that goodbyes said again and again delay nobody.
//! - §6.4.3, priority 0 and losing adverts: at most eight answers between two scheduled adverts, so that a flood is not
//!   answered with a flood.
//! - §7.1: the owner of the addresses yields to nobody, and yet answers (§6.4.3) what others advertise, since that is
//!   what heals clients.
//! - RFC 3768 §7.1: a differing address list is told of and not dropped, so that a list can be changed machine by
//!   machine.
//! - RFC 3768 §5.3.10: the deprecated type 1 password is spoken where `auth-pass` is configured.
//!
//! - §5.2.9, IPv6: a link-local address is listed first where one is configured; none is made up, and a list without
//!   one is accepted.
//! - §6.4.3: equal priorities are told apart by the first member of a group, or the first family of a vip, alone, as
//!   long as it hears the other; two members with their addresses ordered otherwise would both step down.
//!
//! With a virtual MAC (§7.2, §7.3, §8.1.2, §8.1.3, §8.2.2, §8.2.3) the router names the macvlan and the kernel does the
//! rest: its MAC is the source of what leaves it, and it is up as long as its virtual router is master. Solicited-node
//! groups and answers to neighbour solicitations (§6.4.1 to §6.4.3, §8.2.2) go with the address likewise.
//!
//! Not built yet:
//! - §8.1.1 (ICMP redirects), §8.2.1, §8.2.3 (router advertisements) and §8.3.1 (no forwarding to owned addresses) belong
//!   to routing, which is another program's.
//!
//! Not built, since it is not asked for (MAY):
//! - §8.3.2: a Backup that hears its own priority from its master says nothing of it.
//! - §8.4.2: one virtual router speaks one version; both at once, to migrate, is not possible.

mod active;
mod backup;
mod format;
mod initialize;
mod ipv6;
mod parameters;
mod receiving;
mod version2;

use super::*;

/// The only advert among effects: source, destinations and message.
fn sent(effects: &[Effect]) -> (IpAddr, Vec<IpAddr>, Vec<u8>) {
    let advert = |effect: &Effect| match effect {
        Effect::Advert { source, destinations, message, .. } => Some((*source, destinations.clone(), message.clone())),
        _ => None,
    };
    let adverts: Vec<_> = effects.iter().filter_map(advert).collect();
    assert_eq!(adverts.len(), 1, "{effects:?}");
    adverts[0].clone()
}

/// The effects of becoming master.
fn takeover(settings: Settings) -> Vec<Effect> {
    let mut bench = Bench::up(settings);
    let at = bench.router.deadline().unwrap();
    bench.run_until(at)
}

fn interval(centiseconds: u16) -> Centiseconds {
    Centiseconds::try_from(centiseconds).unwrap()
}

fn priority(n: u8) -> Priority {
    Priority::try_from(n).unwrap()
}

/// Silence after which this priority declares a master with this interval dead, in version 3.
fn down(priority: u8, centiseconds: u16) -> Duration {
    let interval = Duration::from_millis(u64::from(centiseconds) * 10);
    interval * 3 + interval * (256 - u32::from(priority)) / 256
}
