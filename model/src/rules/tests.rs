use super::*;
use crate::config::{self, Source};
use crate::desired::desire;

fn desired(backends: &str) -> Desired {
    let text = format!(
        r#"cluster "t"
        peer "a" address="10.0.0.1"
        vip "ui" {{ address "10.0.0.50/24"; interface "eth0"; vrid 51; priority a=150 }}
        service "web" {{ listen vip="ui" port=80; {backends} }}"#
    );
    let parsed = config::parse(&[Source { name: "ha.kdl".into(), text }]);
    desire(&parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)), "a").unwrap()
}

const TWO: &str = r#"backend "x" "10.0.0.9:80"; backend "y" "10.0.0.8:80""#;

fn text(backends: &str) -> String {
    render(&desired(backends), &Live::default()).remove(TABLE).unwrap()
}

#[test]
fn another_order_of_backends_is_the_same_table() {
    assert_eq!(text(TWO), text(r#"backend "y" "10.0.0.8:80"; backend "x" "10.0.0.9:80""#));
}

#[test]
fn counters_spelling_order_and_comments_do_not_count() {
    let wanted = text(TWO);
    let sorted =
        "elements = { 10.0.0.8 . 80 counter packets 0 bytes 0,\n\t\t\t     10.0.0.9 . 80 counter packets 0 bytes 0 }";
    assert!(wanted.contains(sorted));
    let variants = [
        wanted.replace("counter packets 0 bytes 0", "counter packets 17 bytes 1800"),
        wanted.replace(
            sorted,
            "elements = { 10.0.0.9 . 80 counter packets 3 bytes 4, 10.0.0.8 . 80 counter packets 0 bytes 0 }",
        ),
        wanted.replace("priority raw;", "priority -300;").replace("priority srcnat;", "priority 100;"),
        wanted.replace("priority -100;", "priority dstnat;").replace("; policy accept;", ";"),
        wanted.replace("{\n\tset", "{ # handle 7\n\tset"),
        wanted.replace("\t\ttype ipv4_addr\n", "\t\ttype ipv4_addr\n\t\tsize 65535\n"),
        wanted.replace("dnat ip to jhash", "meta l4proto tcp dnat ip to jhash"),
        wanted.replace("invalid,new", "{ new, invalid }"),
        wanted.replace("ct status ! dnat", "ct status & dnat == 0x0"),
        wanted.replace('\t', "  "),
        wanted.split_whitespace().next().map(|_| format!("{wanted}\n")).unwrap(),
    ];
    for (n, listed) in variants.iter().enumerate() {
        assert!(same(&wanted, listed), "variant {n}:\n{listed}");
    }
    let seed = desired(TWO).services[0].seed;
    assert!(same(&wanted, &wanted.replace(&format!("seed {seed:#x}"), &format!("seed {seed}"))));
}

/// What real ones list after they loaded `loaded.nft`; the number of slots is cut down.
const LISTED: [(&str, &str); 4] = [
    ("1.0.6", include_str!("listed/nft-1.0.6.nft")),
    ("1.0.6 without /etc/protocols", include_str!("listed/nft-1.0.6-without-protocols.nft")),
    ("1.1.3", include_str!("listed/nft-1.1.3.nft")),
    ("1.1.3 without /etc/protocols", include_str!("listed/nft-1.1.3-without-protocols.nft")),
];

#[test]
fn what_each_nft_lists_is_what_it_loaded_and_is_shown_the_same() {
    let loaded = include_str!("listed/loaded.nft");
    assert_eq!(arranged(loaded), loaded);
    for (version, listed) in LISTED {
        assert!(same(loaded, listed), "nft {version}:\n{listed}");
        assert_eq!(arranged(listed), loaded, "nft {version}");
        let other = listed.replacen("5 : 192.168.50.21", "5 : 192.168.50.22", 1);
        assert!(other != listed && !same(loaded, &other), "nft {version}: a slot of another backend");
    }
}

#[test]
fn what_changes_packets_counts() {
    let wanted = text(TWO);
    let active = Live { master: ["ui".to_owned()].into(), ..Live::default() };
    let variants = [
        wanted.replacen("notrack", "accept", 1),
        wanted.replacen("0 : 10.0.0.8 . 80", "0 : 10.0.0.9 . 80", 1).replacen(
            "0 : 10.0.0.9 . 80",
            "0 : 10.0.0.7 . 80",
            1,
        ),
        wanted.replace("priority raw", "priority mangle"),
        wanted.replace("mod 251", "mod 250"),
        wanted.replace("\tchain raw_out", "\tchain raw_other"),
        wanted.replace("policy accept", "policy drop"),
        format!("{}\tchain more {{\n\t}}\n}}\n", wanted.trim_end().trim_end_matches('}')),
        render(&desired(TWO), &active).remove(TABLE).unwrap(),
        text(r#"backend "x" "10.0.0.9:80"; backend "y" "10.0.0.8:80" weight=2"#),
    ];
    for (n, listed) in variants.iter().enumerate() {
        assert!(!same(&wanted, listed), "variant {n}:\n{listed}");
    }
}

#[test]
fn any_text_can_be_compared_and_shown() {
    for junk in [
        "",
        "}",
        "{{{",
        "table ip hactl {",
        "elements = {",
        "\t\telements = { a,",
        "set x { typeof numgen inc mod\nelements = { 1 :",
    ] {
        assert!(same(junk, junk));
        _ = (shortened(junk, &BackendNames::new()), arranged(junk), counts(junk), without_counters(junk));
    }
}

#[test]
fn with_every_backend_down_there_are_no_slots_and_flows_are_refused() {
    let down = Live {
        down: [("web".to_owned(), ["10.0.0.9:80".parse().unwrap(), "10.0.0.8:80".parse().unwrap()].into())].into(),
        ..Live::default()
    };
    let text = render(&desired(TWO), &down).remove(TABLE).unwrap();
    assert!(!text.contains("0 : 10.0.0"), "{text}");
    assert!(text.contains("reject with tcp reset"));
}

#[test]
fn a_long_map_of_slots_is_one_line_and_the_rest_stays() {
    let short = shortened(&text(TWO), &backend_names(&desired(r#"backend "x" "10.0.0.9:80""#)));
    assert!(short.contains("251 slots: 10.0.0.8:80 126, x 125\n"), "{short}");
    assert!(short.contains("elements = { 10.0.0.50 . tcp . 80 counter packets 0 bytes 0 : goto svc_web }"));
}
