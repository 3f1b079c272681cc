//! Plans performed on a real kernel: what nft lists is what was rendered, and nothing is left to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use model::config::{self, Source};
use model::desired::{Desired, desire};
use model::observed::{Live, Observed};
use model::plan::{Plan, plan, teardown};
use model::rules;
use runtime::kernel::linux::Linux;
use runtime::kernel::{Kernel, record};
use runtime::netns::{Links, Namespace, isolate};

fn desired(text: &str, peer: &str) -> Desired {
    let parsed = config::parse(&[Source { name: "ha.kdl".into(), text: text.into() }]);
    desire(&parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)), peer).unwrap()
}

fn example(name: &str, peer: &str) -> Desired {
    desired(&std::fs::read_to_string(format!("../examples/{name}.kdl")).unwrap(), peer)
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn observe(kernel: &mut Linux, desired: &Desired) -> Observed {
    let first = kernel.observe(&desired.wanted(&Default::default())).unwrap();
    kernel.observe(&desired.wanted(&first.record)).unwrap()
}

fn perform(kernel: &mut Linux, plan: &Plan) {
    plan.steps
        .iter()
        .for_each(|step| kernel.perform(&step.operation).unwrap_or_else(|e| panic!("{}: {e}", step.object)));
}

/// A veth pair whose far end stands in another namespace.
fn machine(interface: &str) -> Namespace {
    isolate().unwrap();
    let far = Namespace::new().unwrap();
    let links = Links::here().unwrap();
    links.veth(interface, "far", &far).unwrap();
    links.up(interface).unwrap();
    links.up("lo").unwrap();
    far
}

#[test]
fn what_nft_lists_is_what_was_rendered() {
    isolate().unwrap();
    let many: String = (1..=12).map(|n| format!("backend \"b{n}\" \"10.0.0.{n}:80\" weight={n}\n")).collect();
    let two = format!(
        r#"cluster "t"
        peer "a" address="10.0.0.1"
        vip "v" {{ address "10.1.0.9/24"; address "10.1.0.100/24"; address "10.1.0.20/24"; interface "eth0.5"; vrid 5; priority a=1 }}
        service "x-y_z.a" {{ listen vip="v" port=80; {many} }}
        service "other" {{ listen vip="v" port=443; balance "source"; backend "b" "10.0.0.9:443" }}"#
    );
    let cases = [example("proxmox-ui", "pve1"), example("postgres-swarm", "lb2"), desired(&two, "a")];
    for desired in &cases {
        let master = desired.vips.iter().map(|v| v.name.clone()).collect();
        for live in [Live::default(), Live { master, ..Live::default() }] {
            let text = rules::render(desired, &live).remove(rules::TABLE).unwrap();
            let mut nft = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
            nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            assert!(nft.wait().unwrap().success(), "{text}");
            let listed = shell("nft list table ip hactl");
            assert!(rules::same(&text, &listed), "{text}\n{listed}");
            // Letter for letter, but for the order in which the kernel keeps concatenations.
            assert_eq!(rules::arranged(&rules::without_counters(&listed)), rules::arranged(&text));
            // And nft reads again what it listed: undo loads it.
            shell(
                "t=$(nft list table ip hactl); nft delete table ip hactl; echo \"$t\" | nft -f -; nft delete table ip hactl",
            );
        }
    }
}

#[test]
fn after_a_plan_the_next_is_empty_and_after_teardown_the_machine_is_as_before() {
    let _far = machine("wlp2s0");
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    let wide = example("proxmox-ui", "pve1");
    let before = observe(&mut kernel, &wide);
    let first = plan(&wide, &before);
    assert!(!first.steps.is_empty() && !first.blocked(), "{first:#?}");
    perform(&mut kernel, &first);
    assert_eq!(plan(&wide, &observe(&mut kernel, &wide)).steps, []);

    shell("nft flush chain ip hactl guard; echo 0 >/proc/sys/net/ipv4/conf/wlp2s0/forwarding");
    let drift = plan(&wide, &observe(&mut kernel, &wide));
    assert_eq!(drift.steps.len(), 2, "{drift:#?}");
    perform(&mut kernel, &drift);
    assert_eq!(plan(&wide, &observe(&mut kernel, &wide)).steps, []);

    let torn = teardown("pve1", &observe(&mut kernel, &wide));
    perform(&mut kernel, &torn);
    assert_eq!(observe(&mut kernel, &wide), before);
}

#[test]
fn flows_reach_a_backend_through_the_vip_and_are_refused_when_none_is_up() {
    let text = r#"cluster "t"
        peer "a" address="10.0.0.1"
        vip "v" { address "10.0.0.100/24"; interface "eth0"; vrid 5; priority a=100 }
        service "s" { listen vip="v" port=8000; backend "b" "10.0.0.2:9000" }"#;
    let desired = desired(text, "a");
    let far = machine("eth0");
    Links::here().unwrap().address("eth0", "10.0.0.1/24".parse().unwrap()).unwrap();
    let links = far.links().unwrap();
    links.address("far", "10.0.0.2/24".parse().unwrap()).unwrap();
    links.up("far").unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    let mut observed = observe(&mut kernel, &desired);
    observed.service = Some(Live { master: ["v".to_owned()].into(), ..Live::default() });
    perform(&mut kernel, &plan(&desired, &observed));

    let vip = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 100), 8000));
    let connect = || TcpStream::connect_timeout(&vip, Duration::from_secs(5));
    let backend = far.run(|| TcpListener::bind("10.0.0.2:9000").unwrap()).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, client) = backend.accept().unwrap();
        stream.write_all(b"b").unwrap();
        client.ip()
    });
    let mut answer = String::new();
    far.run(connect).unwrap().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "b");
    assert_eq!(served.join().unwrap(), Ipv4Addr::new(10, 0, 0, 100), "the backend sees the vip");

    // Something of this machine listens on the port; with no backend up it must not answer in the service's stead.
    let _other = TcpListener::bind("0.0.0.0:8000").unwrap();
    let mut observed = observe(&mut kernel, &desired);
    let down = [("s".to_owned(), ["10.0.0.2:9000".parse().unwrap()].into())].into();
    observed.service = Some(Live { master: ["v".to_owned()].into(), down, ..Live::default() });
    perform(&mut kernel, &plan(&desired, &observed));
    for refused in [far.run(connect).unwrap(), connect()] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn an_interface_that_vanishes_takes_its_record_with_it() {
    let text = r#"cluster "t"
        peer "a" address="10.0.0.1"
        vip "v" { address "10.0.0.100/24"; interface "eth0.5"; vrid 5; priority a=100 }
        service "s" { listen vip="v" port=8000; backend "b" "10.0.0.2:9000" }"#;
    let desired = desired(text, "a");
    let _far = machine("eth0.5");
    let state = tempfile::tempdir().unwrap();
    let mut kernel = Linux::new(state.path());
    let observed = observe(&mut kernel, &desired);
    let first = plan(&desired, &observed);
    perform(&mut kernel, &first);

    // Between the plan and the doing.
    let destroy = teardown("a", &observe(&mut kernel, &desired));
    Links::here().unwrap().delete("eth0.5").unwrap();
    let of_link = |plan: &Plan| plan.steps.iter().filter(|s| s.object.contains("eth0/5")).count();
    assert_eq!(of_link(&destroy), 3);
    let observed = observe(&mut kernel, &desired);
    let forget = plan(&desired, &observed);
    assert_eq!(of_link(&forget), 3, "{:#?}", forget.steps);
    perform(&mut kernel, &destroy);
    assert!(record::load(state.path()).unwrap().sysctls.is_empty());

    // Found later.
    perform(&mut kernel, &forget);
    assert_eq!(of_link(&plan(&desired, &observe(&mut kernel, &desired))), 0);
}
