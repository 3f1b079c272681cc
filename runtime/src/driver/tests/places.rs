//! Where a vip can be held: IPv6 beside IPv4, a link with the virtual MAC, links without neighbours; and its routes.

use model::config::Route;

use super::*;

fn v6(priority: u8) -> Settings {
    Settings { family: Family::V6, addresses: vec!["2001:db8::100/64".parse().unwrap()], ..settings(priority) }
}

fn shows(segment: &Segment, n: usize, line: &str, what: &str) -> bool {
    sh(&segment.machines[n], line).contains(what)
}

#[test]
fn an_ipv6_vip_moves_when_its_master_is_cut_off_and_is_back_at_once_when_somebody_flushes_it() {
    let segment = Segment::new();
    let mut a = segment.start(0, only(v6(200)));
    let mut b = segment.start(1, only(v6(100)));
    a.becomes(VipState::Master);
    b.becomes(VipState::Backup);
    eventually("an advert", PATIENCE, || b.status().vips[0].masters.contains_key(&Family::V6));
    assert!(segment.has(0, "2001:db8::100/64"));
    // It flushes until nothing is left, ten times, and complains where somebody is faster.
    segment.sh(0, "ip -6 addr flush dev eth0 scope global || true");
    let took = eventually("the address", PATIENCE, || segment.has(0, "2001:db8::100/64"));
    println!(
        "an IPv6 address that was flushed is back {took:?} after ip returned, by a reading that takes some itself"
    );
    a.wait("the restoration", |e| matches!(e, DriverEvent::Router { event: Event::Restored { .. }, .. }));
    // The kernel drops IPv6 addresses with the link, ours among them, and finds the link-local one anew.
    segment.sh(0, "ip link set eth0 down; ip link set eth0 up");
    eventually("the address", PATIENCE, || a.state() == VipState::Master && segment.has(0, "2001:db8::100/64"));
    segment.bridge.links().unwrap().detach("p1").unwrap();
    eventually("the takeover", PATIENCE, || b.state() == VipState::Master);
    assert!(segment.has(1, "2001:db8::100/64"));
    a.stop();
    b.stop();
    assert!(!segment.has(0, "2001:db8::100/64") && !segment.has(1, "2001:db8::100/64"));
}

/// A link with the virtual MAC of a family, down.
fn virtual_mac(segment: &Segment, n: usize, family: u8) {
    segment.sh(
        n,
        &format!(
            "ip link add vmac{family} link eth0 address 00:00:5e:00:0{family}:33 type macvlan mode bridge; \
             ip link set vmac{family} addrgenmode none"
        ),
    );
}

#[test]
fn a_virtual_mac_speaks_announces_and_holds_while_it_is_master_and_is_down_otherwise() {
    let segment = Segment::new();
    let heard = segment.bridge.run(|| frames(libc::ETH_P_ALL)).unwrap();
    let with = |priority, family: Family, name: &str| Settings {
        virtual_mac: Some(name.parse().unwrap()),
        ..if family == Family::V4 { settings(priority) } else { v6(priority) }
    };
    let both = |priority| DriverSettings {
        routers: vec![with(priority, Family::V4, "vmac1"), with(priority, Family::V6, "vmac2")],
        gated: BTreeSet::new(),
    };
    let up = |n: usize| ["vmac1", "vmac2"].map(|name| segment.machines[n].links().unwrap().is_running(name).unwrap());
    for (n, family) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        virtual_mac(&segment, n, family);
    }
    let mut a = segment.start(0, both(200));
    a.becomes(VipState::Master);
    let mut b = segment.start(1, both(100));
    b.becomes(VipState::Backup);
    assert_eq!((up(0), up(1)), ([true; 2], [false; 2]));
    assert!(shows(&segment, 0, "ip -4 addr show dev vmac1", "10.7.0.100/24"));
    assert!(shows(&segment, 0, "ip -6 addr show dev vmac2", "2001:db8::100/64"));
    assert!(!segment.has(0, "10.7.0.100/24"), "not on the interface itself");
    let mut seen = BTreeSet::new();
    while seen.len() < 4 {
        let mut frame = [0; 200];
        let length = heard.recv(&mut frame).unwrap();
        let frame = &frame[..length];
        let what = match (&frame[12..14], frame[14 + 9], frame[14 + 6]) {
            ([0x08, 0x00], 112, _) => "advert",
            ([0x86, 0xdd], _, 112) => "IPv6 advert",
            ([0x08, 0x06], ..) if frame[28..32] == frame[38..42] => "announcement",
            ([0x86, 0xdd], _, 58) if frame[54] == 136 => "advertisement",
            _ => continue,
        };
        let family = if what == "advert" || what == "announcement" { 1 } else { 2 };
        assert_eq!(frame[6..12], [0, 0, 0x5e, 0, family, 0x33], "{what}");
        seen.insert(what);
    }
    segment.bridge.links().unwrap().detach("p1").unwrap();
    b.becomes(VipState::Master);
    assert_eq!(up(1), [true; 2]);
    segment.bridge.links().unwrap().attach("p1", "br0").unwrap();
    b.becomes(VipState::Backup);
    eventually("the silence of the backup", PATIENCE, || up(1) == [false; 2]);
    segment.sh(0, "ip link set vmac2 down");
    eventually("the link", PATIENCE, || up(0) == [true; 2]);
    eventually("the address", PATIENCE, || shows(&segment, 0, "ip -6 addr show dev vmac2", "2001:db8::100/64"));
    a.stop();
    b.stop();
    assert_eq!((up(0), up(1)), ([false; 2], [false; 2]));
}

#[test]
fn a_virtual_mac_that_nobody_made_is_fault_and_says_so() {
    let segment = Segment::new();
    let lacking = Settings { virtual_mac: Some("vmac1".parse().unwrap()), ..settings(200) };
    let mut a = segment.start(0, only(lacking));
    a.becomes(VipState::Fault);
    assert!(a.status().vips[0].why.as_ref().unwrap().contains("vmac1"));
    virtual_mac(&segment, 0, 1);
    a.becomes(VipState::Master);
    a.stop();
}

#[test]
fn routes_follow_the_addresses_and_what_is_not_ours_is_left() {
    let segment = Segment::new();
    let route = |to: &str, via: &str| Route {
        to: to.parse().unwrap(),
        via: Some(via.parse().unwrap()),
        dev: None,
        src: None,
        metric: None,
        table: None,
    };
    let with = |routes| only(Settings { routes, ..settings(200) });
    let listed = || sh(&segment.machines[0], "ip route show; ip route show table 77 2>/dev/null || true");
    let mut second = route("203.0.113.0/24", "10.7.0.2");
    (second.src, second.metric, second.table) = (Some("10.7.0.100".parse().unwrap()), Some(50), Some(77));
    let mut a = segment.start(0, with(vec![route("198.51.100.0/24", "10.7.0.2"), second]));
    a.becomes(VipState::Master);
    let shown = listed();
    assert!(shown.contains("198.51.100.0/24 via 10.7.0.2 dev eth0 proto 112"), "{shown}");
    assert!(shown.contains("203.0.113.0/24 via 10.7.0.2 dev eth0 proto 112 src 10.7.0.100 metric 50"), "{shown}");
    // The kernel takes the route along that has the address as its source.
    segment.sh(0, "ip addr del 10.7.0.100/24 dev eth0");
    eventually("the route", PATIENCE, || listed().contains("203.0.113.0/24"));
    segment.sh(0, "ip route del 198.51.100.0/24");
    let took = eventually("the route", PATIENCE, || listed().contains("198.51.100.0/24"));
    println!("a route that was deleted is back {took:?} after ip returned, by a reading that takes some itself");
    a.wait("the restoration of the route", |e| {
        matches!(e, DriverEvent::Router { event: Event::Restored { what, .. }, .. } if what.contains("the route to 198.51.100.0/24"))
    });
    segment.sh(0, "ip route add 192.0.2.0/24 via 10.7.0.2");
    a.handle.send(Command::Stop).unwrap();
    a.handle.join().unwrap();
    let shown = listed();
    assert!(!shown.contains("proto 112") && shown.contains("192.0.2.0/24"), "{shown}");
}

#[test]
fn a_link_without_neighbours_holds_its_vip_by_unicast_and_announces_nothing() {
    let machine = Namespace::new().unwrap();
    sh(&machine, "ip tuntap add tun0 mode tun; ip addr add 10.9.0.1 peer 10.9.0.2 dev tun0; ip link set tun0 up");
    let heard = machine.run(|| tun("tun0")).unwrap();
    let reach = Reach::Unicast { local: "10.9.0.1".parse().unwrap(), peers: vec!["10.9.0.2".parse().unwrap()] };
    let mine = Settings { interface: "tun0".parse().unwrap(), reach, ..settings(200) };
    let (tx, events) = mpsc::channel(1000);
    let handle = machine.run(|| start(only(mine), Heritage::default(), tx)).unwrap().unwrap();
    let mut a = Running { handle, events, since: Instant::now() };
    a.becomes(VipState::Master);
    let mut packet = [0; 200];
    loop {
        use std::io::Read;
        let length = (&heard).read(&mut packet).unwrap();
        if packet[9] == 112 && packet[0] == 0x45 {
            assert_eq!((packet[8], &packet[12..20], length), (255, &[10, 9, 0, 1, 10, 9, 0, 2][..], 32));
            break;
        }
    }
    a.stop();
}

/// The program's end of a tun link: its frames, without a header before them.
fn tun(name: &str) -> std::fs::File {
    use std::os::fd::AsRawFd;
    let file = std::fs::File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    // IFF_TUN and IFF_NO_PI.
    request[16..18].copy_from_slice(&0x1001u16.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes a struct ifreq of 40 bytes, which the array is and which outlives the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54ca, request.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    file
}
