use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::{self, Source};
use crate::desired::desire;
use crate::observed::{Address, Live, OUR_MARK, Observed};

/// Five files of one cluster: what stays, what comes, what goes, what changes.
pub(super) const FILES: [&str; 5] = [
    r#"vip "ui" { address "10.0.0.50/24"; interface "eth0"; vrid 51; priority a=150 b=140; advertise "1s" }"#,
    r#"vip "ui" { address "10.0.0.50/24"; interface "eth0"; vrid 51; priority a=100 b=140; preempt "never" }
       service "web" { listen vip="ui" port=80; backend "a" port=8080; backend "b" port=8080 weight=2; probe { tcp } }
       sysctl "net.ipv4.ip_nonlocal_bind" 1"#,
    r#"vip "ui" { address "10.0.0.50/24"; address "10.0.0.51/24"; interface "eth0"; vrid 51; priority a=150 b=140 }
       vip "db" { address "10.0.0.60/32"; interface "eth1.5"; vrid 52; priority a=10 b=140; unicast }
       service "pg" { listen vip="db" port=5432; balance "source"; backend "x" "10.0.0.9:5432" }"#,
    r#"sysctl "net.ipv4.ip_nonlocal_bind" 0"#,
    r#"vip "ui" { address "10.0.0.50/24" "2001:db8::50/64" "fe80::50/64"; interface "eth0"; vrid 51; priority a=150 b=140 }
       vip "db" { address "2001:db8:1::60/128"; interface "eth1.5"; vrid 52; priority a=10 b=140; start-delay "9s" }"#,
];

pub(super) fn desired(body: &str) -> Desired {
    let text = format!("cluster \"t\"\npeer \"a\" address=\"10.0.0.1\"\npeer \"b\" address=\"10.0.0.2\"\n{body}\n");
    let parsed = config::parse(&[Source { name: "ha.kdl".into(), text }]);
    let config = parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    desire(&config, "a").unwrap()
}

#[test]
fn the_name_by_which_a_file_was_read_is_no_part_of_a_plans_fingerprint() {
    let plan = plan(&desired(FILES[1]), &desired(FILES[1]).empty_machine());
    let mut other = plan.clone();
    for reason in other.steps.iter_mut().flat_map(|s| &mut s.reasons) {
        reason.at.file = "/etc/hactl/ha.kdl".into();
    }
    assert_ne!(plan, other);
    assert_eq!(plan.fingerprint(), other.fingerprint());
    other.steps.pop();
    assert_ne!(plan.fingerprint(), other.fingerprint());
}

/// Performs an operation on a machine that is data.
fn perform(holds: &mut Observed, operation: &Operation) {
    fn put<V>(map: &mut BTreeMap<String, V>, key: String, value: Option<V>) {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
    match operation.clone() {
        Operation::Nothing => {}
        Operation::SetSysctl { key, value, record } => {
            assert!(holds.sysctls.insert(key.clone(), value).is_some(), "{key} does not exist");
            put(&mut holds.record.sysctls, key, record);
        }
        Operation::RecordSysctl { key, record } => put(&mut holds.record.sysctls, key, record),
        Operation::LoadTable { table, text, record } => {
            holds.record.put_table(&table, record);
            holds.tables.insert(table, text);
        }
        Operation::DeleteTable { table, record } => {
            holds.tables.remove(&table);
            holds.record.put_table(&table, record);
        }
        Operation::AddAddress { interface, cidr } => {
            let there = holds.addresses.iter().find(|a| a.interface == interface && a.cidr == cidr);
            assert!(there.is_none_or(|a| a.mark == OUR_MARK), "{cidr} is somebody else's");
            holds.addresses.insert(Address { interface, cidr, mark: OUR_MARK, secondary: false });
        }
        Operation::DeleteAddress { interface, cidr } => {
            holds.addresses.retain(|a| a.interface != interface || a.cidr != cidr || a.mark != OUR_MARK);
        }
        Operation::PutVip { name, facts } => drop(holds.record.vips.insert(name, facts)),
        Operation::DropVip { name } => drop(holds.record.vips.remove(&name)),
    }
}

pub(super) fn apply(holds: &mut Observed, plan: &Plan) {
    plan.steps.iter().for_each(|step| perform(holds, &step.operation));
}

/// A machine that knows every key and interface of [`FILES`].
pub(super) fn machine() -> Observed {
    let mut all = desired(FILES[1]).empty_machine();
    for file in FILES {
        let more = desired(file).empty_machine();
        all.sysctls.extend(more.sysctls);
        all.links.extend(more.links);
    }
    all.sysctls.insert("net.ipv4.ip_nonlocal_bind".into(), "0".into());
    all.boot_id = "b".into();
    let own =
        Address { interface: "eth0".parse().unwrap(), cidr: "10.0.0.1/24".parse().unwrap(), mark: 0, secondary: false };
    all.addresses.insert(own);
    all
}

/// What somebody or something else does to a machine.
#[derive(Debug, Clone)]
pub(super) enum Mischief {
    Sysctl(prop::sample::Index, u8),
    Flush,
    Edit,
    Leftover,
    Address,
    Master(bool),
    Interface(bool),
}

fn mischief() -> impl Strategy<Value = Mischief> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0_u8..2).prop_map(|(n, v)| Mischief::Sysctl(n, v)),
        Just(Mischief::Flush),
        Just(Mischief::Edit),
        Just(Mischief::Leftover),
        Just(Mischief::Address),
        any::<bool>().prop_map(Mischief::Master),
        any::<bool>().prop_map(Mischief::Interface),
    ]
}

pub(super) fn harm(holds: &mut Observed, mischief: &Mischief) {
    let leftover = |cidr: &str| Address {
        interface: "eth0".parse().unwrap(),
        cidr: cidr.parse().unwrap(),
        mark: OUR_MARK,
        secondary: false,
    };
    match mischief {
        Mischief::Sysctl(n, value) => {
            let key = holds.sysctls.keys().nth(n.index(holds.sysctls.len())).unwrap().clone();
            holds.sysctls.insert(key, value.to_string());
        }
        Mischief::Flush => holds.tables.clear(),
        Mischief::Edit => holds.tables.values_mut().for_each(|t| *t = t.replace("notrack", "accept")),
        Mischief::Leftover => drop(holds.addresses.insert(leftover("10.0.0.77/24"))),
        Mischief::Address => holds.addresses.retain(|a| a.mark != OUR_MARK),
        Mischief::Master(held) => {
            let names = ["ui".to_owned(), "db".to_owned()];
            holds.service = held.then(|| Live { pid: 7, master: names.into(), ..Live::default() });
        }
        Mischief::Interface(false) => {
            holds.links.remove(&"eth1.5".parse().unwrap());
            holds.addresses.retain(|a| a.interface.as_str() != "eth1.5");
            holds.sysctls.retain(|key, _| !key.contains(".eth1/5."));
        }
        // As it is made anew: of its values before nothing is left.
        Mischief::Interface(true) => {
            let new = machine();
            let there = holds.links.keys().any(|name| name.as_str() == "eth1.5");
            let sysctls = new.sysctls.into_iter().filter(|(key, _)| !there && key.contains(".eth1/5."));
            holds.sysctls.extend(sysctls);
            holds.links.extend(new.links);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn after_a_plan_the_next_is_empty_and_undone_the_machine_is_as_before(
        story in prop::collection::vec((0..FILES.len(), prop::collection::vec(mischief(), 0..4)), 1..6),
    ) {
        let mut holds = machine();
        let foreign: Vec<Address> = holds.addresses.iter().cloned().collect();
        for (file, mischiefs) in story {
            mischiefs.iter().for_each(|m| harm(&mut holds, m));
            let desired = desired(FILES[file]);
            let plan = super::plan(&desired, &holds);
            prop_assert_eq!(&plan, &super::plan(&desired, &holds), "the same inputs gave another plan");
            let before = holds.clone();
            apply(&mut holds, &plan);
            let again = super::plan(&desired, &holds);
            prop_assert!(again.steps.is_empty(), "left over: {:#?}", again.steps);

            let mut undone = holds.clone();
            plan.steps.iter().rev().for_each(|s| perform(&mut undone, &s.undo));
            prop_assert_eq!(undone, before);
            prop_assert!(foreign.iter().all(|a| holds.addresses.contains(a)));
        }
    }

    #[test]
    fn teardown_returns_the_machine_to_what_it_was(files in prop::collection::vec(0..FILES.len(), 1..6), held in any::<bool>()) {
        let before = machine();
        let mut holds = before.clone();
        for file in files {
            harm(&mut holds, &Mischief::Master(held));
            let plan = super::plan(&desired(FILES[file]), &holds);
            apply(&mut holds, &plan);
        }
        holds.service = None;
        let plan = teardown("a", &holds);
        apply(&mut holds, &plan);
        prop_assert_eq!(&holds, &before);
        prop_assert!(teardown("a", &holds).steps.is_empty());
    }
}

pub(super) fn find<'a>(plan: &'a Plan, object: &str) -> &'a Step {
    plan.steps.iter().find(|s| s.object == object).unwrap_or_else(|| panic!("no {object} in {:#?}", plan.steps))
}

#[test]
fn a_sysctl_that_somebody_changed_since_is_not_put_back() {
    let key = "net.ipv4.ip_nonlocal_bind";
    let mut holds = machine();
    let first = plan(&desired(FILES[1]), &holds);
    apply(&mut holds, &first);
    holds.sysctls.insert(key.into(), "2".into());
    let torn = teardown("a", &holds);
    assert_eq!(find(&torn, &format!("sysctl {key}")).action, Action::Adopt);
    apply(&mut holds, &torn);
    assert_eq!(holds.sysctls[key], "2");
}

#[test]
fn a_machine_that_forwarded_before_goes_on_forwarding_what_is_not_ours() {
    let mut holds = machine();
    assert!(find(&plan(&desired(FILES[1]), &holds), "nftables ip hactl").what.starts_with("11 chains"));
    holds.sysctls.insert("net.ipv4.conf.eth0.forwarding".into(), "1".into());
    let plan = plan(&desired(FILES[1]), &holds);
    let Operation::LoadTable { text, .. } = &find(&plan, "nftables ip hactl").operation else { panic!() };
    assert!(!text.contains("only_ours"), "{text}");
}

#[test]
fn secondary_addresses_are_removed_before_their_primary_one() {
    let mut holds = machine();
    for (cidr, secondary) in [("10.0.0.71/24", false), ("10.0.0.72/24", true), ("10.0.0.73/24", true)] {
        let (interface, cidr) = ("eth0".parse().unwrap(), cidr.parse().unwrap());
        holds.addresses.insert(Address { interface, cidr, mark: OUR_MARK, secondary });
    }
    let removed = |plan: &Plan| -> Vec<String> {
        let of = |s: &Step| s.object.strip_prefix("address 10.0.0.7").map(|rest| rest[..1].to_owned());
        plan.steps.iter().filter_map(of).collect()
    };
    assert_eq!(removed(&plan(&desired(FILES[0]), &holds)), ["2", "3", "1"]);
    assert_eq!(removed(&teardown("a", &holds)), ["2", "3", "1"]);
}

#[test]
fn an_address_of_somebody_else_blocks_and_is_named() {
    let mut holds = machine();
    let interface = "eth0".parse().unwrap();
    holds.addresses.insert(Address { interface, cidr: "10.0.0.50/32".parse().unwrap(), mark: 18, secondary: true });
    harm(&mut holds, &Mischief::Master(true));
    let plan = plan(&desired(FILES[0]), &holds);
    assert!(plan.blocked());
    assert!(plan.notes.iter().any(|n| n.what.contains("keepalived") && n.remedy.contains("stop keepalived")));
    assert!(plan.steps.iter().all(|s| !s.object.starts_with("address")));
}

#[test]
fn a_sysctl_of_the_file_that_contradicts_a_service_blocks() {
    let file = format!("{}\nsysctl \"net/ipv4/conf/eth0/forwarding\" 0", FILES[1]);
    let plan = plan(&desired(&file), &machine());
    let note = plan.notes.iter().find(|n| n.blocks).unwrap();
    assert_eq!(note.what, "sysctl net.ipv4.conf.eth0.forwarding = 0 contradicts 1, needed by service.web, ha.kdl:5");
}

#[test]
fn a_missing_interface_blocks_and_its_sysctls_are_not_told_of_again() {
    let mut holds = machine();
    holds.links.remove(&"eth0".parse().unwrap());
    holds.sysctls.retain(|key, _| !key.contains("eth0"));
    let plan = plan(&desired(FILES[1]), &holds);
    let blocking: Vec<&str> = plan.notes.iter().filter(|n| n.blocks).map(|n| n.what.as_str()).collect();
    assert_eq!(blocking, ["vip.ui: there is no interface eth0 on a"]);
}

#[test]
fn what_was_recorded_of_an_interface_that_is_gone_is_forgotten_also_where_the_file_still_names_it() {
    let mut holds = machine();
    let desired = desired(FILES[2]);
    let first = plan(&desired, &holds);
    apply(&mut holds, &first);
    harm(&mut holds, &Mischief::Interface(false));
    for plan in [plan(&desired, &holds), teardown("a", &holds)] {
        let step = find(&plan, "sysctl net.ipv4.conf.eth1/5.forwarding");
        assert_eq!((step.action, step.what.as_str()), (Action::Adopt, "went with interface eth1.5: forgotten"));
    }
    let forgotten = plan(&desired, &holds);
    apply(&mut holds, &forgotten);
    assert!(holds.record.sysctls.keys().all(|key| !key.contains("eth1/5")));
    assert!(plan(&desired, &holds).steps.is_empty(), "told once");

    harm(&mut holds, &Mischief::Interface(true));
    let again = plan(&desired, &holds);
    assert_eq!(find(&again, "sysctl net.ipv4.conf.eth1/5.forwarding").what, "= 1  (was 0)");
}

#[test]
fn a_plan_survives_being_written_and_read() {
    let plan = plan(&desired(FILES[2]), &machine());
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}
