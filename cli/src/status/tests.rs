//! Fixed reports and the pages made from them.

use std::collections::BTreeMap;

use model::desired::Fingerprint;
use model::units::{Family, Priority};
use runtime::control::{CheckStatus, FailedReload, STATUS_VERSION, ThreadStatus};

use super::*;

const NOW: u64 = 10_000;

fn at(seconds_ago: u64) -> Moment {
    Moment((NOW - seconds_ago) * 1_000_000_000)
}

fn priority_of(n: u8) -> Priority {
    Priority::try_from(n).unwrap()
}

fn up(code: &str, took_us: u64) -> Health {
    Health {
        up: Some(true),
        against: 0,
        needed: 3,
        code: code.into(),
        detail: String::new(),
        took_us,
        since: at(7_380),
        failures: 0,
        times_down: 0,
        weight: None,
    }
}

fn backend(name: &str, target: &str, (slots, health): (u16, Health)) -> BackendStatus {
    BackendStatus {
        backend: name.into(),
        target: target.parse().unwrap(),
        weight: 1,
        slots,
        of_slots: 251,
        health: Some(health),
    }
}

fn report() -> StatusReport {
    let vip = VipStatus {
        vip: "ui".into(),
        state: VipState::Master,
        why: None,
        since: at(7_380),
        became_master: 1,
        priority: priority_of(150),
        configured_priority: priority_of(150),
        interface: "wlp2s0".parse().unwrap(),
        addresses: vec!["192.168.31.50/24".parse().unwrap()],
        unlisted: vec![],
        masters: BTreeMap::new(),
        virtual_macs: vec![],
        group: None,
        sent: 7_380,
        received: 0,
        dropped: BTreeMap::new(),
        restored: 0,
        nearest_failover: 0,
        anomalies: vec![],
        drained: false,
        lingering: false,
    };
    StatusReport {
        version: STATUS_VERSION,
        program: "0.1.0".into(),
        pid: 812,
        now: at(0),
        started: at(7_384),
        cluster: "proxmox-ui".into(),
        peer: "pve1".into(),
        config: "/etc/hactl/ha.kdl".into(),
        fingerprint: Fingerprint(0x3fa2_1b00_9c1d_e077),
        vips: vec![vip],
        checks: vec![CheckStatus {
            check: "proxies".into(),
            what: "process haproxy pveproxy".into(),
            health: up("PROCOK", 2_100),
        }],
        services: vec![ServiceStatus {
            service: "ui".into(),
            vip: "ui".into(),
            port: 8006,
            backends: vec![
                backend("pve1", "192.168.31.11:8006", (84, up("L6OK", 3_400))),
                backend("pve2", "192.168.31.12:8006", (84, up("L6OK", 4_100))),
                backend("pve3", "192.168.31.13:8006", (83, up("L6OK", 3_900))),
            ],
        }],
        restored: BTreeMap::new(),
        troubles: vec![],
        warnings: vec![],
        drains: vec![],
        resumed: None,
        reload: None,
        thread: ThreadStatus { realtime: true, max_lateness_us: 87 },
        strangers: BTreeMap::new(),
    }
}

fn golden(name: &str, report: &StatusReport) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots/status");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let page = anstream::adapter::strip_str(&text(report)).to_string();
    settings.bind(|| insta::assert_snapshot!(name, page));
    // Long names and a router's address of IPv6 alone may force a row to be wider.
    let rows = page.lines().filter(|line| line.starts_with("  ") && !page.contains("fe80:"));
    rows.for_each(|row| assert!(row.chars().count() <= 80, "{row}"));
}

#[test]
fn a_healthy_master_has_no_footer() {
    let report = report();
    assert!(problems(&report).is_empty());
    golden("master", &report);
}

#[test]
fn a_healthy_backup_tells_whom_it_hears() {
    let mut report = report();
    let vip = &mut report.vips[0];
    vip.state = VipState::Backup;
    vip.priority = priority_of(90);
    vip.configured_priority = priority_of(140);
    let heard = ("192.168.31.11".parse().unwrap(), 150, Moment(at(0).0 - 400_000_000));
    vip.masters = BTreeMap::from([(Family::V4, heard)]);
    vip.nearest_failover = 700;
    vip.dropped = BTreeMap::from([("checksum".into(), 3), ("ttl".into(), 12)]);
    report.strangers = BTreeMap::from([("wlp2s0".parse().unwrap(), BTreeMap::from([("vrid".into(), 70_000)]))]);
    report.checks.clear();
    assert!(problems(&report).is_empty());
    golden("backup", &report);
}

#[test]
fn a_group_and_both_families_are_told_without_a_line_that_is_too_long() {
    let mut report = report();
    report.services.clear();
    let vip = &mut report.vips[0];
    (vip.state, vip.group) = (VipState::Backup, Some("gateway".into()));
    (vip.interface, vip.virtual_macs) = ("eth0".parse().unwrap(), vec!["vrrp4-51".parse().unwrap()]);
    vip.addresses = ["192.0.2.50/24", "2001:db8::50/64"].map(|a| a.parse().unwrap()).to_vec();
    vip.masters = BTreeMap::from([
        (Family::V4, ("192.0.2.11".parse().unwrap(), 150, at(0))),
        (Family::V6, ("fe80::be24:11ff:fe5c:1a2b".parse().unwrap(), 150, at(0))),
    ]);
    let mut outside = vip.clone();
    outside.vip = "outside".into();
    outside.masters.remove(&Family::V6);
    outside.lingering = true;
    (outside.virtual_macs, outside.unlisted) = (vec![], vec!["2001:db8::50/64".parse().unwrap()]);
    outside.dropped =
        ["ttl", "authentication", "source", "own"].iter().zip(1..).map(|(c, n)| ((*c).into(), n)).collect();
    report.vips.push(outside);
    assert_eq!(problems(&report), ["vip.outside has no IPv6 master that is heard"]);
    let page = anstream::adapter::strip_str(&text(&report)).to_string();
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    golden("group", &report);
}

#[test]
fn a_vip_that_waits_says_what_for() {
    let mut report = report();
    let vip = &mut report.vips[0];
    vip.state = VipState::Backup;
    vip.masters = BTreeMap::from([(Family::V4, ("192.168.31.11".parse().unwrap(), 130, at(0)))]);
    vip.why = Some("waits until 30s after the start of hactl".into());
    assert!(problems(&report).is_empty());
    assert!(notes(&report).contains(&"vip.ui: waits until 30s after the start of hactl".to_owned()));
}

#[test]
fn of_a_tracked_file_the_number_is_shown_and_why_it_is_none() {
    let mut report = report();
    report.services.clear();
    report.vips[0].priority = priority_of(120);
    let of = |name: &str, weight: i16, detail: &str| CheckStatus {
        check: name.into(),
        what: format!("file /run/{name}"),
        health: Health { up: Some(weight > -254), weight: Some(weight), detail: detail.into(), ..up("WEIGHT", 90) },
    };
    report.checks = vec![
        of("low", -30, "-30"),
        of("high", 254, "254: 1000 is beyond -254 to 254"),
        of("none", 0, "0: there is no such file"),
        of("out", -254, "-254"),
    ];
    assert_eq!(problems(&report), ["check out is down: WEIGHT -254"]);
    golden("weights", &report);
}

#[test]
fn everything_that_is_wrong_stands_in_the_footer() {
    let mut report = report();
    report.vips[0].state = VipState::Fault;
    report.vips[0].why = Some("check proxies is down".into());
    let health = &mut report.checks[0].health;
    (health.up, health.code, health.detail) = (Some(false), "PROCERR".into(), "no process haproxy".into());
    let backends = &mut report.services[0].backends;
    backends[0].health.as_mut().unwrap().against = 1;
    let health = backends[2].health.as_mut().unwrap();
    (health.up, health.code) = (Some(false), "L4CON".into());
    health.detail = "192.168.31.13:8006: Connection refused (os error 111)".into();
    backends[2].slots = 0;
    report.restored = BTreeMap::from([("address".into(), 3), ("table".into(), 1)]);
    report.warnings = vec!["ha.kdl:9: a weight of -2 cannot move the vip [HA0301]".into()];
    report.reload =
        Some(FailedReload { at: at(65), what: vec!["ha.kdl:12: an address must be quoted [HA0102]".into()] });
    report.thread = ThreadStatus { realtime: false, max_lateness_us: 4_300 };
    assert_eq!(problems(&report).len(), 5);
    golden("wrong", &report);
}

#[test]
fn spans_have_two_units_at_most() {
    let shown: Vec<String> = [0.00085, 0.012, 4.2, 185.0, 7_380.0, 792_000.0]
        .into_iter()
        .map(|s| span(Duration::from_secs_f64(s)))
        .collect();
    assert_eq!(shown, ["850us", "12ms", "4s", "3m 5s", "2h 3m", "9d 4h"]);
}
