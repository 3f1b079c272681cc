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
