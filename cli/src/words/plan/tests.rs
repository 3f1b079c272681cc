use std::path::Path;

use model::config::{self, Config, Source};
use model::desired::{Desired, desire};
use model::observed::{Address, KEEPALIVED_MARK, Live, OUR_MARK, Observed};
use model::plan::{plan, teardown};
use runtime::kernel::Kernel;
use runtime::kernel::fake::Fake;

use super::*;
use crate::verbs::render::objects;

const EXAMPLES: [&str; 7] =
    ["active-active", "cloud-elastic-ip", "dual-stack", "gateway-group", "nginx-pair", "postgres-swarm", "proxmox-ui"];

fn parse(name: &str, text: String) -> Config {
    let parsed = config::parse(&[Source { name: name.to_owned(), text }]);
    parsed.config.unwrap_or_else(|| panic!("{name}: {:?}", parsed.diagnostics))
}

fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new("../examples").join(format!("{name}.kdl"))).unwrap()
}

fn golden(kind: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../../../../snapshots/{kind}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn plain(plan: &Plan) -> String {
    anstream::adapter::strip_str(&text(plan, "ha.kdl", None)).to_string()
}

#[test]
fn every_example_is_covered() {
    let mut found: Vec<String> = std::fs::read_dir("../examples")
        .unwrap()
        .filter_map(|e| Some(e.unwrap().file_name().to_str()?.strip_suffix(".kdl")?.to_owned()))
        .filter(|name| !name.ends_with(".test"))
        .collect();
    found.sort();
    assert_eq!(found, EXAMPLES);
}

#[test]
fn every_peer_of_every_example_from_an_empty_machine() {
    for name in EXAMPLES {
        let config = parse("ha.kdl", example(name));
        for peer in &config.peers {
            let desired = desire(&config, &peer.name).unwrap();
            let plan = plan(&desired, &desired.empty_machine());
            golden("plan", &format!("{name}-{}", peer.name), &plain(&plan));
        }
    }
}

#[test]
fn on_a_narrow_terminal_every_word_fits() {
    let config = parse("ha.kdl", example("active-active"));
    let mut desired = desire(&config, "data1").unwrap();
    desired.services.clear();
    let text = text(&plan(&desired, &desired.empty_machine()), "ha.kdl", Some(80));
    let plain = anstream::adapter::strip_str(&text).to_string();
    assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    golden("plan", "case-narrow", &plain);
}

#[test]
fn every_peer_of_every_example_rendered() {
    for name in EXAMPLES {
        let config = parse("ha.kdl", example(name));
        for peer in &config.peers {
            let desired = desire(&config, &peer.name).unwrap();
            for (file, text) in objects(&desired) {
                golden("render", &format!("{name}-{}-{file}", peer.name), &text);
            }
        }
    }
}

/// pve2 of the example, changed by `edit`.
fn pve2(edit: impl Fn(String) -> String) -> Desired {
    desire(&parse("ha.kdl", edit(example("proxmox-ui"))), "pve2").unwrap()
}

/// pve2 as it is after an apply of the example, with a service that hears pve1 as master.
fn applied() -> Observed {
    let desired = pve2(|text| text);
    let mut machine = Observed { boot_id: "b".into(), ..desired.empty_machine() };
    machine.service = Some(Live {
        pid: 812,
        masters: [("ui".to_owned(), "192.168.31.11".parse().unwrap())].into(),
        ..Live::default()
    });
    let plan = plan(&desired, &machine);
    let mut fake = Fake::new(machine);
    plan.steps.iter().for_each(|step| fake.perform(&step.operation).unwrap());
    fake.holds
}

fn address(cidr: &str, mark: u8) -> Address {
    Address { interface: "wlp2s0".parse().unwrap(), cidr: cidr.parse().unwrap(), mark, secondary: false }
}

#[test]
fn a_second_plan_says_so() {
    golden("plan", "case-nothing", &plain(&plan(&pve2(|text| text), &applied())));
}

#[test]
fn a_priority_that_moves_the_addresses_and_a_new_backend() {
    let desired = pve2(|text| {
        text.replace("pve2=140", "pve2=160").replace("preempt \"never\"", "preempt \"always\"").replace(
            "    backend \"pve3\" port=8006\n",
            "    backend \"pve3\" port=8006\n    backend \"spare\" \"192.168.31.20:8006\" weight=2\n",
        )
    });
    let plan = plan(&desired, &applied());
    assert_eq!(detailed_exit(std::slice::from_ref(&plan)), Exit::PendingDisruptive);
    golden("plan", "case-changed", &plain(&plan));
}

#[test]
fn what_somebody_else_changed() {
    let mut machine = applied();
    machine.service.iter_mut().for_each(|live| _ = live.master.insert("ui".into()));
    // The service has opened the gate and holds the address; then somebody comes.
    let opened = plan(&pve2(|text| text), &machine);
    machine.tables.extend(opened.steps.iter().filter_map(|step| match &step.operation {
        Operation::LoadTable { table, text, .. } => Some((table.clone(), text.clone())),
        _ => None,
    }));
    machine.sysctls.insert("net.ipv4.conf.wlp2s0.forwarding".into(), "0".into());
    for text in machine.tables.values_mut() {
        *text = text.replace("\t\tip saddr @vips ip saddr != @active notrack\n", "");
    }
    machine.addresses.insert(address("192.168.31.77/24", OUR_MARK));
    golden("plan", "case-drift", &plain(&plan(&pve2(|text| text), &machine)));
}

#[test]
fn our_table_flushed() {
    let mut machine = applied();
    machine.tables.clear();
    golden("plan", "case-flushed", &plain(&plan(&pve2(|text| text), &machine)));
}

#[test]
fn what_was_there_before_is_adopted() {
    let desired = pve2(|text| text + "\nsysctl \"net.ipv4.ip_nonlocal_bind\" 1\n");
    let mut machine = applied();
    machine.sysctls.insert("net.ipv4.ip_nonlocal_bind".into(), "1".into());
    let plan = plan(&desired, &machine);
    assert_eq!(detailed_exit(std::slice::from_ref(&plan)), Exit::Pending);
    golden("plan", "case-adopt", &plain(&plan));
}

#[test]
fn conflicts_name_their_owner() {
    let desired = pve2(|text| text + "\nsysctl \"net.ipv4.conf.wlp2s0.forwarding\" 0\n");
    let mut machine = desired.empty_machine();
    machine.boot_id = "b".into();
    machine.others = vec!["keepalived (pid 612)".into()];
    machine.addresses.insert(address("192.168.31.50/24", KEEPALIVED_MARK));
    golden("plan", "case-conflict", &plain(&plan(&desired, &machine)));
}

#[test]
fn a_service_that_goes() {
    let desired = pve2(|text| {
        let (before, _) = text.split_once("service \"ui\"").unwrap();
        before.to_owned()
    });
    golden("plan", "case-service-gone", &plain(&plan(&desired, &applied())));
}

#[test]
fn everything_goes() {
    let mut machine = applied();
    machine.service = None;
    golden("plan", "case-destroy", &plain(&teardown("pve2", &machine)));
}

#[test]
fn json_is_versioned_and_has_no_secret() {
    let desired = pve2(|text| text.replace("(env)\"VIP_AUTH_PASS\"", "\"geheim12\""));
    let value = json(&[plan(&desired, &applied())]);
    assert_eq!(value["version"], 1);
    assert!(!value.to_string().contains("geheim12"));
    let vip = value["plans"][0]["steps"].as_array().unwrap().iter().find(|s| s["object"] == "vip.ui").unwrap();
    assert_eq!(vip["operation"]["facts"]["settings"]["auth-pass"], "(secret)");
}
