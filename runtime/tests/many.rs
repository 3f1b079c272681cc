//! Many operations at once on the real kernel: the same machine as one by one, and the disk and the kernel are asked
//! once for all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;

use model::observed::{SysctlBefore, VipFacts, Wanted};
use model::plan::Operation;
use model::units::{Cidr, InterfaceName};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use proptest::prelude::*;
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, Stopped, record};
use runtime::netns::{Links, isolate};

/// Counts how often the record is replaced.
struct Writes {
    inotify: Inotify,
    state: tempfile::TempDir,
}

impl Writes {
    fn new() -> Writes {
        let state = tempfile::tempdir().unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(state.path(), AddWatchFlags::IN_MOVED_TO).unwrap();
        Writes { inotify, state }
    }

    /// Since the last time that was asked.
    fn count(&self) -> usize {
        let mut count = 0;
        while let Ok(events) = self.inotify.read_events() {
            count += events.iter().filter(|e| e.name.as_deref() == Some("record.json".as_ref())).count();
        }
        count
    }
}

fn at_once(kernel: &mut Linux, operations: &[Operation]) -> Result<(), Stopped> {
    kernel.perform_all(&operations.iter().collect::<Vec<_>>())
}

fn forwarding(interface: &str, value: &str, record: Option<&str>) -> Operation {
    let record = record.map(|before| SysctlBefore { before: before.into(), ours: value.into() });
    Operation::SetSysctl { key: format!("net.ipv4.conf.{interface}.forwarding"), value: value.into(), record }
}

fn set(interface: &str) -> Operation {
    forwarding(interface, "1", Some("0"))
}

fn back(interface: &str) -> Operation {
    forwarding(interface, "0", None)
}

fn value(interface: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding")).unwrap().trim().to_owned()
}

fn interfaces(names: &[&str]) {
    isolate().unwrap();
    fs::write("/proc/sys/net/ipv4/conf/default/forwarding", "0").unwrap();
    let links = Links::here().unwrap();
    names.iter().for_each(|name| links.bridge(name).unwrap());
}

#[test]
fn the_record_is_written_once_for_all_vips_and_once_for_all_sysctls() {
    interfaces(&["a", "b", "c"]);
    let writes = Writes::new();
    let mut kernel = Linux::new(writes.state.path());
    let facts = VipFacts { addresses: vec![], interface: "a".parse().unwrap(), settings: [].into() };
    let names: Vec<String> = (0..250).map(|n| format!("v{n}")).collect();
    let put = |name: &String| Operation::PutVip { name: name.clone(), facts: facts.clone() };
    let mut all = vec![set("a"), set("b"), set("c")];
    all.extend(names.iter().map(put));
    at_once(&mut kernel, &all).unwrap();
    assert_eq!(writes.count(), 1);
    let recorded = record::load(writes.state.path()).unwrap();
    assert_eq!((recorded.vips.len(), recorded.sysctls.len()), (250, 3));

    at_once(&mut kernel, &all).unwrap();
    assert_eq!(writes.count(), 0, "what stands is not written again");

    let mut all: Vec<Operation> = names.iter().map(|name| Operation::DropVip { name: name.clone() }).collect();
    all.extend([back("a"), back("b"), back("c")]);
    at_once(&mut kernel, &all).unwrap();
    assert_eq!(writes.count(), 1);
    assert_eq!(record::load(writes.state.path()).unwrap(), Default::default());
    assert_eq!(["a", "b", "c"].map(value), ["0", "0", "0"]);
}

#[test]
fn where_one_of_many_is_refused_those_before_it_are_in_force_and_recorded_and_no_other() {
    interfaces(&["a", "c"]);
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    let stopped = at_once(&mut kernel, &[set("a"), set("nowhere"), set("c")]).unwrap_err();
    assert_eq!(stopped.done, 1);
    let recorded = || record::load(state.path()).unwrap().sysctls.into_keys().collect::<Vec<_>>();
    assert_eq!(recorded(), ["net.ipv4.conf.a.forwarding"]);
    assert_eq!(["a", "c"].map(value), ["1", "0"]);

    at_once(&mut kernel, &[set("c")]).unwrap();
    let stopped = at_once(&mut kernel, &[back("c"), forwarding("a", "many", None)]).unwrap_err();
    assert_eq!(stopped.done, 1);
    assert_eq!(recorded(), ["net.ipv4.conf.a.forwarding"]);
    assert_eq!(["a", "c"].map(value), ["1", "0"]);
}

#[test]
fn values_are_put_back_where_the_record_cannot_be_written() {
    interfaces(&["a", "b"]);
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    at_once(&mut kernel, &[set("a")]).unwrap();
    let before = record::load(state.path()).unwrap();
    // A directory in the file's place: even root cannot write there.
    fs::create_dir_all(state.path().join("record.new/x")).unwrap();
    for all in [[back("a"), back("b")], [set("b"), back("a")]] {
        assert_eq!(at_once(&mut kernel, &all).unwrap_err().done, 0);
        assert_eq!(record::load(state.path()).unwrap(), before);
        assert_eq!(["a", "b"].map(value), ["1", "0"]);
    }
}

#[test]
fn what_went_with_its_interface_is_forgotten() {
    interfaces(&["a", "b"]);
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    at_once(&mut kernel, &[set("a"), set("b")]).unwrap();
    Links::here().unwrap().delete("a").unwrap();
    at_once(&mut kernel, &[back("a"), back("b")]).unwrap();
    assert_eq!(record::load(state.path()).unwrap(), Default::default());
    assert_eq!(value("b"), "0");
}

#[test]
fn a_thousand_addresses_are_added_and_deleted_at_once() {
    interfaces(&["eth0"]);
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    let cidrs = (0..1000).map(|i| format!("10.1.{}.{}/16", i / 250, i % 250 + 1).parse().unwrap());
    let (add, delete): (Vec<_>, Vec<_>) = cidrs.map(|cidr| (added("eth0", cidr), deleted("eth0", cidr))).unzip();
    at_once(&mut kernel, &add).unwrap();
    assert_eq!(standing(&mut kernel, "eth0").len(), 1000);
    at_once(&mut kernel, &delete).unwrap();
    assert!(standing(&mut kernel, "eth0").is_empty());
}

fn added(interface: &str, cidr: Cidr) -> Operation {
    Operation::AddAddress { interface: interface.parse().unwrap(), cidr }
}

fn deleted(interface: &str, cidr: Cidr) -> Operation {
    Operation::DeleteAddress { interface: interface.parse().unwrap(), cidr }
}

/// The IPv4 addresses of an interface, with their marks.
fn standing(kernel: &mut Linux, interface: &str) -> BTreeSet<(Cidr, u8)> {
    let interface: InterfaceName = interface.parse().unwrap();
    let seen = kernel.observe(&Wanted::default()).unwrap();
    seen.addresses
        .into_iter()
        .filter(|a| a.interface == interface && a.cidr.v4().is_some())
        .map(|a| (a.cidr, a.mark))
        .collect()
}

/// Addresses of two networks, and one of a single host.
const CIDRS: [&str; 7] =
    ["10.1.0.1/24", "10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24", "10.2.0.1/16", "10.2.0.2/16", "10.3.0.1/32"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn at_once_is_as_one_by_one(
        order in Just((0..CIDRS.len()).collect::<Vec<_>>()).prop_shuffle(),
        foreign in prop::collection::btree_set(0..CIDRS.len(), 0..3),
        changes in prop::collection::vec((any::<bool>(), 0..CIDRS.len()), 1..10),
        promote in any::<bool>(),
    ) {
        interfaces(&["single", "batch"]);
        let state = tempfile::tempdir().unwrap();
        let mut kernel = Linux::new(state.path());
        let cidr = |n: &usize| CIDRS[*n].parse::<Cidr>().unwrap();
        let links = Links::here().unwrap();
        for name in ["single", "batch"] {
            let path = format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries");
            fs::write(path, if promote { "1" } else { "0" }).unwrap();
            for n in &order {
                match foreign.contains(n) {
                    true => links.address(name, cidr(n)).unwrap(),
                    false => kernel.perform(&added(name, cidr(n))).unwrap(),
                }
            }
        }
        let on = |name: &str| -> Vec<Operation> {
            let one = |(add, n): &(bool, usize)| if *add { added(name, cidr(n)) } else { deleted(name, cidr(n)) };
            changes.iter().map(one).collect()
        };
        let foreigners: BTreeSet<(Cidr, u8)> = foreign.iter().map(|n| (cidr(n), 0)).collect();
        let all = at_once(&mut kernel, &on("batch"));
        let done = all.as_ref().map_or_else(|stopped| stopped.done, |()| changes.len());
        for operation in &on("single")[..done] {
            kernel.perform(operation).unwrap();
        }
        prop_assert!(on("single").get(done).is_none_or(|refused| kernel.perform(refused).is_err()));
        let (one, all) = (standing(&mut kernel, "single"), standing(&mut kernel, "batch"));
        prop_assert!(all.is_superset(&foreigners), "{:?} lost one of {:?}", all, foreigners);
        prop_assert_eq!(one, all);
    }
}
