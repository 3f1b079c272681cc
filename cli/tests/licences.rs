//! Whether everything that is built into the program may be given away under its licences.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::process::Command;

use serde_json::Value;

/// Licences that permit linking into a program given away under MIT OR Apache-2.0, with no more asked than their
/// text and the authors' names.
const PERMITTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether one of the alternatives of an SPDX expression is permitted in all its parts. Old manifests write `/` for OR.
fn permitted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut depth = 0_i32;
    let mut alternatives = vec![vec![String::new()]];
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "OR" if depth == 0 => alternatives.push(vec![String::new()]),
            "AND" if depth == 0 => alternatives.last_mut().unwrap().push(String::new()),
            _ => {}
        }
        let nested = depth > 0 || matches!(word, "(" | ")");
        if nested || !matches!(word, "OR" | "AND") {
            let part = alternatives.last_mut().unwrap().last_mut().unwrap();
            part.push_str(if part.is_empty() { "" } else { " " });
            part.push_str(word);
        }
    }
    alternatives.iter().any(|parts| {
        parts.iter().all(|part| match part.strip_prefix("( ").and_then(|p| p.strip_suffix(" )")) {
            Some(inner) => permitted(inner),
            None => PERMITTED.contains(&part.as_str()),
        })
    })
}

#[test]
fn an_expression_is_permitted_if_one_alternative_is_in_all_its_parts() {
    for (expression, answer) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("GPL-2.0 OR MIT", true),
        ("MIT AND GPL-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR GPL-2.0) AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("", false),
    ] {
        assert_eq!(permitted(expression), answer, "{expression}");
    }
}

#[test]
fn every_crate_that_is_linked_has_a_permitted_licence() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !permitted(package["license"].as_str().unwrap_or_default()))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(packages.len() > 50, "only {} packages were looked at", packages.len());
    assert!(refused.is_empty(), "not permitted:\n{}", refused.join("\n"));
}
