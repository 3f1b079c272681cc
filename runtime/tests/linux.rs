//! The real kernel, in network namespaces of the tests' own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use model::desired::Fingerprint;
use model::observed::{OUR_MARK, Observed, SysctlBefore, VipFacts, Wanted};
use model::plan::Operation;
use model::units::{Cidr, InterfaceName};
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, KernelError};
use runtime::netns::{Namespace, isolate};

const FORWARDING: &str = "net.ipv4.conf.all.forwarding";

/// A machine in a new network namespace with one interface, and a state directory of its own.
struct Machine {
    kernel: Linux,
    state: tempfile::TempDir,
    _other_end: Namespace,
}

impl Machine {
    fn with(interface: &str) -> Machine {
        isolate().unwrap();
        let other_end = Namespace::new().unwrap();
        let links = runtime::netns::Links::here().unwrap();
        links.veth(interface, "far", &other_end).unwrap();
        links.up(interface).unwrap();
        let state = tempfile::tempdir().unwrap();
        Machine { kernel: Linux::new(state.path()), state, _other_end: other_end }
    }

    fn new() -> Machine {
        Machine::with("eth0")
    }

    fn state(&self) -> &Path {
        self.state.path()
    }

    fn see(&mut self) -> Observed {
        let sysctls = [FORWARDING.to_owned(), "net.ipv4.conf.eth0/7.forwarding".to_owned()].into();
        self.kernel.observe(&Wanted { sysctls }).unwrap()
    }

    fn marks(&mut self, cidr: &str) -> Vec<u8> {
        let cidr: Cidr = cidr.parse().unwrap();
        self.see().addresses.iter().filter(|a| a.cidr == cidr).map(|a| a.mark).collect()
    }
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn eth0() -> InterfaceName {
    "eth0".parse().unwrap()
}

fn add(cidr: &str) -> Operation {
    Operation::AddAddress { interface: eth0(), cidr: cidr.parse().unwrap() }
}

fn delete(cidr: &str) -> Operation {
    Operation::DeleteAddress { interface: eth0(), cidr: cidr.parse().unwrap() }
}

fn load(text: &str) -> Operation {
    Operation::LoadTable { table: "ip hactl".into(), text: text.into(), record: Some(Fingerprint(7)) }
}

fn forwarding(value: &str, record: Option<(&str, &str)>) -> Operation {
    let record = record.map(|(before, ours)| SysctlBefore { before: before.into(), ours: ours.into() });
    Operation::SetSysctl { key: FORWARDING.into(), value: value.into(), record }
}

#[test]
fn links_are_seen_with_what_a_plan_asks_of_them() {
    let mut machine = Machine::new();
    shell("ip link set eth0 mtu 1400 address 02:00:00:00:00:07");
    let seen = machine.see();
    let link = &seen.links[&eth0()];
    assert!(link.up && link.arp && !link.carrier, "{link:?}");
    assert_eq!((link.mtu, link.mac.as_deref()), (1400, Some("02:00:00:00:00:07")));
    assert_eq!(seen.boot_id.len(), 36);
    assert_eq!(seen.service, None);
    assert!(seen.tables.is_empty());
}

#[test]
fn an_address_is_added_with_our_mark_and_deleted_again_each_twice() {
    let mut machine = Machine::new();
    for _ in 0..2 {
        machine.kernel.perform(&add("192.0.2.10/24")).unwrap();
        assert_eq!(machine.marks("192.0.2.10/24"), [OUR_MARK]);
    }
    for _ in 0..2 {
        machine.kernel.perform(&delete("192.0.2.10/24")).unwrap();
        assert!(machine.marks("192.0.2.10/24").is_empty());
    }
}

#[test]
fn an_ipv6_address_is_usable_at_once_and_nothing_of_this_machines_own_comes_from_it() {
    let mut machine = Machine::new();
    for _ in 0..2 {
        machine.kernel.perform(&add("2001:db8::10/64")).unwrap();
        assert_eq!(machine.marks("2001:db8::10/64"), [OUR_MARK]);
    }
    let shown = shell("ip -6 address show dev eth0 to 2001:db8::10");
    assert!(shown.contains("nodad") && shown.contains("deprecated") && !shown.contains("tentative"), "{shown}");
    // For the kernel it is one address, whatever its prefix.
    let error = machine.kernel.perform(&add("2001:db8::10/128")).unwrap_err();
    assert!(matches!(error, KernelError::Foreign { .. }), "{error}");
    for _ in 0..2 {
        machine.kernel.perform(&delete("2001:db8::10/64")).unwrap();
        assert!(machine.marks("2001:db8::10/64").is_empty());
    }
    shell("ip address add 2001:db8::11/64 dev eth0");
    machine.kernel.perform(&delete("2001:db8::11/64")).unwrap();
    assert_eq!(machine.marks("2001:db8::11/64"), [0]);
}

#[test]
fn an_address_of_somebody_else_is_neither_taken_nor_deleted() {
    let mut machine = Machine::new();
    shell("ip address add 192.0.2.1/24 dev eth0; ip address add 192.0.2.2/24 dev eth0");
    for cidr in ["192.0.2.1/24", "192.0.2.2/24"] {
        let error = machine.kernel.perform(&add(cidr)).unwrap_err();
        assert_eq!(error, KernelError::Foreign { what: format!("address {cidr} on eth0") });
        machine.kernel.perform(&delete(cidr)).unwrap();
        assert_eq!(machine.marks(cidr), [0]);
    }
    let seen = machine.see();
    assert!(seen.addresses.iter().any(|a| a.secondary && a.mark == 0), "{:?}", seen.addresses);
}

#[test]
fn an_address_whose_mark_was_erased_by_a_replace_is_left_alone() {
    let mut machine = Machine::new();
    machine.kernel.perform(&add("192.0.2.10/24")).unwrap();
    shell("ip address replace 192.0.2.10/24 dev eth0");
    machine.kernel.perform(&delete("192.0.2.10/24")).unwrap();
    assert_eq!(machine.marks("192.0.2.10/24"), [0]);
}

#[test]
fn deleting_our_primary_address_never_takes_secondary_ones_with_it() {
    let mut machine = Machine::new();
    shell(
        "echo 0 >/proc/sys/net/ipv4/conf/all/promote_secondaries; echo 0 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries",
    );
    machine.kernel.perform(&add("192.0.2.10/24")).unwrap();
    machine.kernel.perform(&add("192.0.2.11/24")).unwrap();
    machine.kernel.perform(&delete("192.0.2.10/24")).unwrap();
    assert_eq!(machine.marks("192.0.2.11/24"), [OUR_MARK], "ours is put back");

    shell("ip address add 192.0.2.1/24 dev eth0");
    let error = machine.kernel.perform(&delete("192.0.2.11/24")).unwrap_err();
    assert!(error.to_string().contains("192.0.2.1/24 would go with it"), "{error}");
    assert_eq!(machine.marks("192.0.2.1/24"), [0]);

    shell("echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries");
    machine.kernel.perform(&delete("192.0.2.11/24")).unwrap();
    assert_eq!(machine.marks("192.0.2.1/24"), [0]);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let mut machine = Machine::new();
    let nowhere = Operation::AddAddress { interface: "eth9".parse().unwrap(), cidr: "192.0.2.1/24".parse().unwrap() };
    assert_eq!(machine.kernel.perform(&nowhere), Err(KernelError::NoInterface { name: "eth9".into() }));
    let gone = Operation::DeleteAddress { interface: "eth9".parse().unwrap(), cidr: "192.0.2.1/24".parse().unwrap() };
    assert_eq!(machine.kernel.perform(&gone), Ok(()));
}

#[test]
fn a_thousand_addresses_are_seen() {
    let mut machine = Machine::new();
    let lines: String =
        (0..1000).map(|i| format!("address add 10.1.{}.{}/32 dev eth0\n", i / 250, i % 250 + 1)).collect();
    fs::write(machine.state().join("batch"), lines).unwrap();
    shell(&format!("ip -batch {}", machine.state().join("batch").display()));
    machine.kernel.perform(&add("192.0.2.10/24")).unwrap();
    let seen = machine.see();
    assert_eq!(seen.addresses.iter().filter(|a| a.interface == eth0() && a.cidr.prefix() == 32).count(), 1000);
    assert_eq!(machine.marks("192.0.2.10/24"), [OUR_MARK]);
}

#[test]
fn a_sysctl_is_set_recorded_and_put_back() {
    let mut machine = Machine::new();
    machine.kernel.perform(&forwarding("0", None)).unwrap();
    for _ in 0..2 {
        machine.kernel.perform(&forwarding("1", Some(("0", "1")))).unwrap();
        let seen = machine.see();
        assert_eq!(seen.sysctls[FORWARDING], "1");
        assert_eq!(seen.record.sysctls[FORWARDING], SysctlBefore { before: "0".into(), ours: "1".into() });
    }
    machine.kernel.perform(&forwarding("0", None)).unwrap();
    let seen = machine.see();
    assert_eq!((seen.sysctls[FORWARDING].as_str(), seen.record.sysctls.len()), ("0", 0));
}

#[test]
fn a_sysctl_that_is_refused_leaves_no_record() {
    let mut machine = Machine::new();
    let record = Some(SysctlBefore { before: "0".into(), ours: "1".into() });
    for (key, value) in [("net.ipv4.conf.eth9.forwarding", "1"), (FORWARDING, "many")] {
        let set = Operation::SetSysctl { key: key.into(), value: value.into(), record: record.clone() };
        let error = machine.kernel.perform(&set).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert!(machine.see().record.sysctls.is_empty());
}

#[test]
fn sysctls_of_an_interface_with_a_dot_in_its_name_are_found() {
    let mut machine = Machine::with("eth0.7");
    let key = "net.ipv4.conf.eth0/7.forwarding";
    let set = Operation::SetSysctl { key: key.into(), value: "1".into(), record: None };
    machine.kernel.perform(&set).unwrap();
    assert_eq!(machine.see().sysctls[key], "1");
    assert_eq!(shell("cat /proc/sys/net/ipv4/conf/eth0.7/forwarding").trim(), "1");
}

#[test]
fn nothing_is_set_where_the_record_cannot_be_written() {
    let mut machine = Machine::new();
    machine.kernel.perform(&forwarding("0", None)).unwrap();
    // A directory in the file's place: even root cannot write there.
    fs::create_dir_all(machine.state().join("record.new/x")).unwrap();
    let error = machine.kernel.perform(&forwarding("1", Some(("0", "1")))).unwrap_err();
    assert!(matches!(error, KernelError::State { .. }), "{error}");
    assert_eq!(machine.see().sysctls[FORWARDING], "0");
}

#[test]
fn a_damaged_record_stops_an_observation() {
    let mut machine = Machine::new();
    fs::write(machine.state().join("record.json"), "{\"version\":").unwrap();
    let error = machine.kernel.observe(&Wanted::default()).unwrap_err();
    assert!(matches!(error, KernelError::BadRecord { .. }), "{error}");
}

#[test]
fn a_table_is_loaded_replaced_and_deleted_and_no_other_is_touched() {
    let mut machine = Machine::new();
    shell("nft 'table ip other { chain c { ip saddr 1.2.3.4 drop; }; }'");
    let others = shell("nft list table ip other");
    for text in ["table ip hactl { set a { type ipv4_addr; }; }", "table ip hactl { set b { type ipv4_addr; }; }"] {
        for _ in 0..2 {
            machine.kernel.perform(&load(text)).unwrap();
        }
        let listed = machine.see().tables["ip hactl"].clone();
        assert_eq!(machine.see().record.tables["ip hactl"], Fingerprint(7));
        assert_eq!(listed.contains("set b"), text.contains("set b"), "{listed}");
        assert_ne!(listed.contains("set a"), listed.contains("set b"), "replaced, not merged: {listed}");
    }
    for _ in 0..2 {
        machine.kernel.perform(&Operation::DeleteTable { table: "ip hactl".into(), record: None }).unwrap();
        assert!(machine.see().tables.is_empty() && machine.see().record.tables.is_empty());
    }
    assert_eq!(shell("nft list table ip other"), others);
}

#[test]
fn a_table_that_nft_refuses_leaves_the_one_before_and_shows_nfts_words() {
    let mut machine = Machine::new();
    machine.kernel.perform(&load("table ip hactl { set a { type ipv4_addr; }; }")).unwrap();
    let error = machine.kernel.perform(&load("table ip hactl { set a { type no_such; }; }")).unwrap_err();
    assert!(error.to_string().contains("nftables ip hactl") && error.to_string().contains("no_such"), "{error}");
    assert!(machine.see().tables["ip hactl"].contains("ipv4_addr"));
}

#[test]
fn a_table_that_is_not_ours_is_refused() {
    let mut machine = Machine::new();
    shell("nft 'table ip filter {}'");
    for operation in [
        Operation::DeleteTable { table: "ip filter".into(), record: None },
        Operation::LoadTable { table: "ip filter".into(), text: "table ip filter {}".into(), record: None },
    ] {
        assert!(machine.kernel.perform(&operation).is_err());
    }
    shell("nft list table ip filter");
}

#[test]
fn vips_are_recorded_and_forgotten() {
    let mut machine = Machine::new();
    let facts = VipFacts { addresses: vec!["192.0.2.10/24".parse().unwrap()], interface: eth0(), settings: [].into() };
    machine.kernel.perform(&Operation::PutVip { name: "ui".into(), facts: facts.clone() }).unwrap();
    assert_eq!(machine.see().record.vips, [("ui".to_owned(), facts)].into());
    machine.kernel.perform(&Operation::DropVip { name: "ui".into() }).unwrap();
    assert!(machine.see().record.vips.is_empty());
}

#[test]
fn another_holder_of_addresses_is_named_only_in_its_own_namespace() {
    let mut machine = Machine::new();
    let program = machine.state().join("keepalived");
    // By another program: had this one the copy open for writing while another test starts something, that child would
    // have it open too, and the copy could not be run for a moment.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
    let mut process = Command::new(program).arg("60").spawn().unwrap();
    // The kernel lets a parent go on a moment before it gives the new program its name.
    let comm = format!("/proc/{}/comm", process.id());
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(&comm).unwrap().trim() != "keepalived" && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(machine.see().others, [format!("keepalived (pid {})", process.id())]);
    let elsewhere = Namespace::new().unwrap();
    let mut kernel = machine.kernel.clone();
    let others = elsewhere.run(|| kernel.observe(&Wanted::default()).unwrap().others).unwrap();
    assert!(others.is_empty(), "{others:?}");
    process.kill().unwrap();
    process.wait().unwrap();
}
