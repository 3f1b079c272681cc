//! Whatever the text: no panic, no overflow, no secret in a word that people read.

use proptest::prelude::*;

use super::tests::{example, source};
use super::*;

/// Longer than VRRPv2 allows, so that a diagnostic about it is certain; in no example.
const SECRET: &str = "Xq7ZPw93kLmV";

fn words(parsed: &Parsed, text: &Source) -> String {
    let masked = masked(text);
    let mut all = masked.text.clone();
    for diagnostic in &parsed.diagnostics {
        all += &diagnostic.title;
        for (span, label) in &diagnostic.labels {
            all += label;
            all += masked.text.get(masked.range(*span)).unwrap_or_default();
        }
        all += &diagnostic.help.join("\n");
    }
    all + &format!("{:?}", parsed.config)
}

fn holds(text: &Source) {
    let parsed = parse(std::slice::from_ref(text));
    let errors = parsed.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(parsed.config.is_none(), errors, "a cluster or an error, never neither: {:?}", text.text);
    for (span, _) in parsed.diagnostics.iter().flat_map(|d| &d.labels) {
        assert!(span.offset + span.len <= text.text.len(), "{span:?} in {:?}", text.text);
    }
    let _ = words(&parsed, text);
}

const EXAMPLES: [&str; 7] =
    ["proxmox-ui", "postgres-swarm", "nginx-pair", "active-active", "dual-stack", "gateway-group", "cloud-elastic-ip"];

#[test]
fn every_example_cut_off_at_any_byte_is_read_or_reported() {
    for name in EXAMPLES {
        let text = example(name).text;
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            holds(&source(&text[..end]));
        }
    }
}

#[test]
fn deep_and_endless_texts_are_refused_without_overflow() {
    let letters = (1..127_u8).map(|c| char::from(c).to_string());
    let pieces = [
        "a {", "/*", "/-", "a=", "(a)", "\"\"\"", "/-{", "a;", "a \"b\"", "#\"", "\u{feff}", "\u{7f}", "a\\", "\"\\",
        "a b{}", "b \"\\u",
    ];
    for piece in letters.chain(pieces.map(str::to_owned)) {
        holds(&source(&piece.repeat(2_000)));
        holds(&source(&format!("cluster \"c\"\n{}", format!("{piece}\n").repeat(200))));
        holds(&source(&format!("vip {}", format!("{piece} ").repeat(200))));
    }
}

#[test]
fn a_text_above_the_limit_is_not_parsed() {
    let parsed = parse(&[source(&"//\n".repeat(SIZE_LIMIT))]);
    assert_eq!(parsed.diagnostics[0].code, codes::TOO_LARGE);
}

#[test]
fn a_node_with_endless_values_is_not_parsed() {
    for values in ["x ", "a=1 ", "\"x\" ", "1 "] {
        let parsed = parse(&[source(&format!("cluster \"c\"\nprocess {}\n", values.repeat(200_000)))]);
        assert!(parsed.diagnostics.iter().any(|d| d.code == codes::TOO_LARGE), "{values}");
        assert!(parsed.diagnostics.len() < 3, "{values}");
    }
}

#[test]
fn every_code_is_of_its_own_and_has_a_meaning() {
    let mut seen = std::collections::BTreeSet::new();
    for (code, meaning) in codes::TABLE {
        assert!(seen.insert(code), "{code} twice");
        assert!(code.len() == 6 && meaning.trim().ends_with('.'), "{code}");
    }
}

/// Pieces that the scanner treats in its own way.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        "[{}()\\[\\];:=,\"'#/*\\\\“”-]{1,3}",
        "(vip|peer|check|service|auth-pass|key|address|include|track|priority|true|192\\.0\\.2\\.1/24|3s|\\$X)",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..60)) {
        holds(&source(&pieces.concat()));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&source(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn an_example_with_pieces_put_into_it_is_read_or_reported(
        name in prop::sample::select(&EXAMPLES[..]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, piece()), 1..4),
    ) {
        let mut text = example(name).text;
        for (at, len, new) in edits {
            let borders: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
            let start = *at.get(&borders);
            let end = borders.iter().copied().find(|b| *b >= start + len).unwrap_or(text.len());
            text.replace_range(start..end, &new);
        }
        holds(&source(&text));
    }

    #[test]
    fn a_literal_password_is_in_no_words_whatever_else_is_wrong(
        value in prop_oneof![
            Just(format!("\"{SECRET}\"")), Just(SECRET.to_owned()), Just(format!("'{SECRET}'")),
            Just(format!("\"{SECRET}")), Just(format!("= \"{SECRET}\"")), Just(format!(": {SECRET}")),
            Just(format!("“{SECRET}”")), Just(format!("pass=\"{SECRET}\"")), Just(format!("9{SECRET}/")),
        ],
        name in prop::sample::select(&["auth-pass", "auth_pass", "authpass", "auth-pas", "password", "key", "auth-pass:"][..]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), piece()), 0..3),
    ) {
        let example = example("nginx-pair").text;
        let (before, after) = example.split_at(example.find("    preempt").unwrap());
        let mut before = before.to_owned();
        for (at, new) in edits {
            let borders: Vec<usize> = before.char_indices().map(|(i, _)| i).collect();
            before.insert_str(*at.get(&borders), &new);
        }
        // A quote or a comment left open above takes the password into itself: then it is no password any more.
        prop_assume!(!before.contains(['"', '\'', '“', '”', '/', '\\', '#', '`']) || before.matches('"').count() % 2 == 0);
        let text = source(&format!("{before}\n    {name} {value}\n{after}"));
        let parsed = parse(std::slice::from_ref(&text));
        let own = words(&parsed, &text);
        if own.contains(SECRET) {
            let commented = before.contains("/*") || before.contains("\"\"\"") || before.contains('\\') || before.contains("/-") || before.contains("#\"");
            prop_assert!(commented, "{own}");
        }
    }
}

#[test]
fn thousands_of_mistakes_in_many_nodes_are_told_up_to_a_limit() {
    let vip =
        |n: usize| format!("vip \"v{n}\" {{ adress \"x\"; interfce 3; vrid 300; priority p{n}=1; track \"c{n}\" }}\n");
    let shapes: [&dyn Fn(usize) -> String; 5] = [
        &vip,
        &|n| format!("peer \"p{n}\" adress=\"192.0.2.1\"\n"),
        &|n| format!("nonsense{n} 1\n"),
        &|n| format!("service \"s{n}\" {{ listen vip=\"v{n}\" port=1; backend \"b{n}\" }}\n"),
        &|n| format!("check \"c{n}\" {{ prcess \"x\" }}\n"),
    ];
    for shape in shapes {
        let mut text = String::from("cluster \"c\"\n");
        (0..2_000).for_each(|n| text += &shape(n));
        let parsed = parse(&[source(&text)]);
        assert!(parsed.config.is_none() && parsed.diagnostics.len() <= mistakes::LIMIT + 1);
        assert!(parsed.diagnostics.iter().any(|d| d.code == codes::TOO_LARGE), "{}", parsed.diagnostics.len());
    }
}
