//! What a plan says of traffic, forwarding and what it leaves: each claim a sentence.

use super::tests::{FILES, Mischief, apply, desired, find, harm, machine};
use super::*;
use crate::observed::{Address, Live};
use crate::rules;

fn words(plan: &Plan) -> String {
    plan.steps.iter().flat_map(|s| s.details.clone()).chain(plan.notes.iter().map(|n| n.what.clone())).collect()
}

/// The machine after one file, whose service hears or is master of `ui`, planned for another.
fn changed(before: &str, after: &str, live: Live) -> Plan {
    let mut holds = machine();
    let first = plan(&desired(before), &holds);
    apply(&mut holds, &first);
    holds.service = Some(Live { pid: 7, ..live });
    plan(&desired(after), &holds)
}

fn vip(settings: &str) -> String {
    format!(r#"vip "ui" {{ address "10.0.0.50/24"; interface "eth0"; vrid 51; {settings} }}"#)
}

fn held() -> Live {
    Live { master: ["ui".to_owned()].into(), ..Live::default() }
}

#[test]
fn the_owner_takes_the_addresses_from_a_holder_that_never_lets_them_be_preempted() {
    let owned = |priorities: &str| {
        format!(
            r#"vip "ui" {{ address "10.0.0.2/24"; interface "eth0"; vrid 51; preempt "never"; priority {priorities} }}"#
        )
    };
    let plan = changed(&owned("a=150 b=255"), &owned("a=140 b=255"), held());
    assert_eq!(plan.impact(), Impact::Interrupts);
    let said = "b (255) outranks this machine: as their owner the addresses move there";
    assert_eq!(find(&plan, "vip.ui").details, [said]);
}

#[test]
fn preempting_after_a_delay_is_said_as_it_is_written() {
    let to = "priority a=160 b=150; preempt \"after\" delay=\"5m\"";
    let live = Live { masters: [("ui".to_owned(), "10.0.0.2".parse().unwrap())].into(), ..Live::default() };
    let plan = changed(&vip("priority a=140 b=150"), &vip(to), live);
    let said = r#"outranks the holder b (150): with preempt "after" delay="5m" the addresses move here"#;
    assert_eq!(words(&plan), said);
}

#[test]
fn another_form_of_checksum_interrupts_nothing_for_both_are_accepted() {
    let members = "priority a=150 b=140";
    let plan = changed(&vip(members), &vip(&format!("{members}; checksum \"message\"")), held());
    assert_eq!(find(&plan, "vip.ui").what, "checksum none -> message");
    assert_eq!(plan.impact(), Impact::None);
}

#[test]
fn what_a_killed_service_left_is_in_use_as_far_as_anybody_knows() {
    let mut holds = machine();
    harm(&mut holds, &Mischief::Master(true));
    for _ in 0..2 {
        let plan = plan(&desired(FILES[1]), &holds);
        apply(&mut holds, &plan);
    }
    holds.service = None;
    let torn = teardown("a", &holds);
    assert_eq!(find(&torn, "address 10.0.0.50/24 on eth0").impact, Impact::Interrupts);
    assert_eq!(find(&torn, "nftables ip hactl").impact, Impact::Interrupts);
}

#[test]
fn forwarding_cannot_be_taken_from_every_interface_under_a_service() {
    for key in ["net.ipv4.ip_forward", "net/ipv4/conf/all/forwarding"] {
        let plan = plan(&desired(&format!("{}\nsysctl \"{key}\" 0", FILES[1])), &machine());
        let note = plan.notes.iter().find(|n| n.what.contains("contradicts")).unwrap();
        assert!(note.blocks && note.what.ends_with("contradicts 1, needed by service.web, ha.kdl:5"), "{note:?}");
    }
}

/// The machine as the second file and a line that turns it into a router make it.
fn router() -> (String, Observed) {
    let file = format!("{}\nsysctl \"net.ipv4.ip_forward\" 1", FILES[1]);
    let mut holds = machine();
    holds.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    let plan = plan(&desired(&file), &holds);
    apply(&mut holds, &plan);
    (file, holds)
}

#[test]
fn a_machine_that_the_file_makes_a_router_forwards_what_is_not_ours() {
    let (file, mut holds) = router();
    assert!(!holds.tables["ip hactl"].contains("only_ours"));
    let again = plan(&desired(&file), &holds);
    assert!(again.steps.is_empty(), "{again:#?}");
    // Its write sets every interface's forwarding, and is first for that.
    holds.sysctls.insert("net.ipv4.ip_forward".into(), "0".into());
    holds.sysctls.insert("net.ipv4.conf.eth0.forwarding".into(), "0".into());
    let objects: Vec<String> = plan(&desired(&file), &holds).steps.into_iter().map(|s| s.object).collect();
    assert_eq!(objects, ["sysctl net.ipv4.ip_forward", "sysctl net.ipv4.conf.eth0.forwarding"]);
}

#[test]
fn a_router_stays_one_while_a_service_needs_forwarding_and_no_longer() {
    let (_, mut holds) = router();
    let without_line = plan(&desired(FILES[1]), &holds);
    assert!(without_line.steps.iter().all(|s| !s.object.contains("ip_forward")), "{without_line:#?}");
    assert!(words(&without_line).contains("sysctl net.ipv4.ip_forward stays 1: putting back 0 would"));
    apply(&mut holds, &without_line);
    let without_service = plan(&desired(FILES[0]), &holds);
    assert_eq!(find(&without_service, "sysctl net.ipv4.ip_forward").what, "= 1  (back to 0)");
}

#[test]
fn a_backend_behind_another_interface_is_told_of_until_that_one_forwards() {
    let mut holds = machine();
    let own = |interface: &str, cidr: &str| {
        let (interface, cidr) = (interface.parse().unwrap(), cidr.parse().unwrap());
        Address { interface, cidr, mark: 0, secondary: false }
    };
    holds.addresses.insert(own("eth1.5", "10.9.0.1/24"));
    let service = |more: &str| {
        let backends = r#"backend "near" "10.0.0.9:80"; backend "far" "10.9.0.7:80"; backend "own" "10.9.0.1:80""#;
        let gateway = r#"backend "away" "172.16.0.1:80""#;
        let vip = vip("priority a=150");
        format!("{vip}\nservice \"web\" {{ listen vip=\"ui\" port=80; {backends}; {gateway} }}\n{more}")
    };
    let told = |file: &str| {
        let notes = plan(&desired(file), &holds).notes;
        notes.into_iter().filter(|n| n.what.contains("behind")).map(|n| (n.what, n.remedy)).collect::<Vec<_>>()
    };
    let (what, remedy) = told(&service("")).remove(0);
    let said = "service.web: backend far is behind eth1.5, not eth0: answers come back only where eth1.5 forwards";
    assert_eq!(what, said);
    let line = remedy.strip_prefix("add to the file: ").unwrap();
    assert_eq!(line, r#"sysctl "net.ipv4.conf.eth1/5.forwarding" 1"#);
    assert!(told(&service(line)).is_empty());
    assert!(told(&service("sysctl \"net.ipv4.ip_forward\" 1")).is_empty());
}

#[test]
fn a_new_vip_that_preempts_may_move_here_and_one_that_nobody_is_below_does_not() {
    let impact = |settings: &str| plan(&desired(&vip(settings)), &machine()).impact();
    assert_eq!(impact("priority a=150 b=140"), Impact::MayMove);
    assert_eq!(impact("priority a=150 b=140; preempt \"never\""), Impact::None);
    assert_eq!(impact("priority a=140 b=150"), Impact::None);
}

#[test]
fn a_weight_changed_while_its_backend_is_down_is_a_change_of_ours_and_when_it_counts_is_said() {
    let mut holds = machine();
    let first = plan(&desired(FILES[1]), &holds);
    apply(&mut holds, &first);
    let down = [("web".to_owned(), ["10.0.0.2:8080".parse().unwrap()].into())].into();
    holds.service = Some(Live { pid: 7, down, ..Live::default() });
    let listed = rules::render_on(&desired(FILES[1]), &holds);
    holds.tables = listed;
    let plan = plan(&desired(&FILES[1].replace("weight=2", "weight=5")), &holds);
    let step = find(&plan, "nftables ip hactl");
    assert_eq!((step.action, step.details.len()), (Action::Change, 1), "{step:?}");
    assert_eq!(step.details, ["backends are down: the new shares count when they are up again"]);
}

#[test]
fn somebody_elses_table_of_our_name_is_not_replaced_without_a_word() {
    let mut holds = machine();
    let theirs = "table ip hactl {\n\tchain mine {\n\t\taccept\n\t}\n}\n".to_owned();
    holds.tables.insert("ip hactl".into(), theirs);
    let plan = plan(&desired(FILES[1]), &holds);
    let said = "a table of this name is here and is not recorded as hactl's: what is in it goes";
    assert_eq!(find(&plan, "nftables ip hactl").details, [said]);
}

#[test]
fn where_nothing_runs_no_change_of_a_vip_interrupts() {
    let mut holds = machine();
    let first = plan(&desired(&vip("priority a=150 b=140")), &holds);
    apply(&mut holds, &first);
    let file = vip("priority a=150 b=140; version 2").replace("vrid 51", "vrid 52");
    let plan = plan(&desired(&file), &holds);
    assert_eq!(plan.impact(), Impact::None, "{plan:#?}");
}

#[test]
fn a_probe_is_told_of_as_its_services() {
    let live = Live::default();
    let plan = changed(FILES[1], &FILES[1].replace("; probe { tcp }", ""), live);
    let what = &find(&plan, "vip.ui").what;
    assert!(what.starts_with("service.web: probe tcp, every") && what.ends_with("-> none"), "{what}");
}

#[test]
fn an_address_in_the_way_beside_a_keepalived_that_marks_nothing_tells_to_stop_that_first() {
    let mut holds = machine();
    let cidr = "10.0.0.50/24".parse().unwrap();
    holds.addresses.insert(Address { interface: "eth0".parse().unwrap(), cidr, mark: 0, secondary: false });
    holds.others = vec!["keepalived (pid 812)".into()];
    let plan = plan(&desired(FILES[0]), &holds);
    let note = plan.notes.iter().find(|n| n.blocks).unwrap();
    assert!(note.remedy.contains("stop them first (systemctl disable --now keepalived)"), "{note:?}");
}

#[test]
fn a_dual_stack_vip_is_added_in_both_families_and_ipv6_is_turned_on_where_it_is_off() {
    let mut holds = machine();
    holds.sysctls.insert("net.ipv6.conf.eth0.disable_ipv6".into(), "1".into());
    harm(&mut holds, &Mischief::Master(true));
    let plan = plan(&desired(FILES[4]), &holds);
    assert_eq!(find(&plan, "sysctl net.ipv6.conf.eth0.disable_ipv6").what, "= 0  (was 1)");
    assert_eq!(find(&plan, "address 2001:db8::50/64 on eth0").what, "this machine is master");
    let said = "10.0.0.50/24, 2001:db8::50/64, fe80::50/64 on eth0, vrid 51, priority 150";
    assert_eq!(find(&plan, "vip.ui").what, said);
}

#[test]
fn a_link_local_address_is_in_the_way_on_its_own_link_alone_and_any_other_everywhere() {
    let blocking = |interface: &str, cidr: &str| {
        let mut holds = machine();
        let (interface, cidr) = (interface.parse().unwrap(), cidr.parse().unwrap());
        holds.addresses.insert(Address { interface, cidr, mark: 0, secondary: false });
        let notes = plan(&desired(FILES[4]), &holds).notes;
        notes.into_iter().filter(|n| n.blocks).map(|n| n.what).collect::<Vec<_>>()
    };
    assert!(blocking("eth1.5", "fe80::50/64").is_empty());
    let said =
        "address fe80::50/128 on eth0 is vip.ui's, and there already: it is not hactl's and carries nobody's mark";
    assert_eq!(blocking("eth0", "fe80::50/128"), [said]);
    assert_eq!(blocking("eth1.5", "2001:db8::50/128").len(), 1);
}

#[test]
fn every_setting_of_a_vip_that_changes_is_in_the_plan() {
    let plain = "priority a=150 b=140";
    let told = |more: &str| {
        let plan = changed(&vip(plain), &vip(&format!("{plain}; {more}")), Live::default());
        find(&plan, "vip.ui").what.clone()
    };
    assert_eq!(told("start-delay \"5s\""), "start-delay none -> 5s");
    assert_eq!(told("announce again=\"9s\" every=\"1m\""), "announce none -> again after 9s, every 1m");
}
