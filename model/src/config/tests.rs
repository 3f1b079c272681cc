//! The language as a whole: files in, clusters and mistakes out.

use super::*;

pub(super) fn source(text: &str) -> Source {
    Source { name: "ha.kdl".into(), text: text.into() }
}

pub(super) fn example(name: &str) -> Source {
    let path = format!("{}/../examples/{name}.kdl", env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods, reason = "a test reads its own input")]
    let text = std::fs::read_to_string(path).unwrap();
    Source { name: format!("{name}.kdl"), text }
}

fn valid(name: &str) -> Config {
    let parsed = parse(&[example(name)]);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    parsed.config.unwrap()
}

#[test]
fn proxmox_ui_is_read_as_it_is_meant() {
    let config = valid("proxmox-ui");
    let vip = &config.vips[0];
    assert_eq!(vip.version, Version::V2, "a password without a version means version 2");
    assert_eq!(vip.auth_pass.as_ref().unwrap().value, Secret::Env("VIP_AUTH_PASS".into()));
    assert_eq!(vip.preempt.value, Preempt::Never);
    assert!(vip.unicast);
    assert_eq!(vip.priorities["pve2"].value.get(), 140);
    assert_eq!(config.peers[2].interface.as_ref().unwrap().value.as_str(), "wlp3s0");
    let service = &config.services[0];
    assert_eq!(service.balance, Balance::Source);
    assert_eq!(service.backends[2].target, "192.168.31.13:8006".parse().unwrap());
    assert_eq!(service.probe.as_ref().unwrap().kind, ProbeKind::Tls);
}

#[test]
fn postgres_swarm_is_read_as_it_is_meant() {
    let config = valid("postgres-swarm");
    let probe = config.services[0].probe.as_ref().unwrap();
    assert_eq!(probe.kind, ProbeKind::Http { path: "/patroni".into(), expect: 200 });
    assert_eq!(probe.port, Some(8008));
    assert_eq!(config.vips[0].track[0].weight, Some(-2));
    assert_eq!(config.vips[0].version, Version::V3);
}

#[test]
fn defaults_reach_every_vip() {
    let config = valid("active-active");
    assert_eq!(config.vips.len(), 3);
    for vip in &config.vips {
        assert_eq!(vip.advertise.value.get(), 50);
        assert_eq!(vip.track[0].check, "ingress");
        assert_eq!(vip.interface.value.as_str(), "eth0");
    }
}

#[test]
fn places_are_those_of_the_file() {
    let config = valid("nginx-pair");
    let text = example("nginx-pair").text;
    let line = text.lines().position(|l| l.contains("priority")).unwrap() + 1;
    let at = &config.vips[0].priorities["web2"].at;
    assert_eq!(at.to_string(), format!("nginx-pair.kdl:{line}"));
}

#[test]
fn spans_are_of_the_value_alone() {
    let text = "peer \"a\"   address=\"192.0.2.300\"\ncluster  (env)\"x\"";
    let parsed = parse(&[source(text)]);
    let cut: Vec<_> = parsed
        .diagnostics
        .iter()
        .map(|d| &text[d.labels[0].0.offset..d.labels[0].0.offset + d.labels[0].0.len])
        .collect();
    assert_eq!(cut, ["\"192.0.2.300\"", "(env)\"x\""]);
}

#[test]
fn the_fingerprint_is_of_the_meaning() {
    let one = parse(&[source("cluster \"c\"\npeer \"a\" address=\"192.0.2.1\"\npeer \"b\" address=\"192.0.2.2\"")]);
    let other =
        parse(&[source("// words\npeer b address=\"192.0.2.2\"; peer \"a\" address=\"192.0.2.1\"\n\ncluster c")]);
    let third = parse(&[source("cluster \"c\"\npeer \"a\" address=\"192.0.2.1\"\npeer \"b\" address=\"192.0.2.3\"")]);
    let fingerprint = |p: &Parsed| p.config.as_ref().unwrap().fingerprint();
    assert_eq!(fingerprint(&one), fingerprint(&other));
    assert_ne!(fingerprint(&one), fingerprint(&third));
}

fn codes_of(text: &str) -> Vec<&'static str> {
    parse(&[source(text)]).diagnostics.iter().map(|d| d.code).collect()
}

const TWO: &str = "cluster \"c\"; peer \"a\" address=\"192.0.2.1\"; peer \"b\" address=\"192.0.2.2\"\n";

fn vip(name: &str, vrid: u8, rest: &str) -> String {
    format!(
        "vip \"{name}\" {{ address \"192.0.2.{}/24\"; interface \"eth0\"; vrid {vrid}; {rest}; }}\n",
        200 + name.len()
    )
}

#[test]
fn small_weights_that_bridge_the_gap_together_are_no_warning() {
    let checks = "check \"x\" { process \"x\"; }\ncheck \"y\" { process \"y\"; }\n";
    let together = vip("v", 1, "priority a=100 b=90; track \"x\" weight=-6; track \"y\" weight=-6");
    assert_eq!(codes_of(&format!("{TWO}{checks}{together}")), [] as [&str; 0]);
}

#[test]
fn one_vrid_of_two_clusters_in_one_network_is_seen_though_they_share_no_peer() {
    let (one, other) = (vip("v", 7, "priority a=100"), vip("vv", 7, "priority b=100"));
    assert_eq!(codes_of(&format!("{TWO}{one}{other}")), [codes::VRID_TAKEN]);
    let (one, other) = (vip("v", 7, "priority a=100; unicast"), vip("vv", 7, "priority b=100; unicast"));
    assert_eq!(codes_of(&format!("{TWO}{one}{other}")), [] as [&str; 0]);
}

#[test]
fn the_owner_of_an_address_may_have_255() {
    let owned = "vip \"v\" { address \"192.0.2.1/24\"; interface \"eth0\"; vrid 1; priority a=255 b=100; }";
    assert_eq!(codes_of(&format!("{TWO}{owned}")), [] as [&str; 0]);
}

#[test]
fn a_vip_overrides_the_defaults() {
    let defaults = "defaults { vip { unicast; advertise \"200ms\"; preempt \"never\"; } }\n";
    let own = vip("v", 1, "priority a=2 b=1; multicast; advertise \"3s\"");
    let config = parse(&[source(&format!("{TWO}{defaults}{own}"))]).config.unwrap();
    let vip = &config.vips[0];
    assert!(!vip.unicast);
    assert_eq!(vip.advertise.value.get(), 300);
    assert_eq!(vip.preempt.value, Preempt::Never);
}

#[test]
fn a_cluster_of_several_files_is_one_and_names_the_file_of_each_mistake() {
    let files = [source(TWO), Source { name: "more.kdl".into(), text: "peer \"a\" address=\"192.0.2.9\"".into() }];
    let parsed = parse(&files);
    assert_eq!(parsed.diagnostics[0].code, codes::DUPLICATE);
    assert_eq!(parsed.diagnostics[0].labels.iter().map(|(s, _)| s.source).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn every_mistake_of_a_file_is_told_in_one_run() {
    let text =
        format!("{TWO}vip \"v\" {{ address 192.0.2.9/24; vrid: 300; advertise 3s; priority a=1 cc=2; nonsense }}");
    assert_eq!(
        codes_of(&text),
        [
            codes::MISSING,
            codes::UNQUOTED,
            codes::COLON,
            codes::OUT_OF_RANGE,
            codes::UNQUOTED,
            codes::UNKNOWN_PEER,
            codes::UNKNOWN_NODE
        ]
    );
}

#[test]
fn the_text_of_a_source_is_not_in_its_debug_form() {
    assert_eq!(format!("{:?}", source("auth-pass \"hunter2\"")), "ha.kdl (19 bytes)");
}

#[test]
fn a_yaml_list_of_peers_is_told_to_be_a_node_for_each() {
    let text = "cluster \"c\"\npeers:\n  - name: a\n";
    let parsed = parse(&[Source { name: "ha.kdl".into(), text: text.into() }]);
    let helps: Vec<&String> = parsed.diagnostics.iter().flat_map(|d| &d.help).collect();
    assert!(helps.iter().any(|help| *help == "write `peer \"NAME\"` for each of them"), "{helps:?}");
}
