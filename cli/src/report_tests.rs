//! Every mistake in `examples/invalid` in the words that people see.

use anstream::adapter::strip_str;
use model::config::{self, Severity, Source};

use crate::report::{diagnostic_json, diagnostic_text};

fn source(path: &std::path::Path) -> Source {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    Source { name, text: std::fs::read_to_string(path).unwrap() }
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots/error");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn words(source: &Source) -> String {
    let parsed = config::parse(std::slice::from_ref(source));
    let sources = std::slice::from_ref(source);
    let words = parsed.diagnostics.iter().map(|d| strip_str(&diagnostic_text(sources, d)).to_string());
    words.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_remedy() {
    settings().bind(|| {
        insta::glob!("../../examples/invalid", "*.kdl", |path| {
            let source = source(path);
            let parsed = config::parse(std::slice::from_ref(&source));
            assert!(!parsed.diagnostics.is_empty(), "{} has no mistake", source.name);
            let warned = source.text.starts_with("// A warning:");
            assert_eq!(parsed.config.is_some(), warned, "{}: {:#?}", source.name, parsed.diagnostics);
            for diagnostic in &parsed.diagnostics {
                assert!(config::codes::TABLE.iter().any(|(code, _)| *code == diagnostic.code), "{}", diagnostic.code);
                assert!(!diagnostic.labels.is_empty() && !diagnostic.help.is_empty(), "{diagnostic:#?}");
                assert_eq!(diagnostic.severity == Severity::Warning, diagnostic.code.starts_with("HA05"));
            }
            insta::assert_snapshot!("error", words(&source));
        });
    });
}

#[test]
fn every_shipped_example_is_valid() {
    settings().bind(|| {
        insta::glob!("../../examples", "*.kdl", |path| {
            // Scenarios are no clusters, and have tests of their own.
            if path.to_string_lossy().ends_with(".test.kdl") {
                return;
            }
            let source = source(path);
            assert!(config::parse(std::slice::from_ref(&source)).config.is_some(), "{}", words(&source));
            insta::assert_snapshot!("example", words(&source));
        });
    });
}

#[test]
fn the_words_hold_no_password() {
    for name in ["long-password", "misspelt-password", "literal-password"] {
        let path = format!("{}/../examples/invalid/{name}.kdl", env!("CARGO_MANIFEST_DIR"));
        let source = source(std::path::Path::new(&path));
        let parsed = config::parse(std::slice::from_ref(&source));
        let json: Vec<_> =
            parsed.diagnostics.iter().map(|d| diagnostic_json(std::slice::from_ref(&source), d).to_string()).collect();
        let all = words(&source) + &json.concat() + &format!("{parsed:?}");
        for secret in ["hunter2", "correcthorse"] {
            assert!(!all.contains(secret), "{name}: {all}");
        }
    }
}

#[test]
fn a_place_counts_lines_and_columns_from_one() {
    let source = Source { name: "ha.kdl".into(), text: "cluster \"c\"\npeer \"ü\" address=5".into() };
    let parsed = config::parse(std::slice::from_ref(&source));
    let json = diagnostic_json(std::slice::from_ref(&source), &parsed.diagnostics[0]);
    assert_eq!(json["labels"][0]["line"], 2);
    assert_eq!(json["labels"][0]["column"], 6);
    assert_eq!(json["labels"][0]["file"], "ha.kdl");
}
